"""The documented example request, byte for byte, and the rows that it names."""

from functools import cache
from importlib.resources import files

API_KEY = "your-api-key-here"
CASE_ID = "123e4567-e89b-12d3-a456-426614174000"
PHARMACY_CODE = "pharmacy-123"
DRUG_CODE = "drug-456"


@cache
def body() -> str:
    """The body of the example, exactly as it is printed."""
    return files(__package__).joinpath("place-order.json").read_text()


def curl(url: str) -> str:
    """The example as a command to paste, for a service at `url`."""
    return (
        f'curl -X POST "{url}/api/v1/cases/{CASE_ID}" \\\n'
        '-H "Content-Type: application/json" \\\n'
        f'-H "cv-api-key: {API_KEY}" \\\n'
        f"-d '{body()}'"
    )

"""Orders to place in tests."""

import copy
import json
from typing import Any

from case_orders.demo import example


def documented() -> dict[str, Any]:
    """The documented example as a value."""
    value: dict[str, Any] = json.loads(example.body())
    return value


def placement(drug: str = "drug-456", **changes: Any) -> dict[str, Any]:
    """The documented example with another drug, and `changes` in its `order`; a value of None leaves a field out."""
    body = copy.deepcopy(documented())
    body["order"]["prescriptionItems"][0]["drugId"] = drug
    for name, value in changes.items():
        if value is None:
            del body["order"][name]
        else:
            body["order"][name] = value
    return body

"""Needles: values that are planted in requests, to be looked for wherever they must not be found."""

import base64
from collections.abc import Iterator
from typing import Any

from tests.support.orders import documented
from tests.support.world import REPORT_SECRET, REQUEST_SECRET

# What all planted values begin with, what every prescription begins with, and the pharmacy's secrets.
MARK, PDF = "Nadelstich", b"%PDF-1."
NEEDLES = {MARK.encode(), PDF, REQUEST_SECRET.encode(), REPORT_SECRET.encode()}


def needle(what: str) -> str:
    return f"{MARK}{what}"


def forms(needle: bytes) -> Iterator[bytes]:
    """How a needle may lie somewhere; in base64 there are three, by where in a group of three bytes it begins."""
    yield needle
    yield needle.hex().encode()
    yield needle.hex().upper().encode()
    for lead in range(3):
        # Only the characters that the needle alone decides.
        yield base64.b64encode(bytes(lead) + needle)[-(-lead * 4 // 3) : (lead + len(needle)) * 4 // 3]


def found(needles: set[bytes], haystack: bytes) -> set[bytes]:
    return {needle for needle in needles if any(form in haystack for form in forms(needle))}


def placement(drug: str = "drug-456") -> dict[str, Any]:
    """An order with a needle wherever the contract takes free text."""
    body = documented()
    address = {"addressLine1": needle("Line"), "city": needle("City")}
    address |= {"state": "CA", "country": "US", "postalCode": "94105"}
    body["order"] |= {
        "shippingAddress": address,
        "patientHealthInfo": {name: needle(name) for name in body["order"]["patientHealthInfo"]},
        "diagnosis": needle("Diagnosis"),
        "dateWritten": "2024-01-15",
        "dateSigned": "2024-01-15",
        "datePrescribed": "2024-01-15",
    }
    body["order"]["prescriber"] |= {"firstName": needle("First"), "lastName": needle("Last"), "address": address}
    body["order"]["prescriptionItems"][0] |= {
        "drugId": drug,
        "direction": needle("Direction"),
        "customFields": {needle("Key"): needle("Value")},
    }
    return body

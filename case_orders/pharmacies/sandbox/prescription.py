"""The sandbox pharmacy's prescription document, a PDF made with Typst."""

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import typst

Json = Mapping[str, Any]


def render(order: Json, reference: str) -> bytes:
    """The prescription of an order in the protocol's shape, US letter.

    The same order gives the same bytes. It reaches Typst as JSON, so nothing in it can be markup.
    """
    content = json.dumps(_content(order, reference))
    return typst.compile(_template(), font_paths=_fonts(), sys_inputs={"prescription": content})


@cache
def _template() -> bytes:
    return files(__package__).joinpath("prescription.typ").read_bytes()


@cache
def _fonts() -> typst.Fonts:
    """The fonts that come with Typst, and those of the system for scripts that these lack."""
    return typst.Fonts()


def _content(order: Json, reference: str) -> dict[str, Any]:
    """All values as the lines of text that the template prints; "" or an empty list stands for what is not known."""
    patient, prescriber = order["patient"], order["prescriber"]
    health = order.get("patientHealthInfo", {})
    return {
        "reference": reference,
        "order": order["orderId"],
        "issued": _issued(order),
        "patient": {
            "name": _name(patient),
            "born": patient.get("dateOfBirth", ""),
            "phone": patient.get("phoneNumber", ""),
            "address": _address(patient.get("address", order["shippingAddress"])),
        },
        "prescriber": {
            "name": _name(prescriber),
            "npi": prescriber["npi"],
            "dea": prescriber.get("dea", ""),
            "phone": prescriber["phoneNumber"],
            "address": _address(prescriber["address"]),
        },
        "shipTo": _address(order["shippingAddress"]),
        "diagnosis": order["diagnosis"],
        "allergies": health.get("allergies", ""),
        "conditions": health.get("healthConditions", ""),
        "medications": health.get("currentMedications", ""),
        "items": [_item(item) for item in order["items"]],
    }


def _issued(order: Json) -> str:
    """The day the prescription was written, or else the day the order was placed."""
    written: str = order.get("dateWritten") or order.get("datePrescribed") or order["placedAt"]
    return written[:10]


def _name(person: Json) -> str:
    name = " ".join(person[part] for part in ("title", "firstName", "lastName") if part in person)
    return f"{name}, {person['titleSuffix']}" if "titleSuffix" in person else name


def _address(address: Json) -> list[str]:
    town = f"{address['city']}, {address['state']} {address['postalCode']}, {address['country']}"
    return [
        address["addressLine1"],
        *([address["addressLine2"]] if "addressLine2" in address else []),
        town,
    ]


def _item(item: Json) -> dict[str, Any]:
    codes = {"NDC": "ndc", "RxCUI": "rxcui", "Schedule": "schedule"}
    return {
        "drug": item["name"],
        "presentation": " ".join(item[part] for part in ("strength", "form") if part in item),
        "codes": [f"{label} {item[name]}" for label, name in codes.items() if name in item],
        "direction": item.get("direction", ""),
        "quantity": item["quantity"],
        "refills": str(item["refillCount"]),
        "days": str(item.get("supplyDays", "")),
    }

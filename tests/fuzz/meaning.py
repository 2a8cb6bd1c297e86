"""Values that mean something, for a generated request that obeys the contract: ids of a catalogue, signatures."""

import json
from typing import Any

import requests

from case_orders.edge.body import parse_json
from case_orders.errors import Invalid
from case_orders.pharmacies.signing import sign_report
from tests.contract.world import EXAMPLE_IDS
from tests.support.world import ADDRESS, REPORT_SECRET


def name_what_exists(order: dict[str, Any], case_id: str) -> None:
    """Have an order name a pharmacy and drugs that there are."""
    order["pharmacyId"] = "pharmacy-123"
    if case_id != EXAMPLE_IDS["caseId"]:
        order.setdefault("shippingAddress", ADDRESS)  # a generated case may have none
    for item in order["prescriptionItems"]:
        item["drugId"] = "drug-456"
        if not _is_storable(item.get("customFields")):
            item["customFields"] = {}


def _is_storable(value: Any) -> bool:
    """Whether free JSON keeps the limits that a schema cannot express: 64-bit integers, no U+0000."""
    try:
        parse_json(json.dumps(value).encode())
    except Invalid:
        return False
    return True


def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sign a pharmacy's report, the very bytes that are sent; for the `auth` of `requests`."""
    body = request.body.encode() if isinstance(request.body, str) else request.body
    assert isinstance(body, bytes)
    request.headers.update(sign_report(REPORT_SECRET, body, message_id=str(request.headers["webhook-id"])))
    return request

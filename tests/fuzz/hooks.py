"""What schemathesis cannot know: names that exist, signatures, and that nothing may leave this machine.

Loaded by the schemathesis command. A request that obeys the contract is made one that can succeed, as the settings in
the environment say; one that breaks the contract goes out as it was generated.
"""

from __future__ import annotations

import json
import os
from collections import deque
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests
import schemathesis
from schemathesis.core.transport import Response
from schemathesis.hooks import HookContext

from case_orders.db import now
from case_orders.edge import contract
from case_orders.edge.body import parse_json
from case_orders.errors import Invalid
from case_orders.links import Links
from case_orders.pharmacies.signing import sign_report
from case_orders.settings import Settings
from tests.contract.world import EXAMPLE_IDS
from tests.support.world import ADDRESS, REPORT_SECRET

Case = schemathesis.Case[Any]

RECEIVER = os.environ["FUZZ_RECEIVER"]
LINKS = Links.from_settings(Settings())
API = f"{os.environ['FUZZ_ORIGIN']}/api/v1"
HEADERS = {"cv-api-key": os.environ["FUZZ_KEY"]}

# Every event goes to every active webhook: with thousands of them the run would measure nothing but that.
MOST_ACTIVE_WEBHOOKS = 3
active_webhooks: deque[str] = deque()


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    _stay_on_this_machine(case.body)
    if case.meta is None or case.meta.generation.mode.is_positive:
        kwargs.update(_give_meaning(case))


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    if response.status_code in (200, 201) and case.operation.path.startswith("/webhooks"):
        webhook = response.json()["data"].get("webhook", {})
        if webhook.get("active") and webhook["id"] not in (EXAMPLE_IDS["webhookId"], *active_webhooks):
            active_webhooks.append(webhook["id"])
    while len(active_webhooks) > MOST_ACTIVE_WEBHOOKS:
        _webhook("PATCH", f"/{active_webhooks.popleft()}", {"active": False})


def _stay_on_this_machine(node: Any) -> None:
    """Lead every URL that the contract takes to the receiver; its path and query stay."""
    if isinstance(node, dict) and isinstance(node.get("url"), str) and not _URL.problems(node["url"]):
        _, _, path, query, _ = urlsplit(node["url"])
        node["url"] = f"{RECEIVER}{path.removeprefix('/')}" + (f"?{query}" if query else "")
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        _stay_on_this_machine(child)


_URL = contract.component("WebhookUrl")


def _give_meaning(case: Case) -> dict[str, Any]:
    """Make a request one that can succeed; what else to send it with."""
    body: Any = case.body
    match case.operation.definition.raw["operationId"]:
        case "performCaseAction":
            _name_what_exists(body["order"], case.path_parameters["caseId"])
        case "receivePharmacyEvent":
            body["orderId"] = EXAMPLE_IDS["orderId"]
            case.path_parameters["connectionId"] = EXAMPLE_IDS["connectionId"]
            return {"auth": _sign}
        case "downloadDocumentByLink":
            link = LINKS.url(case.path_parameters["documentId"], now())
            case.query = dict(parse_qsl(urlsplit(link).query))
        case "deleteWebhook" if case.path_parameters["webhookId"] == EXAMPLE_IDS["webhookId"]:
            case.path_parameters["webhookId"] = _new_webhook()
    return {}


def _name_what_exists(order: dict[str, Any], case_id: str) -> None:
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


def _sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Sign the very bytes that are sent."""
    body = request.body.encode() if isinstance(request.body, str) else request.body
    assert isinstance(body, bytes)
    request.headers.update(sign_report(REPORT_SECRET, body, message_id=str(request.headers["webhook-id"])))
    return request


def _new_webhook() -> str:
    """A webhook to delete, so that the one of the examples lives on; with a wrong key the example after all."""
    answer = _webhook("POST", "", {"url": RECEIVER, "events": ["ORDER_CREATED"]})
    created: str = answer.get("data", {}).get("webhook", {}).get("id", EXAMPLE_IDS["webhookId"])
    return created


def _webhook(method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = requests.request(
        method, f"{API}/webhooks{path}", json=body, headers=HEADERS, timeout=30
    ).json()
    return answer

"""What schemathesis cannot know: names that exist, signatures, and that nothing may leave this machine.

Loaded by the schemathesis command. A request that obeys the contract is made one that can succeed; one that breaks the
contract goes out as it was generated. The environment holds the settings of the service and the FUZZ_ variables.
"""

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
from case_orders.links import Links
from case_orders.settings import Settings
from tests.contract.world import EXAMPLE_IDS
from tests.fuzz.meaning import name_what_exists, sign

Case = schemathesis.Case[Any]

WEBHOOKS = f"{os.environ['FUZZ_ORIGIN']}/api/v1/webhooks"
KEY = {"cv-api-key": os.environ["FUZZ_KEY"]}
RECEIVER = os.environ["FUZZ_RECEIVER"]
LINKS = Links.from_settings(Settings())
URL = contract.component("WebhookUrl")

# Every event goes to every active webhook: with thousands of them the run would measure nothing but that.
MOST_ACTIVE_WEBHOOKS = 3
active_webhooks: deque[str] = deque()
# Room is kept for new ones, of which an organization may have 50; a flow is over before its own is among the oldest.
MOST_WEBHOOKS = 30
webhooks: deque[str] = deque()


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, Any]) -> None:
    stay_on_this_machine(case.body)
    if case.meta is None or case.meta.generation.mode.is_positive:
        kwargs.update(give_meaning(case))
    if operation_id(case) == "deleteWebhook" and case.path_parameters["webhookId"] == EXAMPLE_IDS["webhookId"]:
        case.path_parameters["webhookId"] = new_webhook()


@schemathesis.hook
def after_call(context: HookContext, case: Case, response: Response) -> None:
    if response.status_code in (200, 201) and case.operation.path.startswith("/webhooks"):
        webhook = response.json()["data"].get("webhook", {"id": ""})
        if webhook["id"] == EXAMPLE_IDS["webhookId"]:
            set_active(webhook["id"], True)
        elif webhook.get("active") and webhook["id"] not in active_webhooks:
            active_webhooks.append(webhook["id"])
            webhooks.append(webhook["id"])
            # A webhook with a delivery, so that the link from its deliveries leads somewhere.
            requests.post(f"{WEBHOOKS}/{webhook['id']}/test", headers=KEY, timeout=30)
    while len(active_webhooks) > MOST_ACTIVE_WEBHOOKS:
        set_active(active_webhooks.popleft(), False)
    while len(webhooks) > MOST_WEBHOOKS:
        requests.delete(f"{WEBHOOKS}/{webhooks.popleft()}", headers=KEY, timeout=30)


def set_active(webhook_id: str, active: bool) -> None:
    requests.patch(f"{WEBHOOKS}/{webhook_id}", json={"active": active}, headers=KEY, timeout=30)


def operation_id(case: Case) -> str:
    return str(case.operation.definition.raw["operationId"])


def stay_on_this_machine(node: Any) -> None:
    """Lead every URL that the contract takes to the receiver; its path and query stay."""
    if isinstance(node, dict) and isinstance(node.get("url"), str) and not URL.problems(node["url"]):
        parts = urlsplit(node["url"])
        node["url"] = parts._replace(scheme="http", netloc=urlsplit(RECEIVER).netloc).geturl()
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    for child in children:
        stay_on_this_machine(child)


def give_meaning(case: Case) -> dict[str, Any]:
    """Make a request one that can succeed; what else to send it with."""
    body: Any = case.body
    if "webhookId" in case.path_parameters:
        name_a_webhook(case)
    match operation_id(case):
        case "performCaseAction":
            name_what_exists(body["order"], case.path_parameters["caseId"])
        case "receivePharmacyEvent":
            body["orderId"] = EXAMPLE_IDS["orderId"]
            case.path_parameters["connectionId"] = EXAMPLE_IDS["connectionId"]
            return {"auth": sign}
        case "downloadDocumentByLink":
            link = LINKS.url(case.path_parameters["documentId"], now())
            case.query = dict(parse_qsl(urlsplit(link).query))
    return {}


def name_a_webhook(case: Case) -> None:
    """Name one that there is: most are deleted by now. A flow goes where its links lead."""
    in_flow = case.meta is not None and case.meta.phase.name.value == "stateful"
    if not in_flow and case.path_parameters["webhookId"] not in active_webhooks:
        case.path_parameters.update({name: EXAMPLE_IDS[name] for name in case.path_parameters})


def new_webhook() -> str:
    """A webhook to delete, so that the one of the examples lives on; the example after all if the key is wrong."""
    body = {"url": RECEIVER, "events": ["ORDER_CREATED"]}
    answer = requests.post(WEBHOOKS, json=body, headers=KEY, timeout=30)
    created: str = answer.json()["data"]["webhook"]["id"] if answer.ok else EXAMPLE_IDS["webhookId"]
    return created

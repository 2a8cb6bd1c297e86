"""The integration guide, done: its program and its commands run against `case-orders serve --demo`."""

import json
import os
import re
import shlex
import string
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from case_orders import auth
from case_orders.documents.fetch import fetch_pdf
from case_orders.edge import body, contract, schema, server
from case_orders.fulfillment.documents import MOST_DOCUMENTS
from case_orders.webhooks.signing import signed_headers
from handlers.pharmacies import MOST_REPORTS
from models.order_states import OrderState
from tests.docs import pages
from tests.support.contract_client import ContractClient, operation_of

GUIDE = pages.read("docs/integration-guide.md")
ADDRESS = "http://127.0.0.1:8080"
PYTHON = pages.blocks(GUIDE, "python")
CURLS = [block for block in pages.blocks(GUIDE, "sh") if block.startswith("curl")]

# What the program knows at its end, for the commands and the tests.
REPORT = """
import json
print(json.dumps({
    "CASE_ID": case["id"], "ORDER_ID": order_id, "DOCUMENT_ID": document["id"],
    "WEBHOOK_ID": webhook["id"], "DELIVERY_ID": delivery["id"], "CANCELED_ID": canceled_id,
    "order": order, "canceled": canceled, "rejected": rejected, "refused": refused,
    "activity": activity, "orders": [row["id"] for row in orders], "secrets": [old, secret],
}))
"""


@pytest.fixture(scope="module")
def known(service: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Runs the guide's program; what it knows at its end."""
    program = tmp_path_factory.mktemp("guide") / "guide.py"
    program.write_text("\n\n".join([*PYTHON, REPORT]).replace(ADDRESS, service))
    result: dict[str, Any] = json.loads(_run(program).stdout.splitlines()[-1])
    return result


def _run(program: Path) -> "subprocess.CompletedProcess[str]":
    direct = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = [sys.executable, "-W", "error", str(program)]
    done = subprocess.run(command, env=direct, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@dataclass(frozen=True)
class Request:
    """What a curl command sends."""

    method: str
    url: str
    headers: dict[str, str]
    content: str | None

    @classmethod
    def of(cls, command: str, variables: dict[str, str]) -> "Request":
        words = [string.Template(word).substitute(variables) for word in shlex.split(command.replace("\\\n", " "))]
        method, url, headers, content = None, "", {}, None
        rest = iter(words[1:])
        for word in rest:
            match word:
                case "-X":
                    method = next(rest)
                case "-H":
                    name, _, value = next(rest).partition(": ")
                    headers[name] = value
                case "-d":
                    content = next(rest)
                case "-o":
                    next(rest)
                case _:
                    assert not word.startswith("-"), f"this test does not know curl's {word}"
                    url = word
        return cls(method or ("POST" if content else "GET"), url, headers, content)


@pytest.fixture
async def client() -> AsyncIterator[ContractClient]:
    async with ContractClient(trust_env=False, timeout=30) as client:
        yield client


def _variables(service: str, known: dict[str, Any]) -> dict[str, str]:
    exported = dict(re.findall(r"^export (\w+)=(\S+)$", GUIDE, re.MULTILINE))
    ids = {name: value for name, value in known.items() if name.isupper()}
    return ids | {name: value.replace(ADDRESS, service) for name, value in exported.items()}


async def test_every_curl_command_is_answered_as_the_contract_says(
    service: str, known: dict[str, Any], client: ContractClient
) -> None:
    variables = _variables(service, known)
    for command in CURLS:
        of_canceled = {"ORDER_ID": known["CANCELED_ID"]} if "/cancel" in command else {}
        request = Request.of(command, variables | of_canceled)
        answer = await client.request(request.method, request.url, headers=request.headers, content=request.content)
        assert operation_of(request.method, httpx2.URL(request.url).path) is not None, command
        assert answer.is_success, f"{command}\n{answer.text}"


def test_the_program_of_the_guide_makes_its_case_again_when_it_is_run_again(
    service: str, known: dict[str, Any], tmp_path: Path
) -> None:
    first_calls, case = (block for block in PYTHON if "def call(" in block or "\ncase = " in block)
    program = tmp_path / "guide.py"
    program.write_text(f"{first_calls}\n\n{case}".replace(ADDRESS, service))
    made = _run(program).stdout.splitlines()[-1]
    assert made.startswith("case ")
    assert made != f"case {known['CASE_ID']}"


def test_the_order_of_the_guide_is_completed_with_its_document(known: dict[str, Any]) -> None:
    assert known["order"]["status"] == "COMPLETED"
    assert known["orders"][-1] == known["ORDER_ID"]
    assert known["order"]["warnings"] == []


def test_the_endings_of_the_guide_are_those_that_it_names(known: dict[str, Any]) -> None:
    assert known["canceled"]["status"] == "CANCELED"
    assert known["rejected"]["status"] == "REJECTED"


def test_the_refusal_of_the_guide_names_every_problem(known: dict[str, Any]) -> None:
    problems = {problem["path"]: problem["code"] for problem in known["refused"]["details"]}
    assert problems["/order/refils"] == "not_allowed"
    assert problems["/order/prescriber"] == "required"


def test_the_activity_of_the_guide_holds_the_order_from_its_first_event_on(known: dict[str, Any]) -> None:
    assert [event["sequence"] for event in known["activity"]] == list(range(1, len(known["activity"]) + 1))


def _verifiers() -> tuple[Callable[..., bool], Callable[..., bool]]:
    (block,) = (block for block in PYTHON if "def is_authentic" in block)
    namespace: dict[str, Any] = {}
    exec(compile(block, "guide", "exec"), namespace)
    return namespace["is_authentic"], namespace["has_cv_signature"]


def test_the_message_to_try_is_signed_as_the_service_signs() -> None:
    secret, headers, text = pages.message_to_try()
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    assert signed_headers([secret], headers["webhook-id"], at, text) == headers


def test_the_verification_without_a_library_takes_the_message_and_no_other() -> None:
    is_authentic, has_cv_signature = _verifiers()
    secret, headers, text = pages.message_to_try()
    sent_at = int(headers["webhook-timestamp"])
    assert is_authentic(secret, headers, text, sent_at + 299)
    assert not is_authentic(secret, headers, text, sent_at + 301)
    assert not is_authentic(secret, headers, text + b" ", sent_at)
    assert not is_authentic(secret, {}, text, sent_at)
    assert has_cv_signature(secret, headers, text)
    assert not has_cv_signature(secret, headers, text + b" ")
    assert not has_cv_signature(secret, {}, text)


def test_a_message_with_headers_that_nobody_would_send_is_refused_and_raises_nothing() -> None:
    is_authentic, has_cv_signature = _verifiers()
    secret, headers, text = pages.message_to_try()
    sent_at = int(headers["webhook-timestamp"])
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        assert not is_authentic(secret, {key: headers[key] for key in headers if key != name}, text, sent_at)
    for odd in ("v1," + 44 * "\xe9", 64 * "\xe9", 64 * "\udce9", 5000 * "9", ""):
        for name in headers:
            changed = headers | {name: odd}
            assert is_authentic(secret, changed, text, sent_at) == (name == "x-cv-signature")
            assert has_cv_signature(secret, changed, text) == (name != "x-cv-signature")


def test_the_endpoint_of_the_guide_refuses_headers_that_are_not_of_the_form() -> None:
    (block,) = (block for block in PYTHON if "class Endpoint" in block)
    secret, headers, text = pages.message_to_try()
    namespace: dict[str, Any] = {"secret": secret}
    exec(compile(block.partition("\nserver = ")[0], "guide", "exec"), namespace)
    now = {"webhook-timestamp": str(int(time.time()))}
    with ThreadingHTTPServer(("127.0.0.1", 0), namespace["Endpoint"]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        for signature in ("v1", "v1,\xe9", "v1,A", headers["webhook-signature"]):
            sent = {**headers, **now, "webhook-signature": signature.encode("latin-1")}
            assert httpx2.post(url, content=text, headers=sent, trust_env=False).status_code == 401
        server.shutdown()


def test_the_table_of_states_names_every_state() -> None:
    table = pages.rows(pages.section(GUIDE, "Follow the order"))
    assert [name for cells in table for name in re.findall(r"`(\w+)`", cells[0])] == _in_the_tables_order()


def _in_the_tables_order() -> list[str]:
    way = ["RECEIVED", "PROCESSING", "SUBMITTED", "ACKNOWLEDGED", "ON_HOLD", "FILLING", "READY", "SHIPPED", "COMPLETED"]
    ends = ["CANCEL_REQUESTED", "CANCELED", "REJECTED", "FAILED"]
    assert {*way, *ends} == set(OrderState)
    return way + ends


def test_the_table_of_scopes_is_the_contracts() -> None:
    opened = {cells[0].strip("`"): cells[1] for cells in pages.rows(pages.section(GUIDE, "The first calls"))}
    assert opened.keys() == auth.SCOPES
    for operation in contract.operations().values():
        if operation.scope is not None and operation.scope != "webhooks:manage":
            assert operation.id in opened[operation.scope].split(", ")
    managed = [o for o in contract.operations().values() if o.scope == "webhooks:manage"]
    assert all(operation.path.startswith("/webhooks") for operation in managed)


def test_the_table_of_events_names_every_event() -> None:
    table = pages.rows(pages.section(GUIDE, "Webhooks in depth"))
    named = [cells[0].strip("`") for cells in table if cells[0].strip("`").isupper()]
    assert named == contract.resolved()["components"]["schemas"]["SentEventType"]["enum"]


def test_the_limits_are_those_of_the_contract_and_the_code() -> None:
    limits = {cells[0]: cells[1] for cells in pages.rows(pages.section(GUIDE, "Limits"))}
    parts = contract.resolved()["components"]["schemas"]
    most_fetched = (fetch_pdf.__kwdefaults__ or {})["max_bytes"] // 2**20
    for what, limit in {
        "Body of a request": f"{body.MAX_BYTES} bytes",
        "Size of a request's head": f"{server.MAX_HEAD_BYTES} bytes",
        "Nesting of JSON": f"{body.MAX_DEPTH} levels",
        "Problems that one answer names": f"{schema.MOST_PROBLEMS}",
        "Prescription items of an order": f"{parts['NewOrder']['properties']['prescriptionItems']['maxItems']}",
        "Keys of `customFields`": f"{parts['CustomFields']['maxProperties']}",
        "A line of text (names, diagnosis, reference)": f"{parts['Line']['maxLength']} characters",
        "A text (directions, allergies)": f"{parts['Text']['maxLength']} characters",
        "Entries of a page": f"{contract.resolved()['components']['parameters']['Limit']['schema']['maximum']}",
        "A webhook's URL": f"{parts['WebhookUrl']['maxLength']} characters",
        "A prescription document": f"{most_fetched} MiB",
        "Documents that one report of a pharmacy names": (
            f"{parts['PharmacyReport']['properties']['documents']['maxItems']}"
        ),
        "Reports of an order, and documents that its pharmacy names": f"{MOST_REPORTS} and {MOST_DOCUMENTS}",
    }.items():
        assert limits[what] == limit

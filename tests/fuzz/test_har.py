"""The record of a run is judged as it should be: one that shows nothing does not pass."""

import json
from pathlib import Path
from typing import Any

from case_orders.edge import contract
from tests.fuzz import har
from tests.fuzz.har import Link, Recorded

CASE_ID = "0192f7c4-5b1e-7c3a-9d2e-3f4a5b6c7d8e"
CREATED = {"data": {"case": {"id": CASE_ID}}}
TO_THE_CASE = Link("createCase", "getCase", "/data/case/id")


def entry(method: str, path: str, status: int, body: Any = None) -> dict[str, Any]:
    content = {"mimeType": "application/json", "text": json.dumps(body)} if body is not None else {"mimeType": ""}
    request = {"method": method, "url": f"http://127.0.0.1:8080{path}"}
    return {"request": request, "response": {"status": status, "content": content}}


def record(folder: Path, *entries: dict[str, Any]) -> list[Recorded]:
    path = folder / "requests.har"
    path.write_text(json.dumps({"log": {"entries": entries}}))
    return har.read(path)


def test_operations_that_only_refuse_have_never_succeeded(tmp_path: Path) -> None:
    recorded = record(tmp_path, entry("GET", "/api/v1/drugs?limit=1", 200, {}), entry("GET", "/api/v1/cases", 401, {}))
    assert har.never_succeeded(recorded) == set(contract.operations()) - {"listDrugs"}


def test_a_request_without_an_answer_is_no_success(tmp_path: Path) -> None:
    assert "listDrugs" in har.never_succeeded(record(tmp_path, entry("GET", "/api/v1/drugs", 0)))


def test_a_link_is_followed_by_a_good_request_for_what_a_good_answer_gave(tmp_path: Path) -> None:
    created, read = entry("POST", "/api/v1/cases", 201, CREATED), entry("GET", f"/api/v1/cases/{CASE_ID}", 200, {})
    assert TO_THE_CASE not in har.never_followed(record(tmp_path, created, read))


def test_a_link_is_not_followed_by_a_refused_request_or_one_for_something_else(tmp_path: Path) -> None:
    created = entry("POST", "/api/v1/cases", 201, CREATED)
    refused, another = entry("GET", f"/api/v1/cases/{CASE_ID}", 403, {}), entry("GET", "/api/v1/cases/other", 200, {})
    assert TO_THE_CASE in har.never_followed(record(tmp_path, created, refused, another))


def test_every_link_of_the_contract_is_looked_for(tmp_path: Path) -> None:
    written = [
        link
        for operation in contract.operations().values()
        for response in operation.spec["responses"].values()
        for link in response.get("links", ())
    ]
    assert len(har.never_followed(record(tmp_path))) == len(written) > 0

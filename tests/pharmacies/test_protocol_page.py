import json
import re
from pathlib import Path

import pytest

from case_orders.edge.contract import component
from case_orders.pharmacies.sandbox.behaviours import BEHAVIOURS
from case_orders.pharmacies.sandbox.prescription import render
from case_orders.pharmacies.sandbox.server import REQUIRED

PAGE = (Path(__file__).parents[2] / "docs" / "pharmacy-protocol.md").read_text()
EXAMPLES = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
REPORTS = [example for example in EXAMPLES if "occurredAt" in example]
(ORDER,) = (example for example in EXAMPLES if "items" in example)


def test_the_page_names_every_behaviour_of_the_sandbox_and_no_other() -> None:
    assert re.findall(r"^\| `(drug-[a-z-]+)` \|", PAGE, re.MULTILINE) == list(BEHAVIOURS)


@pytest.mark.parametrize("report", REPORTS)
def test_the_pages_reports_fit_the_contract(report: dict[str, object]) -> None:
    assert component("PharmacyReport").problems(report) == []


def test_the_pages_order_is_made_of_the_contracts_parts() -> None:
    parts = {
        "patient": "Patient",
        "prescriber": "Prescriber",
        "shippingAddress": "Address",
    }
    for member, schema in (parts | {"patientHealthInfo": "PatientHealthInfo"}).items():
        assert component(schema).problems(ORDER[member]) == []


def test_the_sandbox_can_work_with_the_pages_order() -> None:
    assert ORDER.keys() >= REQUIRED
    assert render(ORDER, "RX-000184").startswith(b"%PDF-")

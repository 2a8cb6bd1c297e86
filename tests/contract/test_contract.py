"""The contract keeps the rules that its clients and tools rely on, and says what the code says."""

import re
from copy import deepcopy
from datetime import date, timedelta
from typing import Any

import pytest

from case_orders.auth import SCOPES
from case_orders.edge import contract
from case_orders.edge.routing import BASES
from case_orders.edge.schema import Schema
from case_orders.webhooks.events import EventType
from handlers.prescribing import MOST_REFILLS
from models.order_states import OrderState
from models.orders import DocumentStatus
from models.webhooks import DeliveryStatus
from tests.contract.rules import RULES, Rule
from tests.contract.spec import Spec, at
from tests.support.orders import documented

SCHEMAS = contract.document()["components"]["schemas"]
REMOVED = object()
RATES: dict[str, Any] = {"RateLimit": {}, "RateLimit-Policy": {}}

# Each rule, a place in the contract, and what breaks the rule when it stands there.
FAULTS = [
    ("it_is_openapi", "/paths/~1cases/get/responses/200/description", REMOVED),
    ("it_is_openapi", "/paths/~1cases~1{caseId}/parameters", []),
    ("it_is_openapi", "/components/schemas/Line/type", "text"),
    ("refs_stand_alone_and_lead_somewhere", "/components/schemas/Address/properties/state/description", "A state."),
    ("refs_stand_alone_and_lead_somewhere", "/components/schemas/Address/properties/state/$ref", "#/components/x"),
    ("every_component_is_used", "/components/schemas/Forgotten", {"type": "string"}),
    ("every_component_is_used", "/components/securitySchemes/Bearer", {"type": "http", "scheme": "bearer"}),
    ("examples_obey_their_schemas", "/components/examples/PlaceOrder/value/order/refils", 3),
    ("examples_obey_their_schemas", "/components/examples/NewCase/value/patient/dateOfBirth", "2024-02-30"),
    ("examples_obey_their_schemas", "/components/schemas/PostalCode/example", "9410"),
    ("examples_obey_their_schemas", "/components/parameters/CaseId/example", "case-1"),
    ("examples_obey_their_schemas", "/components/headers/RetryAfter/schema/example", "soon"),
    (
        "links_lead_to_operations_and_name_their_parameters",
        "/paths/~1cases/post/responses/201/links/getCase/operationId",
        "readCase",
    ),
    (
        "links_lead_to_operations_and_name_their_parameters",
        "/paths/~1cases/post/responses/201/links/getCase/parameters",
        {"id": "$response.body#/data/case/id"},
    ),
    ("patterns_are_anchored_and_mean_the_same_everywhere", "/components/schemas/PostalCode/pattern", "[0-9]{5}"),
    ("patterns_are_anchored_and_mean_the_same_everywhere", "/components/schemas/PostalCode/pattern", r"^\d{5}$"),
    ("patterns_are_anchored_and_mean_the_same_everywhere", "/components/schemas/Line/pattern", "^(?=.*[a-z]).*$"),
    ("patterns_are_anchored_and_mean_the_same_everywhere", "/components/schemas/Line/pattern", "^a|b$"),
    ("patterns_are_anchored_and_mean_the_same_everywhere", "/components/schemas/Line/pattern", "^[a-z--b]*$"),
    ("nothing_is_null", "/components/schemas/Order/properties/carrier/nullable", True),
    ("nothing_is_null", "/components/schemas/DrugSchedule/enum", ["II", "III", "IV", "V", None]),
    ("what_is_required_is_defined", "/components/schemas/Address/required", ["addressLine1", "zip"]),
    ("everything_a_request_carries_is_bounded", "/components/schemas/Line/maxLength", REMOVED),
    ("everything_a_request_carries_is_bounded", "/components/schemas/IdempotencyKey/pattern", "^[a-z]+$"),
    ("everything_a_request_carries_is_bounded", "/components/schemas/Id/maxLength", REMOVED),
    ("everything_a_request_carries_is_bounded", "/components/parameters/Limit/schema/maximum", REMOVED),
    (
        "everything_a_request_carries_is_bounded",
        "/components/schemas/NewOrder/properties/prescriptionItems/maxItems",
        REMOVED,
    ),
    (
        "everything_a_request_carries_is_bounded",
        "/components/schemas/PrescriptionItem/properties/refillCount/minimum",
        REMOVED,
    ),
    ("requests_take_no_unknown_fields", "/components/schemas/Prescriber/additionalProperties", REMOVED),
    ("requests_take_no_unknown_fields", "/components/schemas/CustomFields/maxProperties", REMOVED),
    ("every_parameter_and_field_is_described", "/components/schemas/PostalCode/description", REMOVED),
    ("every_parameter_and_field_is_described", "/components/parameters/PageCursor/description", REMOVED),
    ("operations_are_named_tagged_and_explained", "/paths/~1drugs/get/operationId", "list_drugs"),
    ("operations_are_named_tagged_and_explained", "/paths/~1drugs/get/tags", ["Catalogue", "Orders"]),
    ("operations_are_named_tagged_and_explained", "/paths/~1drugs/get/tags", ["Drugs"]),
    ("operations_are_named_tagged_and_explained", "/paths/~1drugs/get/summary", REMOVED),
    ("operations_document_every_answer", "/paths/~1drugs/get/responses/400", REMOVED),
    ("operations_document_every_answer", "/paths/~1drugs/get/responses/401", REMOVED),
    ("operations_document_every_answer", "/paths/~1drugs/get/responses/429", REMOVED),
    ("operations_document_every_answer", "/paths/~1drugs/get/responses/503", REMOVED),
    ("operations_document_every_answer", "/paths/~1drugs/get/responses/200", REMOVED),
    ("operations_document_every_answer", "/paths/~1cases/post/responses/415", REMOVED),
    ("operations_name_the_scope_that_they_need", "/paths/~1drugs/get/x-required-scope", REMOVED),
    ("operations_name_the_scope_that_they_need", "/paths/~1drugs/get/security", []),
    (
        "every_error_shows_an_example_of_its_own_status",
        "/components/responses/NotFound/content/application~1json/examples",
        REMOVED,
    ),
    ("every_error_shows_an_example_of_its_own_status", "/components/examples/NotFound/value/status", 400),
    ("every_answer_carries_the_request_id", "/components/responses/NotFound/headers", REMOVED),
    ("answers_to_a_key_tell_its_rates", "/components/responses/NotFound/headers/RateLimit", REMOVED),
    ("answers_to_a_key_tell_its_rates", "/paths/~1drugs/get/responses/401", {"description": "x", "headers": RATES}),
]


def broken(place: str, value: object) -> Spec:
    """A copy of the contract with another value at a place, or none."""
    spec = deepcopy(contract.document())
    parent, _, last = place.rpartition("/")
    node, key = at(spec, parent), last.replace("~1", "/")
    if value is REMOVED:
        del node[key]
    else:
        node[key] = value
    return spec


def name_of(rule: Rule) -> str:
    return rule.__name__


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_the_contract_keeps_the_rule_that(rule: Rule) -> None:
    assert not list(rule(contract.document()))


@pytest.mark.parametrize(("rule", "place", "value"), FAULTS)
def test_a_planted_fault_is_found(rule: str, place: str, value: object) -> None:
    check = next(check for check in RULES if name_of(check) == rule)
    assert list(check(broken(place, value)))


def test_every_rule_has_a_fault_that_shows_it_bites() -> None:
    assert {rule for rule, _, _ in FAULTS} == {name_of(rule) for rule in RULES}


@pytest.mark.parametrize(
    ("schema", "values"),
    [
        ("OrderStatus", set(OrderState)),
        ("DocumentStatus", set(DocumentStatus)),
        ("DeliveryStatus", set(DeliveryStatus)),
        ("SentEventType", set(EventType)),
        ("EventType", set(EventType) - {EventType.TEST}),
    ],
)
def test_the_contract_and_the_code_know_the_same_words(schema: str, values: set[str]) -> None:
    assert set(SCHEMAS[schema]["enum"]) == values


@pytest.mark.parametrize("schema", ["OrderStatus", "DocumentStatus", "DeliveryStatus", "DataMode", "DocumentMode"])
def test_every_state_and_mode_is_explained(schema: str) -> None:
    explained = re.findall(r"`([A-Z_0-9]+)`", SCHEMAS[schema]["description"])
    assert set(explained) >= set(SCHEMAS[schema]["enum"]) - {"NONE"}


def test_a_pharmacy_reports_states_of_an_order() -> None:
    assert set(SCHEMAS["PharmacyStatus"]["enum"]) < set(OrderState)


def test_the_law_on_refills_speaks_of_schedules_that_a_drug_can_have() -> None:
    assert set(MOST_REFILLS) < set(SCHEMAS["DrugSchedule"]["enum"])


def test_the_scopes_that_operations_need_are_those_that_a_key_can_have() -> None:
    assert {o.scope for o in contract.operations().values() if o.needs_key} == SCOPES


def test_the_service_answers_where_the_contract_says() -> None:
    assert tuple(server["url"] for server in contract.document()["servers"]) == BASES


def test_the_documented_example_is_an_example_of_the_contract() -> None:
    assert contract.document()["components"]["examples"]["PlaceOrder"]["value"] == documented()


def test_a_date_is_a_day_that_exists() -> None:
    calendar, prescription = contract.component("CalendarDate"), contract.component("PrescriptionDate")
    days = [date(1899, 12, 31) + timedelta(days=n) for n in range(0, 74_000)]
    for day in (d for d in days if d.day in (1, 28, 29, 30, 31)):
        taken = 1900 <= day.year < 2100
        assert is_taken(calendar, f"{day}") == is_taken(prescription, f"{day}T10:30:00Z") == taken, day
    for text in ("2023-02-29", "1900-02-29", "2024-02-30", "2024-04-31", "2024-13-01", "2024-00-10", "2024-01-00"):
        assert not is_taken(calendar, text)
        assert not is_taken(prescription, text)


def is_taken(schema: Schema, value: Any) -> bool:
    return not schema.problems(value)


def test_every_us_state_territory_and_military_region_has_its_code() -> None:
    """USPS Publication 28, appendix B, knows 62."""
    codes = re.findall("[A-Z]{2}", SCHEMAS["StateCode"]["pattern"])
    assert len(set(codes)) == len(codes) == 62
    assert codes == sorted(codes)

"""A change that would break a client of the released contract does not pass; one that only adds does."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from case_orders.edge import contract
from tests.contract.changes import CONTRACT_RULES, OPERATION_RULES, Break, breaks
from tests.contract.released import FOLDER, entries, releases, version, version_faults
from tests.contract.schema_changes import SCHEMA_RULES, flat
from tests.contract.spec import Spec
from tests.contract.test_contract import REMOVED, broken

SCHEMAS = "/components/schemas"
PLACE_ORDER = "post /cases/{caseId}"
ITEM = f"{PLACE_ORDER} application/json/order/prescriptionItems/items"
ORDER = "get /orders/{orderId} 200 application/json/data/order"
DOCUMENT = "get /orders/{orderId}/documents 200 application/json/data/documents/items"
EVENT = "post /webhooks caseActivity post {$request.body#/url}"
CALLBACK = "/paths/~1webhooks/post/callbacks/caseActivity/{$request.body#~1url}/post"


def renamed(old: str, new: str) -> Any:
    """The contract's schemas, one of them under another name."""
    return json.loads(json.dumps(contract.document()["components"]["schemas"]).replace(f'{old}"', f'{new}"'))


# What breaks a client: the rule that finds it, where it is planted, what is put there, and the place that is named.
BREAKS: list[tuple[str, str, Any, str]] = [
    ("servers_stay", "/servers", [{"url": "/api/v1"}], "/api"),
    ("operations_stay", "/paths/~1drugs", REMOVED, "get /drugs"),
    ("operations_stay", "/paths/~1webhooks~1{webhookId}/delete", REMOVED, "delete /webhooks/{webhookId}"),
    ("named_schemas_stay", SCHEMAS, renamed("DrugSchedule", "Schedule"), "DrugSchedule"),
    ("keys_stay_where_they_are_sent", "/components/securitySchemes/ApiKey/name", "x-api-key", "ApiKey"),
    ("operations_keep_their_names", "/paths/~1drugs/get/operationId", "listMedications", "get /drugs"),
    ("operations_keep_their_names", "/paths/~1drugs/get/tags", ["Orders"], "get /drugs"),
    ("operations_ask_for_no_more_rights", "/paths/~1livez/get/security", [{"ApiKey": []}], "get /livez security"),
    (
        "operations_ask_for_no_more_rights",
        "/paths/~1drugs/get/x-required-scope",
        "webhooks:manage",
        "get /drugs x-required-scope",
    ),
    ("operations_stay_on_their_servers", "/paths/~1livez/servers", REMOVED, "get /livez"),
    ("callbacks_stay", "/paths/~1webhooks/post/callbacks", REMOVED, "post /webhooks caseActivity"),
    ("callbacks_stay", CALLBACK, REMOVED, EVENT),
    ("parameters_stay", "/paths/~1orders/get/parameters", [], "get /orders query parameter caseId"),
    ("parameters_stay", "/components/parameters/Limit/name", "size", "get /drugs query parameter limit"),
    ("parameters_keep_their_style", "/components/parameters/Limit/explode", False, "get /drugs query parameter limit"),
    (
        "nothing_more_is_asked_for",
        "/components/parameters/CataloguePageCursor/required",
        True,
        "get /drugs query parameter cursor",
    ),
    (
        "nothing_more_is_asked_for",
        "/paths/~1drugs/get/parameters",
        [{"name": "form", "in": "query", "required": True, "schema": {"type": "string"}}],
        "get /drugs query parameter form",
    ),
    (
        "nothing_more_is_asked_for",
        "/components/parameters/EventSignature/required",
        False,
        f"{EVENT} header parameter webhook-signature",
    ),
    (
        "nothing_more_is_asked_for",
        "/paths/~1orders~1{orderId}~1cancel/post/requestBody",
        {"required": True, "content": {}},
        "post /orders/{orderId}/cancel body",
    ),
    ("bodies_stay", "/paths/~1cases/post/requestBody", REMOVED, "post /cases body"),
    (
        "media_types_stay",
        "/components/responses/DocumentContent/content/application~1pdf",
        REMOVED,
        "get /documents/{documentId} 200 application/pdf",
    ),
    ("media_types_stay", "/paths/~1cases/post/requestBody/content", {}, "post /cases application/json"),
    ("statuses_stay", "/paths/~1cases/post/responses/201", REMOVED, "post /cases 201"),
    ("statuses_stay", f"{CALLBACK}/responses/410", REMOVED, f"{EVENT} 410"),
    (
        "headers_of_answers_stay",
        "/components/responses/Unavailable/headers/Retry-After",
        REMOVED,
        "get /drugs 503 Retry-After",
    ),
    ("types_stay", f"{SCHEMAS}/PrescriptionItem/properties/quantity/type", "number", f"{ITEM}/quantity"),
    ("types_stay", "/components/headers/RetryAfter/schema/type", "string", "get /drugs 503 Retry-After"),
    ("defaults_stay", "/components/parameters/Limit/schema/default", 50, "get /drugs query parameter limit"),
    ("defaults_stay", f"{SCHEMAS}/OrderStatus/default", "COMPLETED", "get /orders query parameter status"),
    ("fields_stay", f"{SCHEMAS}/PrescriptionItem/properties/supplyDays", REMOVED, f"{ITEM}/supplyDays"),
    ("fields_stay", f"{SCHEMAS}/Order/properties/carrier", REMOVED, f"{ORDER}/carrier"),
    ("required_fields_suit_both", f"{SCHEMAS}/PrescriptionItem/required", ["direction"], f"{ITEM}/direction"),
    ("required_fields_suit_both", f"{SCHEMAS}/Order/required", ["id"], f"{ORDER}/status"),
    ("required_fields_suit_both", f"{SCHEMAS}/Event/required", ["id"], f"{EVENT} application/json/type"),
    ("requests_stay_open", f"{SCHEMAS}/CustomFields/additionalProperties", False, f"{ITEM}/customFields"),
    ("requests_stay_open", f"{SCHEMAS}/CustomFields/additionalProperties", {"type": "string"}, f"{ITEM}/customFields"),
    (
        "values_stay",
        f"{SCHEMAS}/DocumentMode/enum",
        ["NONE", "URL"],
        "post /webhooks application/json/documentMode BASE64",
    ),
    (
        "values_stay",
        f"{SCHEMAS}/ReadinessCheckName/enum",
        ["database", "migrations", "jobs"],
        "get /readyz 200 application/json/data/checks/items/name documents",
    ),
    (
        "no_values_come_that_the_consumer_does_not_know",
        f"{SCHEMAS}/DrugSchedule/enum",
        ["I", "II", "III", "IV", "V"],
        "get /drugs 200 application/json/data/drugs/items/schedule I",
    ),
    ("no_values_come_that_the_consumer_does_not_know", f"{SCHEMAS}/OrderStatus/enum", REMOVED, f"{ORDER}/status"),
    (
        "no_values_come_that_the_consumer_does_not_know",
        f"{SCHEMAS}/Line/enum",
        ["Hypertension"],
        f"{PLACE_ORDER} application/json/order/diagnosis",
    ),
    ("nothing_comes_as_null", f"{SCHEMAS}/Order/properties/carrier/nullable", True, f"{ORDER}/carrier"),
    ("bounds_hold", f"{SCHEMAS}/Line/maxLength", 50, f"{PLACE_ORDER} application/json/order/diagnosis maxLength"),
    ("bounds_hold", f"{SCHEMAS}/Line/minLength", 2, f"{PLACE_ORDER} application/json/order/diagnosis minLength"),
    ("bounds_hold", f"{SCHEMAS}/Line/maxLength", 200, f"{ORDER}/diagnosis maxLength"),
    ("bounds_hold", f"{SCHEMAS}/PrescriptionItem/properties/refillCount/maximum", 5, f"{ITEM}/refillCount maximum"),
    ("bounds_hold", f"{SCHEMAS}/CustomFields/minProperties", 1, f"{ITEM}/customFields minProperties"),
    ("bounds_hold", f"{SCHEMAS}/Document/properties/size/minimum", REMOVED, f"{DOCUMENT}/size minimum"),
    ("forms_hold", f"{SCHEMAS}/StateCode/pattern", "^CA$", f"{ORDER}/shippingAddress/state pattern"),
    ("forms_hold", f"{SCHEMAS}/Timestamp/format", REMOVED, f"{ORDER}/createdAt format"),
    ("forms_hold", f"{SCHEMAS}/Id/format", "uri", "get /orders/{orderId} path parameter orderId format"),
    (
        "whatever_has_no_rule_stays_as_it_is",
        f"{SCHEMAS}/Order/properties/carrier/not",
        {"enum": ["UPS"]},
        f"{ORDER}/carrier not",
    ),
]

# What breaks nobody, planted likewise.
ADDITIONS: list[tuple[str, Any]] = [
    ("/servers", [{"url": "/api/v1"}, {"url": "/api"}, {"url": "/orders-api"}]),
    ("/paths/~1refills", {"get": {"operationId": "listRefills", "responses": {}}}),
    (f"{SCHEMAS}/Refill", {"type": "object"}),
    ("/components/parameters/Limit/description", "In other words."),
    ("/components/parameters/Limit/schema/maximum", 200),
    ("/paths/~1livez/get/parameters", [{"name": "verbose", "in": "query", "schema": {"type": "boolean"}}]),
    ("/paths/~1drugs/get/x-required-scope", REMOVED),
    ("/paths/~1drugs/get/responses/410", {"description": "Gone."}),
    ("/components/responses/NotFound/headers/Retry-After", {"schema": {"type": "integer"}}),
    ("/components/responses/DocumentContent/content/image~1png", {"schema": {"type": "string"}}),
    (f"{CALLBACK}/responses/202", {"description": "Received."}),
    (f"{SCHEMAS}/PrescriptionItem/properties/note", {"type": "string"}),
    (f"{SCHEMAS}/NewOrder/required", ["prescriber", "pharmacyId", "prescriptionItems"]),
    (f"{SCHEMAS}/NewOrder/additionalProperties", True),
    (f"{SCHEMAS}/NewOrder/properties/prescriptionItems/maxItems", 200),
    (f"{SCHEMAS}/ActionName/enum", ["PLACE_ORDER", "CANCEL_ORDER"]),
    (f"{SCHEMAS}/IdempotencyKey/pattern", REMOVED),
    (f"{SCHEMAS}/Order/properties/pickUpAt", {"type": "string"}),
    (f"{SCHEMAS}/Order/properties/carrier/maxLength", 100),
    (
        f"{SCHEMAS}/Order/properties/diagnosis",
        {"allOf": [{"$ref": "#/components/schemas/Line"}], "description": "Why."},
    ),
    (f"{SCHEMAS}/Document/properties/size/minimum", 1),
    (
        f"{SCHEMAS}/Delivery/required",
        ["id", "eventId", "eventType", "status", "attempts", "createdAt", "nextAttemptAt"],
    ),
]


@pytest.mark.parametrize(("rule", "place", "value", "named"), BREAKS)
def test_a_breaking_change_is_found_with_its_rule_and_its_place(rule: str, place: str, value: Any, named: str) -> None:
    assert Break(rule, named) in breaks(contract.document(), broken(place, value))


def test_every_rule_has_a_change_that_shows_it_bites() -> None:
    rules: list[Callable[..., Any]] = [*CONTRACT_RULES, *OPERATION_RULES, *SCHEMA_RULES]
    assert {rule for rule, *_ in BREAKS} == {rule.__name__ for rule in rules}


@pytest.mark.parametrize(("place", "value"), ADDITIONS)
def test_an_addition_breaks_nothing(place: str, value: Any) -> None:
    assert breaks(contract.document(), broken(place, value)) == []


def test_a_schema_that_limits_the_same_thing_twice_cannot_be_compared() -> None:
    with pytest.raises(ValueError, match="maxLength"):
        flat({"maxLength": 5, "allOf": [{"maxLength": 9}]})


def test_the_contract_breaks_nothing_that_clients_of_the_last_release_rely_on() -> None:
    assert breaks(releases()[-1], contract.document()) == []


def test_a_release_breaks_nothing_within_its_major_version() -> None:
    for before, after in pairwise(releases()):
        if major(before) == major(after):
            assert breaks(before, after) == [], after["info"]["version"]


def test_a_release_is_filed_under_its_version_and_told_in_the_changelog() -> None:
    files = sorted((file.stem for file in FOLDER.iterdir()), key=version)
    assert files == [release["info"]["version"] for release in releases()]
    assert all(entries(name) for name in files)


def test_the_version_of_the_contract_follows_its_changes() -> None:
    assert not list(version_faults(releases()[-1], contract.document(), entries("Unreleased")))


@pytest.mark.parametrize(
    ("now", "is_changed", "unreleased", "is_fine"),
    [
        ("1.4.2", False, [], True),
        ("1.4.2", True, [], False),
        ("1.4.2", True, ["- Drugs have a maker."], True),
        ("1.4.3", True, [], False),
        ("1.5.0", True, [], True),
        ("1.3.0", True, ["- Drugs have a maker."], False),
        ("2.0.0", True, ["- Drugs have a maker."], False),
    ],
)
def test_an_addition_needs_a_line_in_the_changelog_or_the_next_minor_version(
    now: str, is_changed: bool, unreleased: list[str], is_fine: bool
) -> None:
    released = called("1.4.2", contract.document())
    current = called(now, broken(f"{SCHEMAS}/Drug/properties/maker", {"type": "string"}) if is_changed else released)
    assert (list(version_faults(released, current, unreleased)) == []) == is_fine


def called(name: str, spec: Spec) -> Spec:
    return spec | {"info": spec["info"] | {"version": name}}


def major(spec: Spec) -> int:
    return version(spec["info"]["version"])[0]

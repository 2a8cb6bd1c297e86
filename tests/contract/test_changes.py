"""A change that would break a client of the released contract does not pass; one that only adds does."""

from collections.abc import Callable
from copy import deepcopy
from itertools import pairwise
from typing import Any

import pytest

from case_orders.edge import contract
from tests.contract.changes import CONTRACT_RULES, OPERATION_RULES, breaks
from tests.contract.released import FOLDER, entries, releases, version, version_faults
from tests.contract.schema_changes import SCHEMA_RULES, flat
from tests.contract.spec import Spec, at
from tests.contract.test_contract import REMOVED, broken

SCHEMAS = "/components/schemas"
PLACE_ORDER = "post /cases/{caseId}"
ITEM = f"{PLACE_ORDER} application/json/order/prescriptionItems/items"
ORDER = "get /orders/{orderId} 200 application/json/data/order"
EVENT = "post /webhooks caseActivity post {$request.body#/url}"
CALLBACK = "/paths/~1webhooks/post/callbacks/caseActivity/{$request.body#~1url}/post"

# What breaks a client: the rule that finds it, where it is planted, what is put there, and the place that is named.
BREAKS: list[tuple[str, str, Any, str]] = [
    ("servers_stay", "/servers", [{"url": "/api/v1"}], "/api"),
    ("operations_stay", "/paths/~1drugs", REMOVED, "get /drugs"),
    ("operations_stay", "/paths/~1webhooks~1{webhookId}/delete", REMOVED, "delete /webhooks/{webhookId}"),
    ("named_schemas_stay", f"{SCHEMAS}/Drug", REMOVED, "Drug"),
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
    ("parameters_stay", "/paths/~1orders/get/parameters/0", REMOVED, "get /orders query parameter caseId"),
    ("parameters_stay", "/components/parameters/Limit/name", "size", "get /drugs query parameter limit"),
    ("parameters_keep_their_style", "/components/parameters/Limit/explode", False, "get /drugs query parameter limit"),
    ("nothing_more_is_asked_for", "/components/parameters/Cursor/required", True, "get /drugs query parameter cursor"),
    (
        "nothing_more_is_asked_for",
        "/paths/~1drugs/get/parameters/0",
        {"name": "form", "in": "query", "required": True, "schema": {"type": "string"}},
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
    ("required_fields_suit_both", f"{SCHEMAS}/PrescriptionItem/required/0", "direction", f"{ITEM}/direction"),
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
        f"{SCHEMAS}/OrderStatus/enum/0",
        "ARRIVED",
        f"{ORDER}/status ARRIVED",
    ),
    ("no_values_come_that_the_consumer_does_not_know", f"{SCHEMAS}/OrderStatus/enum", REMOVED, f"{ORDER}/status"[:0]),
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
    ("bounds_hold", f"{SCHEMAS}/Document/properties/size/minimum", REMOVED, ""),
    ("forms_hold", f"{SCHEMAS}/StateCode/pattern", "^CA$", f"{ORDER}/shippingAddress/state pattern"),
    ("forms_hold", f"{SCHEMAS}/Reason/format", "email", ""),
    ("forms_hold", f"{SCHEMAS}/Timestamp/format", REMOVED, f"{ORDER}/createdAt format"),
    ("forms_hold", f"{SCHEMAS}/Id/format", "uri", "get /orders/{orderId} path parameter orderId format"),
    (
        "whatever_has_no_rule_stays_as_it_is",
        f"{SCHEMAS}/Order/properties/carrier/not",
        {"enum": ["UPS"]},
        f"{ORDER}/carrier not",
    ),
]

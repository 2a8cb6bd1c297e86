"""Every operation under every check of schemathesis, in process and reproducible.

Values that mean something are put in where a generated request obeys the contract: the ids of a catalogue, a valid
signature. Requests that break the contract go out as they were generated.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.core.transport import Response

from case_orders.auth import new_key
from case_orders.db import now
from case_orders.edge import contract
from case_orders.edge.exchange import Receive, Scope, Send
from case_orders.edge.routing import BASES
from case_orders.links import Links
from case_orders.settings import Settings
from tests.contract.world import EXAMPLE_IDS, World
from tests.fuzz.meaning import name_what_exists, sign

Case = schemathesis.Case[Any]
Answered = dict[str, set[int]]
"""The statuses that each operation answered with."""

KEY = new_key()
# That a URL is well formed says nothing of whether its host and port may be called.
URL_MAY_BE_REFUSED = {"positive_data_acceptance": {"expected-statuses": ["2xx", "400", "401", "403", "404", "409"]}}
REPRODUCIBLE = settings(
    max_examples=25,
    stateful_step_count=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Application:
    """Stands for the API while tests are collected, when there is no database yet."""

    world: World

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.world.application(scope, receive, send)


application = Application()


@pytest.fixture(scope="module", autouse=True)
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    application.world = World.create(Settings(data_dir=tmp_path_factory.mktemp("fuzz"), rate_failed_keys=""), KEY)
    yield
    application.world.database.dispose()


def load(key: str) -> Any:
    """The contract as schemathesis reads it, for a client with this API key."""
    config = SchemathesisConfig.from_dict(
        {
            "generation": {"max-examples": 25, "deterministic": True},
            "auth": {"openapi": {"ApiKey": {"api_key": key}}},
            "operations": [
                {"include-name": "POST /webhooks", "checks": URL_MAY_BE_REFUSED},
                {"include-name": "PATCH /webhooks/{webhookId}", "checks": URL_MAY_BE_REFUSED},
            ],
        }
    )
    loaded = schemathesis.openapi.from_path(contract.path(), config=config)
    loaded.app = application
    return loaded


def operation_of(case: Case) -> contract.Operation:
    return contract.operations()[case.operation.definition.raw["operationId"]]


def options(case: Case) -> dict[str, Any]:
    """Where and how to send a request."""
    base = "" if operation_of(case).at_root else BASES[0]
    obeys = case.meta is None or case.meta.generation.mode.is_positive
    return {"base_url": f"http://testserver{base}"} | (give_meaning(case) if obeys else {})


def give_meaning(case: Case) -> dict[str, Any]:
    """Make a request that obeys the contract one that can succeed; what else to send it with."""
    body: Any = case.body
    match operation_of(case).id:
        case "performCaseAction":
            name_what_exists(body["order"], case.path_parameters["caseId"])
        case "receivePharmacyEvent":
            body["orderId"] = EXAMPLE_IDS["orderId"]
            case.path_parameters["connectionId"] = EXAMPLE_IDS["connectionId"]
            return {"auth": sign}
        case "redeliver":  # two ids that belong together are not met by chance
            case.path_parameters |= {name: EXAMPLE_IDS[name] for name in ("webhookId", "deliveryId")}
        case "rotateWebhookSecret":  # one with nothing but an id to vary is tried too seldom to meet the right one
            case.path_parameters["webhookId"] = EXAMPLE_IDS["webhookId"]
        case "downloadDocumentByLink":
            link = Links.from_settings(application.world.settings).url(case.path_parameters["documentId"], now())
            case.query = dict(parse_qsl(urlsplit(link).query))
    return {}


def never_succeeded(answered: Answered) -> set[str]:
    """The operations without one good answer: a run in which everything answers 401 would be green too."""
    return {name for name in contract.operations() if not any(200 <= s < 300 for s in answered.get(name, ()))}


schema = load(KEY)
answered: Answered = defaultdict(set)


@schema.parametrize()  # type: ignore[untyped-decorator]
def test_an_operation_answers_as_the_contract_says(case: Case) -> None:
    try:
        answered[operation_of(case).id].add(case.call_and_validate(**options(case)).status_code)
    finally:
        if case.method != "GET":
            application.world.reset()


class Flows(schema.as_state_machine()):  # type: ignore[misc]
    """Operations one after the other, as the contract's links lead."""

    def setup(self) -> None:
        application.world.reset()

    def get_call_kwargs(self, case: Case) -> dict[str, Any]:
        return options(case)

    def after_call(self, response: Response, case: Case) -> None:
        super().after_call(response, case)
        answered[operation_of(case).id].add(response.status_code)


TestFlows = Flows.TestCase
TestFlows.settings = REPRODUCIBLE


def test_every_operation_succeeded_at_least_once() -> None:
    assert not never_succeeded(answered), answered


def test_a_run_with_a_wrong_key_would_not_have_passed() -> None:
    statuses: Answered = defaultdict(set)
    for operation in load(new_key()).get_all_operations():
        try_once(operation.ok(), statuses)
    assert never_succeeded(statuses) >= {name for name, o in contract.operations().items() if o.needs_key}


def try_once(operation: Any, statuses: Answered) -> None:
    @settings(REPRODUCIBLE, max_examples=1, phases=[Phase.generate])
    @given(case=operation.as_strategy())
    def call(case: Case) -> None:
        statuses[operation_of(case).id].add(case.call(**options(case)).status_code)

    call()

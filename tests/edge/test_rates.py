"""How often one may ask, and what one is told of it."""

import asyncio
import math
import time
from typing import Any

import httpx2
import pytest
from httpx2 import ASGITransport
from sqlmodel import select

from case_orders.app import create_app
from case_orders.auth import Caller
from case_orders.db import Database
from case_orders.edge.exchange import ASGIApp, Exchange
from case_orders.edge.rates import FailedKeys, Quota, Rates, network_of
from case_orders.errors import TooManyRequests, Unauthorized
from case_orders.rate import Rate
from case_orders.settings import Settings
from models import ApiKey
from tests.support.contract_client import ContractClient
from tests.support.world import Tenant

# Windows of the clock so long that hardly any test meets the end of one.
WEEK = 7 * 86_400


ADDRESS = "192.0.2.1"
OURS, OURS_TOO = (Caller("ours", key, frozenset()) for key in ("key 1", "key 2"))
THEIRS = Caller("theirs", "key 3", frozenset())


async def is_admitted(rates: Rates, caller: Caller) -> bool:
    try:
        await rates.charge(Exchange("request"), {"key": caller.key_id, "organization": caller.organization_id})
    except TooManyRequests:
        return False
    return True


def client(application: ASGIApp, key: str, address: str = "192.0.2.1") -> ContractClient:
    transport = ASGITransport(application, client=(address, 4711))
    return ContractClient(transport=transport, base_url="http://test/api/v1", headers={"cv-api-key": key})


def limited(settings: Settings, database: Database, **rates: Any) -> ASGIApp:
    return create_app(settings.model_copy(update=rates), database)


# ---- what is told ---------------------------------------------------------------------------------------------------


async def test_each_answer_to_a_key_tells_the_rates_and_what_is_left(
    settings: Settings, database: Database, us: Tenant
) -> None:
    application = limited(settings, database, rate_per_key="3/7 days", rate_per_organization="5/7 days")
    async with client(application, us.key) as api:
        answers = [await api.get("/cases"), await api.get("/orders/no-uuid"), await api.post("/cases", content=b"{")]
    assert [answer.status_code for answer in answers] == [200, 400, 415]
    week = math.ceil(WEEK - time.time() % WEEK)
    for left, answer in zip((2, 1, 0), answers, strict=True):
        assert answer.headers["ratelimit-policy"] == f'"key";q=3;w={WEEK}, "organization";q=5;w={WEEK}'
        told = f'"key";r={left};t={{0}}, "organization";r={left + 2};t={{0}}'
        assert answer.headers["ratelimit"] in (told.format(week), told.format(week + 1))


async def test_without_rates_nothing_is_told_or_refused(settings: Settings, database: Database, us: Tenant) -> None:
    application = limited(settings, database, rate_per_key="", rate_per_organization="")
    async with httpx2.AsyncClient(
        transport=ASGITransport(application), base_url="http://test/api/v1", headers=us.headers
    ) as api:
        answers = await asyncio.gather(*(api.get("/cases") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert not any(name.startswith("ratelimit") for answer in answers for name in answer.headers)


async def test_whoever_has_no_good_key_is_told_nothing(api: ContractClient) -> None:
    answer = await api.get("/cases", headers={"cv-api-key": "unknown"})
    assert answer.status_code == 401
    assert "ratelimit" not in answer.headers


# ---- keys and organizations -----------------------------------------------------------------------------------------


async def test_a_key_that_asks_too_often_is_put_off(settings: Settings, database: Database, us: Tenant) -> None:
    application = limited(settings, database, rate_per_key="2/7 days")
    async with client(application, us.key) as api:
        answers = [await api.get("/cases") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert refused.json()["error"].startswith(f"The key may make 2 requests in {WEEK} seconds")
    assert 0 < int(refused.headers["retry-after"]) <= WEEK
    assert refused.headers["ratelimit"].startswith('"key";r=0;')
    assert refused.headers["cache-control"] == "no-store"


async def test_the_keys_of_an_organization_share_its_rate() -> None:
    rates = Rates({"key": None, "organization": Rate(2, WEEK)})
    assert [await is_admitted(rates, caller) for caller in (OURS, OURS_TOO, OURS_TOO)] == [True, True, False]


async def test_one_organization_does_not_use_up_anothers_rate() -> None:
    rates = Rates({"key": Rate(1, WEEK), "organization": Rate(1, WEEK)})
    assert [await is_admitted(rates, caller) for caller in (OURS, OURS, THEIRS)] == [True, False, True]


async def test_a_key_gone_wild_leaves_room_to_the_others() -> None:
    rates = Rates({"key": Rate(2, WEEK), "organization": Rate(4, WEEK)})
    assert [await is_admitted(rates, OURS) for _ in range(10)].count(True) == 2
    assert [await is_admitted(rates, OURS_TOO) for _ in range(2)] == [True, True]


def test_a_new_window_begins_with_all_that_the_rate_allows() -> None:
    quota = Quota("key", Rate(2, 10))
    quota.turn(1_000_009.0)
    assert [quota.take("a") for _ in range(3)] == [True, True, False]
    assert (quota.left("a"), quota.seconds_left(1_000_009.0)) == (0, 1)
    quota.turn(1_000_010.0)
    assert (quota.left("a"), quota.seconds_left(1_000_010.0)) == (2, 10)
    assert quota.take("a")


def test_what_others_counted_in_a_window_that_is_over_is_not_taken_over() -> None:
    quota = Quota("key", Rate(2, 10))
    quota.turn(1_000_000.0)
    over = quota.window
    quota.turn(1_000_010.0)
    assert not quota.learn("a", over, 5)
    assert quota.left("a") == 2


# ---- keys that fail -------------------------------------------------------------------------------------------------


async def test_an_address_that_sends_bad_keys_is_refused_before_they_are_looked_up(
    settings: Settings, database: Database
) -> None:
    application = limited(settings, database, rate_failed_keys="3/7 days")
    async with client(application, "unknown") as guesser, client(application, "unknown", "192.0.2.2") as elsewhere:
        answers = [await guesser.get("/cases") for _ in range(4)]
        assert (await elsewhere.get("/cases")).status_code == 401
        assert (await guesser.get("http://test/livez")).status_code == 200
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
    assert answers[-1].json()["code"] == "too_many_failed_keys"
    assert 0 < int(answers[-1].headers["retry-after"]) <= WEEK


async def test_a_key_that_was_good_lately_is_good_whatever_its_neighbours_do(
    settings: Settings, database: Database, us: Tenant
) -> None:
    application = limited(settings, database, rate_failed_keys="3/7 days")
    async with client(application, us.key) as good, client(application, "unknown") as guesser:
        assert (await good.get("/cases")).status_code == 200
        assert [(await guesser.get("/cases")).status_code for _ in range(4)][-1] == 429
        assert (await good.get("/cases")).status_code == 200


async def test_a_key_that_was_revoked_is_a_bad_one_from_then_on(
    settings: Settings, database: Database, us: Tenant
) -> None:
    application = limited(settings, database, rate_failed_keys="2/7 days")
    async with client(application, us.key) as api:
        assert (await api.get("/cases")).status_code == 200
        with database.transaction() as session:
            for row in session.exec(select(ApiKey).where(ApiKey.organization_id == us.organization_id)):
                session.delete(row)
        assert [(await api.get("/cases")).status_code for _ in range(5)] == [401, 401, 401, 401, 429]


def test_good_keys_count_as_no_failure() -> None:
    failed_keys = FailedKeys(Rate(1, WEEK))
    for key in ("one", "two", "three"):
        with failed_keys.attempt(ADDRESS, key):
            pass


async def test_a_flood_of_bad_keys_at_once_gets_no_further() -> None:
    failed_keys, looked_up = FailedKeys(Rate(3, WEEK)), 0

    async def send(key: str) -> None:
        nonlocal looked_up
        with failed_keys.attempt(ADDRESS, key):
            looked_up += 1
            await asyncio.sleep(0)
            raise Unauthorized("API key is not valid", "invalid_api_key")

    await asyncio.gather(*(send(f"key {number}") for number in range(50)), return_exceptions=True)
    assert looked_up == 3


def test_a_look_up_that_breaks_is_no_failed_key() -> None:
    failed_keys = FailedKeys(Rate(1, WEEK))
    for _ in range(2):
        with pytest.raises(OSError, match="away"), failed_keys.attempt(ADDRESS, "key"):
            raise OSError("away")
    with pytest.raises(Unauthorized), failed_keys.attempt(ADDRESS, "key"):
        raise Unauthorized("API key is not valid", "invalid_api_key")
    with pytest.raises(TooManyRequests), failed_keys.attempt(ADDRESS, "key"):
        raise AssertionError("it was looked up")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
    ],
)
def test_an_ipv6_customer_has_one_count_for_all_of_its_addresses(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) == same


def test_a_client_without_an_address_is_counted_too() -> None:
    assert network_of(None) == ""

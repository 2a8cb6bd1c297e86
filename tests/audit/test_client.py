"""From where a request came: from its peer, unless that is a proxy whose word the operator takes."""

import pytest

from case_orders.db import Database
from case_orders.settings import Settings
from tests.edge.wire import serving
from tests.support.trail import entries
from tests.support.world import Tenant


@pytest.mark.parametrize(
    ("trusted", "forwarded", "client"),
    [
        ((), "203.0.113.7", "127.0.0.1"),
        (("10.0.0.0/8",), "203.0.113.7", "127.0.0.1"),
        (("127.0.0.0/8",), "203.0.113.7", "203.0.113.7"),
        (("127.0.0.1", "10.0.0.0/8"), "198.51.100.1, 203.0.113.7, 10.1.1.1", "203.0.113.7"),
        (("127.0.0.1",), "[2001:DB8::1]:4000", "2001:db8::1"),
        (("127.0.0.1",), "Jane Doe", None),
        (("127.0.0.1",), None, "127.0.0.1"),
    ],
)
def test_a_proxy_is_believed_only_if_it_is_trusted(
    settings: Settings, database: Database, us: Tenant, trusted: tuple[str, ...], forwarded: str | None, client: str
) -> None:
    headers = us.headers | ({"x-forwarded-for": forwarded} if forwarded else {})
    with serving(settings.model_copy(update={"trusted_proxies": trusted})) as service:
        assert service.request("GET", f"/api/v1/cases/{us.case_id}", headers).status == 200
    (entry,) = entries(database, us.organization_id)
    assert entry.client == client

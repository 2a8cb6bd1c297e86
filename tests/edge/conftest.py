from collections.abc import Callable, Iterator
from typing import Any

import pytest

from case_orders.demo import example
from case_orders.settings import Settings
from tests.edge.wire import Reply, Service, serving
from tests.support.world import Tenant


@pytest.fixture(scope="session")
def service(settings: Settings) -> Iterator[Service]:
    """The API on the shared database of each kind."""
    with serving(settings) as service:
        yield service


Post = Callable[..., Reply]


@pytest.fixture
def post(service: Service, us: Tenant) -> Iterator[Post]:
    """Sends a body to the operation that places an order; `headers` replace the usual ones, None leaves one out.

    Whatever a test sent, the service must take the next order.
    """

    def send(body: bytes, **headers: Any) -> Reply:
        usual = {"cv-api-key": us.key, "content-type": "application/json"}
        given = usual | {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in given.items() if value is not None}
        return service.request("POST", f"/api/v1/cases/{us.case_id}", kept, body)

    yield send
    reply = send(example.body().encode())
    assert reply.status == 200, reply.body

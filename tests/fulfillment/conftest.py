"""One service for all tests of a database kind; every test is an organization of its own in it."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from case_orders import worker
from case_orders.fulfillment import submit
from models.jobs import JobKind
from tests.fulfillment.house import Clinic, House, open_house, sandbox

FOLDER = Path(__file__).parent
SOON = timedelta(seconds=0.02)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The service lives in the session's event loop, so its tests do too."""
    for item in items:
        if FOLDER in item.path.parents and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="package")
def impatience() -> Iterator[None]:
    """Second tries come soon, and there are few for documents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_FIRST_PAUSE", SOON)
        patch.setattr(submit, "SILENCE", SOON)
        fetching = worker.KINDS[JobKind.FETCH_DOCUMENT]
        patch.setitem(worker.KINDS, JobKind.FETCH_DOCUMENT, replace(fetching, attempts=2))
        yield


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def house(
    new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory, impatience: None
) -> AsyncIterator[House]:
    async with open_house(new_database(), tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def clinic(house: House) -> Clinic:
    return house.clinic()


@pytest_asyncio.fixture(loop_scope="session")
async def unhurried(house: House, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Clinic]:
    """A clinic whose pharmacy takes orders and then does nothing for as long as a test runs."""
    async with sandbox(tmp_path_factory.mktemp("unhurried"), pace=60) as url:
        yield house.clinic(url)

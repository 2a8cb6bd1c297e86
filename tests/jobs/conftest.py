"""Jobs that are promised in a database of a test's own."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from case_orders.db import Database
from tests.support import jobs


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[Database]:
    database = Database(new_database())
    yield database
    database.dispose()


@pytest.fixture
def organization_id(database: Database) -> str:
    return jobs.new_organization(database)


@pytest.fixture
def promise(database: Database, organization_id: str) -> Callable[..., str]:
    """Enqueue a job; its id."""
    return partial(jobs.promise, database, organization_id)

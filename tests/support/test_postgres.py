import asyncio
import socket
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.postgres import ThrowawayPostgres


@pytest.fixture(scope="module")
def server() -> Iterator[ThrowawayPostgres]:
    with ThrowawayPostgres(durable=True) as server:
        yield server


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def test_every_database_is_new_and_empty(server: ThrowawayPostgres) -> None:
    first, second = server.create_database(), server.create_database()
    assert first != second
    with connect(first) as one, connect(second) as other:
        one.execute("CREATE TABLE orders (id int)")
        assert other.execute("SELECT to_regclass('orders')").fetchone() == (None,)


def test_a_database_may_be_a_copy_of_another(server: ThrowawayPostgres) -> None:
    template = server.create_database()
    with connect(template) as connection:
        connection.execute("CREATE TABLE orders (id int)")
    with connect(server.create_database(template=template.rpartition("/")[2])) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def test_a_killed_server_comes_back_with_every_committed_row(
    server: ThrowawayPostgres,
) -> None:
    url = server.create_database()
    with connect(url) as connection:
        connection.execute("CREATE TABLE orders (id int)")
        connection.execute("INSERT INTO orders SELECT generate_series(1, 1000)")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    server.start()
    with connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (1000,)


async def test_a_paused_server_answers_nothing_until_it_is_resumed(
    server: ThrowawayPostgres,
) -> None:
    url = server.create_database().replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        server.pause()
        query = asyncio.create_task(connection.execute("SELECT 1"))
        answered, _ = await asyncio.wait({query}, timeout=0.1)
        server.resume()
        await query
    assert not answered


def test_a_stopped_server_starts_again(server: ThrowawayPostgres) -> None:
    url = server.create_database()
    server.stop()
    with pytest.raises(psycopg.OperationalError):
        connect(url)
    server.start()
    connect(url).close()


def test_nothing_is_left_behind() -> None:
    with ThrowawayPostgres() as server:
        directory, port = server._directory, server.port
    assert not directory.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)

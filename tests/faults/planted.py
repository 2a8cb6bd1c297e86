"""The product with a bug: `python -m tests.faults.planted [--bug NAME] COMMAND OF CASE-ORDERS`.

Each bug is one that an oracle guards against. Without one it is the product as it is, except that the pauses that are
made for minutes and hours last seconds, so that a run shows what becomes of everything.
"""

import asyncio
import random
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import Connection, delete
from sqlmodel import Session, col

from case_orders import idempotency, outbox, progress
from case_orders.audit import chain
from case_orders.audit.entries import Entry
from case_orders.db import Database, new_id
from case_orders.documents import DocumentStore
from case_orders.fulfillment import submit
from case_orders.outbound import Outbound, Reply
from case_orders.pharmacies.http import HttpPharmacy
from case_orders.webhooks import delivery, events
from case_orders.webhooks.events import EventType
from models import Job, Order
from models.jobs import Claimed

# Long enough that a process that is killed is killed before it.
TOO_LATE_SECONDS = 3.0
COMMIT_SECONDS = 0.6


def hurry() -> None:
    submit.SILENCE = timedelta(seconds=8)
    delivery.SCHEDULE[:] = [timedelta(seconds=min(2**n, 8)) for n in range(len(delivery.SCHEDULE))]


def acknowledge_before_commit() -> None:
    if "serve" not in sys.argv:  # only the API acknowledges
        return

    async def write(self: Database, work: Callable[[Session], Any], _asks: object = (), **_: object) -> Any:
        loop, answer = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def answer_then_commit() -> None:
            try:
                with self.transaction() as session:
                    result = work(session)
                    session.flush()
                    loop.call_soon_threadsafe(answer.set_result, result)
                    time.sleep(COMMIT_SECONDS)
            except Exception as failure:
                if not answer.done():
                    loop.call_soon_threadsafe(answer.set_exception, failure)

        threading.Thread(target=answer_then_commit, daemon=True).start()
        return await answer

    Database.write = write  # type: ignore[method-assign]


def ignore_idempotency_keys() -> None:
    idempotency.Repeatable.once = lambda _self, session, act: act(session)


def write_events_in_a_transaction_of_their_own() -> None:
    announce = events.announce

    def announce_later(session: Session, order: Order, event_type: EventType, **data: Any) -> None:
        engine, order_id = session.connection().engine, order.id
        order.last_sequence += 1  # its history is numbered by it

        def write() -> None:
            time.sleep(TOO_LATE_SECONDS)
            with Session(engine) as own, own.begin():
                announce(own, progress.lock(own, order_id), event_type, **data)

        threading.Thread(target=write, daemon=True).start()

    progress.announce = announce_later  # type: ignore[assignment,attr-defined]


def call_webhooks_sent_before_they_are() -> None:
    request, under_way = Outbound.request, set[asyncio.Task[None]]()

    async def send_later(self: Outbound, method: str, url: str, **options: Any) -> None:
        await asyncio.sleep(TOO_LATE_SECONDS)
        await request(self, method, url, **options)

    async def answer_first(self: Outbound, method: str, url: str, **options: Any) -> Reply:
        if method != "POST":
            return await request(self, method, url, **options)
        task = asyncio.create_task(send_later(self, method, url, **options))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
        return Reply(204, {}, b"", 0)

    Outbound.request = answer_first  # type: ignore[method-assign]


def let_whoever_comes_late_end_a_job() -> None:
    outbox.hold_all = lambda session, jobs: {job.id for job in jobs}

    def finish(session: Session, job: Claimed) -> None:
        session.connection().execute(delete(Job).where(col(Job.id) == job.id))

    def finish_all(session: Session, jobs: Collection[Claimed]) -> set[str]:
        for job in jobs:
            finish(session, job)
        return {job.id for job in jobs}

    outbox.finish, outbox.finish_all = finish, finish_all


def give_the_pharmacy_a_new_key_each_time() -> None:
    call = HttpPharmacy._call

    def call_anew(self: HttpPharmacy, method: str, path: str, content: Any = None, key: str | None = None) -> Any:
        return call(self, method, path, content, new_id() if path == "/orders" else key)

    async def know_nothing(self: HttpPharmacy, order_id: str) -> None:
        return None

    HttpPharmacy._call = call_anew  # type: ignore[method-assign]
    HttpPharmacy.look_up = know_nothing  # type: ignore[method-assign]


def call_documents_stored_before_they_are() -> None:
    put, under_way = DocumentStore.put, set[asyncio.Task[None]]()

    async def put_later(self: DocumentStore, key: str, data: bytes) -> None:
        await asyncio.sleep(TOO_LATE_SECONDS)
        await put(self, key, data)

    async def answer_first(self: DocumentStore, key: str, data: bytes) -> None:
        task = asyncio.create_task(put_later(self, key, data))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    DocumentStore.put = answer_first  # type: ignore[method-assign]


def forget_audit_entries() -> None:
    append = chain.append

    def append_some(connection: Connection, entries: Sequence[Entry]) -> None:
        if kept := [entry for entry in entries if random.random() < 0.5]:
            append(connection, kept)

    chain.append = append_some


def bury_whatever_fails_once() -> None:
    outbox.retry = lambda session, job, error, delay: outbox.bury(session, job, error)


def log_the_patient() -> None:
    begin = progress.begin

    def begin_aloud(session: Session, order: Order) -> None:
        structlog.get_logger("case_orders").info("order", diagnosis=order.diagnosis)
        begin(session, order)

    progress.begin = begin_aloud


BUGS: Mapping[str, Callable[[], None]] = {
    bug.__name__.replace("_", "-"): bug
    for bug in (
        acknowledge_before_commit,
        ignore_idempotency_keys,
        write_events_in_a_transaction_of_their_own,
        call_webhooks_sent_before_they_are,
        let_whoever_comes_late_end_a_job,
        give_the_pharmacy_a_new_key_each_time,
        call_documents_stored_before_they_are,
        forget_audit_entries,
        bury_whatever_fails_once,
        log_the_patient,
    )
}


def main(arguments: list[str]) -> None:
    from case_orders import cli

    hurry()
    if arguments[:1] == ["--bug"]:
        BUGS[arguments[1]]()
        arguments = arguments[2:]
    sys.argv[1:] = arguments
    cli.main()


if __name__ == "__main__":
    main(sys.argv[1:])

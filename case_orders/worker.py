"""The worker: claims due jobs, runs them side by side, and sees to it that each of them ends."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog
from sqlmodel import Session

from case_orders import audit, claims, outbox
from case_orders.db import Database
from case_orders.documents import DocumentStore
from case_orders.errors import describe
from case_orders.fulfillment import cancel, documents, follow, submit
from case_orders.links import Links
from case_orders.outbound import Outbound
from case_orders.outbox import LeaseLost
from case_orders.settings import Settings
from case_orders.webhooks import delivery
from case_orders.work import Again, Context, GiveUp
from models.jobs import Claimed, JobKind

log = structlog.get_logger("case_orders.worker")

_FIRST_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=15)
_JITTER = 0.25
_LOOK_UPS_OF_WEBHOOKS = 32


def _nothing(session: Session, job: Claimed, reason: str) -> None:
    """The dead job itself says all there is to say."""


def _backoff(attempt: int) -> timedelta:
    """1 s, 2 s, 4 s ... up to 15 min, each spread by a quarter so that a crowd does not come back together."""
    pause: timedelta = min(_FIRST_PAUSE * 2 ** min(attempt - 1, 16), _LONGEST_PAUSE)
    spread = random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311  spreads load, guards nothing
    return pause * spread


@dataclass(frozen=True, slots=True)
class Kind:
    """How jobs of a kind are run: `seconds` in all, up to `attempts` times, and what their death means.

    After each attempt but the last comes its `pause`. Between two attempts lies `longest_pause` at most, beside what
    the settings say.
    """

    run: Callable[[Context, Claimed], Awaitable[None]]
    seconds: float
    attempts: int
    on_dead: Callable[[Session, Claimed, str], None] = _nothing
    longest_pause: timedelta = _LONGEST_PAUSE * (1 + _JITTER)
    pause: Callable[[int], timedelta] = _backoff


KINDS = {
    JobKind.SUBMIT_ORDER: Kind(submit.submit_order, submit.ATTEMPT_SECONDS, 24, submit.fail_order),
    JobKind.FOLLOW_ORDER: Kind(follow.follow_order, 60, 48, longest_pause=follow.LONGEST_PAUSE),
    JobKind.APPLY_REPORT: Kind(follow.apply_report, 30, 12),
    JobKind.CANCEL_ORDER: Kind(cancel.cancel_order, 60, 48),
    JobKind.FETCH_DOCUMENT: Kind(documents.fetch_document, 90, 12, documents.fail_document),
    JobKind.DELIVER_WEBHOOK: Kind(
        delivery.deliver_webhook,
        60,
        len(delivery.SCHEDULE) + 1,
        delivery.fail_delivery,
        delivery.LONGEST_SILENCE,
        delivery.scheduled_pause,
    ),
}


def _fields(job: Claimed) -> dict[str, object]:
    """What a log says of a job: which, about what, whose, where to."""
    return {
        "job": job.id,
        "kind": job.kind,
        "subject": job.subject,
        "organization": job.organization_id,
        "destination": job.destination,
        "attempt": job.attempt,
    }


class Worker:
    """One worker. Any number of them, on any number of hosts, may share a database."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.database = context.database
        self.settings = context.settings
        self._running: dict[asyncio.Task[None], Claimed] = {}
        self._rounds: claims.Rounds = {}
        self._news = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set; then give back what is under way, so that another worker has it at once."""
        stopped = asyncio.create_task(stop.wait())
        stopped.add_done_callback(lambda _: self._news.set())
        try:
            async with self.database.bell.listening(self._news.set):
                while not stop.is_set():
                    self._news.clear()
                    if not await self._find_work():
                        await self._wait_for_news()
        finally:
            stopped.cancel()
            await self._give_back()

    async def _find_work(self) -> bool:
        try:
            return await self._start_due_jobs()
        except Exception as failure:  # the database is away: keep trying, it comes back
            log.error("cannot claim jobs", error=describe(failure))
            return False

    async def _start_due_jobs(self) -> bool:
        """Claim as many due jobs as there is room for; whether there may be more."""
        under_way = list(self._running.values())
        limits = claims.Limits(self.settings.worker_concurrency, self.settings.worker_per_destination)
        if len(under_way) >= limits.jobs:
            return False
        lease = timedelta(seconds=self.settings.lease_seconds)

        def claim(session: Session) -> tuple[list[Claimed], claims.Rounds]:
            rounds = self._rounds.copy()  # it may run again, and must go on from the same place
            return claims.claim(session, limits, lease, rounds, under_way), rounds

        jobs, self._rounds = await self.database.write(claim)
        for job in jobs:
            task = asyncio.create_task(self._attempt(job))
            self._running[task] = job
            task.add_done_callback(self._forget)
        return bool(jobs or self._rounds)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._running[task]
        self._news.set()

    async def _wait_for_news(self) -> None:
        """Until a job is promised, a job ends, the worker is to stop, or it is time to look all the same."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.settings.worker_poll_seconds):
                await self._news.wait()

    async def _attempt(self, job: Claimed) -> None:
        kind = KINDS[job.kind]
        if job.attempt > kind.attempts:  # its worker died each time: it must not go on forever
            await self._end(job, kind, GiveUp(job.last_error or "the worker died while it ran"))
            return
        seconds = min(kind.seconds, self.settings.lease_seconds)
        try:
            async with asyncio.timeout(seconds):
                await kind.run(self.context, job)
        except LeaseLost:
            log.warning("lease lost", job=job.id, kind=job.kind)
        except (Again, GiveUp) as verdict:
            await self._end(job, kind, verdict)
        except TimeoutError:
            await self._end(job, kind, Again(f"took longer than {seconds:g} s"))
        except Exception as failure:
            log.error("job failed", job=job.id, kind=job.kind, attempt=job.attempt, error=describe(failure))
            await self._end(job, kind, Again(f"failed: {describe(failure)}"))

    async def _end(self, job: Claimed, kind: Kind, verdict: Again | GiveUp) -> None:
        """Put the job off, or bury it, with what that means for what it was about."""
        try:
            if isinstance(verdict, Again) and job.attempt < kind.attempts:
                await self._put_off(job, kind, verdict)
            else:
                await self._bury(job, kind, verdict.reason)
        except LeaseLost:
            log.warning("lease lost", job=job.id, kind=job.kind)
        except Exception as failure:  # the lease runs out and the job comes back
            log.error("cannot end job", job=job.id, kind=job.kind, error=describe(failure))

    async def _put_off(self, job: Claimed, kind: Kind, again: Again) -> None:
        pause = max(again.delay, kind.pause(job.attempt))
        await self.database.write(lambda session: outbox.retry(session, job, again.reason, pause))
        log.warning("job not done", **_fields(job), reason=again.reason)

    async def _bury(self, job: Claimed, kind: Kind, reason: str) -> None:
        def bury(session: Session) -> None:
            outbox.bury(session, job, reason)
            kind.on_dead(session, job, reason)
            audit.record(session, audit.of_job(job, "given up"))

        await self.database.write(bury, holds=True)
        log.error("job given up", **_fields(job), reason=reason)

    async def _give_back(self) -> None:
        under_way = dict(self._running)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        await asyncio.gather(*map(self._release, under_way.values()))

    async def _release(self, job: Claimed) -> None:
        try:
            await self.database.write(partial(outbox.release, job=job))
        except LeaseLost:
            pass  # it had ended
        except Exception as failure:
            log.error("cannot give back job", job=job.id, error=describe(failure))


@asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[Worker]:
    """A worker on the database and the document store of `settings`."""
    database = Database(settings.database_url, settings.write_queue)
    store = DocumentStore.open(settings.document_store)
    try:
        # Customers choose the names of their webhooks' hosts: those that never resolve must not hold up pharmacies.
        to_webhooks = Outbound(settings.outbound_allow, look_ups=_LOOK_UPS_OF_WEBHOOKS)
        async with Outbound(settings.outbound_allow) as outbound, to_webhooks:
            yield Worker(Context(settings, database, outbound, to_webhooks, store, Links.from_settings(settings)))
    finally:
        await database.close()

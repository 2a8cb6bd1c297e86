"""Requests that may be repeated: the first answer under a key is stored with what it did, and given again.

A key belongs to an organization and an operation. The fingerprint of the request is stored beside the answer, so
that the same key with another request is refused. Two such requests at once: the second one waits for the first
one's transaction and then finds its answer.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import delete, tuple_
from sqlmodel import Session, col, select

from case_orders.db import now
from case_orders.edge.answers import to_json
from case_orders.envelope import Answer
from case_orders.errors import Conflict
from case_orders.lookups import Lookup
from case_orders.shared_session import Ask
from models import IdempotentAnswer

KEPT_FOR = timedelta(hours=48)

_ANSWERS = Lookup(IdempotentAnswer, "organization_id", "operation", "key")


def fingerprint(arguments: Mapping[str, Any], body: Any) -> str:
    """The SHA-256 of what a request asks for, without its key."""
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name != "idempotencyKey"}
    asked = [sorted((k, str(v)) for k, v in arguments.items() if k != "idempotency_key"), body]
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True, slots=True)
class Repeatable:
    """A request of an organization that may come again under its key; `mark` is its fingerprint."""

    organization_id: str
    operation: str
    key: str
    mark: str

    def ask(self) -> Ask:
        """What `once` will look up."""
        return _ANSWERS.ask(self.organization_id, self.operation, self.key)

    def once(self, session: Session, act: Callable[[Session], Any]) -> Answer:
        """The stored answer to this key, or what `act` answers now. Raises `Conflict` if the key stood for another."""
        stored = _ANSWERS.one(session, self.organization_id, self.operation, self.key)
        if stored is not None:
            if stored.fingerprint != self.mark:
                raise Conflict("Idempotency key was already used for another request", "idempotency_conflict")
            given = Answer(**stored.answer)
            return replace(given, headers={**given.headers, "Idempotency-Replayed": "true"})
        answer: Answer = act(session)
        session.add(
            IdempotentAnswer(
                organization_id=self.organization_id,
                operation=self.operation,
                key=self.key,
                fingerprint=self.mark,
                # As it goes over the wire, so that its times are written alike when it is given again.
                answer=orjson.loads(to_json(answer)),
            )
        )
        return answer


def forget_old(session: Session, most: int) -> int:
    """Drop up to `most` of the answers that need not be kept any longer; how many there were."""
    key = (col(IdempotentAnswer.organization_id), col(IdempotentAnswer.operation), col(IdempotentAnswer.key))
    old = select(*key).where(col(IdempotentAnswer.created_at) < now() - KEPT_FOR).limit(most)
    # A query, not a list of keys: of more than one SQLite would compare each with every row.
    dropped = delete(IdempotentAnswer).where(tuple_(*key).in_(old.with_for_update(skip_locked=True)))
    return session.connection().execute(dropped).rowcount

"""Requests that may be repeated: the first answer under a key is stored with what it did, and given again.

A key belongs to an organization and an operation. The fingerprint of the request is stored beside the answer, so
that the same key with another request is refused. Two such requests at once: the second one waits for the first
one's transaction and then finds its answer.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import delete, tuple_
from sqlmodel import Session, col, select

from case_orders.db import now
from case_orders.edge.answers import to_json
from case_orders.envelope import Answer
from case_orders.errors import Conflict
from models import IdempotentAnswer

KEPT_FOR = timedelta(hours=48)


def fingerprint(arguments: Mapping[str, Any], body: Any) -> str:
    """The SHA-256 of what a request asks for, without its key."""
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name != "idempotencyKey"}
    asked = [sorted((k, str(v)) for k, v in arguments.items() if k != "idempotency_key"), body]
    return hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()


def once(
    session: Session, organization_id: str, operation: str, key: str, mark: str, act: Callable[[Session], Answer]
) -> Answer:
    """The stored answer to this key, or what `act` answers now. Raises `Conflict` if the key stood for another."""
    stored = session.get(IdempotentAnswer, (organization_id, operation, key))
    if stored is not None:
        if stored.fingerprint != mark:
            raise Conflict("Idempotency key was already used for another request", "idempotency_conflict")
        answer = Answer(**stored.answer)
        return replace(answer, headers={**answer.headers, "Idempotency-Replayed": "true"})
    answer = act(session)
    # As it goes over the wire, so that its times are written alike when it is given again.
    kept = orjson.loads(to_json(asdict(answer)))
    session.add(
        IdempotentAnswer(organization_id=organization_id, operation=operation, key=key, fingerprint=mark, answer=kept)
    )
    return answer


def forget_old(session: Session, most: int) -> int:
    """Drop up to `most` of the answers that need not be kept any longer; how many there were."""
    key = (col(IdempotentAnswer.organization_id), col(IdempotentAnswer.operation), col(IdempotentAnswer.key))
    old = select(*key).where(col(IdempotentAnswer.created_at) < now() - KEPT_FOR).limit(most)
    keys = session.exec(old.with_for_update(skip_locked=True)).all()
    session.connection().execute(delete(IdempotentAnswer).where(tuple_(*key).in_(keys)))
    return len(keys)

"""API keys: how they are made, and whom one authenticates.

A key is `cv_live_`, or `cv_test_` in an organization for tests, + 10 characters that name it + 32 secret ones + 6 of a
checksum, all base 62, so that a key that leaked can be found by a scanner and a mistyped one be refused without a look
into the database.
"""

import hashlib
import secrets
import string
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlmodel import Session, select

from case_orders.db import Database, now
from case_orders.errors import Unauthorized
from case_orders.lookups import Lookup
from models import ApiKey

log = structlog.get_logger("case_orders.auth")

SCOPES = frozenset({"cases:read", "cases:write", "orders:read", "orders:write", "documents:read", "webhooks:manage"})

_LIVE, _TEST = "cv_live_", "cv_test_"
_PUBLIC_CHARACTERS = len(_LIVE) + 10
_BASE62 = string.digits + string.ascii_letters


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: an organization, by one of its keys, with what the key may do, and the key's digest."""

    organization_id: str
    key_id: str
    scopes: frozenset[str]
    digest: str = ""


def new_key(*, test: bool = False) -> str:
    """A fresh API key, by which everybody sees whether it is for tests; show it once, store its hash."""
    body = (_TEST if test else _LIVE) + "".join(secrets.choice(_BASE62) for _ in range(42))
    return body + _checksum(body)


def _checksum(body: str) -> str:
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits += _BASE62[digit]
    return digits


def is_mistyped(key: str) -> bool:
    """Whether a key of our making fails its own checksum; other keys have none."""
    return key.startswith((_LIVE, _TEST)) and key[-6:] != _checksum(key[:-6])


def public_part(key: str) -> str | None:
    """What names a key and may be shown, if it is of our making; of another nothing can be told that is no secret."""
    is_ours = key.startswith((_LIVE, _TEST)) and key.isascii() and not is_mistyped(key)
    return key[:_PUBLIC_CHARACTERS] if is_ours else None


def digest(key: str) -> str:
    """What is stored of a key: its SHA-256 in hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def store_key(
    session: Session,
    organization_id: str,
    name: str,
    key: str,
    scopes: Iterable[str] = SCOPES,
    expires_at: datetime | None = None,
) -> ApiKey:
    """Make `key` a key of the organization."""
    row = ApiKey(
        organization_id=organization_id, name=name, sha256=digest(key), scopes=sorted(scopes), expires_at=expires_at
    )
    session.add(row)
    return row


def authenticate(session: Session, key: str) -> Caller:
    """Whom `key` stands for; raises `Unauthorized`, with one answer for unknown, expired and revoked.

    The look-up is by hash, so its time tells nothing of how much of a guess was right.
    """
    row = None if is_mistyped(key) else session.exec(select(ApiKey).where(ApiKey.sha256 == digest(key))).one_or_none()
    if row is None:
        raise _not_valid()
    caller = Caller(row.organization_id, row.id, frozenset(row.scopes), row.sha256)
    if not row.is_valid_at(now()):
        raise _refused(caller)
    return caller


KEYS = Lookup(ApiKey, "id")


def require_valid(session: Session, caller: Caller) -> None:
    """Raises `Unauthorized` unless the caller's key is valid now, as this transaction sees it."""
    key = KEYS.one(session, caller.key_id)
    if key is None or not key.is_valid_at(now()):
        raise _refused(caller)


def _refused(caller: Caller) -> Unauthorized:
    """The refusal of a key that was good once, which its organization may look for in the log."""
    log.warning("key refused", organization=caller.organization_id, key=caller.key_id)
    return _not_valid()


def _not_valid() -> Unauthorized:
    return Unauthorized("API key is not valid", "invalid_api_key")


class Callers:
    """Whom keys stand for, remembered: what is remembered of a key never changes but for its end.

    So whoever acts for a caller has `require_valid` look in the transaction of what is done, and whoever refuses it
    something has `recheck` look before it is told: a key that was revoked does and learns nothing more, on any process.
    """

    _MOST = 10_000

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, Caller] = {}

    async def authenticate(self, key: str) -> Caller:
        """Raises `Unauthorized`."""
        caller = self._known.get(digest(key))
        if caller is None:
            caller = await self._database.read(lambda session: authenticate(session, key))
            if len(self._known) >= self._MOST:
                self._known.clear()
            self._known[caller.digest] = caller
        return caller

    async def recheck(self, caller: Caller) -> None:
        """Raises `Unauthorized` unless the caller's key is still valid."""
        await self._database.read(lambda session: self.require_valid(session, caller))

    def require_valid(self, session: Session, caller: Caller) -> None:
        """Raises `Unauthorized`, and forgets the caller, unless its key is still valid. Any thread may ask."""
        try:
            require_valid(session, caller)
        except Unauthorized:
            self._known.pop(caller.digest, None)
            raise

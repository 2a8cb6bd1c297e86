"""The hash chains of the audit trail: each entry carries an HMAC-SHA256 over itself and the HMAC of the one before.

The HMAC's key is derived by HKDF (RFC 5869) from a key of the process's ring; the entry names that key. Without the
ring nobody can make an entry, or change, drop or move one, and leave the chain whole.
"""

import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, bindparam, insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import ReturningInsert
from sqlmodel import col

from case_orders import keyring
from case_orders.audit.entries import Entry
from models import AuditEntry, AuditHead

PURPOSE = "audit chain"
BEGINNING = bytes(32)
"""What the first entry of a chain follows."""

_SIGNED = ("chain", "position", "at", "actor", "action", "records", "outcome", "client", "request_id", "key_id")


def link(key: bytes, previous: bytes, entry: Mapping[str, Any]) -> bytes:
    """The HMAC that binds an entry, its columns by their names, to the one before."""
    content = orjson.dumps([entry[name] for name in _SIGNED], option=orjson.OPT_SORT_KEYS)
    return hmac.digest(key, previous + content, "sha256")


def append(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write entries at the ends of their chains: three statements, however many entries and chains there are."""
    ring = keyring.installed()
    key = ring.derive(ring.current, PURPOSE)
    ends = _take(connection, Counter(entry.chain for entry in entries))
    rows = []
    for entry in entries:
        position, previous = ends[entry.chain]
        row = _columns(entry) | {"position": position + 1, "key_id": ring.current}
        row["mac"] = link(key, previous, row)
        ends[entry.chain] = position + 1, row["mac"]
        rows.append(row)
    connection.execute(_INSERT, rows)
    connection.execute(_END, [{"of": chain, "last": mac} for chain, (_, mac) in ends.items()])


def _columns(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in Entry.__dataclass_fields__}


def _take(connection: Connection, counts: Mapping[str, int]) -> dict[str, tuple[int, bytes]]:
    """Move the ends of chains on by so many entries, and hold them: where each was, and the HMAC of its last entry."""
    # Sorted: two that take the same chains wait for each other in one order, so neither waits for the other.
    wanted = [{"chain": chain, "position": counts[chain], "mac": BEGINNING} for chain in sorted(counts)]
    moved = connection.execute(_MOVE[connection.dialect.name], wanted)
    return {chain: (position - counts[chain], mac) for chain, position, mac in moved}


def _move(new: sqlite.Insert | postgresql.Insert) -> ReturningInsert[str, int, bytes]:
    """Make an end, or move it on; SQLite and PostgreSQL take the same words, SQLAlchemy has a construct for each."""
    return new.on_conflict_do_update(
        index_elements=["chain"], set_={"position": AuditHead.position + new.excluded.position}
    ).returning(col(AuditHead.chain), col(AuditHead.position), col(AuditHead.mac))


# Made once: to build a statement takes longer than to run it.
_MOVE = {"sqlite": _move(sqlite.insert(AuditHead)), "postgresql": _move(postgresql.insert(AuditHead))}
_INSERT = insert(AuditEntry)
_END = update(AuditHead).where(col(AuditHead.chain) == bindparam("of")).values(mac=bindparam("last"))

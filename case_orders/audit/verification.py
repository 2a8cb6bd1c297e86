"""Reading the audit trail: whether its chains are whole, and their entries and heads as they are exported.

An edit, a deletion and a move break a chain. That its last entries were cut off shows against its head; whoever can
change both is found by a head that was exported before, and kept elsewhere.
"""

import hmac
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from case_orders import keyring
from case_orders.audit.chain import BEGINNING, PURPOSE, link
from case_orders.keyring import UnknownKey
from case_orders.row import table_of
from models import AuditEntry, AuditHead

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: its last position, and the HMAC of the entry there."""

    chain: str
    position: int
    mac: bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """How many entries of a chain are whole, from the first one on, and what is wrong after them."""

    chain: str
    entries: int
    fault: str | None


def heads(session: Session, chain: str | None = None) -> list[Head]:
    """The ends of all chains, or of one."""
    query = select(AuditHead).order_by(col(AuditHead.chain))
    if chain is not None:
        query = query.where(AuditHead.chain == chain)
    return [Head(head.chain, head.position, head.mac) for head in session.exec(query)]


def entries(session: Session, chain: str | None = None) -> Generator[dict[str, Any]]:
    """The entries of all chains, or of one, in their order, a few at a time."""
    table = table_of(AuditEntry)
    query: Select[Any] = select_columns(table).order_by(table.c.chain, table.c.position)
    if chain is not None:
        query = query.where(table.c.chain == chain)
    with session.connection().execute(query, execution_options={"yield_per": _AT_ONCE}) as rows:
        for row in rows:
            yield row._asdict()


def verify(session: Session, chain: str | None = None, exported: Mapping[str, Head] | None = None) -> Iterator[Verdict]:
    """A verdict on each chain, or on one; also against heads that were exported before.

    The session must see one state of the data.
    """
    anchors = {name: head for name, head in (exported or {}).items() if chain in (None, name)}
    stored = {head.chain: head for head in heads(session, chain)}
    for name in sorted({*anchors, *stored, *_chains(session, chain)}):
        with closing(entries(session, name)) as along:
            yield _Walk(name).over(along, stored.get(name), anchors.get(name))


def _chains(session: Session, chain: str | None) -> list[str]:
    """The chains that have entries; also those whose head is gone."""
    query = select(AuditEntry.chain).distinct()
    return list(session.exec(query if chain is None else query.where(AuditEntry.chain == chain)))


class _Broken(Exception):
    """Why a chain is not whole."""


class _Walk:
    """A walk along a chain, as far as it is whole."""

    def __init__(self, chain: str) -> None:
        self.chain = chain
        self.position, self.mac = 0, BEGINNING

    def over(self, entries: Iterator[dict[str, Any]], stored: Head | None, exported: Head | None) -> Verdict:
        fault = None
        try:
            for entry in entries:
                self._step(entry)
                if exported and exported.position == self.position:
                    self._meet(exported)
            self._end(stored, exported)
        except _Broken as reason:
            fault = str(reason)
        return Verdict(self.chain, self.position, fault)

    def _step(self, entry: Mapping[str, Any]) -> None:
        here = self.position + 1
        if entry["position"] != here:
            raise _Broken(f"entry {here} is missing")
        try:
            key = keyring.installed().derive(entry["key_id"], PURPOSE)
        except UnknownKey:
            raise _Broken(f"entry {here} was made under a key that is not in the ring") from None
        if not hmac.compare_digest(entry["mac"], link(key, self.mac, entry)):
            raise _Broken(f"entry {here} was changed, or the one before it")
        self.position, self.mac = here, entry["mac"]

    def _meet(self, exported: Head) -> None:
        if not hmac.compare_digest(self.mac, exported.mac):
            raise _Broken(f"entry {self.position} is another than when the head was exported")

    def _end(self, stored: Head | None, exported: Head | None) -> None:
        if stored != Head(self.chain, self.position, self.mac):
            raise _Broken("the chain does not end where its head says")
        if exported and exported.position > self.position:
            raise _Broken("the chain ends before the head that was exported")

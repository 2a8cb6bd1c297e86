"""How entries come into the transaction of what they tell: all at once, when it commits."""

from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from case_orders.audit import chain
from case_orders.audit.entries import Entry
from case_orders.shared_session import SharedSession

_WAITING = "case_orders.audit"


def record(session: Session, entry: Entry) -> None:
    """Have `entry` written when `session` commits; what is rolled back leaves none."""
    within = session.get_nested_transaction() or session.get_transaction() or session.begin()
    session.info.setdefault(_WAITING, []).append((within, entry))
    if isinstance(session, SharedSession):
        session.note_written()


def recorded(session: Session) -> bool:
    """Whether anything waits to be written when `session` commits."""
    return bool(session.info.get(_WAITING))


@event.listens_for(Session, "before_commit")
def _write(session: Session) -> None:
    """At the very end of a transaction, so that the ends of chains, which others wait for, are held briefly."""
    if session.in_nested_transaction() or not recorded(session):
        return
    session.flush()
    chain.append(session.connection(), [entry for _, entry in session.info.pop(_WAITING)])


@event.listens_for(Session, "after_soft_rollback")
def _forget(session: Session, transaction: SessionTransaction) -> None:
    """What was rolled back did not happen: neither what it did itself, nor what its savepoints did."""
    waiting = session.info.pop(_WAITING, [])
    if transaction.nested:
        session.info[_WAITING] = [(within, entry) for within, entry in waiting if not _is_inside(within, transaction)]


def _is_inside(within: SessionTransaction, transaction: SessionTransaction) -> bool:
    return within is transaction or (within.parent is not None and _is_inside(within.parent, transaction))

"""Whether this process has the keys of its database: else it opens nothing there, and seals what nobody else opens."""

from sqlmodel import Session, col, select

from case_orders import keyring
from case_orders.keyring import KeysUnusable
from models import AuditEntry

# By the primary key, in one step: the last entry of what belongs to no organization, whose name sorts behind all ids.
# A rotation is told there, so it names no key that may be gone. Where there is none, nothing was ever rotated.
_LAST = select(AuditEntry.key_id).order_by(col(AuditEntry.chain).desc(), col(AuditEntry.position).desc()).limit(1)


def require_known_key(session: Session) -> None:
    """Raises `KeysUnusable` unless the ring can be read and has the key that the last entry was bound under."""
    try:
        ring = keyring.installed()
    except OSError as error:
        raise KeysUnusable("The key file cannot be read: put it back from the backup.") from error
    used = session.exec(_LAST).first()
    if used is not None and used not in ring.ids:
        raise KeysUnusable(
            "The database was sealed under a key that this process does not have: put the right keys back. "
            "case-orders keys encryption list tells which are missing."
        )

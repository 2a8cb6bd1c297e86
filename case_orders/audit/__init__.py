"""The audit trail: who did what to which records, how it ended, when, and from where; never what the records say.

An entry (`entries`) is written in the transaction of what it tells (`recording`), at the end of a hash chain (`chain`),
so that changes behind the service's back are found (`verification`). `trail` is what requests leave behind. By the
last entry a process knows whether it has the right `keys`.
"""

from case_orders.audit.entries import Entry, of_job
from case_orders.audit.keys import require_known_key
from case_orders.audit.recording import record, recorded
from case_orders.audit.trail import Refusals, Trail

__all__ = ["Entry", "Refusals", "Trail", "of_job", "record", "recorded", "require_known_key"]

"""The ring of keys that the tests' own process and its children seal with."""

import os

from case_orders import keyring
from case_orders.keyring import Keyring

RING = keyring.new_entry()
VARIABLE = "CASE_ORDERS_ENCRYPTION_KEYS"


def use(*entries: str) -> Keyring:
    """Install the ring of these entries, by default the tests' own."""
    ring = Keyring.parse(",".join(entries) or RING)
    keyring.install(lambda: ring)
    return ring


def begin() -> None:
    """Before anything else: some test modules write rows when they are imported."""
    os.environ[VARIABLE] = RING
    use()

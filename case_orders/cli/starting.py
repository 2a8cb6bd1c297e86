"""What keeps a process from starting, as a sentence instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from case_orders.cli import console
from case_orders.cli.console import Exit
from case_orders.db import UNAVAILABLE
from case_orders.demo.rows import NotADemonstration
from case_orders.keyring import KeysUnusable
from case_orders.links import SecretUnusable
from case_orders.migrations import OtherVersion


@contextmanager
def failures_in_words() -> Iterator[None]:
    try:
        yield
    except (KeysUnusable, SecretUnusable) as reason:
        console.fail(str(reason))
    except OtherVersion:
        console.fail("The database is of another version of case-orders.", Exit.UNAVAILABLE)
    except UNAVAILABLE:
        console.fail("The database is out of reach.", Exit.UNAVAILABLE)
    except NotADemonstration:
        console.fail(
            "--demo needs a database of its own: this one has other organizations, and everybody knows its key."
        )
    except OSError as error:
        console.fail(f"Cannot start: {error.strerror}.")

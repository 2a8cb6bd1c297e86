"""What keeps a process from starting, as a sentence instead of a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

from case_orders.cli import console, database
from case_orders.demo.rows import NotADemonstration
from case_orders.links import SecretUnusable


@contextmanager
def failures_in_words() -> Iterator[None]:
    try:
        with database.failures_in_words(), database.place_in_words():
            yield
    except SecretUnusable as reason:
        console.fail(str(reason))
    except NotADemonstration:
        console.fail(
            "--demo needs a database of its own: this one has other organizations, and everybody knows its key."
        )

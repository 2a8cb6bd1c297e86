"""`case-orders serve` and the other commands that run until they are told to stop, and `migrate` before them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer
from alembic.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import Engine

from case_orders import migrations
from case_orders.cli import console
from case_orders.cli.console import Exit
from case_orders.cli.database import load_settings, open_database, open_store, require_database
from case_orders.db import UNAVAILABLE
from case_orders.demo.rows import NotADemonstration
from case_orders.keyring import KeysUnusable
from case_orders.links import SecretUnusable

OTHER_VERSION = "The database is of another version of case-orders."

Host = Annotated[str, typer.Option(help="The address to listen at.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at.")]


def register(app: typer.Typer) -> None:
    """Make the commands commands of `app`."""
    for command in (serve, worker, migrate, demo, sandbox_pharmacy):
        app.command()(command)
    app.command(hidden=True)(webhook_receiver)


def serve(
    host: Annotated[str | None, typer.Option(help="Goes before CASE_ORDERS_HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Goes before CASE_ORDERS_PORT.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="With a sandbox pharmacy, a case and a well-known key.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="How many worker processes to run beside the API.")] = 1,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Run none; they run elsewhere.")] = False,
) -> None:
    """Migrate the database, then serve the API and work on its jobs."""
    from case_orders import serving

    settings = load_settings(host=host, port=port)
    if demo and not _is_loopback(settings.host):
        console.fail("--demo listens at a loopback address only: everybody knows the key of the demonstration.")
    open_store(settings)
    with _start_failures_in_words():
        code = serving.serve(settings, demo=demo, workers=0 if no_worker else workers)
    raise typer.Exit(code)


@contextmanager
def _start_failures_in_words() -> Iterator[None]:
    """What keeps a process from starting, as a sentence instead of a traceback."""
    try:
        yield
    except (KeysUnusable, SecretUnusable) as reason:
        console.fail(str(reason))
    except CommandError:
        console.fail(OTHER_VERSION, Exit.UNAVAILABLE)
    except UNAVAILABLE:
        console.fail("The database is out of reach.", Exit.UNAVAILABLE)
    except NotADemonstration:
        console.fail(
            "--demo needs a database of its own: this one has other organizations, and everybody knows its key."
        )
    except OSError as error:
        console.fail(f"Cannot start: {error.strerror}.")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def worker() -> None:
    """Work on jobs: one more worker process, on this host or another."""
    from case_orders import serving

    settings = load_settings()
    open_store(settings)
    require_database(settings)
    with _start_failures_in_words():
        code = serving.work(settings)
    raise typer.Exit(code)


def migrate() -> None:
    """Bring the database to the schema of this version."""
    with open_database(migrated=False) as database:
        before = _revision(database.engine)
        try:
            migrations.upgrade(database.engine)
        except CommandError:
            console.fail(OTHER_VERSION, Exit.UNAVAILABLE)
        after = _revision(database.engine)
    console.say(f"The database is at {after}." if before == after else f"The database went from {before} to {after}.")


def _revision(engine: Engine) -> str:
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() or "nothing"


def demo(keep: Annotated[bool, typer.Option("--keep", help="Go on serving afterwards.")] = False) -> None:
    """Show an order on its way from the API to the pharmacy and back, on this machine only."""
    from case_orders import demo as demonstration

    raise typer.Exit(demonstration.run(keep))


def sandbox_pharmacy(
    host: Host = "127.0.0.1",
    port: Port = 8090,
    data_dir: Annotated[Path | None, typer.Option(help="Where its book lies.", show_default="in the data dir")] = None,
    pace: Annotated[float, typer.Option(min=0, help="Seconds between two states of an order.")] = 0.5,
) -> None:
    """Run a pharmacy to develop against.

    Its secrets are read from CASE_ORDERS_SANDBOX_REQUEST_SECRET and CASE_ORDERS_SANDBOX_REPORT_SECRET.
    """
    from case_orders import serving

    request_secret, report_secret = _secret("REQUEST"), _secret("REPORT")
    data_dir = data_dir or load_settings().data_dir / "sandbox-pharmacy"
    raise typer.Exit(serving.sandbox_pharmacy(host, port, request_secret, report_secret, data_dir, pace))


def _secret(which: str) -> str:
    # Not an option: options show in the list of processes.
    name = f"CASE_ORDERS_SANDBOX_{which}_SECRET"
    return os.environ.get(name) or console.fail(f"{name} is not set.")


def webhook_receiver(
    secret_file: Annotated[Path, typer.Option(help="The file that holds the signing secret.")],
    host: Host = "127.0.0.1",
    port: Port = 8091,
) -> None:
    """Receive the webhooks of the demonstration."""
    from case_orders import serving

    raise typer.Exit(serving.webhook_receiver(host, port, secret_file))

"""`case-orders serve` and the other commands that run until they are told to stop, and `migrate` before them.

Each imports what it runs on: what one of them needs would keep the others, and every `--help`, waiting.
"""

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import typer

from case_orders.cli import console
from case_orders.cli.imports import importing

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
    with importing():
        from case_orders import serving
        from case_orders.cli import database, starting

    settings = database.load_settings(host=host, port=port)
    if demo and not is_loopback(settings.host):
        console.fail("--demo listens at a loopback address only: everybody knows the key of the demonstration.")
    database.open_store(settings)
    with starting.failures_in_words():
        code = serving.serve(settings, demo=demo, workers=0 if no_worker else workers)
    raise typer.Exit(code)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def worker() -> None:
    """Work on jobs: one more worker process, on this host or another."""
    with importing():
        from case_orders import working
        from case_orders.cli import database, starting

    settings = database.load_settings()
    database.open_store(settings)
    database.require_database(settings)
    with starting.failures_in_words():
        code = working.work(settings)
    raise typer.Exit(code)


def migrate() -> None:
    """Bring the database to the schema of this version."""
    from case_orders import migrations
    from case_orders.cli.database import load_settings, make_database

    with make_database(load_settings()) as database:
        with database.engine.connect() as connection:
            before = migrations.revision(connection)
        migrations.upgrade(database.engine)
    after = migrations.head()
    console.say(
        f"The database is at {after}."
        if before == after
        else f"The database went from {before or 'nothing'} to {after}."
    )


def demo(keep: Annotated[bool, typer.Option("--keep", help="Go on serving afterwards.")] = False) -> None:
    """Show an order on its way from the API to the pharmacy and back, on this machine only."""
    from case_orders.demo import showing

    raise typer.Exit(showing.run(keep))


def sandbox_pharmacy(
    host: Host = "127.0.0.1",
    port: Port = 8090,
    data_dir: Annotated[Path | None, typer.Option(help="Where its book lies.", show_default="in the data dir")] = None,
    pace: Annotated[float, typer.Option(min=0, help="Seconds between two states of an order.")] = 0.5,
) -> None:
    """Run a pharmacy to develop against.

    Its secrets are read from CASE_ORDERS_SANDBOX_REQUEST_SECRET and CASE_ORDERS_SANDBOX_REPORT_SECRET.
    """
    from case_orders import logs
    from case_orders.cli.database import load_settings
    from case_orders.pharmacies.sandbox.server import serve
    from case_orders.processes import run_until_stopped

    request_secret, report_secret = _secret("REQUEST"), _secret("REPORT")
    data_dir = data_dir or load_settings().data_dir / "sandbox-pharmacy"
    logs.configure("INFO")
    raise typer.Exit(run_until_stopped(serve(host, port, request_secret, report_secret, data_dir, pace)))


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
    from case_orders.demo import receiver
    from case_orders.processes import run_until_stopped

    raise typer.Exit(run_until_stopped(receiver.serve(host, port, secret_file)))

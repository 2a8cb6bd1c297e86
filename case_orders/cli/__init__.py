"""The operator's command, `case-orders`: one module for each noun."""

import typer

from case_orders.cli import (
    audit,
    cases,
    console,
    deliveries,
    drugs,
    jobs,
    keys,
    orders,
    organizations,
    pharmacies,
    processes,
)

app = typer.Typer(
    help="A self-hosted Orders API: run it, set it up, look into it.",
    epilog=console.EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    # A traceback of typer's shows the values of variables, health data among them.
    pretty_exceptions_enable=False,
)
processes.register(app)
app.add_typer(organizations.app, name="organizations")
app.add_typer(keys.app, name="keys")
app.add_typer(cases.app, name="cases")
app.add_typer(pharmacies.app, name="pharmacies")
app.add_typer(drugs.app, name="drugs")
app.add_typer(orders.app, name="orders")
app.add_typer(jobs.app, name="jobs")
app.add_typer(deliveries.app, name="deliveries")
app.add_typer(audit.app, name="audit")


def main() -> None:
    """The entry point of the distribution."""
    app(prog_name="case-orders")

"""The operator's command, `case-orders`: one module for each noun."""

from functools import cached_property
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from case_orders.cli import console, processes

NOUNS = {
    "organizations": "Customers of the platform.",
    "keys": "API keys of an organization, and the keys that seal data at rest.",
    "cases": "Cases: one patient's course of treatment each.",
    "pharmacies": "The pharmacies that an organization's orders go to.",
    "drugs": "The drugs that an organization may order.",
    "orders": "Orders: how far they have come, and what holds them up.",
    "jobs": "Work that waits for a worker, or was given up.",
    "webhooks": "Where an organization is told of its cases.",
    "deliveries": "Messages to webhooks.",
    "audit": "Who did what: a chain of entries for each organization, and one for what belongs to none.",
}


class _Noun(TyperGroup):
    """The commands of a noun. Its module is imported once one of them is asked for, so the others need not wait."""

    @cached_property
    def _imported(self) -> TyperGroup:
        return get_group(import_module(f"{__name__}.{self.name}").app)

    def list_commands(self, ctx: Any) -> list[str]:
        return self._imported.list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return self._imported.get_command(ctx, cmd_name)


app = typer.Typer(
    help="A self-hosted Orders API: run it, set it up, look into it.",
    epilog=console.EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    # A traceback of typer's shows the values of variables, health data among them.
    pretty_exceptions_enable=False,
)
processes.register(app)
for noun, help_ in NOUNS.items():
    app.add_typer(typer.Typer(cls=_Noun, help=help_, no_args_is_help=True), name=noun)


def main() -> None:
    """The entry point of the distribution."""
    app(prog_name="case-orders")

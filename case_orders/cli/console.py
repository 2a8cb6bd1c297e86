"""How commands speak: tables or JSON on stdout, sentences on stderr, an exit code that says how it went."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Annotated, Any, NoReturn

import inflection
import typer
from rich.console import Console
from rich.table import Table

from case_orders.edge.answers import to_json
from case_orders.envelope import JSON


class Exit(IntEnum):
    """How a command ended badly; 2 is typer's, for a wrong command line."""

    REFUSED = 1
    NOT_FOUND = 3
    UNAVAILABLE = 4


EXIT_CODES = """Exit codes:

0  done

1  refused or failed

2  wrong command line

3  not found

4  the database is not there, not migrated or out of reach, or the document store is"""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Limit = Annotated[int, typer.Option(min=1, help="The most rows to show.")]

_WIDTH_OF_A_PIPE = 300


def say(sentence: str) -> None:
    """Tell a person something that is not part of the output."""
    typer.echo(sentence, err=True)


def fail(sentence: str, code: Exit = Exit.REFUSED) -> NoReturn:
    """End the command with a sentence that says why."""
    say(sentence)
    raise typer.Exit(code)


def show(fields: JSON, *, as_json: bool) -> None:
    """One thing: its fields, then a table for each field that is a list of rows."""
    if as_json:
        show_json(fields)
        return
    tables = {name: value for name, value in fields.items() if _is_rows(value)}
    _print_fields({name: value for name, value in fields.items() if name not in tables})
    for name, rows in tables.items():
        typer.echo(f"\n{_words(name)}")
        _print_rows(rows)


def show_rows(rows: Sequence[JSON], *, as_json: bool) -> None:
    """Many things with the same fields, one a line."""
    if as_json:
        show_json(rows)
    else:
        _print_rows(rows)


def show_json(value: object) -> None:
    """A value as one line of JSON, in UTF-8 whatever the terminal speaks."""
    typer.echo(_json(value).encode())


def _is_rows(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(row, dict) for row in value)


def _print_fields(fields: Mapping[str, Any]) -> None:
    table = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        table.add_row(_words(name), _cell(value))
    _stdout().print(table)


def _print_rows(rows: Sequence[JSON]) -> None:
    if not rows:
        typer.echo("none")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in rows[0]:
        table.add_column(_words(name), overflow="fold")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    _stdout().print(table)


def _stdout() -> Console:
    # A pipe has no width: what reads it wants one line a row.
    width = None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE
    return Console(markup=False, highlight=False, emoji=False, width=width)


def _words(name: str) -> str:
    return inflection.underscore(name).replace("_", " ")


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        case list():
            return ", ".join(map(_cell, value))
        case dict():
            return _json(value)
    # Some texts came from outside: they must not steer the terminal.
    return "".join(c if c.isprintable() else "?" for c in str(value))


def _json(value: object) -> str:
    """JSON that steers no terminal either: what cannot be printed is escaped, which a parser does not notice."""
    text = to_json(value).decode()
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else json.dumps(character)[1:-1]

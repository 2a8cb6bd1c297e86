"""CSV files of cases or drugs: each row checked against the contract, the good ones stored in batches.

What is wrong is named by line, field and rule, never by value: a file of cases is health data.
"""

import csv
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich import progress
from rich.console import Console
from sqlmodel import Session

from case_orders.cli import console
from case_orders.cli.database import open_database
from case_orders.edge.schema import Schema
from case_orders.envelope import JSON

BATCH = 500

File = Annotated[
    Path, typer.Argument(metavar="FILE.csv", exists=True, dir_okay=False, readable=True, help="A CSV file in UTF-8.")
]
Store = Callable[[Session, Sequence[JSON]], int]


@dataclass(frozen=True, slots=True)
class Format:
    """What a file looks like: its columns in any order, those of `required` at least.

    `body` makes of a row's filled cells what `schema` checks; `key` is the column in which no value comes twice.
    """

    columns: tuple[str, ...]
    required: tuple[str, ...]
    key: str
    schema: Schema
    body: Callable[[dict[str, str]], JSON]


@dataclass(frozen=True, slots=True)
class Row:
    """A row that begins at `line`."""

    line: int
    body: JSON = field(default_factory=dict)
    problems: Sequence[str] = ()


class Unreadable(Exception):
    """The file cannot be read, or not any further."""


def import_file(path: Path, form: Format, store: Store, *, as_json: bool) -> None:
    """Store the good rows and report the bad ones; ends the command with 1 if there was one.

    `store` gets the bodies of a batch inside one transaction and says how many of them were new.
    """
    tally = Counter(created=0, updated=0, refused=0)
    with open_database() as database, _reading(path) as file:
        try:
            rows = _good_rows(file, form, tally)
            while batch := list(islice(rows, BATCH)):
                with database.transaction() as session:
                    created = store(session, batch)
                tally.update(created=created, updated=len(batch) - created)
        except Unreadable as reason:
            tally["refused"] += 1
            console.say(str(reason))
    console.show(dict(tally), as_json=as_json)
    if tally["refused"]:
        raise typer.Exit(console.Exit.REFUSED)


@contextmanager
def _reading(path: Path) -> Iterator[TextIO]:
    """The file, with a bar on a terminal that shows how much of it has been read."""
    terminal = Console(stderr=True)
    with progress.open(
        path,
        "rt",
        encoding="utf-8-sig",
        newline="",
        description="Importing",
        console=terminal,
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as file:
        yield file


def _good_rows(file: TextIO, form: Format, tally: Counter[str]) -> Iterator[JSON]:
    for row in read(file, form):
        if row.problems:
            tally["refused"] += 1
            console.say(f"line {row.line}: {'; '.join(row.problems)}")
        else:
            yield row.body


def read(file: TextIO, form: Format) -> Iterator[Row]:
    """The rows of a file; raises `Unreadable` where it is not CSV in UTF-8, or has other columns."""
    reader = csv.reader(file, strict=True)
    seen: set[str] = set()
    try:
        header = _header(next(reader, []), form)
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                yield _row(line, header, cells, form, seen)
            line = reader.line_num + 1
    except (csv.Error, UnicodeDecodeError):
        raise Unreadable(f"After line {reader.line_num} the file is not CSV in UTF-8.") from None


def _header(names: list[str], form: Format) -> list[str]:
    # A file without a header begins with a patient: the names that are wrong must not be shown.
    header = [name.strip() for name in names]
    if not set(header) <= set(form.columns) or len(set(header)) < len(header):
        raise Unreadable(f"The first line must name columns out of {', '.join(form.columns)}.")
    if missing := [name for name in form.required if name not in header]:
        raise Unreadable(f"The first line lacks {', '.join(missing)}.")
    return header


def _row(line: int, header: list[str], cells: list[str], form: Format, seen: set[str]) -> Row:
    if len(cells) != len(header):
        return Row(line, problems=["must have as many columns as the first line"])
    fields = {name: cell.strip() for name, cell in zip(header, cells, strict=True) if cell.strip()}
    key = fields.get(form.key)
    if key is None:
        return Row(line, problems=[f"{form.key} is required"])
    if key in seen:
        return Row(line, problems=[f"{form.key} must not repeat an earlier line's"])
    seen.add(key)
    body = form.body(fields)
    return Row(line, body, [problem.message for problem in form.schema.problems(body)])

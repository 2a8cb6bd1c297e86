"""`case-orders audit`: whether the audit trail is whole, and copies of it to keep elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import orjson
import typer
from sqlmodel import Session

from case_orders.audit import verification
from case_orders.audit.verification import Head
from case_orders.cli import console, organizations
from case_orders.cli.console import AsJson
from case_orders.cli.database import snapshot
from models.audit import NO_ORGANIZATION

app = typer.Typer()

Chain = Annotated[
    str | None,
    typer.Option(
        "--organization", help="Only this organization's: its id or exact name, or `none` for what belongs to none."
    ),
]
HeadFile = Annotated[
    Path | None,
    typer.Option("--head", exists=True, dir_okay=False, readable=True, help="What `audit heads` wrote before."),
]


def _chain(session: Session, organization: str | None) -> str | None:
    if organization in (None, NO_ORGANIZATION):
        return organization
    return organizations.find(session, organization).id


@app.command()
def verify(organization: Chain = None, head: HeadFile = None, as_json: AsJson = False) -> None:
    """Follow each chain from its beginning; ends with 1 if one is not whole.

    Entries that were changed, removed or moved are found, and ends that were cut off. Whoever can write to the database
    can also set back the end that it tells; only the heads of an earlier day, kept elsewhere, show that.
    """
    exported = {} if head is None else _read(head)
    with snapshot() as session:
        verdicts = list(verification.verify(session, _chain(session, organization), exported))
    console.show_rows(
        [{"chain": verdict.chain, "entries": verdict.entries, "fault": verdict.fault} for verdict in verdicts],
        as_json=as_json,
    )
    if any(verdict.fault for verdict in verdicts):
        console.fail("The audit trail is not whole.")


@app.command()
def heads(organization: Chain = None) -> None:
    """Print the ends of the chains as JSON lines; keep them where nobody who can change the database comes."""
    with snapshot() as session:
        for head in verification.heads(session, _chain(session, organization)):
            _print_head(head)


@app.command()
def export(organization: Chain = None) -> None:
    """Print the entries as JSON lines, and after them the ends of the chains."""
    with snapshot() as session:
        chain = _chain(session, organization)
        for entry in verification.entries(session, chain):
            console.show_json({"entry": entry | {"mac": entry["mac"].hex()}})
        for head in verification.heads(session, chain):
            _print_head(head)


def _print_head(head: Head) -> None:
    console.show_json({"head": {"chain": head.chain, "position": head.position, "mac": head.mac.hex()}})


def _read(path: Path) -> Mapping[str, Head]:
    """The heads in a file of `heads` or `export`, by their chains."""
    found = {}
    try:
        with path.open("rb") as lines:
            for line in map(orjson.loads, lines):
                if "head" in line:
                    head = line["head"]
                    found[head["chain"]] = Head(head["chain"], head["position"], bytes.fromhex(head["mac"]))
    except (ValueError, KeyError, TypeError):
        console.fail("The file of --head is not what case-orders audit heads wrote.")
    return found

"""`case-orders drugs`."""

from collections.abc import Sequence

import typer
from sqlmodel import Session, col, select

from case_orders.cli import organizations, table_file
from case_orders.cli.console import AsJson
from case_orders.cli.database import snapshot, tell
from case_orders.cli.organizations import Org
from case_orders.edge import contract
from case_orders.edge.schema import Schema
from case_orders.envelope import JSON
from models import Drug

app = typer.Typer()

COLUMNS = ("code", "name", "strength", "form", "ndc", "rxcui", "schedule")


def _schema() -> Schema:
    """A drug as it is imported: stricter than the contract's Drug, which is an answer."""
    parts = contract.resolved()["components"]["schemas"]
    properties = dict.fromkeys(("name", "strength", "form"), parts["Line"])
    properties |= {"code": parts["Slug"], "schedule": parts["DrugSchedule"]}
    # 21 CFR 207.33, and the 11 and 12 digits of billing and of 91 FR 10749.
    properties["ndc"] = {
        "type": "string",
        "pattern": "^([0-9]{4,6}-[0-9]{3,4}-[0-9]{1,2}|[0-9]{10,12})$",
        "x-error-message": "must be a National Drug Code",
    }
    properties["rxcui"] = {
        "type": "string",
        "pattern": "^[0-9]{1,8}$",
        "x-error-message": "must be an RxNorm identifier",
    }
    return Schema({"type": "object", "required": ["code", "name"], "properties": properties})


@app.command("import")
def import_(org: Org, file: table_file.File, as_json: AsJson = False) -> None:
    """Import drugs from a CSV file.

    Columns: code, name, schedule, and any of strength, form, ndc, rxcui. A drug of the same code is replaced by the
    row, so the same file can be imported again; its schedule is II, III, IV, V or empty. Bad rows are reported and left
    out; the others are imported.
    """
    with snapshot() as session:
        organization_id = organizations.find(session, org).id
    form = table_file.Format(
        columns=COLUMNS,
        # Without its schedule a controlled drug would become one that anybody may order.
        required=("code", "name", "schedule"),
        key="code",
        schema=_schema(),
        body=lambda fields: dict(fields),
    )
    table_file.import_file(file, form, lambda s, bodies: _store(s, organization_id, bodies), as_json=as_json)


def _store(session: Session, organization_id: str, bodies: Sequence[JSON]) -> int:
    codes = [body["code"] for body in bodies]
    query = select(Drug).where(Drug.organization_id == organization_id, col(Drug.code).in_(codes))
    known = {drug.code: drug for drug in session.exec(query)}
    for body in bodies:
        drug = known.get(body["code"]) or Drug(organization_id=organization_id, code=body["code"], name=body["name"])
        for column in COLUMNS:
            setattr(drug, column, body.get(column))
        session.add(drug)
    tell(session, "drugs import", organization_id)
    return len(bodies) - len(known)

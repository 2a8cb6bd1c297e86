"""`case-orders cases`."""

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer
from sqlmodel import Session, col, select

from case_orders.auth import SCOPES, Caller
from case_orders.cli import console, organizations, table_file
from case_orders.cli.console import AsJson
from case_orders.cli.database import snapshot, tell, transaction
from case_orders.cli.organizations import Org
from case_orders.edge import contract
from case_orders.envelope import JSON
from case_orders.errors import Refusal
from handlers import addresses
from handlers.cases import create_case
from models import Case

app = typer.Typer()

ADDRESS = ("addressLine1", "addressLine2", "city", "state", "country", "postalCode")
PATIENT = ("firstName", "lastName", "dateOfBirth", "email", "phoneNumber")


def new_case(fields: Mapping[str, str]) -> JSON:
    """The contract's NewCase of flat fields, those that are known."""
    patient: JSON = {name: fields[name] for name in PATIENT if name in fields}
    address = {name: fields[name] for name in ADDRESS if name in fields}
    if address:
        patient["address"] = address
    return {name: fields[name] for name in ("reference",) if name in fields} | {"patient": patient}


@app.command()
def create(
    org: Org,
    first_name: Annotated[str, typer.Option()],
    last_name: Annotated[str, typer.Option()],
    reference: Annotated[str | None, typer.Option(help="Your own identifier of the case.")] = None,
    date_of_birth: Annotated[str | None, typer.Option(help="YYYY-MM-DD.")] = None,
    email: Annotated[str | None, typer.Option()] = None,
    phone_number: Annotated[str | None, typer.Option()] = None,
    address_line1: Annotated[str | None, typer.Option()] = None,
    address_line2: Annotated[str | None, typer.Option()] = None,
    city: Annotated[str | None, typer.Option()] = None,
    state: Annotated[str | None, typer.Option(help="Two letters.")] = None,
    country: Annotated[str | None, typer.Option(help="Two letters.")] = None,
    postal_code: Annotated[str | None, typer.Option(help="Five digits.")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a case."""
    given = {
        "reference": reference,
        "firstName": first_name,
        "lastName": last_name,
        "dateOfBirth": date_of_birth,
        "email": email,
        "phoneNumber": phone_number,
        "addressLine1": address_line1,
        "addressLine2": address_line2,
        "city": city,
        "state": state,
        "country": country,
        "postalCode": postal_code,
    }
    body = new_case({name: value for name, value in given.items() if value is not None})
    console.show(_create(org, body), as_json=as_json)


def _create(org: str, body: JSON) -> JSON:
    if problems := contract.component("NewCase").problems(body):
        console.fail("; ".join(problem.message for problem in problems))
    with transaction() as session:
        operator = Caller(organizations.find(session, org).id, "", SCOPES)
        try:
            answer = create_case(session, operator, body)
        except Refusal as refusal:
            console.fail(refusal.error)
        case = answer.envelope()["data"]["case"]
        tell(session, "cases create", operator.organization_id, case_id=case["id"])
    return {name: case.get(name) for name in ("id", "reference", "createdAt")}


@app.command("import")
def import_(org: Org, file: table_file.File, as_json: AsJson = False) -> None:
    """Import cases from a CSV file.

    Columns: reference, firstName, lastName, and any of dateOfBirth, email, phoneNumber, addressLine1, addressLine2,
    city, state, country, postalCode. A case with the same reference is kept and its patient replaced by the row's, so
    the same file can be imported again. Bad rows are reported and left out; the others are imported.
    """
    with snapshot() as session:
        organization_id = organizations.find(session, org).id
    form = table_file.Format(
        columns=("reference", *PATIENT, *ADDRESS),
        required=("reference", "firstName", "lastName"),
        key="reference",
        schema=contract.component("NewCase"),
        body=new_case,
    )
    table_file.import_file(file, form, lambda s, bodies: _store(s, organization_id, bodies), as_json=as_json)


def _store(session: Session, organization_id: str, bodies: Sequence[JSON]) -> int:
    references = [body["reference"] for body in bodies]
    query = select(Case).where(Case.organization_id == organization_id, col(Case.reference).in_(references))
    known = {case.reference: case for case in session.exec(query)}
    stored = []
    for body in bodies:
        patient = addresses.of_patient(body["patient"])
        case = known.get(body["reference"])
        if case is None:
            case = Case(organization_id=organization_id, reference=body["reference"], patient=patient)
        else:
            case.patient = patient
        session.add(case)
        stored.append(case.id)
    tell(session, "cases import", organization_id, case_ids=stored)
    return len(bodies) - len(known)

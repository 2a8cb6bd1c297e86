"""`case-orders organizations`."""

from typing import Annotated

import typer
from sqlmodel import Session, col, select

from case_orders.cli import console
from case_orders.cli.console import AsJson, Exit
from case_orders.cli.database import snapshot, tell, transaction
from case_orders.edge import contract
from case_orders.envelope import JSON
from models import Organization

app = typer.Typer()

Org = Annotated[str, typer.Argument(metavar="ORG", help="An organization's id or exact name.")]


def find(session: Session, org: str) -> Organization:
    """An organization by its id or its exact name; ends the command if there is none."""
    query = select(Organization).where((col(Organization.id) == org) | (col(Organization.name) == org))
    organization = session.exec(query).first()
    if organization is None:
        console.fail("There is no such organization.", Exit.NOT_FOUND)
    return organization


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name, unlike any other's.")],
    refuse_wrong_npi: Annotated[
        bool, typer.Option("--refuse-wrong-npi", help="Refuse orders whose NPI has a wrong check digit.")
    ] = False,
    test: Annotated[bool, typer.Option("--test", help="For tests: its keys are test keys.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create an organization. What is for tests lies in an organization of its own."""
    if contract.component("Line").problems(name):
        console.fail("NAME must be 1 to 100 printable characters and not blank.")
    with transaction() as session:
        if session.exec(select(Organization.id).where(Organization.name == name)).first() is not None:
            console.fail("NAME is already used by another organization.")
        organization = Organization(name=name, refuse_wrong_npi=refuse_wrong_npi, is_test=test)
        session.add(organization)
        tell(session, "organizations create", organization.id, organization_id=organization.id)
    console.show(_shown(organization), as_json=as_json)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the organizations."""
    with snapshot() as session:
        organizations = session.exec(select(Organization).order_by(col(Organization.name))).all()
    console.show_rows([_shown(organization) for organization in organizations], as_json=as_json)


def _shown(organization: Organization) -> JSON:
    return {
        "id": organization.id,
        "name": organization.name,
        "test": organization.is_test,
        "refuseWrongNpi": organization.refuse_wrong_npi,
        "createdAt": organization.created_at,
    }

"""`case-orders pharmacies`."""

from typing import Annotated
from urllib.parse import urlsplit

import typer
from sqlmodel import Session, col, select

from case_orders.cli import console, organizations
from case_orders.cli.console import AsJson, Exit
from case_orders.cli.database import load_settings, snapshot, tell, transaction
from case_orders.cli.organizations import Org
from case_orders.cli.processes import is_loopback
from case_orders.edge import contract
from case_orders.envelope import JSON
from case_orders.outbound import Blocked, Outbound
from case_orders.pharmacies.protocol import callback_url
from case_orders.settings import Settings
from case_orders.signing_secrets import new_secret
from models import Pharmacy

Code = Annotated[str, typer.Argument(help="The id by which orders name it.")]

app = typer.Typer()


@app.command()
def add(
    org: Org,
    code: Code,
    name: Annotated[str, typer.Option(help="Its name.")],
    base_url: Annotated[str, typer.Option(help="Where it answers the pharmacy protocol.")],
    accepts_controlled_substances: Annotated[
        bool, typer.Option("--accepts-controlled-substances", help="It takes the legal signature elsewhere.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Connect a pharmacy and show its secrets, this once."""
    settings = load_settings()
    _check(settings, code, name, base_url)
    with transaction() as session:
        organization = organizations.find(session, org)
        taken = select(Pharmacy.id).where(Pharmacy.organization_id == organization.id, Pharmacy.code == code)
        if session.exec(taken).first() is not None:
            console.fail("CODE is already used by another pharmacy of the organization.")
        pharmacy = Pharmacy(
            organization_id=organization.id,
            code=code,
            name=name,
            base_url=base_url,
            request_secret=new_secret(),
            report_secret=new_secret(),
            accepts_controlled_substances=accepts_controlled_substances,
        )
        session.add(pharmacy)
        tell(session, "pharmacies add", organization.id, pharmacy_id=pharmacy.id)
    _show_secrets(pharmacy, settings, as_json=as_json)


@app.command()
def update(
    org: Org,
    code: Code,
    name: Annotated[str | None, typer.Option(help="Its new name.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Where it answers from now on.")] = None,
    accepts_controlled_substances: Annotated[
        bool | None,
        typer.Option(
            "--accepts-controlled-substances/--refuses-controlled-substances",
            help="Whether it takes the legal signature elsewhere.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change a pharmacy; what is not given stays."""
    settings = load_settings()
    with transaction() as session:
        pharmacy = _find(session, org, code)
        pharmacy.name = name or pharmacy.name
        pharmacy.base_url = base_url or pharmacy.base_url
        if accepts_controlled_substances is not None:
            pharmacy.accepts_controlled_substances = accepts_controlled_substances
        _check(settings, pharmacy.code, pharmacy.name, pharmacy.base_url)
        session.add(pharmacy)
        tell(session, "pharmacies update", pharmacy.organization_id, pharmacy_id=pharmacy.id)
    console.show(_shown(pharmacy, settings), as_json=as_json)


@app.command()
def rotate(org: Org, code: Code, as_json: AsJson = False) -> None:
    """Replace a pharmacy's secrets and show the new ones, this once.

    The old ones open nothing from now on: reports signed with them are refused, and the pharmacy sends them again.
    """
    with transaction() as session:
        pharmacy = _find(session, org, code)
        pharmacy.request_secret, pharmacy.report_secret = new_secret(), new_secret()
        session.add(pharmacy)
        tell(session, "pharmacies rotate", pharmacy.organization_id, pharmacy_id=pharmacy.id)
    _show_secrets(pharmacy, load_settings(), as_json=as_json)


def _find(session: Session, org: str, code: str) -> Pharmacy:
    organization = organizations.find(session, org)
    query = select(Pharmacy).where(Pharmacy.organization_id == organization.id, Pharmacy.code == code)
    return session.exec(query).one_or_none() or console.fail("The organization has no such pharmacy.", Exit.NOT_FOUND)


def _show_secrets(pharmacy: Pharmacy, settings: Settings, *, as_json: bool) -> None:
    secrets = {"requestSecret": pharmacy.request_secret, "reportSecret": pharmacy.report_secret}
    console.show(_shown(pharmacy, settings) | secrets, as_json=as_json)
    console.say("The secrets are shown this once; give them to the pharmacy now.")
    if is_loopback(urlsplit(settings.public_url).hostname or ""):
        console.say(
            "The callback URL leads to this machine only: "
            "set CASE_ORDERS_PUBLIC_URL to the address at which the pharmacy reaches the service."
        )


def _check(settings: Settings, code: str, name: str, base_url: str) -> None:
    for given, component, sentence in (
        (code, "Slug", "CODE must be 1 to 64 letters, digits or . _ ~ -."),
        (name, "Line", "--name must be 1 to 100 printable characters and not blank."),
        (base_url, "WebhookUrl", "--base-url must be an http or https URL without user name, password or fragment."),
    ):
        if contract.component(component).problems(given):
            console.fail(sentence)
    if "?" in base_url:
        console.fail("--base-url must have no query.")
    try:
        Outbound(settings.outbound_allow).check_url(base_url)
    except Blocked as blocked:
        console.fail(f"--base-url is not allowed: {blocked.reason}.")


@app.command("list")
def list_(org: Org, as_json: AsJson = False) -> None:
    """List the pharmacies of an organization, without their secrets."""
    settings = load_settings()
    with snapshot() as session:
        organization = organizations.find(session, org)
        query = select(Pharmacy).where(Pharmacy.organization_id == organization.id).order_by(col(Pharmacy.code))
        pharmacies = session.exec(query).all()
    console.show_rows([_shown(pharmacy, settings) for pharmacy in pharmacies], as_json=as_json)


def _shown(pharmacy: Pharmacy, settings: Settings) -> JSON:
    return {
        "code": pharmacy.code,
        "name": pharmacy.name,
        "baseUrl": pharmacy.base_url,
        "acceptsControlledSubstances": pharmacy.accepts_controlled_substances,
        "callbackUrl": callback_url(settings.public_url, pharmacy.id),
    }

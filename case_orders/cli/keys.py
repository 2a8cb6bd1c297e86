"""`case-orders keys`."""

from datetime import timedelta
from typing import Annotated

import typer
from sqlmodel import col, select

from case_orders import auth
from case_orders.cli import console, encryption, organizations
from case_orders.cli.console import AsJson
from case_orders.cli.database import get, snapshot, tell, transaction
from case_orders.cli.organizations import Org
from case_orders.db import now
from case_orders.edge import contract
from case_orders.envelope import JSON
from models import ApiKey, Organization

app = typer.Typer()
app.add_typer(encryption.app, name="encryption")

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="The id of a key, as `keys list` shows it.")]


def _known(scopes: list[str]) -> list[str]:
    if not auth.SCOPES.issuperset(scopes):
        raise typer.BadParameter(f"a scope is one of {', '.join(sorted(auth.SCOPES))}")
    return scopes


@app.command()
def create(
    org: Org,
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scopes: Annotated[
        list[str],
        typer.Option("--scope", callback=_known, help="What the key may do; may be repeated.", show_default="all"),
    ] = [],  # noqa: B006  typer copies it
    expires_in_days: Annotated[int | None, typer.Option(min=1, show_default="never")] = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and show it, this once."""
    if contract.component("Line").problems(name):
        console.fail("--name must be 1 to 100 printable characters and not blank.")
    expires_at = None if expires_in_days is None else now() + timedelta(days=expires_in_days)
    with transaction() as session:
        organization = organizations.find(session, org)
        key = auth.new_key(test=organization.is_test)
        row = auth.store_key(session, organization.id, name, key, scopes or auth.SCOPES, expires_at)
        tell(session, "keys create", organization.id, key_id=row.id)
    _show_once(row, key, as_json=as_json)


@app.command("list")
def list_(org: Org, as_json: AsJson = False) -> None:
    """List the keys of an organization, never the keys themselves."""
    with snapshot() as session:
        organization = organizations.find(session, org)
        keys = session.exec(
            select(ApiKey).where(ApiKey.organization_id == organization.id).order_by(col(ApiKey.id))
        ).all()
    console.show_rows([_shown(key) for key in keys], as_json=as_json)


@app.command()
def rotate(
    key_id: KeyId,
    overlap_hours: Annotated[int, typer.Option(min=0, help="How long the old key still works.")] = 24,
    as_json: AsJson = False,
) -> None:
    """Put a new key in the place of an old one: same name, same scopes, and as long a life if it has an end."""
    moment = now()
    with transaction() as session:
        old = get(session, ApiKey, key_id, "key")
        if not old.is_valid_at(moment):
            console.fail("The key has expired or was revoked; create a new one.")
        expires_at = None if old.expires_at is None else moment + (old.expires_at - old.created_at)
        key = auth.new_key(test=session.get_one(Organization, old.organization_id).is_test)
        row = auth.store_key(session, old.organization_id, old.name, key, old.scopes, expires_at)
        end = moment + timedelta(hours=overlap_hours)
        old.expires_at = end if old.expires_at is None else min(end, old.expires_at)
        session.add(old)
        tell(session, "keys rotate", old.organization_id, key_id=row.id, old_key_id=old.id)
    _show_once(row, key, as_json=as_json)


@app.command()
def revoke(key_id: KeyId) -> None:
    """End a key at once."""
    with transaction() as session:
        key = get(session, ApiKey, key_id, "key")
        key.revoked_at = key.revoked_at or now()
        session.add(key)
        tell(session, "keys revoke", key.organization_id, key_id=key.id)
    console.say("The key is revoked.")
    # Whoever had it may have led messages somewhere.
    console.say(f"Webhooks stay as they are: look at them by case-orders webhooks list {key.organization_id}.")


def _show_once(row: ApiKey, key: str, *, as_json: bool) -> None:
    console.show({"key": key, **_shown(row)}, as_json=as_json)
    console.say("The key is shown this once; keep it now.")


def _shown(key: ApiKey) -> JSON:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": key.scopes,
        "valid": key.is_valid_at(now()),
        "createdAt": key.created_at,
        "expiresAt": key.expires_at,
        "revokedAt": key.revoked_at,
        "lastUsedAt": key.last_used_at,
    }

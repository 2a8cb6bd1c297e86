"""`case-orders webhooks`: where an organization's messages go, and stopping them."""

from typing import Annotated

import typer
from sqlmodel import col, select

from case_orders.cli import console, organizations
from case_orders.cli.console import AsJson
from case_orders.cli.database import get, snapshot, tell, transaction
from case_orders.cli.organizations import Org
from case_orders.envelope import JSON
from models import Webhook

app = typer.Typer()


@app.command("list")
def list_(org: Org, as_json: AsJson = False) -> None:
    """List the webhooks of an organization, the oldest first."""
    with snapshot() as session:
        organization = organizations.find(session, org)
        query = select(Webhook).where(Webhook.organization_id == organization.id).order_by(col(Webhook.id))
        rows = [_shown(webhook) for webhook in session.exec(query)]
    console.show_rows(rows, as_json=as_json)


@app.command()
def disable(
    webhook_id: Annotated[str, typer.Argument(metavar="WEBHOOK_ID", help="Its id, as `webhooks list` shows it.")],
) -> None:
    """Send nothing to a webhook any more. A key with webhooks:manage can switch it on again."""
    with transaction() as session:
        webhook = get(session, Webhook, webhook_id, "webhook")
        webhook.active, webhook.inactive_reason = False, "Disabled by the operator"
        session.add(webhook)
        tell(session, "webhooks disable", webhook.organization_id, webhook_id=webhook.id)
    console.say("The webhook is disabled.")


def _shown(webhook: Webhook) -> JSON:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "events": webhook.events,
        "dataMode": webhook.data_mode,
        "documentMode": webhook.document_mode,
        "active": webhook.active,
        "createdAt": webhook.created_at,
    }

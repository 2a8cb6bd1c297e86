"""`case-orders deliveries`: what was sent to webhooks, and sending it again."""

from typing import Annotated

import typer
from sqlmodel import Session, col, func, select

from case_orders.cli import console
from case_orders.cli.console import AsJson, Exit, Limit
from case_orders.cli.database import get, snapshot, tell, transaction
from case_orders.envelope import JSON
from case_orders.webhooks import events
from models import Attempt, Delivery, Webhook
from models.webhooks import DeliveryStatus

app = typer.Typer()


@app.command("list")
def list_(
    status: Annotated[DeliveryStatus | None, typer.Option(case_sensitive=False)] = None,
    webhook: Annotated[str | None, typer.Option(help="Only those of the webhook with this id.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List deliveries, the newest first, with what became of the last attempt."""
    of_delivery = Attempt.delivery_id == Delivery.id
    attempts = select(func.count()).where(of_delivery).scalar_subquery()
    last = select(Attempt.outcome).where(of_delivery).order_by(col(Attempt.id).desc()).limit(1).scalar_subquery()
    query = select(Delivery, attempts, last).order_by(col(Delivery.id).desc()).limit(limit)
    if status is not None:
        query = query.where(Delivery.status == status)
    with snapshot() as session:
        if webhook is not None:
            query = query.where(Delivery.webhook_id == get(session, Webhook, webhook, "webhook").id)
        rows = [_shown(*row) for row in session.exec(query)]
    console.show_rows(rows, as_json=as_json)


def _shown(delivery: Delivery, attempts: int, last_outcome: str | None) -> JSON:
    return {
        "id": delivery.id,
        "webhook": delivery.webhook_id,
        "eventType": delivery.event_type,
        "status": delivery.status,
        "attempts": attempts,
        "lastOutcome": last_outcome,
        "nextAttemptAt": delivery.next_attempt_at,
        "createdAt": delivery.created_at,
    }


@app.command()
def redeliver(delivery_ids: Annotated[list[str], typer.Argument(metavar="DELIVERY_ID...")]) -> None:
    """Send messages again, with the whole schedule of retries before them; all that are named or none."""
    with transaction() as session:
        for delivery_id in dict.fromkeys(delivery_ids):
            webhook = _send_again(session, delivery_id)
            tell(session, "deliveries redeliver", webhook.organization_id, delivery_id=delivery_id)
    console.say(f"Deliveries to be sent again: {len(set(delivery_ids))}.")


def _send_again(session: Session, delivery_id: str) -> Webhook:
    """Promise to send a message again; the webhook that it goes to."""
    webhook = events.hold(session, Webhook, get(session, Delivery, delivery_id, "delivery").webhook_id)
    if webhook is not None and not webhook.active:
        console.fail("The webhook of a delivery is not active.")
    if webhook is None or events.send_now(session, webhook, delivery_id) is None:  # deleted meanwhile
        console.fail("There is no such delivery.", Exit.NOT_FOUND)
    return webhook

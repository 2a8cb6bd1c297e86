"""Webhooks: where an organization is told of its cases, and what became of each message."""

from collections import defaultdict
from datetime import timedelta

from sqlmodel import Session, col, func, select

from case_orders.auth import Caller
from case_orders.db import now
from case_orders.envelope import JSON, Answer, accepted, created, no_content, ok, page
from case_orders.errors import Conflict, Forbidden, Invalid, Problem, not_found
from case_orders.outbound import Blocked, Outbound
from case_orders.signing_secrets import new_secret
from case_orders.webhooks import events
from handlers.lookup import own_delivery, own_webhook, own_webhook_to_change
from handlers.pages import Pages
from models import Attempt, Delivery, Webhook

OLD_SECRET_VALID_FOR = timedelta(hours=24)
MOST_WEBHOOKS = 50

_WEBHOOKS = Pages(Webhook, of="organization_id", by="id")
_DELIVERIES = Pages(Delivery, of="webhook_id", by="id", descending=True)


def list_webhooks(session: Session, caller: Caller, limit: int, cursor: str | None = None) -> Answer:
    webhooks, following = _WEBHOOKS.page(session, caller.organization_id, limit, cursor)
    return page("webhooks", [webhook.as_json() for webhook in webhooks], following)


def create_webhook(session: Session, caller: Caller, body: JSON, outbound: Outbound) -> Answer:
    _require_reachable(outbound, body["url"])
    _require_scopes(caller, body.get("dataMode"), body.get("documentMode"))
    _require_room(session, caller)
    webhook = Webhook(
        organization_id=caller.organization_id,
        url=body["url"],
        events=body["events"],
        description=body.get("description"),
        data_mode=body.get("dataMode", "IDS"),
        document_mode=body.get("documentMode", "NONE"),
        secret=new_secret(),
    )
    session.add(webhook)
    location = f"/webhooks/{webhook.id}"
    return created("Webhook created successfully", location, webhook=webhook.as_json(), secret=webhook.secret)


def _require_scopes(caller: Caller, data_mode: str | None, document_mode: str | None) -> None:
    """Whoever says where messages go must be allowed to read what they hold, or a webhook would be a way around."""
    needed = {"FULL": "orders:read", "URL": "documents:read", "BASE64": "documents:read"}
    for scope in (needed.get(mode or "") for mode in (data_mode, document_mode)):
        if scope is not None and scope not in caller.scopes:
            raise Forbidden(f"API key lacks the scope {scope}", "insufficient_scope")


def _require_room(session: Session, caller: Caller) -> None:
    """Every event is written once for each webhook, so their number is what one event may cost."""
    # Two that come at once may both find room: no harm, and no lock.
    query = select(func.count()).select_from(Webhook).where(Webhook.organization_id == caller.organization_id)
    if session.exec(query).one() >= MOST_WEBHOOKS:
        raise Conflict(f"Organization already has {MOST_WEBHOOKS} webhooks", "too_many_webhooks")


def _require_reachable(outbound: Outbound, url: str) -> None:
    """A look at the address's form; the address itself is judged at every connect."""
    try:
        outbound.check_url(url)
    except Blocked as blocked:
        raise Invalid.because([Problem("/url", f"url is not allowed: {blocked.reason}", "url_not_allowed")]) from None


def get_webhook(session: Session, caller: Caller, webhook_id: str) -> Answer:
    return ok(webhook=own_webhook(session, caller, webhook_id).as_json())


def update_webhook(session: Session, caller: Caller, webhook_id: str, body: JSON, outbound: Outbound) -> Answer:
    webhook = own_webhook_to_change(session, caller, webhook_id)
    if "url" in body:
        _require_reachable(outbound, body["url"])
    columns = {"dataMode": "data_mode", "documentMode": "document_mode"}
    if body.keys() & {"url", *columns}:
        _require_scopes(
            caller, body.get("dataMode", webhook.data_mode), body.get("documentMode", webhook.document_mode)
        )
    if "active" in body:
        webhook.inactive_reason = None
    if "active" in body or body.get("url", webhook.url) != webhook.url:
        webhook.failing_since = webhook.failed_at = None
    for name, value in body.items():
        setattr(webhook, columns.get(name, name), value)
    session.add(webhook)
    return ok("Webhook updated successfully", webhook=webhook.as_json())


def delete_webhook(session: Session, caller: Caller, webhook_id: str) -> Answer:
    session.delete(own_webhook_to_change(session, caller, webhook_id))
    return no_content()


def rotate_webhook_secret(session: Session, caller: Caller, webhook_id: str) -> Answer:
    webhook = own_webhook_to_change(session, caller, webhook_id)
    moment = now()
    # A rotation whose answer was lost is repeated: the endpoint knows the secret before both, and that one stays.
    if len(webhook.secrets_at(moment)) == 1:
        webhook.previous_secret, webhook.previous_secret_until = (webhook.secret, moment + OLD_SECRET_VALID_FOR)
    webhook.secret = new_secret()
    session.add(webhook)
    return ok("Secret rotated successfully", webhook=webhook.as_json(), secret=webhook.secret)


def send_test_event(session: Session, caller: Caller, webhook_id: str) -> Answer:
    webhook = own_webhook(session, caller, webhook_id)
    _require_active(webhook)
    delivery = events.test_event(session, webhook)
    return accepted("Test event accepted", delivery=delivery.as_json([]))


def _require_active(webhook: Webhook) -> None:
    if not webhook.active:
        raise Conflict("Webhook is not active", "webhook_inactive")


def list_webhook_deliveries(
    session: Session, caller: Caller, webhook_id: str, limit: int, cursor: str | None = None, status: str | None = None
) -> Answer:
    webhook = own_webhook(session, caller, webhook_id)
    deliveries, following = _DELIVERIES.page(session, webhook.id, limit, cursor, status=status)
    attempts = _attempts(session, deliveries)
    return page("deliveries", [delivery.as_json(attempts[delivery.id]) for delivery in deliveries], following)


def _attempts(session: Session, deliveries: list[Delivery]) -> dict[str, list[Attempt]]:
    found: dict[str, list[Attempt]] = defaultdict(list)
    ids = [delivery.id for delivery in deliveries]
    for attempt in session.exec(select(Attempt).where(col(Attempt.delivery_id).in_(ids)).order_by(col(Attempt.id))):
        found[attempt.delivery_id].append(attempt)
    return found


def redeliver(session: Session, caller: Caller, webhook_id: str, delivery_id: str) -> Answer:
    webhook = own_webhook_to_change(session, caller, webhook_id)
    delivery_id = own_delivery(session, webhook, delivery_id).id
    _require_active(webhook)
    delivery = events.send_now(session, webhook, delivery_id)
    if delivery is None:
        raise not_found("Delivery")
    return accepted("Redelivery accepted", delivery=delivery.as_json(_attempts(session, [delivery])[delivery.id]))

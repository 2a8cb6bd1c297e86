"""What workers do to an order is told in the audit trail of its organization."""

from case_orders.audit.verification import verify
from models import AuditEntry
from tests.fulfillment.house import Clinic, until
from tests.support.trail import entries


async def test_each_job_leaves_an_entry_when_it_is_done(clinic: Clinic) -> None:
    database = clinic.house.database
    order_id = await clinic.place()

    def told() -> list[AuditEntry]:
        return [entry for entry in entries(database, clinic.tenant.organization_id) if entry.actor == "system"]

    await until(lambda: {"submit_order", "apply_report", "fetch_document"} <= {each.action for each in told()})
    (submission,) = [entry for entry in told() if entry.action == "submit_order"]
    assert (submission.outcome, submission.records) == ("done", {"order_id": order_id})
    assert (submission.client, submission.request_id) == (None, None)
    with database.snapshot() as session:
        (verdict,) = verify(session, clinic.tenant.organization_id)
    assert verdict.fault is None


async def test_a_job_that_is_given_up_says_so(clinic: Clinic) -> None:
    database = clinic.house.database
    await clinic.place("drug-bad-document")
    chain = clinic.tenant.organization_id
    await until(
        lambda: any((e.action, e.outcome) == ("fetch_document", "given up") for e in entries(database, chain)),
        "the document to be given up",
    )

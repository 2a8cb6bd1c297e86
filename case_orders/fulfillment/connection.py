"""The pharmacy of an order, ready to be spoken to."""

from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from case_orders.pharmacies.http import HttpPharmacy
from case_orders.pharmacies.protocol import PharmacyConflict, PharmacyError
from case_orders.work import Again, Context, GiveUp
from models import Pharmacy

# A pharmacy that asks for a longer pause is asked again all the same: it may have been a slip.
LONGEST_RETRY_AFTER_SECONDS = 15 * 60


_BY_ID = select(Pharmacy).where(col(Pharmacy.id).in_(bindparam("ids", expanding=True)))


def pharmacies(session: Session, ids: Collection[str]) -> dict[str, Pharmacy]:
    """Pharmacies by their ids."""
    return {pharmacy.id: pharmacy for pharmacy in session.exec(_BY_ID, params={"ids": list(set(ids))})}


def connect(context: Context, pharmacy: Pharmacy) -> HttpPharmacy:
    return HttpPharmacy(pharmacy.base_url, pharmacy.request_secret, context.outbound)


def verdict(error: PharmacyError) -> Again | GiveUp:
    """What an error of the pharmacy means for the job."""
    if isinstance(error, PharmacyConflict):
        return GiveUp(error.reason)
    return Again(error.reason, timedelta(seconds=min(error.retry_after or 0, LONGEST_RETRY_AFTER_SECONDS)))

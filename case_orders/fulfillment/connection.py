"""The pharmacy of an order, ready to be spoken to."""

from datetime import timedelta

from case_orders.pharmacies.http import HttpPharmacy
from case_orders.pharmacies.protocol import PharmacyConflict, PharmacyError
from case_orders.work import Again, Context, GiveUp
from models import Pharmacy


def connect(context: Context, pharmacy: Pharmacy) -> HttpPharmacy:
    return HttpPharmacy(pharmacy.base_url, pharmacy.request_secret, context.outbound.session)


def verdict(error: PharmacyError) -> Again | GiveUp:
    """What an error of the pharmacy means for the job."""
    if isinstance(error, PharmacyConflict):
        return GiveUp(error.reason)
    return Again(error.reason, None if error.retry_after is None else timedelta(seconds=error.retry_after))

"""What the schema cannot say of an order: its catalogue, its address and the law on controlled substances."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from sqlmodel import Session

from case_orders.db import now
from case_orders.edge.schema import field_name, pointer
from case_orders.envelope import JSON
from case_orders.errors import Problem
from case_orders.lookups import Lookup
from case_orders.shared_session import Ask
from handlers.identifiers import is_dea_number, is_npi, is_phone_number
from models import Case, Drug, Organization, Pharmacy

# The most refills by schedule: 21 CFR 1306.12 (II), 1306.22 (III and IV); V has no federal number.
MOST_REFILLS = {"II": (0, "21 CFR 1306.12"), "III": (5, "21 CFR 1306.22"), "IV": (5, "21 CFR 1306.22")}
# A prescription for a schedule III or IV drug may not be filled more than six months after its date: 21 CFR 1306.22.
SIX_MONTHS = timedelta(days=184)
# A prescription is issued when it is written and signed (21 CFR 1306.05); the later ones here stand in.
DATES = ("dateWritten", "dateSigned", "datePrescribed")
# Where the day begins first it is 14 hours ahead of UTC.
AHEAD = timedelta(hours=14)


def _problem(path: tuple[str | int, ...], words: str, code: str) -> Problem:
    return Problem(pointer(path), f"{field_name(path)} {words}", code)


_ORGANIZATIONS = Lookup(Organization, "id")
_PHARMACIES = Lookup(Pharmacy, "organization_id", "code")
_DRUGS = Lookup(Drug, "organization_id", "code")


def _drugs(organization_id: str, asked: JSON) -> set[tuple[str, str]]:
    return {(organization_id, item["drugId"]) for item in asked["prescriptionItems"]}


@dataclass(frozen=True, slots=True)
class Prescription:
    """An order that obeys the schema, with what it refers to."""

    asked: JSON
    organization: Organization
    pharmacy: Pharmacy | None
    drugs: dict[str, Drug]
    address: JSON | None

    @staticmethod
    def asks(organization_id: str, asked: JSON) -> Iterator[Ask]:
        """What `look_up` will look up."""
        yield _ORGANIZATIONS.ask(organization_id)
        yield _PHARMACIES.ask(organization_id, asked["pharmacyId"])
        yield from (_DRUGS.ask(*values) for values in _drugs(organization_id, asked))

    @classmethod
    def look_up(cls, session: Session, case: Case, asked: JSON) -> "Prescription":
        us = case.organization_id
        organization = _ORGANIZATIONS.one(session, us)
        assert organization is not None  # its case refers to it
        drugs = _DRUGS.each(session, _drugs(us, asked))
        return cls(
            asked,
            organization,
            _PHARMACIES.one(session, us, asked["pharmacyId"]),
            {drug.code: drug for rows in drugs.values() for drug in rows},
            asked.get("shippingAddress") or case.patient.get("address"),
        )

    def review(self) -> tuple[list[Problem], list[Problem]]:
        """What forbids the order, and what only deserves a look."""
        problems = [*self._missing(), *self._controlled()]
        doubts = list(self._doubts())
        if self.organization.refuse_wrong_npi:
            problems += [doubt for doubt in doubts if doubt.code == "npi_check_digit"]
        return problems, doubts

    def _missing(self) -> Iterator[Problem]:
        if self.address is None:
            yield Problem("/order/shippingAddress", "shippingAddress is required", "shipping_address_required")
        if self.pharmacy is None:
            yield _problem(("order", "pharmacyId"), "is not a pharmacy of your organization", "unknown_pharmacy")
        for position, item in enumerate(self.asked["prescriptionItems"]):
            if item["drugId"] not in self.drugs:
                path = ("order", "prescriptionItems", position, "drugId")
                yield _problem(path, "is not a drug of your organization", "unknown_drug")

    def _controlled(self) -> Iterator[Problem]:
        """An API key cannot sign, so a drug with a schedule needs a pharmacy that takes the signature elsewhere."""
        schedules = {p: s for p, item in enumerate(self.asked["prescriptionItems"]) if (s := self._schedule(item))}
        for position, schedule in schedules.items():
            if self.pharmacy is not None and not self.pharmacy.accepts_controlled_substances:
                path = ("order", "prescriptionItems", position, "drugId")
                words = f"is a schedule {schedule} drug, which this pharmacy is not set up for (21 CFR 1311.100)"
                yield _problem(path, words, "controlled_substance_refused")
            yield from self._refills(position, schedule)
        if schedules:
            yield from self._registration()
        if {"III", "IV"} & set(schedules.values()):
            yield from self._age()

    def _schedule(self, item: JSON) -> str | None:
        drug = self.drugs.get(item["drugId"])
        return drug.schedule if drug else None

    def _refills(self, position: int, schedule: str) -> Iterator[Problem]:
        most, section = MOST_REFILLS.get(schedule, (99, ""))
        if self.asked["prescriptionItems"][position].get("refillCount", 0) > most:
            path = ("order", "prescriptionItems", position, "refillCount")
            yield _problem(
                path, f"must be at most {most} for a schedule {schedule} drug ({section})", "too_many_refills"
            )

    def _registration(self) -> Iterator[Problem]:
        """The prescriber's DEA number is part of such a prescription: 21 CFR 1306.05(a)."""
        dea = self.asked["prescriber"].get("dea")
        if dea is None:
            words = "dea is required for a drug with a schedule (21 CFR 1306.05)"
            yield Problem("/order/prescriber/dea", words, "dea_required")
        elif not is_dea_number(dea):
            words = "must have a right check digit for a drug with a schedule (21 CFR 1306.05)"
            yield _problem(("order", "prescriber", "dea"), words, "dea_check_digit")

    def _age(self) -> Iterator[Problem]:
        for name, day in list(self._dates())[:1]:
            if now().date() - day > SIX_MONTHS:
                words = "must not be more than six months ago for a schedule III or IV drug (21 CFR 1306.22)"
                yield _problem(("order", name), words, "prescription_too_old")

    def _dates(self) -> Iterator[tuple[str, date]]:
        """The dates that were given, the one that counts first."""
        for name in DATES:
            if name in self.asked:
                yield name, date.fromisoformat(self.asked[name][:10])

    def _doubts(self) -> Iterator[Problem]:
        prescriber = self.asked["prescriber"]
        if not is_npi(prescriber["npi"]):
            yield _problem(("order", "prescriber", "npi"), "has a wrong check digit", "npi_check_digit")
        if "dea" in prescriber and not is_dea_number(prescriber["dea"]):
            yield _problem(("order", "prescriber", "dea"), "has a wrong check digit", "dea_check_digit")
        if not is_phone_number(prescriber["phoneNumber"]):
            yield _problem(("order", "prescriber", "phoneNumber"), "is not a number that exists", "phone_number")
        for name, day in self._dates():
            if day > (now() + AHEAD).date():
                yield _problem(("order", name), "is in the future", "date_in_future")

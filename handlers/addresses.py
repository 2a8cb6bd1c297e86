"""Addresses as they are kept: a country's code has two letters in either case, and is kept in upper case."""

from case_orders.envelope import JSON


def upper_country(address: JSON) -> JSON:
    return address | {"country": address["country"].upper()}


def of_patient(patient: JSON) -> JSON:
    """The patient with such an address, if one is known."""
    return patient | {"address": upper_country(patient["address"])} if "address" in patient else patient

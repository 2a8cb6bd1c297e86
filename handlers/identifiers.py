"""Check digits and numbers of the field. A wrong one is mostly a warning: real systems hold many of them."""

from functools import lru_cache

import phonenumbers


def is_npi(number: str) -> bool:
    """National Provider Identifier: Luhn over `80840` and the ten digits (45 CFR 162.406, ISO/IEC 7812)."""
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed("80840" + number))]
    return number[0] in "12" and sum(digit // 10 + digit % 10 for digit in doubled) % 10 == 0


def is_dea_number(number: str) -> bool:
    """DEA registration number: after its two characters, d7 is the last digit of (d1+d3+d5) + 2(d2+d4+d6)."""
    digits = [int(digit) for digit in number[2:]]
    return (sum(digits[0:5:2]) + 2 * sum(digits[1:6:2])) % 10 == digits[6]


@lru_cache(maxsize=10_000)
def is_phone_number(number: str) -> bool:
    """Whether a number exists in its country's plan; one without a country is read as of the United States.

    Remembered: prescribers come again, and to read the plan takes as long as to write a row.
    """
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, "US"))
    except phonenumbers.NumberParseException:
        return False

"""Which values an order's fields take, and how the rest is refused."""

import json
import logging
import re
from typing import Any

import pytest

from tests.handlers.steps import change, ordering, place, placed, problems, read, strings
from tests.support.contract_client import ContractClient
from tests.support.orders import documented, placement
from tests.support.world import Tenant

# USPS Publication 28, appendix B.
STATES = """
    AA AE AK AL AP AR AS AZ CA CO CT DC DE FL FM GA GU HI IA ID IL IN KS KY LA MA MD ME MH MI MN MO MP MS MT NC ND NE
    NH NJ NM NV NY OH OK OR PA PR PW RI SC SD TN TX UT VA VI VT WA WI WV WY
"""
PERSON = ("firstName", "lastName", "title", "titleSuffix")
LINES = (
    "diagnosis",
    *(f"prescriber.{name}" for name in PERSON),
    *(
        f"{address}.{name}"
        for address in ("shippingAddress", "prescriber.address")
        for name in ("addressLine1", "addressLine2", "city")
    ),
)
TEXTS = (
    "patientHealthInfo.allergies",
    "patientHealthInfo.healthConditions",
    "patientHealthInfo.currentMedications",
    "prescriptionItems.0.direction",
)
DATES = ("dateWritten", "dateSigned", "datePrescribed")
STATE, COUNTRY, ZIP = "prescriber.address.state", "prescriber.address.country", "prescriber.address.postalCode"
EMAIL, PHONE = "prescriber.email", "prescriber.phoneNumber"
ITEM = "prescriptionItems.0"


async def problem(api: ContractClient, us: Tenant, where: str, value: Any) -> tuple[str, str]:
    """Message and code of the one problem that `value` is at a place below `order`."""
    found = problems(await place(api, us.case_id, ordering({where: value})))
    assert list(found) == ["/order/" + where.replace(".", "/")]
    return next(iter(found.values()))


async def is_taken(api: ContractClient, us: Tenant, where: str, value: Any) -> bool:
    answer = await place(api, us.case_id, ordering({where: value}))
    assert answer.status_code in (200, 400)
    return answer.status_code == 200


def full() -> dict[str, Any]:
    """An order with every field that there is."""
    body = documented()
    order = body["order"]
    for address in (order["shippingAddress"], order["prescriber"]["address"]):
        address["addressLine2"] = "Apt 4"
    order["prescriber"]["dea"] = "AP5836727"
    order |= {"dateSigned": "2024-01-15", "datePrescribed": "2024-01-15T10:30:00Z"}
    return body | {"idempotencyKey": "a-key"}


# ---- messages ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "value", "error", "path", "code"),
    [
        (STATE, "California", "order.prescriber.address.state must be a US state abbreviation", None, "wrong_format"),
        ("prescriptionItems", [], "order.prescriptionItems must have at least 1 item", None, "too_few"),
        (ITEM + ".refils", 3, "order.prescriptionItems[0].refils is not allowed", None, "not_allowed"),
        (ITEM + ".refillCount", 3.0, "order.prescriptionItems[0].refillCount must be an integer", None, "wrong_type"),
        (ITEM + ".refillCount", True, "order.prescriptionItems[0].refillCount must be an integer", None, "wrong_type"),
        (ITEM + ".refillCount", "3", "order.prescriptionItems[0].refillCount must be an integer", None, "wrong_type"),
        (ITEM + ".refillCount", -1, "order.prescriptionItems[0].refillCount must be at least 0", None, "too_small"),
        (ITEM + ".refillCount", 100, "order.prescriptionItems[0].refillCount must be at most 99", None, "too_large"),
        (ITEM + ".supplyDays", 0, "order.prescriptionItems[0].supplyDays must be at least 1", None, "too_small"),
        (ITEM + ".supplyDays", 366, "order.prescriptionItems[0].supplyDays must be at most 365", None, "too_large"),
        (ITEM + ".quantity", 30, "order.prescriptionItems[0].quantity must be a string", None, "wrong_type"),
        ("prescriber.npi", "123456789", "order.prescriber.npi must be exactly 10 digits", None, "wrong_format"),
        ("prescriber", "Dr. Smith", "order.prescriber must be an object", None, "wrong_type"),
        ("a~b/c", 1, "order.a~b/c is not allowed", "/order/a~0b~1c", "not_allowed"),
    ],
)
async def test_an_error_names_the_field_and_the_rule(
    api: ContractClient, us: Tenant, where: str, value: Any, error: str, path: str | None, code: str
) -> None:
    answer = await place(api, us.case_id, ordering({where: value}))
    assert answer.json()["error"] == error
    assert answer.json()["message"] == "Invalid request"
    assert answer.json()["code"] == "invalid_request"
    assert problems(answer) == {path or "/order/" + where.replace(".", "/"): (error, code)}


@pytest.mark.parametrize(
    ("where", "path"),
    [
        ("prescriber.firstName", "/order/prescriber/firstName"),
        ("prescriber.npi", "/order/prescriber/npi"),
        ("prescriber.address.state", "/order/prescriber/address/state"),
        ("diagnosis", "/order/diagnosis"),
        ("prescriptionItems.0.drugId", "/order/prescriptionItems/0/drugId"),
        ("prescriptionItems", "/order/prescriptionItems"),
    ],
)
async def test_a_missing_field_is_required_by_its_name(api: ContractClient, us: Tenant, where: str, path: str) -> None:
    body: Any = documented()
    *way, last = where.split(".")
    node = body["order"]
    for step in way:
        node = node[int(step) if step.isdecimal() else step]
    del node[last]
    answer = await place(api, us.case_id, body)
    assert answer.json()["error"] == f"{last} is required"
    assert problems(answer) == {path: (f"{last} is required", "required")}


@pytest.mark.parametrize("action", ["place_order", "CANCEL", "", "PLACE_ORDER "])
async def test_the_action_must_be_exactly_place_order(api: ContractClient, us: Tenant, action: str) -> None:
    answer = await place(api, us.case_id, documented() | {"action": action})
    assert answer.json()["error"] == 'action must be exactly "PLACE_ORDER"'


@pytest.mark.parametrize("body", [[], "PLACE_ORDER", 1, None, True])
async def test_a_body_that_is_no_object_is_refused(api: ContractClient, us: Tenant, body: object) -> None:
    answer = await api.post(
        f"/cases/{us.case_id}", content=json.dumps(body), headers={"content-type": "application/json"}
    )
    assert problems(answer) == {"": ("body must be an object", "wrong_type")}


async def test_every_problem_is_named_and_what_is_missing_comes_first(api: ContractClient, us: Tenant) -> None:
    body = ordering({STATE: "XX", "prescriber.email": "@", "extra": 1, ITEM + ".quantity": "0"})
    del body["order"]["prescriber"]["firstName"]
    answer = await place(api, us.case_id, body)
    assert answer.json()["error"] == "firstName is required"
    assert set(problems(answer)) == {
        "/order/prescriber/firstName",
        "/order/prescriber/address/state",
        "/order/prescriber/email",
        "/order/extra",
        "/order/prescriptionItems/0/quantity",
    }


async def test_no_answer_names_more_than_a_hundred_problems(api: ContractClient, us: Tenant) -> None:
    body = ordering({f"unknown{number}": number for number in range(500)})
    assert len(problems(await place(api, us.case_id, body))) == 100


# ---- silence ----------------------------------------------------------------------------------------------------

NEEDLE = "NEEDLE-7f3a"


async def test_a_rejected_value_is_in_no_answer_and_in_no_log(
    api: ContractClient, us: Tenant, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    body = full()
    places = list(strings(body))
    for path in places:
        change(body, path[1:].replace("/", "."), NEEDLE + "\x01")
    with caplog.at_level(logging.DEBUG):
        answer = await place(api, us.case_id, body)
    assert set(problems(answer)) == set(places)
    output = capsys.readouterr()
    assert "request" in output.out + output.err
    assert NEEDLE not in answer.text + str(answer.headers) + output.out + output.err + caplog.text


async def test_a_value_that_was_taken_is_in_no_log_either(
    api: ContractClient, us: Tenant, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    values = dict.fromkeys((*LINES, *TEXTS), NEEDLE) | {ITEM + ".customFields": {NEEDLE: NEEDLE}}
    with caplog.at_level(logging.DEBUG):
        answer = await place(api, us.case_id, ordering(values), **{"Idempotency-Key": NEEDLE})
        await api.get("/cases", params={"reference": NEEDLE})
    assert answer.status_code == 200
    output = capsys.readouterr()
    # The last is what the test's own client says of its own requests.
    logged = [record.getMessage() for record in caplog.records if record.name != "httpx2"]
    assert NEEDLE not in answer.text + output.out + output.err + "".join(logged)


# ---- vocabulary -------------------------------------------------------------------------------------------------


async def test_all_62_state_abbreviations_are_taken(api: ContractClient, us: Tenant) -> None:
    states = STATES.split()
    assert len(states) == 62
    assert [state for state in states if not await is_taken(api, us, STATE, state)] == []


@pytest.mark.parametrize("state", ["ca", "Ca", "XX", "C", "CAL", "", "CA\n", " CA", "California", "UM"])
async def test_any_other_state_is_refused(api: ContractClient, us: Tenant, state: str) -> None:
    message, _ = await problem(api, us, STATE, state)
    assert message == "order.prescriber.address.state must be a US state abbreviation"


@pytest.mark.parametrize("country", ["USA", "U", "", "U1", "ÜS", "US\n"])
async def test_a_country_that_is_not_two_letters_is_refused(api: ContractClient, us: Tenant, country: str) -> None:
    message, _ = await problem(api, us, COUNTRY, country)
    assert message == "order.prescriber.address.country must be exactly 2 letters"


@pytest.mark.parametrize(
    "code", ["9410", "941050", "94105-1234", "941051234", "94105\n", "٩٤١٠٥", "9410a", " 94105", ""]
)
async def test_a_postal_code_that_is_not_five_digits_is_refused(api: ContractClient, us: Tenant, code: str) -> None:
    message, _ = await problem(api, us, ZIP, code)
    assert message == "order.prescriber.address.postalCode must be exactly 5 digits"


@pytest.mark.parametrize(
    "email", ["a@b.co", "first.last+tag@sub.example.org", "x_%-y@ex-ample.com", "o'neil&sons@b.xn--p1ai"]
)
async def test_an_email_address_is_taken(api: ContractClient, us: Tenant, email: str) -> None:
    assert await is_taken(api, us, EMAIL, email)


@pytest.mark.parametrize(
    "email",
    [
        "@",
        "a@",
        "@b.co",
        "a@b",
        "a b@c.de",
        "a@b..co",
        "a@-b.co",
        "a..b@c.de",
        ".a@b.co",
        "a@b.co\n",
        "a@b@c.de",
        "",
        "a@b.c",
        "a@1.2.3.4",
    ],
)
async def test_what_is_no_email_address_is_refused(api: ContractClient, us: Tenant, email: str) -> None:
    message, _ = await problem(api, us, EMAIL, email)
    assert message == "order.prescriber.email must be an email address"


@pytest.mark.parametrize("number", ["+1234567890", "4155550100", "(415) 555-0100", "+44 20 7946 0958", "555-0100"])
async def test_a_phone_number_is_taken_with_its_separators(api: ContractClient, us: Tenant, number: str) -> None:
    assert await is_taken(api, us, PHONE, number)


@pytest.mark.parametrize(
    "number",
    ["", "123456", "phone", "+", "4155550100\n", "٤١٥٥٥٥٠١٠٠", "1" * 21, "415-555-0100x1", "((((((1", "0-----0"],
)
async def test_what_is_no_phone_number_is_refused(api: ContractClient, us: Tenant, number: str) -> None:
    message, _ = await problem(api, us, PHONE, number)
    assert message == "order.prescriber.phoneNumber must be a phone number"


@pytest.mark.parametrize(
    "date", ["2024-02-29", "2000-02-29", "2024-01-15T10:30:00Z", "2024-01-15t10:30:00.123456789+05:30"]
)
async def test_a_date_comes_back_as_it_was_sent(api: ContractClient, us: Tenant, date: str) -> None:
    dates = dict.fromkeys(DATES, date)
    order = await read(api, await placed(api, us.case_id, **dates))
    assert {name: order[name] for name in DATES} == dates


@pytest.mark.parametrize(
    "date",
    [
        "2024-02-30", "2023-02-29", "2100-02-29", "1900-02-29", "2024-04-31", "2024-13-01", "2024-00-10", "2024-01-00",
        "2024-1-5", "24-01-15", "15.01.2024", "2024-01-15\n", "2024-01-15T10:30:00", "2024-01-15T24:00:00Z",
        "2024-01-15T10:60:00Z", "2024-02-30T10:30:00Z", "2024-01-15 10:30:00Z", "2024-01-15T10:30:00Z\n", "٢٠٢٤-01-15",
        "",
    ],
)  # fmt: skip
async def test_a_date_that_does_not_exist_is_refused(api: ContractClient, us: Tenant, date: str) -> None:
    found = problems(await place(api, us.case_id, ordering(dict.fromkeys(DATES, date))))
    words = "must be a date that exists, as YYYY-MM-DD or an RFC 3339 timestamp"
    assert found == {f"/order/{name}": (f"order.{name} {words}", "wrong_format") for name in DATES}


@pytest.mark.parametrize("quantity", ["1", "30", "2.50", "0.50", "0.0001", "9999999.9999"])
async def test_a_quantity_is_a_decimal_number_above_zero(api: ContractClient, us: Tenant, quantity: str) -> None:
    assert await is_taken(api, us, ITEM + ".quantity", quantity)


@pytest.mark.parametrize(
    "quantity", ["0", "0.0", "0.0000", "-1", "1e3", "03", ".5", "5.", "10000000", "1.00000", "30\n", "٣٠", "NaN", ""]
)
async def test_any_other_quantity_is_refused(api: ContractClient, us: Tenant, quantity: str) -> None:
    message, _ = await problem(api, us, ITEM + ".quantity", quantity)
    assert message.endswith('must be a decimal number greater than 0, such as "30" or "2.5"')


@pytest.mark.parametrize(
    "where",
    ["shippingAddress", "patientHealthInfo", "patientHealthInfo.allergies", "prescriber.title", "prescriber.dea",
     "prescriber.address.addressLine2", "dateWritten", ITEM + ".direction", ITEM + ".refillCount",
     ITEM + ".customFields"],
)  # fmt: skip
async def test_an_optional_field_is_left_out_and_never_null(api: ContractClient, us: Tenant, where: str) -> None:
    message, code = await problem(api, us, where, None)
    name = re.sub(r"\.(\d+)", r"[\1]", f"order.{where}")
    assert code == "wrong_type"
    assert message.startswith(f"{name} must be ")


# ---- bounds -----------------------------------------------------------------------------------------------------


async def test_lines_take_100_characters_and_texts_2000(api: ContractClient, us: Tenant) -> None:
    longest = dict.fromkeys(LINES, "Ü" * 100) | dict.fromkeys(TEXTS, "💊\n" * 1000)
    answer = await place(api, us.case_id, ordering(longest))
    assert answer.status_code == 200, answer.text


async def test_lines_refuse_101_characters_and_texts_2001(api: ContractClient, us: Tenant) -> None:
    too_long = dict.fromkeys(LINES, "a" * 101) | dict.fromkeys(TEXTS, "a" * 2001)
    found = problems(await place(api, us.case_id, ordering(too_long)))
    assert set(found) == {"/order/" + where.replace(".", "/") for where in too_long}
    assert {code for _, code in found.values()} == {"too_long"}


@pytest.mark.parametrize(
    "line", ["", " ", "\t", "two\nlines", "bell\a", "line\n", "\x7f", "\xa0", "\u200b\u3000", "5\u202e01", "\x9b"]
)
async def test_a_line_is_printable_and_not_blank(api: ContractClient, us: Tenant, line: str) -> None:
    found = problems(await place(api, us.case_id, ordering(dict.fromkeys(LINES, line))))
    assert len(found) == len(LINES)
    assert {m.partition(" ")[2] for m, _ in found.values()} == {"must be 1 to 100 printable characters and not blank"}


@pytest.mark.parametrize("text", ["bell\a", "\x9b2J", "take \u202e05\u202c mg", "two\u2028lines"])
async def test_a_text_says_what_it_shows(api: ContractClient, us: Tenant, text: str) -> None:
    found = problems(await place(api, us.case_id, ordering(dict.fromkeys(TEXTS, text))))
    assert len(found) == len(TEXTS)
    words = "must be at most 2000 characters of text without control characters"
    assert {m.partition(" ")[2] for m, _ in found.values()} == {words}


@pytest.mark.parametrize(
    ("where", "longest"),
    [
        ("pharmacyId", 64),
        (ITEM + ".drugId", 64),
    ],
)
async def test_catalogue_ids_have_at_most_64_characters(
    api: ContractClient, us: Tenant, where: str, longest: int
) -> None:
    _, code = await problem(api, us, where, "a" * longest)
    assert code in ("unknown_pharmacy", "unknown_drug")
    _, code = await problem(api, us, where, "a" * (longest + 1))
    assert code == "wrong_format"


async def test_email_and_phone_number_have_a_longest_form(api: ContractClient, us: Tenant) -> None:
    email = "a" * 64 + "@" + ".".join(["b" * 61] * 3) + ".com"
    assert len(email) == 254
    assert await is_taken(api, us, EMAIL, email)
    assert not await is_taken(api, us, EMAIL, email.replace("@", "@b"))
    assert await is_taken(api, us, PHONE, "1" * 20)
    assert not await is_taken(api, us, PHONE, "1" * 21)


async def test_one_to_a_hundred_items_are_taken(api: ContractClient, us: Tenant) -> None:
    item = {"drugId": "drug-456", "quantity": "1"}
    assert (await place(api, us.case_id, placement(prescriptionItems=[item] * 100))).status_code == 200
    message, code = await problem(api, us, "prescriptionItems", [item] * 101)
    assert (message, code) == ("order.prescriptionItems must have at most 100 items", "too_many")


async def test_custom_fields_have_at_most_50_keys(api: ContractClient, us: Tenant) -> None:
    assert await is_taken(api, us, ITEM + ".customFields", {str(number): number for number in range(50)})
    message, code = await problem(api, us, ITEM + ".customFields", {str(number): number for number in range(51)})
    assert (message, code) == ("order.prescriptionItems[0].customFields must have at most 50 fields", "too_many")

import subprocess
import sys
from io import BytesIO
from typing import Any

import pytest
from pypdf import PdfReader

from case_orders.pharmacies.sandbox.prescription import render
from tests.pharmacies.orders import ADDRESS, item, order


def pages(placed: dict[str, Any]) -> list[str]:
    """The text of each page, without the break opportunities in long words."""
    reader = PdfReader(BytesIO(render(placed, "RX-000184")))
    return [page.extract_text().replace("\u200b", "") for page in reader.pages]


def unbroken(placed: dict[str, Any]) -> str:
    """The text of all pages as one run of characters."""
    return "".join("".join(pages(placed)).split())


def test_a_prescription_carries_all_that_it_must() -> None:
    (page,) = pages(order(patient=order()["patient"] | {"phoneNumber": "+14155550111"}))
    lines = page.splitlines()
    for expected in (
        "Jane Doe",
        "Date of birth 1988-04-02",
        "123 Main St",
        "456 Medical Center Dr",
        "San Francisco, CA 94105, US",
        "Phone +14155550111",
        "DATE ISSUED 2024-01-15",
        "Dr. John Smith, MD",
        "NPI 1234567893",
        "DEA AP5836727",
        "Phone +14155550100",
        "Hypertension",
        "Penicillin",
        "10 mg tablet",
        "NDC 0093-1039-01",
        "Take 1 tablet daily with food 30 3 28",
        "RX-000184",
        "NOT SIGNED",
        "SANDBOX - NOT A VALID PRESCRIPTION",
        "Page 1 of 1",
    ):
        assert expected in lines, expected


def test_a_date_of_signature_does_not_sign_it() -> None:
    assert "NOT SIGNED" in pages(order(dateSigned="2024-01-15"))[-1]


def test_what_is_not_known_is_left_out() -> None:
    bare = order(
        patient={"firstName": "Jane", "lastName": "Doe"},
        prescriber=order()["prescriber"] | {},
    )
    del (
        bare["dateWritten"],
        bare["patientHealthInfo"],
        bare["prescriber"]["dea"],
        bare["prescriber"]["title"],
    )
    bare["items"] = [{"drugId": "d", "name": "Aspirin", "quantity": "2.5", "refillCount": 0}]
    (page,) = pages(bare)
    assert "DATE ISSUED 2024-01-16" in page
    assert "John Smith, MD" in page
    assert "None given 2.5 0 \u2013" in page
    assert "123 Main St" in page
    for absent in (
        "Date of birth",
        "born",
        "DEA",
        "NDC",
        "HEALTH CONDITIONS",
        "None\n",
        "none",
    ):
        assert absent not in page


def test_the_same_order_gives_the_same_bytes() -> None:
    placed = order("a", "b", "c")
    assert render(placed, "RX-000184") == render(placed, "RX-000184")
    assert render(placed, "RX-000184") != render(placed, "RX-000185")


def test_another_process_gives_the_same_bytes() -> None:
    placed = order()
    program = "import sys; from case_orders.pharmacies.sandbox.prescription import render; "
    program += f"sys.stdout.buffer.write(render({placed!r}, 'RX-000184'))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert result.stdout == render(placed, "RX-000184")


def test_a_hundred_items_are_numbered_over_pages_that_each_name_the_patient() -> None:
    text = pages(order(*(f"drug-{number}" for number in range(100))))
    assert len(text) > 5
    for number, page in enumerate(text, start=1):
        assert f"Page {number} of {len(text)}" in page
        assert "Jane Doe" in page
        assert "SANDBOX - NOT A VALID PRESCRIPTION" in page
        assert "DIRECTIONS" in page
    assert "\n100 Lisinopril" in text[-1]
    assert sum(page.count("Lisinopril") for page in text) == 100
    assert ["NOT SIGNED" in page for page in text] == [False] * (len(text) - 1) + [True]


@pytest.mark.parametrize("text", ["W" * 2000, "word " * 400, "a\n" * 999])
def test_no_letter_of_a_long_text_is_lost(text: str) -> None:
    placed = order(items=[item(direction=text)], patientHealthInfo={"allergies": text})
    letters = "".join(text.split())
    assert unbroken(placed).replace("SANDBOX", "").count(letters[0]) >= 2 * letters.count(letters[0])


def test_long_words_are_broken_to_stay_in_their_column() -> None:
    address = ADDRESS | {
        "addressLine1": "A" * 100,
        "addressLine2": "B" * 100,
        "city": "C" * 100,
    }
    placed = order(patient=order()["patient"] | {"address": address}, diagnosis="D" * 100)
    placed["items"] = [item(name="N" * 100, form="M" * 100)]
    text = "".join(pages(placed))
    for letter in "ABCDNM":
        assert letter * 10 in text
        assert letter * 65 not in text, letter


@pytest.mark.parametrize("name", ["Žofie", "Ελένη", "Наталья", "Łukasz"])
def test_names_of_other_alphabets_are_printed(name: str) -> None:
    assert name in pages(order(patient=order()["patient"] | {"firstName": name}))[0]


@pytest.mark.parametrize("name", ["محمد", "山田太郎", "한국어", "👩‍⚕️", "e\u0301", "\u202eevil"])
def test_a_script_without_a_font_does_not_stop_the_printer(name: str) -> None:
    assert "RX-000184" in pages(order(patient=order()["patient"] | {"firstName": name}))[0]


@pytest.mark.parametrize(
    "text",
    [
        "#panic()",
        "#read(path)",
        '"); #sys.inputs',
        "*bold* _it_ $x^2$ `raw`",
        "<label> @ref = head",
        "// c /* d */ \\ ] } )",
        "https://example.com/a",
        "a -- b ... 'c' ~",
    ],
)
def test_text_of_an_order_is_never_markup(text: str) -> None:
    placed = order(
        diagnosis=text,
        patientHealthInfo={"allergies": text},
        items=[item(name=text, direction=text)],
    )
    placed["patient"] |= {"firstName": text}
    assert unbroken(placed).count("".join(text.split())) >= 5

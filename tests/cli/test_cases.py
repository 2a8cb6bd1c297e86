from pathlib import Path

import pytest
from sqlmodel import select

from case_orders.cli import table_file
from models import Case
from tests.cli.conftest import Json, Run, Transaction

HEADER = "reference,firstName,lastName,dateOfBirth,addressLine1,city,state,country,postalCode\n"
GOOD = "chart-1,Jane,Doe,1988-04-02,123 Main St,San Francisco,CA,us,94105\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cases.csv"


def stored(transaction: Transaction) -> dict[str | None, Case]:
    with transaction() as session:
        return {case.reference: case for case in session.exec(select(Case))}


def test_a_case_that_is_created_has_its_patient(json: Json, organization: str, transaction: Transaction) -> None:
    address = ("--address-line1", "1 Elm St", "--city", "Reno", "--state", "NV", "--country", "us")
    names = ("--first-name", "Jane", "--last-name", "Doe", "--reference", "chart-1")
    created = json("cases", "create", "Clinic", *names, *address, "--postal-code", "89501")
    case = stored(transaction)["chart-1"]
    assert case.id == created["id"]
    assert case.patient["address"]["country"] == "US"


def test_a_case_that_breaks_the_contract_is_refused_without_showing_a_value(run: Run, organization: str) -> None:
    arguments = ("--first-name", "Jane", "--last-name", "Doe", "--state", "Zzz")
    stderr = run("cases", "create", "Clinic", *arguments, code=1).stderr
    assert "patient.address.state must be a US state abbreviation" in stderr
    assert "Zzz" not in stderr


def test_a_reference_belongs_to_one_case(run: Run, organization: str) -> None:
    arguments = ("cases", "create", "Clinic", "--first-name", "Jane", "--last-name", "Doe", "--reference", "chart-1")
    run(*arguments)
    assert "already used" in run(*arguments, code=1).stderr


def test_importing_a_file_twice_makes_no_case_twice(
    json: Json, organization: str, file: Path, transaction: Transaction
) -> None:
    file.write_text(HEADER + GOOD)
    assert json("cases", "import", "Clinic", str(file)) == {"created": 1, "updated": 0, "refused": 0}
    before = stored(transaction)["chart-1"]
    assert json("cases", "import", "Clinic", str(file)) == {"created": 0, "updated": 1, "refused": 0}
    after = stored(transaction)["chart-1"]
    assert (after.id, after.patient) == (before.id, before.patient)
    assert after.patient["address"]["country"] == "US"


def test_a_known_case_gets_the_patient_of_the_file(
    json: Json, organization: str, file: Path, transaction: Transaction
) -> None:
    file.write_text(HEADER + GOOD)
    json("cases", "import", "Clinic", str(file))
    file.write_text("lastName,firstName,reference\nRoe,Jane,chart-1\n")
    json("cases", "import", "Clinic", str(file))
    assert stored(transaction)["chart-1"].patient == {"firstName": "Jane", "lastName": "Roe"}


def test_bad_rows_are_named_by_line_and_rule_and_the_good_ones_imported(
    run: Run, organization: str, file: Path, transaction: Transaction
) -> None:
    file.write_text(
        HEADER
        + "chart-0,Mallory,Sick,1988-13-02,,,,,\n"
        + ",Mallory,Sick,,,,,,\n"
        + '"chart\n-1",Mallory,Sick,,,,,,\n'
        + "chart-3,Mallory\n"
        + "\n"
        + GOOD
        + GOOD
    )
    result = run("cases", "import", "Clinic", str(file), code=1)
    assert result.stderr.splitlines() == [
        "line 2: patient.dateOfBirth must be a date that exists, as YYYY-MM-DD",
        "line 3: reference is required",
        "line 4: reference must be 1 to 100 printable characters and not blank",
        "line 6: must have as many columns as the first line",
        "line 9: reference must not repeat an earlier line's",
    ]
    assert "Mallory" not in result.output
    assert list(stored(transaction)) == ["chart-1"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "lacks reference"),
        (b"Mallory,Sick,Patient\n", "must name columns"),
        (b"reference,firstName,firstName\n", "must name columns"),
        (b"reference,firstName\n", "lacks lastName"),
        (b'reference,firstName,lastName\nchart-1,Jane,"Mallory\n', "not CSV in UTF-8"),
        (b"reference,firstName,lastName\nchart-1,Jane,Mallory\xff\n", "not CSV in UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_without_showing_it(
    run: Run, organization: str, file: Path, content: bytes, sentence: str
) -> None:
    file.write_bytes(content)
    result = run("cases", "import", "Clinic", str(file), code=1)
    assert sentence in result.stderr
    assert "Mallory" not in result.output


def test_a_spreadsheets_byte_order_mark_is_no_part_of_the_first_column(run: Run, organization: str, file: Path) -> None:
    file.write_text("\ufeff" + HEADER + GOOD)
    run("cases", "import", "Clinic", str(file))


def test_a_long_file_is_stored_in_batches(
    json: Json, organization: str, file: Path, monkeypatch: pytest.MonkeyPatch, transaction: Transaction
) -> None:
    monkeypatch.setattr(table_file, "BATCH", 2)
    file.write_text("reference,firstName,lastName\n" + "".join(f"chart-{n},Jane,Doe\n" for n in range(5)))
    assert json("cases", "import", "Clinic", str(file))["created"] == 5
    assert len(stored(transaction)) == 5


def test_the_same_reference_of_another_organization_is_another_case(
    run: Run, organization: str, file: Path, json: Json
) -> None:
    run("organizations", "create", "Other")
    file.write_text(HEADER + GOOD)
    run("cases", "import", "Clinic", str(file))
    assert json("cases", "import", "Other", str(file))["created"] == 1


def test_importing_for_nobody_or_from_nowhere_is_refused(run: Run, organization: str, file: Path) -> None:
    run("cases", "import", "Clinic", str(file), code=2)
    file.write_text(HEADER + GOOD)
    run("cases", "import", "nobody", str(file), code=3)

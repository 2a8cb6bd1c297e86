from pathlib import Path

import pytest
from sqlmodel import select

from models import Drug
from tests.cli.conftest import Json, Run, Transaction


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "drugs.csv"


def test_drugs_are_imported_by_code_as_often_as_one_likes(
    json: Json, organization: str, file: Path, transaction: Transaction
) -> None:
    file.write_text(
        "code,name,strength,form,ndc,rxcui,schedule\n"
        "drug-1,Lisinopril,10 mg,tablet,0093-1039-01,314076,\n"
        "drug-2,Oxycodone,5 mg,tablet,,,II\n"
    )
    assert json("drugs", "import", "Clinic", str(file)) == {"created": 2, "updated": 0, "refused": 0}
    file.write_text("schedule,code,name\n,drug-1,Zestril\n")
    assert json("drugs", "import", "Clinic", str(file)) == {"created": 0, "updated": 1, "refused": 0}
    with transaction() as session:
        first, second = session.exec(select(Drug).order_by(Drug.code)).all()
    assert (first.name, first.strength, first.ndc) == ("Zestril", None, None)
    assert (second.name, second.schedule) == ("Oxycodone", "II")


def test_bad_drugs_are_named_by_line_and_rule(run: Run, organization: str, file: Path) -> None:
    file.write_text("code,name,ndc,rxcui,schedule\n-x,Good,,,\ndrug-2,,,,VI\ndrug-3,Good,1-2,x,\n")
    assert run("drugs", "import", "Clinic", str(file), code=1).stderr.splitlines() == [
        "line 2: code must be 1 to 64 letters, digits or . _ ~ -",
        "line 3: name is required; schedule must be one of II, III, IV, V",
        "line 4: ndc must be a National Drug Code; rxcui must be an RxNorm identifier",
    ]


def test_a_file_without_schedules_is_refused(run: Run, organization: str, file: Path) -> None:
    file.write_text("code,name\ndrug-2,Oxycodone\n")
    assert "lacks schedule" in run("drugs", "import", "Clinic", str(file), code=1).stderr

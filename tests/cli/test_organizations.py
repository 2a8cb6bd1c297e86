from models import Organization
from tests.cli.conftest import Json, Run, Transaction


def test_an_organization_that_was_created_is_listed(json: Json, organization: str) -> None:
    (listed,) = json("organizations", "list")
    assert (listed["id"], listed["name"], listed["refuseWrongNpi"]) == (organization, "Clinic", False)


def test_an_organization_may_ask_for_wrong_npis_to_be_refused(json: Json, data_dir: object) -> None:
    assert json("organizations", "create", "Strict", "--refuse-wrong-npi")["refuseWrongNpi"] is True


def test_a_name_belongs_to_one_organization(run: Run, organization: str) -> None:
    assert "already used" in run("organizations", "create", "Clinic", code=1).stderr


def test_a_blank_name_is_refused(run: Run, data_dir: object) -> None:
    run("organizations", "create", " ", code=1)


def test_an_empty_list_says_so(run: Run, data_dir: object) -> None:
    assert run("organizations", "list").stdout == "none\n"


def test_a_name_cannot_steer_the_terminal(run: Run, transaction: Transaction) -> None:
    name = "[red]Clinic\N{RIGHT-TO-LEFT OVERRIDE}"
    run("organizations", "create", name, code=1)
    with transaction() as session:  # as it was taken once
        session.add(Organization(name=name))
    assert "[red]Clinic?" in run("organizations", "list").stdout

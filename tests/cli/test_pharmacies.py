import pytest
from sqlmodel import select

from models import Pharmacy
from tests.cli.conftest import Json, Run, Transaction

ADD = ("pharmacies", "add", "Clinic", "pharmacy-1", "--name", "Corner Pharmacy", "--base-url")
URL = "https://pharmacy.example.com/v1"


def test_a_pharmacys_secrets_are_shown_once_with_the_address_of_its_reports(
    json: Json, run: Run, organization: str, transaction: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASE_ORDERS_PUBLIC_URL", "https://orders.example.com/")
    added = json(*ADD, URL)
    with transaction() as session:
        row = session.exec(select(Pharmacy)).one()
    assert (added["requestSecret"], added["reportSecret"]) == (row.request_secret, row.report_secret)
    assert row.request_secret != row.report_secret
    assert added["callbackUrl"] == f"https://orders.example.com/api/v1/pharmacy-connections/{row.id}/events"
    listed = run("pharmacies", "list", "Clinic").stdout
    assert added["callbackUrl"] in listed
    assert row.request_secret not in listed
    assert row.report_secret not in listed


def test_a_callback_that_leads_a_pharmacy_to_itself_is_told(
    run: Run, organization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "leads to this machine only"
    assert words in run(*ADD, URL).stderr
    monkeypatch.setenv("CASE_ORDERS_PUBLIC_URL", "https://orders.example.com")
    assert words not in run("pharmacies", "rotate", "Clinic", "pharmacy-1").stderr


def test_a_pharmacy_takes_controlled_substances_only_if_it_is_said(json: Json, organization: str) -> None:
    assert json(*ADD, URL)["acceptsControlledSubstances"] is False
    second = ("pharmacies", "add", "Clinic", "pharmacy-2", "--name", "Second", "--base-url", URL)
    assert json(*second, "--accepts-controlled-substances")["acceptsControlledSubstances"] is True


def test_a_code_belongs_to_one_pharmacy_of_an_organization(run: Run, organization: str) -> None:
    run(*ADD, URL)
    run(*ADD, URL, code=1)


@pytest.mark.parametrize(
    "url", ["pharmacy", "ftp://pharmacy.example.com", f"{URL}?key=secret", "http://10.0.0.1", "http://127.0.0.1:8090"]
)
def test_an_address_that_may_not_be_called_is_refused_without_showing_it(run: Run, organization: str, url: str) -> None:
    assert url not in run(*ADD, url, code=1).output


def test_a_pharmacy_on_the_internet_is_called_over_https_only(run: Run, organization: str) -> None:
    refused = run(*ADD, "http://pharmacy.example.com/v1", code=1)
    assert "--base-url is not allowed: https is required." in refused.output


def test_a_private_address_is_taken_where_the_settings_allow_it(
    run: Run, organization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASE_ORDERS_OUTBOUND_ALLOW", "127.0.0.0/8")
    run(*ADD, "http://127.0.0.1:8090")


def test_a_code_that_no_order_could_name_is_refused(run: Run, organization: str) -> None:
    run("pharmacies", "add", "Clinic", "no good", "--name", "Corner", "--base-url", URL, code=1)


def test_a_pharmacy_is_changed_and_what_is_not_given_stays(json: Json, organization: str) -> None:
    added = json(*ADD, URL)
    moved = json("pharmacies", "update", "Clinic", "pharmacy-1", "--base-url", "https://new.example.com")
    assert moved["baseUrl"] == "https://new.example.com"
    assert (moved["name"], moved["callbackUrl"]) == (added["name"], added["callbackUrl"])
    assert json("pharmacies", "update", "Clinic", "pharmacy-1", "--accepts-controlled-substances")[
        "acceptsControlledSubstances"
    ]


def test_a_change_is_checked_like_a_new_pharmacy(run: Run, organization: str) -> None:
    run(*ADD, URL)
    run("pharmacies", "update", "Clinic", "pharmacy-1", "--base-url", "http://10.0.0.1", code=1)
    run("pharmacies", "update", "Clinic", "pharmacy-2", "--name", "Other", code=3)


def test_rotated_secrets_are_new_and_shown_once(
    json: Json, run: Run, organization: str, transaction: Transaction
) -> None:
    added = json(*ADD, URL)
    rotated = json("pharmacies", "rotate", "Clinic", "pharmacy-1")
    assert not {added["requestSecret"], added["reportSecret"]} & {rotated["requestSecret"], rotated["reportSecret"]}
    with transaction() as session:
        row = session.exec(select(Pharmacy)).one()
    assert (row.request_secret, row.report_secret) == (rotated["requestSecret"], rotated["reportSecret"])
    run("pharmacies", "rotate", "Clinic", "pharmacy-2", code=3)

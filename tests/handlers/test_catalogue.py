"""The pharmacies and drugs of an organization."""

import pytest

from case_orders.db import Database
from models import Drug
from tests.support.contract_client import ContractClient
from tests.support.world import Tenant


async def test_the_pharmacies_are_listed_by_their_ids(api: ContractClient) -> None:
    assert (await api.get("/pharmacies")).json()["data"]["pharmacies"] == [
        {"id": "pharmacy-123", "name": "Pharmacy pharmacy-123", "acceptsControlledSubstances": False},
        {"id": "pharmacy-cs", "name": "Pharmacy pharmacy-cs", "acceptsControlledSubstances": True},
    ]


@pytest.mark.parametrize("path", ["/pharmacies", "/drugs"])
async def test_pages_of_the_catalogue_give_each_entry_once(api: ContractClient, path: str) -> None:
    whole = (await api.get(path, params={"limit": 100})).json()["data"][path[1:]]
    ids: list[str] = []
    cursor = None
    while cursor is not None or not ids:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        data = (await api.get(path, params=query)).json()["data"]
        ids += [entry["id"] for entry in data[path[1:]]]
        cursor = data.get("nextCursor")
    assert ids == [entry["id"] for entry in whole]
    assert len(set(ids)) == len(ids)


async def test_a_drug_tells_what_is_known_of_it(api: ContractClient, them: Tenant, database: Database) -> None:
    known = {"name": "Zolpidem", "strength": "10 mg", "form": "tablet", "ndc": "0093-0074-01", "rxcui": "854873"}
    with database.transaction() as session:
        session.add(Drug(organization_id=them.organization_id, code="a-drug", schedule="IV", **known))
    drugs = (await api.get("/drugs", headers=them.headers)).json()["data"]["drugs"]
    assert drugs[0] == {"id": "a-drug", "schedule": "IV"} | known
    assert {"id": "drug-456", "name": "Lisinopril", "strength": "10 mg"} in drugs
    assert "a-drug" not in {drug["id"] for drug in (await api.get("/drugs")).json()["data"]["drugs"]}

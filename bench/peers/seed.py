"""Makes a template of the peers: `python -m bench.peers.seed URL WORLD`."""

import hashlib
import json
import sys
from pathlib import Path

from sqlmodel import Session

from bench.peers.engine import make_engine
from bench.peers.tables import ApiKey, Case, Drug, Organization, Pharmacy, Table
from case_orders.demo.example import DRUG_CODE, PHARMACY_CODE
from case_orders.demo.rows import PATIENT


def main(url: str, world: str) -> None:
    engine = make_engine(url)
    Table.metadata.create_all(engine)
    with Session(engine) as session:
        for tenant in json.loads(Path(world).read_text()):
            session.add(Organization(id=tenant["id"], name=tenant["id"]))
            session.flush()
            session.add(ApiKey(organization_id=tenant["id"], sha256=hashlib.sha256(tenant["key"].encode()).hexdigest()))
            session.add(Drug(organization_id=tenant["id"], code=DRUG_CODE, name="Lisinopril", strength="10 mg"))
            session.add(Pharmacy(organization_id=tenant["id"], code=PHARMACY_CODE))
            session.add_all(Case(id=case, organization_id=tenant["id"], patient=PATIENT) for case in tenant["cases"])
        session.commit()
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])

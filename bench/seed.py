"""Makes a template of case-orders: `python seed.py WORLD`, in the environment that the service will have.

It is run by the interpreter of whatever checkout is measured, so it imports nothing of the bench.
"""

import json
import sys
from pathlib import Path

from case_orders import auth, keyring, migrations
from case_orders.db import Database
from case_orders.demo.example import DRUG_CODE, PHARMACY_CODE
from case_orders.demo.rows import PATIENT
from case_orders.settings import Settings
from models import Case, Drug, Organization, Pharmacy

SECRET = "whsec_dGhlIGJlbmNoIHNlbmRzIG5vdGhpbmc="  # noqa: S105  nothing is sent


def main(world: Path) -> None:
    settings = Settings()
    keyring.install_for(settings)
    database = Database(settings.database_url)
    migrations.upgrade(database.engine)
    with database.transaction() as session:
        for tenant in json.loads(world.read_text()):
            session.add(Organization(id=tenant["id"], name=tenant["id"]))
            session.flush()
            auth.store_key(session, tenant["id"], "bench", tenant["key"])
            session.add(Drug(organization_id=tenant["id"], code=DRUG_CODE, name="Lisinopril", strength="10 mg"))
            session.add(_pharmacy(tenant["id"]))
            session.add_all(Case(id=case, organization_id=tenant["id"], patient=PATIENT) for case in tenant["cases"])
    database.dispose()


def _pharmacy(organization_id: str) -> Pharmacy:
    return Pharmacy(
        organization_id=organization_id,
        code=PHARMACY_CODE,
        name="Pharmacy",
        base_url="http://127.0.0.1:9",
        request_secret=SECRET,
        report_secret=SECRET,
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""What the bill of materials tells beyond uv's own list."""

import hashlib

from case_orders.edge.pages import REDOC
from supply_chain import sbom
from tests.edge.test_reference import PUBLISHED


def test_it_tells_licences_and_what_is_vendored() -> None:
    bom = {"bomFormat": "CycloneDX", "components": [{"name": "known"}, {"name": "of another platform"}]}
    known, unknown, vendored = sbom.complete(bom, {"known": "MIT"})["components"]
    assert known == {"name": "known", "licenses": [{"expression": "MIT"}]}
    assert "licenses" not in unknown
    assert vendored["purl"] == "pkg:npm/redoc@2.5.4"


def test_what_is_vendored_is_what_lies_in_the_tree() -> None:
    script = (REDOC / "redoc.standalone.js").read_bytes()
    assert hashlib.sha256(script).hexdigest() == PUBLISHED
    assert sbom.VENDORED["version"].encode() in script

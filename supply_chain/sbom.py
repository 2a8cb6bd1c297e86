"""A bill of materials of what is shipped: CycloneDX 1.5, https://cyclonedx.org/docs/1.5/json/."""

import json
import subprocess
from pathlib import Path
from typing import Any

from supply_chain import licences

_EXPORT = ("uv", "export", "--quiet", "--frozen", "--no-default-groups", "--format", "cyclonedx1.5")

# What lies in our own tree but is others' work; its bytes are held by tests/edge/test_reference.py.
VENDORED = {
    "type": "library",
    "bom-ref": "redoc@2.5.4",
    "name": "redoc",
    "version": "2.5.4",
    "purl": "pkg:npm/redoc@2.5.4",
    "licenses": [{"expression": "MIT"}],
}


def write(root: Path, path: Path) -> int:
    """Write it to `path`; how many components it has."""
    told = subprocess.run(_EXPORT, cwd=root, check=True, capture_output=True).stdout
    bom = complete(json.loads(told), {one.package: one.expression for one in licences.installed()})
    path.write_text(json.dumps(bom, indent=2) + "\n")
    return len(bom["components"])


def complete(bom: dict[str, Any], known: dict[str, str]) -> dict[str, Any]:
    """uv's own list, with what it does not tell: licences, by the package's name, and what is vendored."""
    components = [
        component | ({"licenses": [{"expression": known[name]}]} if known.get(name := component["name"]) else {})
        for component in bom["components"]
    ]
    return bom | {"components": [*components, VENDORED]}

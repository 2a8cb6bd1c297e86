"""`tox run -e audit`: says what it found, and what it could not look at. Ends with 1 on a finding."""

import subprocess
import sys
from pathlib import Path

from supply_chain import advisories, licences, pins, sbom
from supply_chain.outcome import Outcome

ROOT = Path(__file__).parents[1]
REPORTS = ROOT / "reports"
NODE = (ROOT / "contract" / "lint", ROOT / "tests" / "clients" / "typescript")


def main() -> int:
    """Every look in turn: one that fails keeps no other from being made."""
    REPORTS.mkdir(exist_ok=True)
    found = [look_at_lock(), pins.look(ROOT, NODE), look_at_licences(), *look_at_advisories(), make_sbom()]
    for outcome in found:
        print(outcome)
    return 1 if any(outcome.findings for outcome in found) else 0


def look_at_lock() -> Outcome:
    done = subprocess.run(["uv", "lock", "--check", "--quiet"], cwd=ROOT, check=False)
    return Outcome("uv.lock says what pyproject.toml asks for", ["run uv lock"] if done.returncode else [])


def look_at_licences() -> Outcome:
    found = licences.installed() + [one for folder in NODE for one in licences.of_node(folder)]
    path = REPORTS / "licences.md"
    path.write_text(licences.table(found))
    name = f"licences of {len(found)} packages are ones that we allow; the list is in {path.relative_to(ROOT)}"
    return Outcome(name, [f"{one.package}: {one.expression or 'unknown'}" for one in found if not one.is_allowed])


def look_at_advisories() -> list[Outcome]:
    return [advisories.of_python(ROOT), *(advisories.of_node(folder, ROOT) for folder in NODE)]


def make_sbom() -> Outcome:
    path = REPORTS / "sbom.cdx.json"
    count = sbom.write(ROOT, path)
    return Outcome(f"{count} components of what is shipped are listed in {path.relative_to(ROOT)} (CycloneDX)")


if __name__ == "__main__":
    sys.exit(main())

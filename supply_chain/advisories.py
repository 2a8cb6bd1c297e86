"""Known vulnerabilities of what the lock files name, where a database of them is within reach.

A database that is not there looks much like one that knows of nothing: pip-audit passes over a package that a mirror
does not know and calls the rest sound. So each is asked for a package first that is known to be vulnerable.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from supply_chain.outcome import Outcome

# https://osv.dev/vulnerability/PYSEC-2021-108
VULNERABLE = "urllib3==1.26.0 --hash=sha256:4849f132941d68144df0a3785ccc4fe423430ba5db0108d045c8cadbc90f517a\n"
SERVICES = ("osv", "pypi")

_EXPORT = ("uv", "export", "--quiet", "--frozen", "--all-groups", "--no-emit-project", "--format", "requirements.txt")
_WITHIN_SECONDS = 300


def of_python(root: Path) -> Outcome:
    """What pip-audit says of uv.lock, by the first database that answers."""
    name = "known vulnerabilities of uv.lock"
    locked = subprocess.run(_EXPORT, cwd=root, check=True, capture_output=True, text=True).stdout
    for service in SERVICES:
        if list(_vulnerabilities(_ask(service, VULNERABLE))):
            answer = _ask(service, locked)
            skipped = [entry["name"] for entry in answer if "skip_reason" in entry]
            return Outcome(
                f"{name} (asked: {service})", [*_vulnerabilities(answer), *(f"{one}: unknown" for one in skipped)]
            )
    return Outcome(name, not_checked=f"none of the databases is within reach ({', '.join(SERVICES)})")


def _ask(service: str, requirements: str) -> Sequence[dict[str, Any]]:
    """What pip-audit knows of each package; nothing if it gets no answer."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text(requirements)
        command = ["pip-audit", "--requirement", str(path), "--require-hashes", "--disable-pip", "--format", "json"]
        command += ["--vulnerability-service", service, "--progress-spinner", "off"]
        known: Sequence[dict[str, Any]] = _answer(command, folder).get("dependencies", [])
        return known


def _vulnerabilities(answer: Sequence[dict[str, Any]]) -> Iterator[str]:
    for entry in answer:
        for vulnerability in entry.get("vulns", ()):
            mended = ", ".join(vulnerability["fix_versions"]) or "no version"
            yield f"{entry['name']} {entry['version']}: {vulnerability['id']}, mended in {mended}"


def of_node(folder: Path, root: Path) -> Outcome:
    """What npm audit says of a package-lock.json."""
    name = f"known vulnerabilities of {folder.relative_to(root)}/package-lock.json"
    if shutil.which("npm") is None:
        return Outcome(name, not_checked="npm is not installed")
    answer = _answer(["npm", "audit", "--json", "--package-lock-only"], str(folder))
    if "vulnerabilities" not in answer:
        return Outcome(name, not_checked="the registry answers no audit")
    return Outcome(name, [f"{package}: {found['severity']}" for package, found in answer["vulnerabilities"].items()])


def _answer(command: Sequence[str], folder: str) -> dict[str, Any]:
    """The JSON object that a command prints, whatever its exit code; an empty one if it prints none in time."""
    try:
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=_WITHIN_SECONDS)
        answer: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return {}
    return answer

"""Whether every package of the lock files is pinned to bytes: a version alone can be published anew by a thief."""

import json
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from supply_chain.outcome import Outcome


def look(root: Path, node: Sequence[Path]) -> Outcome:
    findings = list(_unpinned_python(tomllib.loads((root / "uv.lock").read_text())))
    for folder in node:
        findings += _unpinned_node(json.loads((folder / "package-lock.json").read_text()))
    return Outcome(f"every package of {1 + len(node)} lock files is pinned by hash", findings)


def _unpinned_python(lock: dict[str, Any]) -> Iterator[str]:
    for package in lock["package"]:
        if package["source"] == {"editable": "."}:
            continue
        files = [*package.get("wheels", ()), *filter(None, [package.get("sdist")])]
        if "registry" not in package["source"]:
            yield f"{package['name']} does not come from a registry"
        elif not files or not all(file.get("hash", "").startswith("sha256:") for file in files):
            yield f"{package['name']} has a file without a SHA-256"


def _unpinned_node(lock: dict[str, Any]) -> Iterator[str]:
    for path, package in lock["packages"].items():
        if path and not package.get("integrity", "").startswith("sha512-"):
            yield f"{path.rpartition('node_modules/')[2]} has no SHA-512"

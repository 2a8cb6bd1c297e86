"""Whether every package of the lock files is pinned to bytes: a version alone can be published anew by a thief.

What builds the package uv can pin to a version only.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from supply_chain.outcome import Outcome


def look(root: Path, node: Sequence[Path]) -> Outcome:
    project, lock = (tomllib.loads((root / name).read_text()) for name in ("pyproject.toml", "uv.lock"))
    findings = [*_unpinned_build(project, lock), *_unpinned_python(lock)]
    for folder in node:
        findings += _unpinned_node(json.loads((folder / "package-lock.json").read_text()))
    name = f"every package of {1 + len(node)} lock files is pinned by hash, and what builds ours to a version"
    return Outcome(name, findings)


def _unpinned_build(project: dict[str, Any], lock: dict[str, Any]) -> Iterator[str]:
    constraints = lock.get("manifest", {}).get("build-constraints", ())
    pinned = {one["name"] for one in constraints if one.get("specifier", "").startswith("==")}
    for requirement in project["build-system"]["requires"]:
        if (name := re.split(r"[^\w.-]", requirement)[0]) not in pinned:
            yield f"{name} builds the package and has no version in uv.lock"
    for name in {one["name"] for one in constraints} - pinned:
        yield f"{name} helps to build the package and may be of several versions"


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

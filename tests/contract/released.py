"""The contracts that clients were given, contract/released/{version}.yaml, and what the next one may call itself."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from tests.contract.spec import Spec

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "contract" / "released"
CHANGELOG = ROOT / "docs" / "contract-changelog.md"

Version = tuple[int, ...]


def releases() -> list[Spec]:
    """Every released contract, the oldest first."""
    files = sorted(FOLDER.glob("*.yaml"), key=lambda file: version(file.stem))
    return [yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader) for file in files]


def version(text: str) -> Version:
    """(major, minor, patch). ValueError for anything else."""
    if not re.fullmatch(r"[0-9]+\.[0-9]+\.[0-9]+", text):
        raise ValueError("a version is major.minor.patch")
    return tuple(map(int, text.split(".")))


def entries(heading: str) -> list[str]:
    """What the changelog says under the heading of a version, or under Unreleased."""
    sections = re.split(r"^## ", CHANGELOG.read_text(), flags=re.MULTILINE)
    return [line for section in sections if re.match(rf"{re.escape(heading)}\b", section) for line in _items(section)]


def _items(section: str) -> list[str]:
    return [line for line in section.splitlines() if line.startswith("- ")]


def version_faults(released: Spec, current: Spec, unreleased: list[str]) -> Iterator[str]:
    """Why a contract that breaks nothing may not go by its version after the released one."""
    before, now = version(released["info"]["version"]), version(current["info"]["version"])
    if now[0] != before[0]:
        yield "another major version starts with its own file under contract/released"
    elif now < before:
        yield "the version is lower than the released one"
    elif now[:2] == before[:2] and _without_version(current) != _without_version(released) and not unreleased:
        yield "what changed needs a line under Unreleased in docs/contract-changelog.md, or the next minor version"


def _without_version(spec: Spec) -> Spec:
    return spec | {"info": spec["info"] | {"version": ""}}

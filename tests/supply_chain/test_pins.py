"""That a lock file with a package that is not pinned to bytes is refused."""

import json
from pathlib import Path

import pytest

from supply_chain import pins
from supply_chain.__main__ import NODE, ROOT

BUILT = """
[build-system]
requires = ["builder>=1.0"]
"""
PINNED = """
[manifest]
build-constraints = [{ name = "builder", specifier = "==1.0" }, { name = "helper", specifier = "==2.0" }]

[[package]]
name = "ours"
source = { editable = "." }

[[package]]
name = "theirs"
source = { registry = "https://pypi.org/simple" }
sdist = { url = "https://example.com/a.tar.gz", hash = "sha256:00" }
wheels = [{ url = "https://example.com/a.whl", hash = "sha256:00" }]
"""


def look(folder: Path, lock: str, node: str = '{"packages": {"": {}}}') -> list[str]:
    (folder / "pyproject.toml").write_text(BUILT)
    (folder / "uv.lock").write_text(lock)
    (folder / "package-lock.json").write_text(node)
    return list(pins.look(folder, [folder]).findings)


def test_what_is_pinned_is_taken(tmp_path: Path) -> None:
    assert look(tmp_path, PINNED) == []


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ('a.whl", hash = "sha256:00"', 'a.whl"'),
        ('a.tar.gz", hash = "sha256:00"', 'a.tar.gz", hash = "md5:00"'),
        ('{ registry = "https://pypi.org/simple" }', '{ git = "https://example.com/theirs" }'),
    ],
)
def test_a_python_package_that_could_change_is_named(tmp_path: Path, what: str, instead: str) -> None:
    (finding,) = look(tmp_path, PINNED.replace(what, instead))
    assert finding.startswith("theirs ")


@pytest.mark.parametrize(
    ("what", "instead", "finding"),
    [
        ('"builder"', '"other"', "builder builds the package and has no version in uv.lock"),
        ('"==2.0"', '">=2.0"', "helper helps to build the package and may be of several versions"),
        (
            '"helper", specifier = "==2.0"',
            '"helper"',
            "helper helps to build the package and may be of several versions",
        ),
    ],
)
def test_what_builds_the_package_and_could_change_is_named(
    tmp_path: Path, what: str, instead: str, finding: str
) -> None:
    assert look(tmp_path, PINNED.replace(what, instead)) == [finding]


def test_a_node_package_that_could_change_is_named(tmp_path: Path) -> None:
    packages = {"": {}, "node_modules/a": {"integrity": "sha512-00"}, "node_modules/a/node_modules/@b/c": {}}
    assert look(tmp_path, PINNED, json.dumps({"packages": packages})) == ["@b/c has no SHA-512"]


def test_ours_are_pinned() -> None:
    assert pins.look(ROOT, NODE).findings == []
    assert set(NODE) == {
        path.parent for path in ROOT.rglob("package-lock.json") if not {"node_modules", ".tox"} & set(path.parts)
    }

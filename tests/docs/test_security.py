"""docs/security.md names every item that it promises to, and only tests that there are."""

import re

import pytest

from tests.docs import pages

PAGE = pages.read("docs/security.md")
# 45 CFR 164.312, standards and implementation specifications in their order.
SAFEGUARDS = """(a)(1) (a)(2)(i) (a)(2)(ii) (a)(2)(iii) (a)(2)(iv) (b) (c)(1) (c)(2) (d) (e)(1) (e)(2)(i) (e)(2)(ii)"""
REQUIRED = {"(a)(2)(i)", "(a)(2)(ii)", "(b)", "(d)"}

OWASP = pages.rows(pages.section(PAGE, "OWASP API Security Top 10 (2023)"))
PROMISES = pages.rows(pages.section(PAGE, "Promises of our own"))
HIPAA = pages.rows(pages.section(PAGE, "HIPAA technical safeguards (45 CFR 164.312)"))


def named(text: str) -> list[str]:
    return re.findall(r"`(tests/[\w/.:]+)`", text)


def test_every_item_of_owasps_list_is_there_in_its_order() -> None:
    assert [cells[0].split()[0] for cells in OWASP] == [f"API{number}" for number in range(1, 11)]


def test_every_technical_safeguard_is_there_in_its_order() -> None:
    assert [cells[0].split()[0] for cells in HIPAA] == SAFEGUARDS.split()
    told = {cells[0].split()[0]: cells[0][-3:] for cells in HIPAA}
    assert {name for name, kind in told.items() if kind == "(R)"} == REQUIRED
    assert [name for name, kind in told.items() if "(2)" in name and kind not in ("(R)", "(A)")] == []


@pytest.mark.parametrize("cells", OWASP + HIPAA + PROMISES, ids=lambda cells: cells[0].split()[0])
def test_each_claim_is_shown_by_a_test(cells: list[str]) -> None:
    assert all(cells)
    assert named(cells[-1])


@pytest.mark.parametrize("name", sorted(set(named(PAGE))))
def test_every_test_that_is_named_exists(name: str) -> None:
    path, _, function = name.partition("::")
    assert (pages.ROOT / path).is_file()
    assert not function or re.search(rf"\bdef {function}\(", pages.read(path))

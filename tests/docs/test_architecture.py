"""docs/architecture.md and the code tell the same."""

import re
import tomllib

from models.order_states import FINAL, MOVES, OrderState
from tests.docs import pages

PAGE = pages.read("docs/architecture.md")


def test_the_picture_of_the_states_has_every_move_and_no_other() -> None:
    (_, states) = pages.blocks(PAGE, "mermaid")
    drawn = set(re.findall(r"(\S+) --> (\S+)", states))
    moves = {(str(state), str(onward)) for state, onwards in MOVES.items() for onward in onwards}
    assert drawn == moves | {("[*]", str(OrderState.RECEIVED))} | {(str(state), "[*]") for state in FINAL}


def test_the_layers_are_those_that_import_linter_holds() -> None:
    contracts = tomllib.loads(pages.read("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    told = [re.findall(r"`([^`]+)`", cells[1]) for cells in pages.rows(pages.section(PAGE, "The layers"))]
    assert told == [layer.split(" | ") for layer in contracts[0]["layers"]]


def test_every_place_of_the_tree_exists() -> None:
    told = pages.rows(pages.section(PAGE, "The tree"))
    places = [place for cells in told for place in re.findall(r"`([\w./-]+)`", cells[1])]
    assert len(places) > 20
    assert [place for place in places if not (pages.ROOT / place).exists()] == []


def test_every_part_is_in_the_map_of_the_tree() -> None:
    told = pages.section(PAGE, "The tree")
    parts = [f"{path.parent.name}/" for path in (pages.ROOT / "case_orders").glob("*/__init__.py")]
    parts += [path.name for path in (pages.ROOT / "case_orders").glob("[!_]*.py")]
    assert [name for name in parts if f"`case_orders/{name}`" not in told] == []

"""What the pages say of the project's own parts: links, commands, diagrams, names."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from case_orders import cli
from case_orders.cli import drugs
from tests.docs import pages

NAMES = [pages.name_of(path) for path in pages.pages()]
COMMAND: Any = get_command(cli.app)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", pages.prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(text: str) -> Iterator[str]:
    """The links of a page that lead to this project."""
    for target in re.findall(r"\[[^\]]+\]\(([^)\s]+)\)", pages.prose(text)):
        if not re.match(r"[a-z]+:", target):
            yield target


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_to_a_page_that_has_the_anchor(name: str) -> None:
    text = pages.read(name)
    for target in links(text):
        path, _, anchor = target.partition("#")
        there = (pages.ROOT / name).parent / path if path else pages.ROOT / name
        assert there.exists(), target
        assert not anchor or anchor in anchors(there.read_text()), target


def test_every_record_is_in_the_list_of_decisions() -> None:
    records = sorted(path for path in (pages.ROOT / "docs/decisions").glob("0*.md"))
    listed = re.findall(r"^- \[(.+)\]\((.+)\)$", pages.read("docs/decisions/README.md"), re.MULTILINE)
    assert listed == [(path.read_text().splitlines()[0].removeprefix("# "), path.name) for path in records]
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))


@pytest.mark.parametrize("path", sorted((pages.ROOT / "docs/decisions").glob("0*.md")), ids=lambda path: path.name)
def test_a_record_says_context_decision_and_consequences(path: Path) -> None:
    assert re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE) == ["Context", "Decision", "Consequences"]


def invocations(text: str) -> Iterator[list[str]]:
    """Every command line of `case-orders` that a page prints, in a block or in the text."""
    lines = [line.partition("  #")[0] for block in pages.blocks(text, "sh") for line in block.splitlines()]
    for command in [*lines, *re.findall(r"`(case-orders [^`]+)`", pages.prose(text))]:
        if command.startswith("case-orders "):
            yield shlex.split(command)[1:]


def is_known(words: list[str]) -> bool:
    """Whether a command exists and takes the options of this line."""
    command, rest = COMMAND, list(words)
    while isinstance(command, TyperGroup) and rest and rest != ["--help"]:
        command = command.get_command(typer.Context(command), rest.pop(0))
    if command is None or (isinstance(command, TyperGroup) and not rest):
        return False
    options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    return all(word in options for word in rest if word.startswith("--"))


@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_a_page_prints_exists_with_its_options(name: str) -> None:
    for words in invocations(pages.read(name)):
        assert is_known(words), words


def test_a_command_that_does_not_exist_would_be_noticed() -> None:
    assert not is_known(["orders", "explode"])
    assert not is_known(["orders", "list", "--colour"])


@pytest.mark.parametrize("name", ["README.md", "docs/operations.md"])
def test_the_columns_of_a_file_of_drugs_are_those_that_are_read(name: str) -> None:
    (told,) = re.findall(r"columns (`?code\b.+?) *(?:$|\.)", pages.read(name), re.MULTILINE)
    assert set(re.findall(r"[a-z]+", told)) - {"and", "any", "of"} == set(drugs.COLUMNS)


NODE, STATE = r"[a-z]+(\[[^\]]+\])?", r"(\[\*\]|[A-Z_]+)"
FLOW_LINES = (rf'{NODE} (-- "[^"]+" )?--> {NODE}', NODE, rf"subgraph {NODE}", "end")


def mermaid(text: str) -> list[list[str]]:
    return [[line.strip() for line in block.splitlines()] for block in pages.blocks(text, "mermaid")]


def test_every_line_of_a_diagram_is_one_that_mermaid_knows() -> None:
    flow, states = mermaid(pages.read("docs/architecture.md"))
    assert flow[0] == "flowchart LR"
    assert all(any(re.fullmatch(form, line) for form in FLOW_LINES) for line in flow[1:]), flow
    assert sum(line.startswith("subgraph") for line in flow) == flow.count("end")
    assert states[0] == "stateDiagram-v2"
    assert all(re.fullmatch(rf"{STATE} --> {STATE}", line) for line in states[1:])

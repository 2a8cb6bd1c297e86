"""The project's pages, and what they are made of."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def pages() -> Iterator[Path]:
    """Every page that is meant for readers."""
    yield from (ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"))
    yield from sorted((ROOT / "docs").rglob("*.md"))


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of a language, in the order of the page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def message_to_try() -> tuple[str, dict[str, str], bytes]:
    """The integration guide's message to try one's code on: its secret, headers and body."""
    guide = read("docs/integration-guide.md")
    (block,) = blocks(guide, "http")
    head, text = block.rstrip("\n").split("\n\n")
    secret = re.search(r"with the secret `(whsec_[^`]+)`", guide)
    assert secret is not None
    return secret[1], dict(line.split(": ", 1) for line in head.splitlines()), text.encode()


def prose(text: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def section(text: str, heading: str) -> str:
    """What stands below a heading of the second level."""
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every table row, without its header."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    ruled = [index for index, line in enumerate(lines) if re.fullmatch(r"[|\- ]+", line)]
    skipped = {*ruled, *(index - 1 for index in ruled)}
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for index, line in enumerate(lines)
        if index not in skipped
    ]

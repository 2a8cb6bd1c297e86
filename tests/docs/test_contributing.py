"""What CONTRIBUTING.md tells to do, done in a copy of the checkout."""

import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

from tests.docs import pages

PAGE = pages.read("CONTRIBUTING.md")


def test_the_way_to_make_a_migration_writes_one_and_finds_nothing_left_to_migrate(tmp_path: Path) -> None:
    for name in ("case_orders", "handlers", "models"):
        shutil.copytree(pages.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    versions = tmp_path / "case_orders/migrations/versions"
    (snippet,) = pages.blocks(PAGE, "python")
    last = max(int(path.name[:4]) for path in versions.glob("0*.py"))
    following = f"{last + 1:04d}"
    assert f'rev_id="{following}"' in snippet
    assert f"versions/{following}_what_changes.py" in PAGE
    command = [sys.executable, "-c", snippet]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (written,) = versions.glob(f"{following}_what_changes.py")
    assert "op." not in written.read_text().split("def upgrade")[1]


def test_the_table_of_environments_is_toxs() -> None:
    tox = ConfigParser()
    tox.read(pages.ROOT / "tox.ini")
    told = [cells[0].strip("`").removeprefix("tox run -e ") for cells in pages.rows(pages.section(PAGE, "Check"))]
    assert told == [name.removeprefix("testenv:") for name in tox.sections() if name.startswith("testenv:")]
    default = tox["tox"]["env_list"].split(", ")
    assert told[: len(default)] == default
    assert len(default) == 4, "as the page says"

"""The demonstration as a newcomer runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from case_orders.demo import example


def test_the_demonstration_holds_and_says_where_the_prescription_lies(tmp_path: Path) -> None:
    environ = {**os.environ, "TMPDIR": str(tmp_path), "CASE_ORDERS_DATABASE_URL": "sqlite:////nowhere/else.db"}
    command = [sys.executable, "-m", "case_orders", "demo"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All of it held." in done.stdout
    path = re.search(r"Prescription: (\S+\.pdf)", done.stdout)
    assert path is not None
    assert Path(path[1]).read_bytes().startswith(b"%PDF-")
    assert re.search(r"sha256: [0-9a-f]{64}", done.stdout)
    assert re.search(r"Swagger UI: http://127\.0\.0\.1:\d+/docs", done.stdout)


def test_the_example_is_the_documented_one() -> None:
    """Byte for byte what README.md prints, which is what the documented platform prints."""
    readme = Path(__file__).parents[2] / "README.md"
    assert f"-d '{example.body()}'" in readme.read_text()

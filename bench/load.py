"""Load by wrk: what a slice of it showed, as far as a client sees it."""

import json
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.world import END

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Load:
    """The answers of one slice: how many in how many seconds, how many of them were wrong, connections that broke."""

    answers: int
    seconds: float
    wrong: int
    broken: int
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


def prepare(file: Path, requests: list[str]) -> Path:
    """Write requests to a file that `run` takes."""
    file.write_text("".join(request + END for request in requests), newline="")
    return file


def run(port: int, requests: Path, connections: int, seconds: int = 1) -> Load:
    """Send the requests of a file over so many connections for so many seconds."""
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"]
    command += ["--timeout", "30s", "--script", str(SCRIPT), f"http://127.0.0.1:{port}"]
    done = subprocess.run(
        [*command, "--", str(requests), secrets.token_hex(6)], check=True, stdout=subprocess.PIPE, text=True
    )
    return Load(**json.loads(done.stdout.splitlines()[-1]))

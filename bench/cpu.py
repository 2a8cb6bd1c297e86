"""What the kernel tells of processes: CPU time and memory. Linux only, see proc(5)."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE_SECONDS = 0.1


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                yield from tree(int(child))


def seconds(pid: int) -> float:
    """The CPU time of a process and its descendants so far, those that have ended included."""
    return sum(_ticks(each) for each in tree(pid)) / _TICKS


def _ticks(pid: int) -> int:
    with suppress(OSError):
        # pid (name) state ...; the name may hold anything. Fields 14 to 17: utime, stime, cutime, cstime.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15]))
    return 0


def settle(pid: int) -> None:
    """Returns when the process has nothing to do: what a client no longer waits for may still be under way."""
    deadline, before = time.monotonic() + 10, -1.0
    while (now := seconds(pid)) != before and time.monotonic() < deadline:
        before = now
        time.sleep(_IDLE_SECONDS)


def resident_bytes(pid: int) -> int:
    """The memory of a process and its descendants that is in RAM."""
    pages = sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in tree(pid))
    return pages * os.sysconf("SC_PAGE_SIZE")

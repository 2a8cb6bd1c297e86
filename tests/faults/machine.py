"""What a run needs of the machine, as root on Linux: a small disk, and a clock that can be moved."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def small_disk(mebibytes: int) -> Iterator[Path]:
    """A file system of its own, in memory, that every user may enter."""
    with TemporaryDirectory(prefix="disk-") as folder:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "faults", folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def moved_clock(file: Path) -> Mapping[str, str]:
    """The environment of a process whose wall clock, not its timers, is as far off as `file` says, such as `+3h`.

    https://github.com/wolfcw/libfaketime
    """
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }

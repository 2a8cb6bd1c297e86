"""File downloads as ASGI messages: no more of them at once than a process has memory for."""

from collections.abc import Iterator
from contextlib import contextmanager

from case_orders.edge.answers import wire
from case_orders.edge.exchange import Send
from case_orders.edge.server import MIN_READ_BYTES
from case_orders.envelope import Download
from case_orders.errors import unavailable

# A file lies whole in memory until it was sent, as its seal is opened whole, and twice while that is done. Six of the
# largest documents have room.
MOST_BYTES = 128 * 1024 * 1024
# The server looks at each piece anew whether enough of it is read in time: smaller ones would let readers be slower.
_PIECE_BYTES = MIN_READ_BYTES


class Downloads:
    """The downloads of one process."""

    def __init__(self) -> None:
        self._bytes_under_way = 0

    async def send(self, send: Send, download: Download) -> None:
        """Send a file. It is read before the status is sent, so that a missing one is an error.

        Raises Unavailable, unread, if there is no room for it.
        """
        with self._room(download.size):
            content = await download.read()
            await send({"type": "http.response.start", "status": 200, "headers": wire(_headers(download, content))})
            for start in range(0, len(content), _PIECE_BYTES):
                piece = content[start : start + _PIECE_BYTES]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            # It waits until nearly all was read, or the connection broke off: only then the room is free.
            await send({"type": "http.response.body", "body": b""})

    @contextmanager
    def _room(self, size: int) -> Iterator[None]:
        """Room for so many bytes; whatever its size, one download always has it."""
        if self._bytes_under_way and self._bytes_under_way + size > MOST_BYTES:
            raise unavailable()
        self._bytes_under_way += size
        try:
            yield
        finally:
            self._bytes_under_way -= size


def _headers(download: Download, content: bytes) -> dict[str, str]:
    # Only letters that are safe in a quoted string are kept of a name that came from outside.
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in download.file_name)
    return {
        "Content-Type": download.content_type,
        "Content-Length": str(len(content)),
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
    }

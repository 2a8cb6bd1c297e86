"""Fetches a prescription document from the pharmacy and takes nothing but a whole PDF."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from case_orders.outbound import Blocked, Outbound, OutboundError, Reply

_MIB = 1024 * 1024

FETCH_SECONDS = 40
"""How long a document may take to arrive."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole document; `size` in bytes, `sha256` of its bytes in hexadecimal."""

    data: bytes = field(repr=False)
    size: int
    sha256: str

    @classmethod
    def of(cls, data: bytes) -> Self:
        """What is known of these bytes."""
        return cls(data, len(data), hashlib.sha256(data).hexdigest())


class FetchFailed(Exception):
    """No document was fetched. `reason` is short English without any value; `retry` says if another try may help."""

    def __init__(self, reason: str, *, retry: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry = retry


async def fetch_pdf(
    outbound: Outbound,
    url: str,
    *,
    headers: Mapping[str, str],
    expected_sha256: str | None,
    max_bytes: int = 20 * _MIB,
) -> Fetched:
    """The PDF at `url`, `expected_sha256` in lower case hexadecimal. Raises FetchFailed."""
    try:
        reply = await outbound.request(
            "GET",
            url,
            headers=headers,
            total=FETCH_SECONDS,
            max_bytes=max_bytes,
        )
    except OutboundError as error:
        raise FetchFailed(error.reason, retry=not isinstance(error, Blocked)) from None
    _check_answer(reply)
    _check_pdf(reply.body)
    fetched = Fetched.of(reply.body)
    if expected_sha256 not in (None, fetched.sha256):
        raise FetchFailed("document has another checksum", retry=True)
    return fetched


def _check_answer(reply: Reply) -> None:
    if reply.status != 200:
        # What the pharmacy may still mend is worth another try; 410 says that it will not.
        raise FetchFailed(f"pharmacy answered {reply.status}", retry=reply.status != 410)
    content_type = reply.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if content_type != "application/pdf":
        raise FetchFailed("document is not of type application/pdf", retry=True)


def _check_pdf(data: bytes) -> None:
    """A cheap look at both ends, ISO 32000-1 section 7.5 with the tolerance that readers have for the last line."""
    if not data.startswith(b"%PDF-"):
        raise FetchFailed("document is not a PDF", retry=True)
    if b"%%EOF" not in data[-1024:]:
        raise FetchFailed("document was cut short", retry=True)

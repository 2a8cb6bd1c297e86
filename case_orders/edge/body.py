"""Request bodies: read with a cap and a deadline, and parsed as RFC 8259 means JSON."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from case_orders.edge.exchange import Receive, Scope, header
from case_orders.errors import Invalid, PayloadTooLarge, RequestTimeout, UnsupportedMediaType

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64

# An escape of one half of a surrogate pair, or of U+0000, which PostgreSQL cannot store.
_SUSPECT = re.compile(rb"\\u(?:[dD][89a-fA-F]|0000)")


class Disconnected(Exception):
    """The client went away before its request was whole."""


async def read_body(scope: Scope, receive: Receive, seconds: float) -> bytes:
    """The whole body, however it is transferred; raises when it is too large, too slow or broken off."""
    declared = header(scope, "content-length")
    if declared is not None and declared.isdecimal() and int(declared) > MAX_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(seconds):
            return await _collect(receive)
    except TimeoutError:
        words = f"Body did not arrive within {seconds:g} seconds"
        raise RequestTimeout(words, "request_timeout", headers={"Connection": "close"}) from None


async def _collect(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        body += message.get("body", b"")
        if len(body) > MAX_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(body)


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(f"Body must be at most {MAX_BYTES} bytes", "body_too_large")


def require_json(scope: Scope) -> None:
    """Refuse a body that does not say it is JSON in UTF-8, or that is packed."""
    if (header(scope, "content-encoding") or "identity").lower() != "identity":
        raise UnsupportedMediaType("Content-Encoding must be left out: bodies are not unpacked", "unsupported_encoding")
    media_type, *parameters = (header(scope, "content-type") or "").lower().split(";")
    charsets = [p.strip().removeprefix("charset=").strip('"') for p in parameters if p.strip().startswith("charset=")]
    if media_type.strip() != "application/json" or any(charset != "utf-8" for charset in charsets):
        raise UnsupportedMediaType("Content-Type must be application/json", "unsupported_media_type")


def parse_json(raw: bytes) -> Any:
    """The value of a JSON text; strict: no NaN, no number out of range, no repeated or unstorable names."""
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_unique_names,
            parse_constant=_not_json,
            parse_int=_bounded_int,
            parse_float=_finite_float,
        )
    except UnicodeDecodeError:
        raise _malformed("it is not UTF-8") from None
    except RecursionError:
        raise _malformed(f"it is nested more than {MAX_DEPTH} levels deep") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"line {error.lineno}, column {error.colno}") from None
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _require_shallow(value)
    if _SUSPECT.search(raw):
        _require_storable(value)
    return value


def _malformed(why: str) -> Invalid:
    return Invalid(f"Body is not valid JSON: {why}", "malformed_json")


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _malformed("an object repeats a name")
    return found


def _not_json(_constant: str) -> NoReturn:
    raise _malformed("NaN and Infinity are not numbers")


def _bounded_int(digits: str) -> int:
    # 64 bits, as most readers of the stored value can take
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:
        raise _malformed("a number is out of range")
    return int(digits)


def _finite_float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise _malformed("a number is out of range")
    return value


def _require_storable(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise _malformed("half of a surrogate pair stands alone") from None
    if "\\u0000" in json.dumps(value).replace("\\\\", ""):
        raise _malformed("the character U+0000 is not allowed")


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            return
    raise _malformed(f"it is nested more than {MAX_DEPTH} levels deep")


def _children(node: Any) -> Iterator[Any]:
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return (child for child in values if isinstance(child, dict | list))

"""The keys that seal data at rest: AES-256-GCM (NIST SP 800-38D) under a ring of keys; the first seals, all open.

What is sealed is bound to its place by a context, such as `table/column/row`, and does not open in another. It begins
with a header: a version byte, the length of the key's id, the id. A nonce of 12 bytes follows, then the ciphertext
with its tag. The header is authenticated with the context.

The ring of a process is installed once at its start; models and the document store take it from here.
"""

import base64
import binascii
import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from case_orders import durable
from case_orders.settings import Settings

LONGEST_HEADER = 34

_VERSION = 1
_KEY_BYTES = 32
_NONCE_BYTES = 12
_KEY_ID = re.compile(r"[0-9A-Za-z._-]{1,32}")


class SealBroken(Exception):
    """It does not open: it was changed, or lies in another place than it was sealed for."""


class UnknownKey(SealBroken):
    """It was sealed under a key that is not in the ring."""


class KeysUnusable(Exception):
    """There is no ring to work with; the text says what to do."""


class Keyring:
    """Seals under the key `current`, opens what any of its keys sealed. A key has 32 bytes."""

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._keys = dict(keys)
        self._derived: dict[tuple[str, str], bytes] = {}
        self.current = current

    @classmethod
    def parse(cls, text: str) -> Self:
        """The ring of `ID:KEY` entries, the keys in base64, separated by commas or lines. Raises `KeysUnusable`."""
        entries = [_parse(entry) for entry in re.split(r"[\s,]+", text) if entry]
        if not entries or len(dict(entries)) < len(entries):
            raise KeysUnusable("Encryption keys must be one or more, each with an id of its own.")
        return cls(dict(entries), entries[0][0])

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(self._ciphers)

    def seal(self, data: bytes, context: str) -> bytes:
        head, nonce = header(self.current), os.urandom(_NONCE_BYTES)
        return head + nonce + self._ciphers[self.current].encrypt(nonce, data, head + context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises `SealBroken`, or `UnknownKey` which is one."""
        key_id = sealed_under(sealed)
        if key_id not in self._ciphers:
            raise UnknownKey("sealed under a key that is not in the ring")
        head = header(key_id)
        nonce, rest = sealed[len(head) : len(head) + _NONCE_BYTES], sealed[len(head) + _NONCE_BYTES :]
        try:
            return self._ciphers[key_id].decrypt(nonce, rest, head + context.encode())
        except (InvalidTag, ValueError):  # ValueError: too short to hold nonce and tag
            raise SealBroken("the seal is broken") from None

    def derive(self, key_id: str, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose other than sealing, by HKDF-SHA256 (RFC 5869). Raises `UnknownKey`."""
        if key_id not in self._keys:
            raise UnknownKey("derived from a key that is not in the ring")
        if (key_id, purpose) not in self._derived:
            hkdf = HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose.encode())
            self._derived[key_id, purpose] = hkdf.derive(self._keys[key_id])
        return self._derived[key_id, purpose]


def _parse(entry: str) -> tuple[str, bytes]:
    key_id, _, encoded = entry.partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if not _KEY_ID.fullmatch(key_id) or len(key) != _KEY_BYTES:
        raise KeysUnusable("An encryption key must be an id, a colon and 32 bytes in base64.")
    return key_id, key


def header(key_id: str) -> bytes:
    """How everything that this key sealed begins."""
    return bytes([_VERSION, len(key_id)]) + key_id.encode()


def sealed_under(sealed: bytes) -> str:
    """The id of the key that sealed this; its beginning is enough. Raises `SealBroken` if it is nothing sealed."""
    if len(sealed) < 2 or sealed[0] != _VERSION or len(sealed) < 2 + sealed[1]:
        raise SealBroken("this is nothing sealed")
    return sealed[2 : 2 + sealed[1]].decode("ascii", "replace")


def new_entry() -> str:
    """A new key as `ID:KEY`; the id tells the day."""
    key = base64.b64encode(secrets.token_bytes(_KEY_BYTES)).decode()
    return f"{datetime.now(UTC):%Y%m%d}-{secrets.token_hex(3)}:{key}"


# ---- the ring of a process --------------------------------------------------------------------------------------

Source = Callable[[], Keyring]


def _none() -> Keyring:
    raise RuntimeError("no keyring is installed: a process must install one before it works with sealed values")


_source: Source = _none


def install(source: Source) -> None:
    """Have this process seal and open with the ring that `source` gives; it is asked every time."""
    global _source
    _source = source


def installed() -> Keyring:
    """The ring of this process."""
    return _source()


class KeyFile:
    """A ring that lies in a file; when the file is changed, it is read again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[tuple[int, int], Keyring] | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.data_dir / "encryption-keys")

    def ring(self) -> Keyring:
        """Raises `KeysUnusable` if the file holds no ring, OSError if it is gone: no key, no sealing."""
        found = self.path.stat()
        state = (found.st_ino, found.st_mtime_ns)
        if self._read is None or self._read[0] != state:
            self._read = (state, Keyring.parse(self.path.read_text()))
        return self._read[1]

    def make(self) -> bool:
        """Make the file with a first key, whichever process comes first; whether it was this one."""
        durable.make_directory(self.path.parent)
        return durable.create(self.path, f"{new_entry()}\n".encode())

    def add(self) -> str:
        """Put a new key before the others; its id."""
        entry = new_entry()
        with _turn(self.path.parent):
            durable.replace(self.path, f"{entry}\n".encode() + self.path.read_bytes())
        return entry.partition(":")[0]


@contextmanager
def _turn(directory: Path) -> Iterator[None]:
    """One at a time: of two that added a key at once, the second would drop the first one's."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def install_for(settings: Settings, *, make: bool = True) -> Path | None:
    """Install the ring of the settings, or of the key file beside an embedded database. The file if it was made now.

    Raises `KeysUnusable`, also where a new key would hide that the right one is missing; OSError if the file will not
    do, or is not there and `make` is false.
    """
    if settings.encryption_keys is not None:
        ring = Keyring.parse(settings.encryption_keys.get_secret_value())
        install(lambda: ring)
        return None
    _require_embedded(settings)
    require_whole(settings)
    file = KeyFile.of(settings)
    made = make and file.make()
    file.ring()
    install(file.ring)
    return file.path if made else None


def _require_embedded(settings: Settings) -> None:
    """A database on a server outlives this host and is shared by others, which a file here would not be."""
    if settings.database_file is None:
        raise KeysUnusable(
            "A database server needs CASE_ORDERS_ENCRYPTION_KEYS, the same on every host: "
            "case-orders keys encryption add makes a key."
        )


def require_whole(settings: Settings) -> None:
    """Raises `KeysUnusable` if an embedded database has lost its key file: a new one would open nothing of it."""
    database = settings.database_file
    # In this order: whoever makes both makes the key file first.
    if database is not None and database.exists() and not KeyFile.of(settings).path.exists():
        raise KeysUnusable(
            "The database is there and its key file encryption-keys is not: "
            "put the file back from the backup, or set CASE_ORDERS_ENCRYPTION_KEYS."
        )

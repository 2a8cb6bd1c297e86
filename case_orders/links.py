"""Signed links to documents: they work without a key, for one document, for a short time."""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from pathlib import Path

from case_orders import durable
from case_orders.settings import SHORTEST_SECRET, Settings

VALID_FOR = timedelta(minutes=15)


class SecretUnusable(Exception):
    """There is no secret to sign with; the text says what to do."""


class Links:
    """Signs and checks links under one secret, which every host that serves the API must share."""

    def __init__(self, secret: bytes, public_url: str) -> None:
        self._secret = secret
        self._base = public_url.rstrip("/")

    @classmethod
    def from_settings(cls, settings: Settings) -> "Links":
        """Raises `SecretUnusable` if the file of the secret holds one that can be guessed."""
        if settings.link_secret is not None:
            return cls(settings.link_secret.get_secret_value().encode(), settings.public_url)
        return cls(_secret_file(settings.data_dir / "link-secret"), settings.public_url)

    def url(self, document_id: str, at: datetime) -> str:
        """A link to a document that works for 15 minutes from `at`."""
        expires = int((at + VALID_FOR).timestamp())
        signature = self._sign(document_id, expires)
        return f"{self._base}/api/v1/documents/{document_id}?expires={expires}&signature={signature}"

    def allows(self, document_id: str, expires: int, signature: str, at: datetime) -> bool:
        """Whether a link was signed here and has not ended."""
        return hmac.compare_digest(signature, self._sign(document_id, expires)) and at.timestamp() < expires

    def _sign(self, document_id: str, expires: int) -> str:
        return hmac.new(self._secret, f"document:{document_id}:{expires}".encode(), hashlib.sha256).hexdigest()


def _secret_file(path: Path) -> bytes:
    """The secret in a file that only its owner reads; made by whichever process comes first."""
    durable.make_directory(path.parent)
    durable.create(path, secrets.token_hex(32).encode())
    secret = path.read_bytes()
    if len(secret.strip()) < SHORTEST_SECRET:
        raise SecretUnusable(f"The file {path.name} must hold at least {SHORTEST_SECRET} characters.")
    return secret

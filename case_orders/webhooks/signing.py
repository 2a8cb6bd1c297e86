"""How messages are signed: Standard Webhooks, and the documented platform's own header beside it."""

import hmac
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook as StandardWebhook


def signed_headers(signing_secrets: Sequence[str], message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The headers that prove where a message comes from, one signature for each secret, the newest first.

    `x-cv-signature` is the hexadecimal HMAC-SHA256 of the body under the whole text of the newest secret.
    """
    at = at.replace(microsecond=0)
    signatures = [StandardWebhook(secret).sign(message_id, at, body.decode()) for secret in signing_secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
        "x-cv-signature": hmac.digest(signing_secrets[0].encode(), body, "sha256").hex(),
    }

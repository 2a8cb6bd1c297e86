"""Signatures of the pharmacy protocol, made with the Standard Webhooks algorithm.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
A report is signed over its body. A request to the pharmacy is signed over `{METHOD} {path-and-query}\\n{body}`, so that
its signature is worth nothing at another path.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime

from standardwebhooks import Webhook, WebhookVerificationError
from standardwebhooks.webhooks import EmptyWebhookSecretError
from yarl import URL


def sign_request(
    secret: str,
    method: str,
    url: str,
    body: bytes,
    *,
    message_id: str | None = None,
    at: datetime | None = None,
) -> dict[str, str]:
    """The three `webhook-` headers of a request to `url`; `body` is UTF-8, `at` defaults to now."""
    return _sign(secret, _request_text(method, URL(url).raw_path_qs, body), message_id, at)


def verify_request(
    secret: str,
    headers: Mapping[str, str],
    method: str,
    path_and_query: str,
    body: bytes,
) -> bool:
    """Whether a request, its path and query as they came over the wire, was signed with `secret` within 5 minutes."""
    return _verify(secret, headers, _request_text(method, path_and_query, body))


def sign_report(
    secret: str,
    body: bytes,
    *,
    message_id: str | None = None,
    at: datetime | None = None,
) -> dict[str, str]:
    """The three `webhook-` headers of a report; `body` is UTF-8, `at` defaults to now."""
    return _sign(secret, body, message_id, at)


def verify_report(secret: str, headers: Mapping[str, str], body: bytes) -> bool:
    """Whether a report was signed with `secret` within 5 minutes."""
    return _verify(secret, headers, body)


def _request_text(method: str, path_and_query: str, body: bytes) -> bytes:
    # A path that came with bytes that are not UTF-8 holds surrogates; passed on, they fail verification.
    return f"{method.upper()} {path_and_query}\n".encode(errors="surrogatepass") + body


def _sign(secret: str, text: bytes, message_id: str | None, at: datetime | None) -> dict[str, str]:
    message_id = message_id or str(uuid.uuid4())
    at = (at or datetime.now(UTC)).astimezone(UTC)  # the library takes any time for UTC
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message_id, at, text.decode()),
    }


def _verify(secret: str, headers: Mapping[str, str], text: bytes) -> bool:
    try:
        Webhook(secret).verify(text, dict(headers), json_parse=False)
    except (WebhookVerificationError, EmptyWebhookSecretError, ValueError):
        # ValueError: a header or body that is not base64, not UTF-8 or has no version.
        return False
    return True

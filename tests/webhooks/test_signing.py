"""Signatures, checked with the official library and by hand as a receiver would."""

import hashlib
import hmac
from datetime import timedelta

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from case_orders.db import now
from case_orders.signing_secrets import new_secret
from case_orders.webhooks.signing import signed_headers
from tests.webhooks.conftest import Desk, Endpoint

BODY = b'{"id":"0192f7c4","type":"TEST"}'


def is_signed_with(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Verifier(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def test_a_signature_verifies_with_the_official_library() -> None:
    secret = new_secret()
    assert is_signed_with(secret, signed_headers([secret], "msg_1", now(), BODY), BODY)


@pytest.mark.parametrize("body", [BODY + b" ", BODY.replace(b"TEST", b"TESS")])
def test_a_signature_does_not_fit_another_body(body: bytes) -> None:
    secret = new_secret()
    assert not is_signed_with(secret, signed_headers([secret], "msg_1", now(), BODY), body)


def test_a_message_of_another_time_is_refused() -> None:
    secret = new_secret()
    headers = signed_headers([secret], "msg_1", now() - timedelta(minutes=10), BODY)
    assert not is_signed_with(secret, headers, BODY)


def test_the_documented_platforms_signature_is_a_plain_hmac_of_the_body() -> None:
    secret = new_secret()
    expected = hmac.new(secret.encode(), BODY, hashlib.sha256).hexdigest()
    assert signed_headers([secret], "msg_1", now(), BODY)["x-cv-signature"] == expected


async def test_a_message_arrives_signed_in_both_ways(desk: Desk, endpoint: Endpoint) -> None:
    webhook_id = desk.subscribe(endpoint.url)
    desk.announce()
    await desk.attempt()
    secret, (message,) = desk.webhook(webhook_id).secret, endpoint.received
    assert is_signed_with(secret, dict(message.headers), message.body)
    expected = hmac.new(secret.encode(), message.body, hashlib.sha256).hexdigest()
    assert message.headers["x-cv-signature"] == expected
    assert message.headers["webhook-id"] == message.json["id"]


async def test_after_a_rotation_both_secrets_sign_until_the_old_one_ends(desk: Desk, endpoint: Endpoint) -> None:
    old, new = new_secret(), new_secret()
    webhook_id = desk.subscribe(endpoint.url)
    columns = {"secret": new, "previous_secret": old}
    for ends_in, old_signs in ((timedelta(seconds=30), True), (timedelta(), False)):
        desk.change(webhook_id, previous_secret_until=now() + ends_in, **columns)
        desk.announce()
        await desk.attempt()
        message = endpoint.received[-1]
        assert is_signed_with(new, dict(message.headers), message.body)
        assert is_signed_with(old, dict(message.headers), message.body) is old_signs
        assert message.headers["x-cv-signature"] == hmac.new(new.encode(), message.body, hashlib.sha256).hexdigest()


def test_the_old_secret_signs_for_exactly_as_long_as_is_stored(desk: Desk) -> None:
    webhook = desk.webhook(desk.subscribe("http://127.0.0.1:9/"))
    webhook.previous_secret, webhook.previous_secret_until = "old", now()
    assert webhook.secrets_at(webhook.previous_secret_until) == [webhook.secret]
    assert webhook.secrets_at(webhook.previous_secret_until - timedelta(seconds=1)) == [webhook.secret, "old"]

"""Signing secrets."""

import base64

from case_orders.signing_secrets import new_secret


def test_a_secret_is_192_random_bits() -> None:
    assert len(base64.b64decode(new_secret().removeprefix("whsec_"), validate=True)) == 24
    assert new_secret() != new_secret()

"""The secrets that sign messages, to webhooks and to and from pharmacies."""

import base64
import secrets

SECRET_BYTES = 24
"""The shortest secret that Standard Webhooks allows: 192 bits."""


def new_secret() -> str:
    """A fresh signing secret: `whsec_` and random bytes in base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()

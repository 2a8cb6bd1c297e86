"""Organizations and the keys that they authenticate with."""

from datetime import datetime
from typing import Any

from sqlmodel import Field

from case_orders.row import Row
from models import columns


class Organization(Row, table=True):
    """A customer of the platform; everything else belongs to one.

    One whose data is for tests has test keys and an organization of its own: what keeps customers apart keeps tests
    apart too.
    """

    __tablename__ = "organizations"

    id: str = columns.key()
    name: str = Field(unique=True, max_length=100)
    refuse_wrong_npi: bool = False
    is_test: bool = False
    created_at: datetime = columns.moment()


class ApiKey(Row, table=True):
    """A key of an organization. Only its SHA-256 is kept: the key has full entropy and needs no slow hash.

    `last_used_at` may be a minute behind.
    """

    __tablename__ = "api_keys"

    id: str = columns.key()
    organization_id: str = columns.reference("organizations.id")
    name: str = Field(max_length=100)
    sha256: str = Field(unique=True, max_length=64)
    scopes: list[Any] = columns.json()
    created_at: datetime = columns.moment()
    expires_at: datetime | None = columns.maybe_moment()
    revoked_at: datetime | None = columns.maybe_moment()
    last_used_at: datetime | None = columns.maybe_moment()

    def is_valid_at(self, moment: datetime) -> bool:
        return self.revoked_at is None and (self.expires_at is None or moment < self.expires_at)

"""Everything that an operator can set, read from the environment: `CASE_ORDERS_` and the name in capitals."""

import os
import re
from contextlib import suppress
from importlib.util import find_spec
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from case_orders.rate import Rate

# RFC 6454, as browsers send it: in lower case, and without a port that is the scheme's own.
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]+)?|https?://\[[0-9a-f:]+\](:[0-9]+)?", re.ASCII)

SHORTEST_SECRET = 32
"""Characters of the shortest secret that is taken; of hexadecimal ones so many hold 128 bits."""


def _default_data_dir() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "case-orders"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host or "127.0.0.1"


class Settings(BaseSettings):
    """The settings of one process; docs/operations.md has the table for operators."""

    model_config = SettingsConfigDict(env_prefix="CASE_ORDERS_", frozen=True)

    data_dir: Path = Field(default_factory=_default_data_dir)
    """Where the embedded database, the documents and the key files lie unless they are set."""
    database_url: str = Field(default_factory=lambda data: f"sqlite:///{data['data_dir']}/case-orders.db")
    """`sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`."""
    document_store: str = Field(default_factory=lambda data: f"file://{data['data_dir'].absolute()}/documents")
    """`file:///PATH`, `memory:///`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    public_url: str = Field(default_factory=lambda data: f"http://{_in_url(data['host'])}:{data['port']}")
    """The address at which pharmacies and receivers of document links reach the service."""

    outbound_allow: Annotated[tuple[str, ...], NoDecode] = ()
    """Networks that are not public and may be called all the same, separated by commas; for development."""
    link_secret: SecretStr | None = None
    """Signs document links. Without it a key file is made in the data directory; hosts must share one."""

    encryption_keys: SecretStr | None = None
    """`ID:KEY` entries separated by commas: the first seals data at rest, all open it. Keys are 32 bytes in base64.
    Without it a key file is made in the data directory, but not for a database on a server."""

    body_seconds: float = Field(default=10, gt=0)
    """How long a request's body may take to arrive."""
    head_seconds: float = Field(default=10, gt=0)
    """How long a request's head may take to arrive, and a connection may be silent before its first request."""
    drain_seconds: float = Field(default=0, ge=0)
    """How long the API goes on taking requests after it was told to stop and says that it is not ready."""
    write_queue: int = Field(default=1000, ge=1)
    """How many writes may wait for the database, and how many reads; one more is answered with 503."""

    rate_per_key: str = "6000/10 seconds"
    """How many requests one API key may make in how much time; empty for any number, like the next three."""
    rate_per_organization: str = "12000/10 seconds"
    """How many requests all keys of an organization may make together."""
    rate_per_pharmacy: str = "6000/10 seconds"
    """How many reports a pharmacy may send through one connection."""
    rate_failed_keys: str = "60/minute"
    """How many keys that are not valid an address may send before they are refused unseen.
    As many reports whose signature is not valid are looked at."""
    rate_store: SecretStr | None = None
    """`redis://HOST:PORT/DB`, where several API processes count requests together; without it each counts its own."""
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = ("127.0.0.1", "::1")
    """Proxies, by address or network and separated by commas, whose X-Forwarded-For names the client."""
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    """Origins, separated by commas, whose pages may call the API from a browser."""

    worker_concurrency: int = Field(default=128, ge=1)
    """How many jobs a worker has under way at once. The more begin and end together, the less each of them costs."""
    worker_per_destination: int = Field(default=8, ge=1)
    """How many of them go to one pharmacy or one webhook host."""
    worker_poll_seconds: float = Field(default=1, gt=0)
    """How often an idle worker looks for due jobs that nobody woke it for, such as those whose pause is over."""
    lease_seconds: float = Field(default=120, gt=0)
    """After this time a job whose worker went silent is given to another; longer than any job may take."""
    follow_seconds: float = Field(default=300, gt=0)
    """After this time without a report the pharmacy is asked about an order."""

    keep_deliveries_days: int = Field(default=90, ge=1)
    """After so many days a webhook message that was received or given up is forgotten, with its attempts."""
    keep_reports_days: int = Field(default=90, ge=1)
    """After so many days a pharmacy's report is forgotten, once it was applied and its order is over."""
    keep_events_days: int | None = Field(default=None, ge=1)
    """After so many days an event is forgotten, once its order is over; without it events are kept."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @property
    def database_file(self) -> Path | None:
        """Where an embedded database lies; None for one on a server."""
        url = make_url(self.database_url)
        return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None

    @field_validator("database_url")
    @classmethod
    def _is_database(cls, url: str) -> str:
        with suppress(ArgumentError):
            parsed = make_url(url)
            if parsed.database and (parsed.drivername == "sqlite" or parsed.get_backend_name() == "postgresql"):
                return url
        raise ValueError("it must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME")

    @field_validator("public_url")
    @classmethod
    def _is_http_url(cls, url: str) -> str:
        with suppress(ValueError):  # a port that is none raises it only when it is asked for
            parsed = urlsplit(url)
            if parsed.scheme in ("http", "https") and parsed.hostname and (parsed.port is None or parsed.port >= 0):
                return url
        raise ValueError("it must be an http or https URL such as https://orders.example.com")

    @field_validator("link_secret")
    @classmethod
    def _is_long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < SHORTEST_SECRET:
            raise ValueError(f"it must have at least {SHORTEST_SECRET} characters")
        return secret

    @field_validator("rate_per_key", "rate_per_organization", "rate_per_pharmacy", "rate_failed_keys")
    @classmethod
    def _is_rate(cls, text: str) -> str:
        Rate.parse(text)
        return text

    @field_validator("rate_store")
    @classmethod
    def _is_redis(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None:
            return None
        if not url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("it must be redis://HOST:PORT/DB, rediss://HOST:PORT/DB or unix://PATH")
        if find_spec("redis") is None:
            raise ValueError("it needs the client of Redis: pip install 'case-orders[redis]'")
        return url

    @field_validator("outbound_allow", "trusted_proxies", "cors_origins", mode="before")
    @classmethod
    def _split_at_commas(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if all(_ORIGIN.fullmatch(origin) for origin in origins):
            return origins
        raise ValueError("each must be an origin such as https://app.example.com, without a path")

    @field_validator("outbound_allow", "trusted_proxies")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for network in networks:
                ip_network(network)
        except ValueError:  # its own words hold the value
            raise ValueError("each must be a network in CIDR form, such as 10.1.0.0/16") from None
        return networks

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_capitals(cls, level: object) -> object:
        return level.upper() if isinstance(level, str) else level

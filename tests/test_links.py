"""Signed links to documents."""

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr, ValidationError

from case_orders.db import new_id, now
from case_orders.links import VALID_FOR, Links, SecretUnusable
from case_orders.settings import Settings

SECRET = "a secret of thirty-two characters"
LINKS = Links(SECRET.encode(), "https://api.example.com/")


def parts(url: str) -> tuple[str, int, str]:
    """Path, end and signature of a link."""
    link = urlsplit(url)
    query = parse_qs(link.query)
    return link.path, int(query["expires"][0]), query["signature"][0]


def test_a_link_leads_to_the_document_at_the_public_address() -> None:
    document_id = new_id()
    url = LINKS.url(document_id, now())
    assert url.startswith(f"https://api.example.com/api/v1/documents/{document_id}?")


def test_a_link_works_for_15_minutes() -> None:
    document_id, moment = new_id(), now().replace(microsecond=0)
    _, expires, signature = parts(LINKS.url(document_id, moment))
    assert LINKS.allows(document_id, expires, signature, moment)
    assert LINKS.allows(document_id, expires, signature, moment + VALID_FOR - timedelta(seconds=1))
    assert not LINKS.allows(document_id, expires, signature, moment + VALID_FOR)


@pytest.mark.parametrize("other", [Links(b"another secret", "https://api.example.com"), LINKS], ids=["secret", "id"])
def test_a_signature_fits_one_document_and_one_secret(other: Links) -> None:
    document_id = new_id()
    _, expires, signature = parts(LINKS.url(document_id, now()))
    assert not other.allows(document_id if other is not LINKS else new_id(), expires, signature, now())
    assert not LINKS.allows(document_id, expires + 1, signature, now())
    assert not LINKS.allows(document_id, expires, signature[:-1] + "g", now())


def test_the_secret_of_the_settings_signs(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, link_secret=SecretStr(SECRET), public_url="https://api.example.com")
    moment = now()
    assert Links.from_settings(settings).url("a-document", moment) == LINKS.url("a-document", moment)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("secret", ["", "guessed", "x" * 31])
def test_a_secret_that_can_be_guessed_is_refused(secret: str) -> None:
    with pytest.raises(ValidationError):
        Settings(link_secret=SecretStr(secret))


@pytest.mark.parametrize("secret", ["", "guessed\n", f"{'x' * 31}\n"])
def test_a_file_with_a_secret_that_can_be_guessed_is_refused(tmp_path: Path, secret: str) -> None:
    (tmp_path / "link-secret").write_text(secret)
    with pytest.raises(SecretUnusable, match="at least 32 characters"):
        Links.from_settings(Settings(data_dir=tmp_path))


def test_without_one_a_secret_is_made_that_only_its_owner_reads(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "new" / "data")
    moment = now()
    urls = {Links.from_settings(settings).url("a-document", moment) for _ in range(2)}
    (file,) = settings.data_dir.iterdir()
    assert len(urls) == 1
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_bytes()) == 64


def test_services_that_start_at_once_share_one_secret(tmp_path: Path) -> None:
    settings, moment = Settings(data_dir=tmp_path), now()
    with ThreadPoolExecutor(8) as pool:
        urls = set(pool.map(lambda _: Links.from_settings(settings).url("a-document", moment), range(32)))
    assert len(urls) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["link-secret"]

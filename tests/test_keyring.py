"""The keys that seal data at rest."""

import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import SecretStr

from case_orders import keyring
from case_orders.keyring import KeyFile, Keyring, KeysUnusable, SealBroken, UnknownKey
from case_orders.settings import Settings
from tests.support import keys

OLD, NEW = "2026a:" + base64.b64encode(b"o" * 32).decode(), "2026b:" + base64.b64encode(b"n" * 32).decode()
PLACE = "cases/sealed/1"


def test_what_is_sealed_opens_in_its_place() -> None:
    ring = Keyring.parse(OLD)
    sealed = ring.seal(b"Hypertension", PLACE)
    assert b"Hypertension" not in sealed
    assert ring.open(sealed, PLACE) == b"Hypertension"
    assert ring.open(ring.seal(b"", PLACE), PLACE) == b""


def test_the_same_value_is_sealed_differently_each_time() -> None:
    ring = Keyring.parse(OLD)
    assert ring.seal(b"Hypertension", PLACE) != ring.seal(b"Hypertension", PLACE)


@pytest.mark.parametrize("place", ["cases/sealed/2", "cases/other/1", "orders/sealed/1", ""])
def test_it_does_not_open_in_another_place(place: str) -> None:
    ring = Keyring.parse(OLD)
    with pytest.raises(SealBroken):
        ring.open(ring.seal(b"Hypertension", PLACE), place)


def test_it_does_not_open_with_any_of_its_bits_changed() -> None:
    ring = Keyring.parse(f"{OLD},{NEW}")
    sealed = ring.seal(b"Hypertension", PLACE)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            ring.open(bytes(changed), PLACE)


def test_it_does_not_open_cut_short() -> None:
    ring = Keyring.parse(OLD)
    sealed = ring.seal(b"Hypertension", PLACE)
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            ring.open(sealed[:length], PLACE)


def test_it_does_not_open_under_another_key_of_the_same_name() -> None:
    other = Keyring.parse("2026a:" + base64.b64encode(b"x" * 32).decode())
    with pytest.raises(SealBroken):
        other.open(Keyring.parse(OLD).seal(b"Hypertension", PLACE), PLACE)


def test_the_first_key_seals_and_all_open() -> None:
    both, old = Keyring.parse(f"{NEW},{OLD}"), Keyring.parse(OLD)
    assert both.current == "2026b"
    assert both.ids == ("2026b", "2026a")
    assert keyring.sealed_under(both.seal(b"", PLACE)) == "2026b"
    assert both.open(old.seal(b"Hypertension", PLACE), PLACE) == b"Hypertension"
    with pytest.raises(UnknownKey):
        old.open(both.seal(b"Hypertension", PLACE), PLACE)


def test_a_key_for_another_purpose_is_its_own_and_always_the_same() -> None:
    ring = Keyring.parse(f"{OLD},{NEW}")
    derived = {ring.derive(key_id, purpose) for key_id in ring.ids for purpose in ("one", "two")}
    assert len(derived - {b"o" * 32, b"n" * 32}) == 4
    assert ring.derive("2026a", "one") == Keyring.parse(OLD).derive("2026a", "one")
    with pytest.raises(UnknownKey):
        ring.derive("2026c", "one")


def test_a_header_of_the_longest_id_is_as_long_as_is_said() -> None:
    assert len(keyring.header("i" * 32)) == keyring.LONGEST_HEADER


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "2026a", "2026a:", "2026a:short", f"{OLD},{OLD}", OLD + "!", OLD[:-4]),
        *(OLD.replace("2026a", wrong) for wrong in ("", "a b", "i" * 33)),
    ],
)
def test_keys_that_are_not_keys_are_refused_without_being_shown(text: str) -> None:
    with pytest.raises(KeysUnusable) as caught:
        Keyring.parse(text)
    assert not text.strip(",") or text not in str(caught.value)


def test_a_new_key_is_one_that_can_be_used() -> None:
    first, second = keyring.new_entry(), keyring.new_entry()
    assert len(Keyring.parse(f"{first},{second}").ids) == 2


def test_sealing_before_a_ring_is_installed_is_a_clear_mistake() -> None:
    keyring.install(keyring._none)
    with pytest.raises(RuntimeError, match="no keyring is installed"):
        keyring.installed()


# ---- where the ring of a process comes from ---------------------------------------------------------------------


def embedded(folder: Path) -> Settings:
    return Settings(data_dir=folder, database_url=f"sqlite:///{folder}/case-orders.db")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(keys.VARIABLE)


def test_the_keys_of_the_settings_are_the_ring(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, encryption_keys=SecretStr(f"{NEW},{OLD}"))
    assert keyring.install_for(settings) is None
    assert keyring.installed().ids == ("2026b", "2026a")
    assert list(tmp_path.iterdir()) == []


def test_without_them_a_key_file_is_made_once_that_only_its_owner_reads(tmp_path: Path) -> None:
    settings = embedded(tmp_path / "new" / "data")
    made = keyring.install_for(settings)
    sealed = keyring.installed().seal(b"Hypertension", PLACE)
    assert made == settings.data_dir / "encryption-keys"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert keyring.install_for(settings) is None
    assert keyring.installed().open(sealed, PLACE) == b"Hypertension"


def test_processes_that_start_at_once_share_one_key_file(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: keyring.install_for(embedded(tmp_path)), range(32)))
    assert sum(path is not None for path in made) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["encryption-keys"]


def test_a_database_whose_key_file_is_missing_gets_no_new_one(tmp_path: Path) -> None:
    (tmp_path / "case-orders.db").touch()
    with pytest.raises(KeysUnusable, match="from the backup"):
        keyring.install_for(embedded(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == ["case-orders.db"]


def test_a_database_server_needs_keys_that_are_set(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, database_url="postgresql://user:password@host/name")
    with pytest.raises(KeysUnusable, match=keys.VARIABLE):
        keyring.install_for(settings)
    assert list(tmp_path.iterdir()) == []


def test_a_running_process_seals_under_a_key_that_is_added_to_its_file(tmp_path: Path) -> None:
    settings = embedded(tmp_path)
    keyring.install_for(settings)
    before = keyring.installed().seal(b"Hypertension", PLACE)
    added = KeyFile.of(settings).add()
    assert keyring.installed().current == added
    assert keyring.installed().open(before, PLACE) == b"Hypertension"


def test_keys_that_are_added_at_once_are_all_kept(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "encryption-keys")
    file.make()
    with ThreadPoolExecutor(8) as pool:
        added = set(pool.map(lambda _: file.add(), range(16)))
    assert len(file.ring().ids) == 17
    assert added < set(file.ring().ids)


def test_a_process_whose_key_file_is_gone_seals_nothing_that_nobody_could_open_again(tmp_path: Path) -> None:
    settings = embedded(tmp_path)
    path = keyring.install_for(settings)
    assert path is not None
    path.unlink()
    with pytest.raises(FileNotFoundError):
        keyring.installed()

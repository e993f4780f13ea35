"""The keyed hash of what was set aside: recognised over a change of key, and linked to nothing once it is forgotten."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assets.raw import hashes
from assets.raw.hashes import DAYS_VARIABLE, KEY_VARIABLE, KeyProblem, Keys, open_keys, rotate
from assets.raw.quarantine import quarantine, unreadable
from connectors.catalogue_files import CatalogueFileSettings
from connectors.records import untyped
from tests.dossiers import test_catalogue as catalogue
from tests.indicators import test_observed as observed
from warehouse.lake import Lake
from warehouse.tables import CORE_UNIT, RAW_QUARANTINE

NOW = datetime(2026, 11, 1, tzinfo=UTC)
RECORD = b'{"MaHoSo": 099066123456'


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = hashes.in_use()
    yield
    hashes.use(before)


def set_aside(lake: Lake, keys: Keys, *, now: datetime = NOW) -> list[str]:
    """Set the same broken record aside under these keys; the hashes that stand in quarantine then."""
    hashes.use(keys)
    quarantine([unreadable(untyped(RECORD, "a.ndjson 1"))], "messages", lake, now=now)
    return [str(row["content_hash"]) for row in lake.read(RAW_QUARANTINE).to_pylist()]


def test_a_record_is_set_aside_once_over_a_change_of_key(tmp_path: Path) -> None:
    lake, file = Lake(str(tmp_path / "lake")), tmp_path / "hash.key"
    first = set_aside(lake, open_keys(file, now=NOW, environment={}))
    second = set_aside(lake, rotate(file, now=NOW), now=NOW + timedelta(days=1))
    assert set_aside(lake, open_keys(file, now=NOW, environment={})) == second
    third = set_aside(lake, rotate(file, now=NOW))
    assert len(first) == len(second) == len(third) == 1
    assert len({*first, *second, *third}) == 3
    assert lake.read(RAW_QUARANTINE)["quarantined_at"].to_pylist() == [NOW]


def _of_a_catalogue(home: Path) -> Callable[[], Lake]:
    """A night of a home whose catalogue has one row without a code."""
    path = home / "danh-muc.csv"
    path.write_text("Mã TTHC,Mức độ DVCTT\n1.001193,Toàn trình\n,Một phần\n", encoding="utf-8")
    settings = CatalogueFileSettings(kind="catalogue-file", path=path)
    nights = iter(range(1, 9))

    def night() -> Lake:
        stores = catalogue._stores(home, f"2026-10-{next(nights):02d}", settings)
        catalogue._night(stores)
        return stores.lake()

    return night


def _of_offices(home: Path) -> Callable[[], Lake]:
    """A night of a home to which an office sent one row that cannot be used."""
    folder, stores = home / "so-lieu", observed.Stores(home)
    folder.mkdir()
    stores.home.replace(CORE_UNIT, observed.UNITS)
    row = (observed.FLOW, "H15.1", "2026-01", 5, 4, "1/BC", "Chủ tịch UBND xã", "2026-02-03")
    observed._file(folder / "a.xlsx", row)

    def night() -> Lake:
        observed._night(stores, folder)
        return stores.home

    return night


@pytest.mark.parametrize("source", [_of_a_catalogue, _of_offices])
def test_what_is_read_beside_dossiers_is_recognised_over_a_change_of_key_too(
    source: Callable[[Path], Callable[[], Lake]], tmp_path: Path
) -> None:
    night = source(tmp_path)
    found = []
    for keys in (Keys(b"mot"), Keys(b"hai", b"mot"), Keys(b"ba")):
        hashes.use(keys)
        rows = night().read(RAW_QUARANTINE).to_pylist()
        found.append([row["content_hash"] for row in rows if row["settled_at"] is None])
    first, second, third = found
    assert len(first) == len(second) == 1
    assert first != second
    assert set(third) - set(second)  # by a key that knows neither it is another one


def test_the_hash_is_of_this_home_alone(tmp_path: Path) -> None:
    (ours,) = set_aside(Lake(str(tmp_path / "a")), open_keys(tmp_path / "a.key", now=NOW, environment={}))
    (theirs,) = set_aside(Lake(str(tmp_path / "b")), open_keys(tmp_path / "b.key", now=NOW, environment={}))
    plain = {hashlib.new(name, RECORD).hexdigest()[:32] for name in ("md5", "sha256", "blake2b")}
    assert ours != theirs
    assert not {ours, theirs} & plain
    assert len(ours) == 32


def test_a_forgotten_key_is_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "hash.key"
    oldest = open_keys(file, now=NOW, environment={}).current
    assert rotate(file, now=NOW).previous == oldest
    rotate(file, now=NOW)
    assert [one for one in tmp_path.iterdir() if oldest.hex() in one.read_text()] == []


def test_the_key_is_its_owners_and_takes_turns_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "home" / "hash.key"
    first = open_keys(file, now=NOW, environment={})
    assert file.stat().st_mode & 0o777 == 0o600
    late = NOW + timedelta(days=31)
    assert open_keys(file, now=late, environment={}) == first
    assert open_keys(file, now=late, environment={DAYS_VARIABLE: "0"}) == first
    assert open_keys(file, now=late, environment={DAYS_VARIABLE: "30"}).previous == first.current
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_variable_overrides_the_file(tmp_path: Path) -> None:
    file = tmp_path / "hash.key"
    said = {KEY_VARIABLE: "mot khoa du dai 1,mot khoa du dai 2"}
    keys = open_keys(file, now=NOW, environment=said)
    assert (keys.current, keys.previous) == (b"mot khoa du dai 1", b"mot khoa du dai 2")
    assert not file.exists()
    for wrong in ({KEY_VARIABLE: "ngan"}, {DAYS_VARIABLE: "thang"}):
        with pytest.raises(KeyProblem, match=next(iter(wrong))):
            open_keys(file, now=NOW, environment=wrong)


def test_a_damaged_key_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "hash.key"
    file.write_text("{")
    with pytest.raises(KeyProblem, match=r"hash\.key"):
        open_keys(file, now=NOW, environment={})

"""The keyed hash of what was set aside: recognised over a change of key, and linked to nothing once it is forgotten."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assets.raw import hashes
from assets.raw.hashes import DAYS_VARIABLE, KEY_VARIABLE, KeyProblem, Keys, open_keys, rotate
from assets.raw.quarantine import quarantine, unreadable
from connectors.records import untyped
from warehouse.lake import Lake
from warehouse.tables import RAW_QUARANTINE

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

"""Damage in the lake and the database is found and named, whatever part is hurt: real damage to real files."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.warehouse.nights import Past
from warehouse.inspection import inspect_database, inspect_lake, inspect_nights
from warehouse.tables import CORE_PAYMENT, RAW_QUARANTINE
from warehouse.upkeep import Policy, upkeep

FIRST = datetime(2025, 12, 31, 17, tzinfo=UTC) + timedelta(days=1)
TABLES = {"portal": (RAW_QUARANTINE.name,)}


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of six nights."""
    folder = tmp_path_factory.mktemp("six")
    for _ in (past := Past.at(folder)).daily(FIRST, 6):
        pass
    past.database.move_cursor("portal", "x", {}, lake_version=past.lake.version(RAW_QUARANTINE))
    past.database.engine.dispose()
    return folder


@pytest.fixture
def past(six: Path, tmp_path: Path) -> Past:
    """A copy of six nights."""
    shutil.copytree(six, tmp_path / "home")
    return Past.at(tmp_path / "home")


def _found(past: Past) -> list[str]:
    return [
        *map(str, inspect_lake(past.lake)),
        *map(str, inspect_nights(past.lake, past.database)),
        *map(str, inspect_database(past.lake, past.database, TABLES)),
    ]


def _current(past: Past) -> Path:
    """A data file of the newest version of core_payment."""
    return Path(past.lake.open(CORE_PAYMENT).file_uris()[0])  # type: ignore[union-attr]


def test_a_sound_home_has_no_damage_before_upkeep_and_after(past: Past) -> None:
    assert _found(past) == []
    upkeep(past.lake, past.database, Policy(days=2, grace=timedelta(0), small_files=2), now=FIRST + timedelta(days=6))
    assert _found(past) == []
    past.night(6, known=FIRST + timedelta(days=6))
    assert _found(past) == []


@pytest.mark.parametrize("place", [0.0, 0.1, 0.3, 0.6, 0.99])
def test_one_flipped_bit_names_table_and_file(past: Past, place: float) -> None:
    file = _current(past)
    content = bytearray(file.read_bytes())
    content[int(len(content) * place)] ^= 0x01
    file.write_bytes(content)
    (found,) = _found(past)
    assert found.startswith(f"bảng core_payment, tệp lake_month={file.parent.name.split('=')[1]}/{file.name}: SHA-256")


def _truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


@pytest.mark.parametrize(("hurt", "said"), [(_truncate, "SHA-256"), (Path.unlink, "không còn")])
def test_a_file_cut_short_or_deleted_is_named(past: Past, hurt: Callable[[Path], None], said: str) -> None:
    file = _current(past)
    hurt(file)
    found = _found(past)
    assert file.name in found[0]
    assert said in found[0]


def test_without_checksums_what_cannot_be_read_is_still_named(past: Past) -> None:
    """A lake of an older program, or a bucket: every value is read, and rows are counted against the log."""
    file = _current(past)
    shutil.rmtree(Path(past.lake.root, "core_payment", "_checksums"))
    assert _found(past) == []
    _truncate(file)
    (found,) = _found(past)
    assert file.name in found
    assert "không đọc được" in found


def _log(past: Past) -> Path:
    return Path(past.lake.root, "core_payment", "_delta_log")


@pytest.mark.parametrize("version", [0, 2, 4])
def test_a_missing_log_entry_names_the_table(past: Past, version: int) -> None:
    entry = _log(past) / f"{version:020}.json"
    entry.unlink()
    found = _found(past)
    assert found
    assert all("core_payment" in line for line in found)


def test_the_newest_log_entry_missing_is_found(past: Past) -> None:
    (_log(past) / f"{5:020}.json").unlink()
    assert past.lake.version(CORE_PAYMENT) == 4  # Delta itself does not notice
    found = "\n".join(_found(past))
    assert f"nhật ký thiếu tệp _delta_log/{5:020}.json (đọc được đến phiên bản 4)" in found
    assert "đêm night-5 (06/01/2026), bảng core_payment phiên bản 5" in found


def test_an_empty_log_entry_or_no_log_at_all_is_found(past: Past) -> None:
    (_log(past) / f"{3:020}.json").write_text("")
    (found,) = _found(past)  # Delta itself reads on as if nothing had been written there
    assert found.startswith(f"bảng core_payment: tệp _delta_log/{3:020}.json của nhật ký khác lúc ghi")
    shutil.rmtree(_log(past))
    assert any("bảng core_payment: không còn nhật ký" in line for line in _found(past))


def test_a_whole_table_deleted_is_found_by_the_nights_that_knew_it(past: Past) -> None:
    shutil.rmtree(Path(past.lake.root, "core_payment"))
    found = _found(past)
    assert len(found) == 6
    assert all("bảng core_payment" in line and "nhật ký không còn" in line for line in found)


def test_a_file_of_a_past_night_deleted_names_the_night(past: Past) -> None:
    then = {Path(uri) for uri in past.lake.open(CORE_PAYMENT, version=0).file_uris()}  # type: ignore[union-attr]
    now = {Path(uri) for uri in past.lake.open(CORE_PAYMENT).file_uris()}  # type: ignore[union-attr]
    (gone,) = then - now
    gone.unlink()
    found = _found(past)
    # The file of night 0 stood until night 3 wrote its month again.
    assert [line.split(",")[0].split(" ")[1] for line in found] == ["night-0", "night-1", "night-2"]
    assert all(gone.name in line for line in found)


def test_broken_checksums_are_named(past: Past) -> None:
    file = next(Path(past.lake.root, "core_payment", "_checksums").iterdir())
    file.write_bytes(file.read_bytes()[:20])
    (found,) = _found(past)
    assert str(file) in found


def test_a_lake_behind_its_cursor_is_named(past: Past) -> None:
    past.database.move_cursor("portal", "x", {}, lake_version=past.lake.version(RAW_QUARANTINE) + 1)
    (found,) = _found(past)
    assert found.startswith("con trỏ portal/x: đã tính đến phiên bản 6, kho chỉ có 5")


def test_a_damaged_database_is_named(past: Past) -> None:
    file = Path(past.database.engine.url.database or "")
    past.database.engine.dispose()
    content = bytearray(file.read_bytes())
    # The header stays, so that it still opens as a database; its tables' pages do not.
    for position in range(4096, len(content)):
        content[position] = 0xAA
    file.write_bytes(content)
    found = list(map(str, inspect_database(past.lake, past.database, TABLES)))
    assert found
    assert all("thuocdo.db" in line for line in found)

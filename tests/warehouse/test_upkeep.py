"""Upkeep keeps what a question about the past reads, and removes the rest, so that nothing grows for ever."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from assets.questions.past import PastLake, VersionGoneError
from tests.rows import table_rows
from tests.warehouse.nights import MONTHS, Past
from warehouse.database import PastNight
from warehouse.lake import Lake
from warehouse.schema import Table
from warehouse.tables import CORE_PAYMENT, RAW_QUARANTINE
from warehouse.upkeep import Policy, UpkeepReport, kept_nights, upkeep

#: Midnight in Vietnam of 1 January 2026.
NEW_YEAR = datetime(2025, 12, 31, 17, tzinfo=UTC)
DAY = timedelta(days=1)
HASTY = Policy(days=5, grace=timedelta(0), small_files=8)


def _nights(*known: datetime) -> list[PastNight]:
    hour = timedelta(hours=1)
    return [PastNight(f"{at.isoformat()}", as_of=at, ended_at=at + hour, lake_versions={}) for at in known]


def test_each_month_keeps_the_night_that_knew_its_end_and_every_recent_one_stays() -> None:
    nights = _nights(*(NEW_YEAR + day * DAY for day in range(1, 101)))  # facts up to 1 January … 10 April, whole days
    kept = {night.as_of for night in kept_nights(nights, now=NEW_YEAR + 100 * DAY, days=10)}
    ends = {NEW_YEAR + 31 * DAY, NEW_YEAR + 59 * DAY, NEW_YEAR + 90 * DAY}
    recent = {NEW_YEAR + day * DAY for day in range(90, 101)}
    assert kept == {NEW_YEAR + DAY} | ends | recent  # the first of all reported what came before it


def test_where_no_night_knew_exactly_the_month_both_neighbours_stay() -> None:
    """Nights at noon: the last one before the month's end, and the first after it, which reported the month."""
    nights = _nights(*(NEW_YEAR + day * DAY + timedelta(hours=12) for day in range(70)))
    kept = {night.as_of - timedelta(hours=12) for night in kept_nights(nights, now=NEW_YEAR + 400 * DAY, days=1)}
    assert kept == {NEW_YEAR + day * DAY for day in (0, 30, 31, 58, 59, 69)}


def test_of_nights_that_knew_the_same_the_first_reported_and_the_last_answers() -> None:
    end = NEW_YEAR + 31 * DAY
    nights = [
        PastNight(name, as_of=end, ended_at=end + timedelta(hours=hour), lake_versions={})
        for hour, name in enumerate(["first", "second", "third"], 1)
    ]
    later = PastNight("later", as_of=end + DAY, ended_at=end + DAY, lake_versions={})
    kept = [night.night for night in kept_nights([*nights, later], now=end + 400 * DAY, days=1)]
    assert kept == ["first", "third", "later"]


def test_a_night_whose_publication_stands_is_kept() -> None:
    nights = _nights(*(NEW_YEAR + day * DAY for day in range(1, 20)))
    kept = kept_nights(nights, now=NEW_YEAR + 400 * DAY, days=1, published=[nights[7].night])
    assert [night.as_of for night in kept] == [NEW_YEAR + day * DAY for day in (1, 8, 19)]


def test_no_nights_no_harm() -> None:
    assert kept_nights([], now=NEW_YEAR, days=1) == []


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of forty nights from 1 January."""
    folder = tmp_path_factory.mktemp("forty")
    for _ in (past := Past.at(folder)).daily(NEW_YEAR + DAY, 40):
        pass
    past.database.engine.dispose()
    return folder


@pytest.fixture
def past(forty: Path, tmp_path: Path) -> Past:
    """A copy of forty nights from 1 January."""
    shutil.copytree(forty, tmp_path / "home")
    return Past.at(tmp_path / "home")


def _tend(past: Past, policy: Policy = HASTY, *, is_dry: bool = False) -> UpkeepReport:
    return upkeep(past.lake, past.database, policy, now=NEW_YEAR + 41 * DAY, is_dry=is_dry)


def _rows(lake: Lake, table: Table) -> list[str]:
    column = "dossier_key" if table is CORE_PAYMENT else "record_key"
    return sorted(lake.read(table)[column].to_pylist())


def _expected(number: int) -> list[str]:
    """What core_payment holds after night `number`: the last row written into each month."""
    last = [max((n for n in range(number + 1) if n % 3 == turn), default=-1) for turn in range(len(MONTHS))]
    return sorted(f"H15-{n}" for n in last if n >= 0)


def _files(root: Path) -> set[str]:
    return {str(file.relative_to(root)) for file in root.rglob("*.parquet") if "checkpoint" not in file.name}


def test_kept_nights_read_as_before_and_others_are_gone_by_name(past: Past) -> None:
    before = {night.night: night for night in past.database.past_nights()}
    report = _tend(past)
    kept = {0, 30, *range(35, 40)}  # the first, the night of the month's end, and five days
    assert report.kept_nights == len(kept)
    assert set(report.cleared_nights) == {f"night-{number}" for number in range(40) if number not in kept}
    for number in kept:
        lake = PastLake.of(past.lake, before[f"night-{number}"])
        assert _rows(lake, CORE_PAYMENT) == _expected(number)
        assert _rows(lake, RAW_QUARANTINE) == sorted(f"night-{n}" for n in range(number + 1))
    for number in (1, 12, 29, 31, 34):
        with pytest.raises(VersionGoneError, match="core_payment"):
            PastLake.of(past.lake, before[f"night-{number}"]).read(CORE_PAYMENT)
    assert {night.night for night in past.database.past_nights()} == {f"night-{number}" for number in kept}


def test_the_newest_content_is_untouched_and_a_night_goes_on_from_it(past: Past) -> None:
    fingerprints = [past.lake.fingerprint(table) for table in (CORE_PAYMENT, RAW_QUARANTINE)]
    _tend(past)
    assert [past.lake.fingerprint(table) for table in (CORE_PAYMENT, RAW_QUARANTINE)] == fingerprints
    assert _rows(past.lake, CORE_PAYMENT) == _expected(39)
    past.night(40, known=NEW_YEAR + 41 * DAY)
    assert _rows(past.lake, CORE_PAYMENT) == _expected(40)
    assert len(_rows(past.lake, RAW_QUARANTINE)) == 41


def test_many_small_files_become_one_and_the_log_shrinks(past: Past) -> None:
    assert len(past.lake.open(RAW_QUARANTINE).file_uris()) == 40  # type: ignore[union-attr]
    entries = len(list(Path(past.lake.root, "raw_quarantine", "_delta_log").iterdir()))
    report = {table.name: table for table in _tend(past).tables}
    assert len(past.lake.open(RAW_QUARANTINE).file_uris()) == 1  # type: ignore[union-attr]
    assert report["raw_quarantine"].compacted_files == 40
    assert report["core_payment"].compacted_files == 0
    left = len(list(Path(past.lake.root, "raw_quarantine", "_delta_log").iterdir()))
    assert entries - report["raw_quarantine"].removed_log_entries < left < entries


def test_nothing_grows_for_ever(tmp_path: Path) -> None:
    """Over nights and upkeeps the files of a table that is rewritten are those of the kept versions, not of history."""
    past = Past.at(tmp_path)
    root = Path(past.lake.root)
    sizes = []
    for week in range(6):
        for number in range(week * 6, week * 6 + 6):
            past.night(number, known=NEW_YEAR + (number + 1) * DAY)
        upkeep(past.lake, past.database, HASTY, now=NEW_YEAR + (week * 6 + 7) * DAY)
        payment = [file for file in _files(root) if file.startswith("core_payment")]
        everything = [file for file in root.rglob("*") if file.is_file() and "core_payment" in str(file)]
        sizes.append((len(payment), len(everything)))
    # The month's end adds at most three files and two log entries; twelve nights without upkeep would add twelve each.
    assert sizes[5][0] <= sizes[3][0] + 3
    assert sizes[5][1] <= sizes[3][1] + 3 + 2


def test_upkeep_again_finds_nothing_to_do(past: Past) -> None:
    _tend(past)
    files = _files(Path(past.lake.root))
    again = _tend(past)
    assert again.cleared_nights == []
    assert [(table.removed_files, table.removed_log_entries, table.compacted_files) for table in again.tables] == [
        (0, 0, 0),
        (0, 0, 0),
    ]
    assert _files(Path(past.lake.root)) == files


def test_a_dry_run_says_and_changes_nothing(past: Past) -> None:
    root = Path(past.lake.root)
    before = {file: file.stat().st_mtime_ns for file in root.rglob("*") if file.is_file()}
    said = _tend(past, is_dry=True)
    assert {file: file.stat().st_mtime_ns for file in root.rglob("*") if file.is_file()} == before
    assert len(past.database.past_nights()) == 40
    done = _tend(past)
    assert said.cleared_nights == done.cleared_nights
    for table, wet in zip(said.tables, done.tables, strict=True):
        assert table.removed_files > 0 or table.name == "raw_quarantine"
        assert table.compacted_files == wet.compacted_files


def test_files_just_replaced_stay_for_the_grace(past: Past) -> None:
    files = _files(Path(past.lake.root))
    upkeep(past.lake, past.database, Policy(days=5, grace=timedelta(hours=1)), now=NEW_YEAR + 41 * DAY)
    assert files <= _files(Path(past.lake.root))


def test_what_killed_nights_left_is_removed_once_it_is_old(past: Past) -> None:
    root = Path(past.lake.root)
    folder = root / "core_payment" / "lake_month=2026-01"
    left = [folder / "part-00000-killed-c000.zstd.parquet", folder / "part-00000-killed-c000.zstd.parquet#1"]
    young = folder / "part-00001-writing-c000.zstd.parquet"
    for file in (*left, young):
        file.write_bytes(b"PAR1")
    for file in left:
        os.utime(file, (0, 0))
    past.lake.append(CORE_PAYMENT, table_rows(CORE_PAYMENT, {"lake_month": "2026-01", "dossier_key": "z"}))
    upkeep(past.lake, past.database, Policy(days=5, grace=timedelta(hours=1)), now=datetime.now(UTC))
    assert [file.exists() for file in (*left, young)] == [False, False, True]
    assert "z" in _rows(past.lake, CORE_PAYMENT)


def test_the_log_of_a_month_ago_is_not_dropped_by_writing(tmp_path: Path) -> None:
    """By itself deltalake drops entries of thirty days ago with every hundredth commit, unless told otherwise."""
    lake = Lake(str(tmp_path / "lake"))
    row = table_rows(RAW_QUARANTINE, {})
    lake.append(RAW_QUARANTINE, row)
    lake.open(RAW_QUARANTINE).alter.set_table_properties({"delta.checkpointInterval": "5"})  # type: ignore[union-attr]
    log = tmp_path / "lake" / "raw_quarantine" / "_delta_log"
    for _ in range(10):
        for entry in log.iterdir():
            os.utime(entry, (0, 0))
        lake.append(RAW_QUARANTINE, row)
    assert any(log.glob("*.checkpoint.parquet"))
    assert lake.open(RAW_QUARANTINE, version=3) is not None


def test_killed_in_the_middle_the_next_upkeep_finishes(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {night.night: night for night in past.database.past_nights()}

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for place in ("_vacuum", "_shorten_log", "_gather"):
        with monkeypatch.context() as patch:
            patch.setattr(f"warehouse.upkeep.{place}", killed)
            with pytest.raises(KeyboardInterrupt):
                _tend(past)
        assert _rows(PastLake.of(past.lake, before["night-30"]), CORE_PAYMENT) == _expected(30)
    _tend(past)
    assert _rows(PastLake.of(past.lake, before["night-30"]), CORE_PAYMENT) == _expected(30)
    assert _rows(past.lake, CORE_PAYMENT) == _expected(39)


@pytest.mark.parametrize("wrong", [{"days": 0}, {"grace": timedelta(hours=-1)}])
def test_a_policy_that_keeps_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at least one day"):
        Policy(**wrong)  # type: ignore[arg-type]

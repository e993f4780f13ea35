"""The journal's files: whole, in order, mended after whatever happened to them; the index beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.npsp_receiver_journal import FolderInUseError, Journal, Submission, journals
from connectors.npsp_receiver_records import Kept
from tests.receiver.conftest import DOSSIER, PROGRESS, codes, journalled

NOON = datetime(2026, 10, 31, 5, tzinfo=UTC)


def opened(folder: Path, **changes: Any) -> Journal:
    return Journal(folder, **{"rotate_bytes": 10**9, "rotate_seconds": 10**9} | changes)


def call(*names: str, updating: bool = False, service: str = DOSSIER, size: int = 0) -> Submission:
    bodies = (Kept(name, json.dumps({"MaHoSo": name, "MaTTHC": "x" * size}).encode()) for name in names)
    return Submission(service, updating, tuple(bodies))


def known(journal: Journal, names: Iterable[str]) -> set[str]:
    """Which of these the journal has heard of, asked as a sender would."""
    names = list(names)
    (places,) = journal.commit([call(*names)])
    return {names[place] for place in places}


def suffixes(folder: Path) -> list[str]:
    return [file.suffix for file in journals(folder)]


def test_a_file_belongs_to_the_night_only_once_it_is_closed(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    assert suffixes(tmp_path) == []
    journal.commit([call("A")])
    journal.commit([call("B"), call("C", "D")])
    assert suffixes(tmp_path) == [".open"]
    journal.close()
    assert suffixes(tmp_path) == [".ndjson"]
    assert codes(journalled(tmp_path)) == ["A", "B", "C", "D"]


def test_files_are_closed_by_size_and_by_age(tmp_path: Path) -> None:
    by_size = opened(tmp_path / "size", rotate_bytes=300)
    for number in range(6):
        by_size.commit([call(f"A{number}", size=120)])
    by_size.close()
    assert suffixes(tmp_path / "size") == [".ndjson"] * 3
    assert codes(journalled(tmp_path / "size")) == [f"A{number}" for number in range(6)]
    by_age = opened(tmp_path / "age", rotate_seconds=0)
    by_age.commit([call("A")])
    assert suffixes(tmp_path / "age") == [".ndjson"]
    by_age.close()


def test_names_stay_in_sending_order_when_the_clock_goes_back(tmp_path: Path) -> None:
    clock = [NOON, NOON - timedelta(hours=3), NOON - timedelta(days=400), NOON + timedelta(seconds=1)]
    for number, now in enumerate(clock):
        journal = opened(tmp_path, now=lambda now=now: now)
        journal.commit([call(f"A{number}")])
        journal.close()
    assert codes(journalled(tmp_path)) == ["A0", "A1", "A2", "A3"]
    for file in journals(tmp_path):  # taken away by the operator
        file.unlink()
    journal = opened(tmp_path, now=lambda: NOON - timedelta(days=1))
    journal.commit([call("A4")])
    journal.close()
    assert journals(tmp_path)[0].stem > "2026-10-31_120001"


@pytest.mark.parametrize(
    "tail",
    [b'{"service":"DongBoHoSoMC","data":[{"MaHoSo":"X"', b"\0" * 100, b"{}\n\0\0", b'{"service":"D'],
    ids=["half a line", "zeros", "no call", "first bytes"],
)
def test_what_a_crash_left_unfinished_is_cut_off_and_the_rest_closed(tmp_path: Path, tail: bytes) -> None:
    journal = opened(tmp_path)
    journal.commit([call("A", "B"), call("C", service=PROGRESS)])
    journal.close()
    (file,) = journals(tmp_path)
    whole = file.read_bytes()
    file.rename(file.with_suffix(".open"))
    file.with_suffix(".open").write_bytes(whole + tail)
    again = opened(tmp_path)
    assert (again.recovered.files, again.recovered.records, again.recovered.torn_bytes) == (1, 3, len(tail))
    assert file.read_bytes() == whole
    assert suffixes(tmp_path) == [".ndjson"]
    assert known(again, "ABCX") == {"A", "B"}
    again.close()


def test_a_file_with_nothing_whole_in_it_is_removed(tmp_path: Path) -> None:
    (tmp_path / "2026-10-31_120000-000000.open").write_bytes(b'{"service')
    opened(tmp_path).close()
    assert journals(tmp_path) == []


def test_other_peoples_files_are_let_alone(tmp_path: Path) -> None:
    theirs = [tmp_path / name for name in ("2026-10-31_0001.ndjson", "a.open", "2026-10-31_120000-000000.ndjson.part")]
    for file in theirs:
        file.write_bytes(b"x")
    journal = opened(tmp_path)
    journal.commit([call("A")])
    journal.close()
    assert [file.read_bytes() for file in theirs] == [b"x"] * 3


def test_what_is_known_outlives_the_files_and_the_index_is_made_anew_from_them(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.commit([call("A"), call("B", updating=True), call("C", service=PROGRESS)])
    journal.close()
    (first,) = journals(tmp_path)
    content = first.read_bytes()
    first.unlink()  # the night has read it
    journal = opened(tmp_path)
    assert known(journal, "ABCD") == {"A", "B"}
    journal.close()
    first.write_bytes(content)
    for damage in (None, b"no database" * 1000):
        index = tmp_path / ".receiver" / "known.db"
        index.unlink()
        if damage:
            index.write_bytes(damage)
        journal = opened(tmp_path)
        assert known(journal, "ABCDE") == {"A", "B", "C", "D"} | ({"E"} if damage else set())
        journal.close()


def test_an_index_that_lags_behind_catches_up_within_a_file(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.commit([call("A")])
    journal.close()
    index = tmp_path / ".receiver" / "known.db"
    early = index.read_bytes()
    journal = opened(tmp_path)
    journal.commit([call("B")])
    journal.commit([call("C")])
    journal.close()
    index.write_bytes(early)  # as a power cut may leave it
    journal = opened(tmp_path)
    assert known(journal, "ABCD") == {"A", "B", "C"}
    journal.close()


def test_an_insert_twice_in_one_batch_is_stored_once(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    outcomes = journal.commit([call("A", "A"), call("A"), call("A", updating=True), call("B", service=PROGRESS)])
    assert outcomes == [frozenset({1}), frozenset({0}), frozenset(), frozenset()]
    assert journal.known == 1
    journal.close()
    assert codes(journalled(tmp_path)) == ["A", "A"]


def test_one_receiver_at_a_time_writes_into_a_folder(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    with pytest.raises(FolderInUseError):
        opened(tmp_path)
    journal.close()
    opened(tmp_path).close()


def test_an_index_that_cannot_be_opened_is_no_reason_to_forget(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.commit([call("A")])
    journal.close()
    for file in journals(tmp_path):
        file.unlink()
    index = tmp_path / ".receiver" / "known.db"
    content = index.read_bytes()
    index.unlink()
    index.mkdir()
    with pytest.raises(OSError, match=r"known\.db"):
        opened(tmp_path)
    index.rmdir()
    index.write_bytes(content)
    journal = opened(tmp_path)
    assert known(journal, "AB") == {"A"}
    journal.close()

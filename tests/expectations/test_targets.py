"""The target file against the decision's own words, and every way in which a file can be wrong.

The rates and dates expected here were read from the decision, not from the file.
"""

from __future__ import annotations

import csv
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from expectations.targets import COLUMNS, FOLDER, Target, TargetError, load_targets

EXCERPT = Path(__file__).parents[1] / "fixtures" / "quyet-dinh-3478-trich.txt"
DEFINITIONS = Path(__file__).parents[2] / "assets" / "indicators" / "definitions"
GOOD = {
    "target": "X-1",
    "indicator": "reuse",
    "version": "v1",
    "level": "all",
    "operator": ">=",
    "threshold": "0.5",
    "valid_from": "2024-01-01",
    "valid_to": "",
    "due_on": "2025-12-31",
    "document": "QĐ 1",
    "clause": "II.2.a; II.6.a",
    "wording": "tối thiểu 50%",
    "counted": "hồ sơ",
    "note": "",
}


def _held(target: str, day: date) -> Target | None:
    found = [row for row in load_targets(["dak-lak-3478"]) if row.target == target and row.holds_on(day)]
    assert len(found) <= 1
    return found[0] if found else None


@pytest.mark.parametrize(
    ("target", "day", "threshold", "due_on"),
    [
        ("DL-A2b", date(2024, 6, 1), "0.3", date(2025, 12, 31)),
        ("DL-A2b", date(2030, 12, 30), "0.3", date(2025, 12, 31)),
        ("DL-B1b", date(2024, 6, 1), "0.5", date(2030, 12, 31)),
        ("DL-B1b", date(2031, 6, 1), "0.5", date(2030, 12, 31)),
        ("DL-A4c", date(2031, 6, 1), "0.5", date(2025, 12, 31)),
        ("DL-D1", date(2026, 6, 1), "0.5", date(2025, 12, 31)),
        ("DL-D2", date(2026, 6, 1), "0.8", date(2025, 12, 31)),
        ("DL-E2", date(2026, 6, 1), "1", date(2030, 12, 31)),
        ("DL-A7", date(2026, 6, 1), "0.8", date(2025, 12, 31)),
        # Năm 2022: 50 % cấp tỉnh, 40 % cấp huyện và cấp xã; mỗi năm tăng 20 điểm, trần 100 %.
        ("DL-A3-P", date(2022, 6, 1), "0.5", date(2022, 12, 31)),
        ("DL-A3-P", date(2023, 6, 1), "0.7", date(2023, 12, 31)),
        ("DL-A3-P", date(2024, 6, 1), "0.9", date(2024, 12, 31)),
        ("DL-A3-P", date(2025, 6, 1), "1", date(2025, 12, 31)),
        ("DL-A3-P", date(2026, 6, 1), "1", date(2025, 12, 31)),
        ("DL-A3-H", date(2022, 6, 1), "0.4", date(2022, 12, 31)),
        ("DL-A3-H", date(2024, 6, 1), "0.8", date(2024, 12, 31)),
        ("DL-A3-X", date(2023, 6, 1), "0.6", date(2023, 12, 31)),
        ("DL-A3-X", date(2025, 6, 1), "1", date(2025, 12, 31)),
    ],
)
def test_thresholds_and_dates_of_3478(target: str, day: date, threshold: str, due_on: date) -> None:
    held = _held(target, day)
    assert held is not None
    assert (held.threshold, held.due_on) == (Decimal(threshold), due_on)


def test_the_2025_targets_with_a_successor_end_when_it_is_due() -> None:
    assert _held("DL-A2b", date(2030, 12, 31)) is None
    assert _held("DL-D2", date(2030, 12, 31)) is None


def test_nothing_held_before_the_decision_was_signed() -> None:
    assert _held("DL-D1", date(2021, 12, 9)) is None
    assert _held("DL-D1", date(2021, 12, 10)) is not None


def test_every_wording_stands_in_the_decision() -> None:
    decision = " ".join(EXCERPT.read_text(encoding="utf-8").split())
    targets = load_targets(["dak-lak-3478"])
    assert [row.target for row in targets if row.wording not in decision] == []


def test_every_target_of_3478_names_a_defined_indicator_or_none() -> None:
    known = {tuple(path.stem.split(".", 1)) for path in DEFINITIONS.glob("*.yaml")}
    targets = load_targets(["dak-lak-3478"], known={(name, version) for name, version in known})
    assert {row.target for row in targets if row.indicator is None} == {"DL-A3-P", "DL-A3-H", "DL-A3-X"}


def _write(folder: Path, *rows: dict[str, str]) -> None:
    with (folder / "x.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows([GOOD | row for row in rows])


def test_both_citations_of_a_target_stated_twice(tmp_path: Path) -> None:
    _write(tmp_path, {})
    (target,) = load_targets(["x"], folder=tmp_path)
    assert target.clauses == ("II.2.a", "II.6.a")
    assert target.clause == "II.2.a; II.6.a"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"threshold": "80"}, "threshold '80' must be a share"),
        ({"threshold": "-0.1"}, "must be a share"),
        ({"threshold": "0.12345"}, "at most four places"),
        ({"threshold": "NaN"}, "must be a share"),
        ({"threshold": "1/2"}, "must be a share"),
        ({"operator": ">"}, "operator '>' is not known"),
        ({"level": "ward"}, "level 'ward' must be one of"),
        ({"indicator": "re-use"}, "indicator 're-use' has no definition; known are reuse"),
        ({"version": "v2"}, "indicator reuse has no version 'v2'; it has v1"),
        ({"version": ""}, "indicator and version must both be given"),
        ({"due_on": "31/12/2025"}, "due_on '31/12/2025' is not a day"),
        ({"valid_to": "2023-12-31"}, "valid_to 2023-12-31 is before valid_from"),
        ({"valid_to": "2025-12-30"}, "could never be judged"),
        ({"wording": ""}, "wording is empty"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, change: dict[str, str], complaint: str) -> None:
    _write(tmp_path, {"target": "X-0"}, change)
    with pytest.raises(TargetError, match=complaint) as error:
        load_targets(["x"], known={("reuse", "v1")}, folder=tmp_path)
    assert "x.csv: row 3" in str(error.value)
    assert "row 2" not in str(error.value)


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    _write(tmp_path, {"threshold": "80"}, {"level": "ward"})
    with pytest.raises(TargetError) as error:
        load_targets(["x"], folder=tmp_path)
    assert len(str(error.value).splitlines()) == 2


@pytest.mark.parametrize(("valid_to", "overlaps"), [("2025-12-31", False), ("2026-01-01", True), ("", True)])
def test_spans_of_one_target_must_not_overlap(tmp_path: Path, valid_to: str, overlaps: bool) -> None:
    _write(tmp_path, {"valid_to": valid_to}, {"valid_from": "2026-01-01", "due_on": "2026-12-31"})
    if not overlaps:
        assert len(load_targets(["x"], folder=tmp_path)) == 2
        return
    with pytest.raises(TargetError, match=r"x.csv: row 3: X-1 from 2026-01-01 overlaps x.csv: row 2"):
        load_targets(["x"], folder=tmp_path)


def test_a_missing_set_lists_those_there_are() -> None:
    with pytest.raises(TargetError, match=r"dak-lak-9999.csv: no such target set; .* dak-lak-3478"):
        load_targets(["dak-lak-9999"])


@pytest.mark.parametrize("text", ["target,indicator\nX,Y\n", ",".join(COLUMNS) + "\nX-1,reuse\n"])
def test_wrong_columns_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    with pytest.raises(TargetError, match=r"x.csv: row [12]"):
        load_targets(["x"], folder=tmp_path)


def test_the_files_are_sorted_for_diffs() -> None:
    rows = list(csv.DictReader((FOLDER / "dak-lak-3478.csv").open(encoding="utf-8")))
    assert [(row["target"], row["valid_from"]) for row in rows] == sorted((r["target"], r["valid_from"]) for r in rows)

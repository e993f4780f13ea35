"""What a folder of dropped files promises: read once, in order, late ones harmless, re-drops replace."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.connectors.files.drops import COLUMNS, FIRST_NIGHT, PROFILE, ROWS, Drops, csv_text, row, workbook
from warehouse.tables import CORE_DOSSIER

MONTHLY = {"replaces": {"name": r"thang-(\d{4}-\d{2})"}}
HOUR = timedelta(hours=1)
MORNING = FIRST_NIGHT - timedelta(hours=12)


@pytest.fixture
def drops(tmp_path: Path) -> Drops:
    return Drops(tmp_path)


def test_a_dropped_file_arrives_in_the_core(drops: Drops) -> None:
    drops.put("a.csv", csv_text(ROWS))
    count = drops.night()
    assert (count.rows_read, count.rows_stored, count.rows_quarantined) == (2, 2, 0)
    drops.home.conform("n1")
    core = {each["dossier_code"]: each for each in drops.home.rows(CORE_DOSSIER)}
    first = core["000.01.H15-261015-0001"]
    assert (first["unit_code"], first["procedure_code"], first["status_code"]) == ("H15.STC", "1.000016", 4)
    assert first["channel"] == "online"
    assert first["received_at"].isoformat() == "2026-10-15T00:30:00+00:00", "07:30 in Vietnam"
    assert core["000.01.H15-261016-0002"]["status_code"] == 10


def test_the_same_file_twice_is_nothing_new(drops: Drops) -> None:
    drops.put("a.csv", csv_text(ROWS))
    drops.night()
    drops.put("a-copy.csv", csv_text(ROWS), at=MORNING + HOUR)
    count = drops.night()
    assert (count.rows_read, count.rows_stored) == (0, 0)
    assert any("a-copy.csv" in note and "a.csv" in note for note in count.notes)
    drops.put("a.csv", csv_text(ROWS), at=MORNING + 2 * HOUR)  # uploaded again under its own name
    assert drops.night().rows_read == 0
    assert drops.night().notes == ()


def test_a_file_that_changed_is_read_again(drops: Drops) -> None:
    drops.put("a.csv", csv_text(ROWS))
    drops.night()
    changed = ((*ROWS[0][:3], "Đã trả kết quả", *ROWS[0][4:]), ROWS[1])
    drops.put("a.csv", csv_text(changed), at=MORNING + HOUR)
    count = drops.night()
    assert (count.rows_read, count.rows_stored, count.rows_unchanged) == (2, 1, 1)
    assert drops.stored()[ROWS[0][0]]["status"] == "Đã trả kết quả"


def test_an_older_file_never_comes_over_a_newer_one(tmp_path: Path) -> None:
    drops = Drops(tmp_path, {"order": {"name": r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})"}})
    drops.put("hs-20261020.csv", csv_text([row(1, c3="Đã trả kết quả")]), at=MORNING)
    drops.night()
    drops.put("hs-20261019.csv", csv_text([row(1), row(2)]), at=MORNING + HOUR)  # written later, but older by its name
    count = drops.night()
    assert (count.rows_stored, count.rows_unchanged) == (1, 1)
    assert drops.stored()[row(1)[0]]["status"] == "Đã trả kết quả"
    assert row(2)[0] in drops.stored()


def test_a_later_file_of_the_same_month_replaces_it(tmp_path: Path) -> None:
    drops = Drops(tmp_path, MONTHLY)
    drops.put("thang-2026-09.csv", csv_text([row(9)]))
    drops.put("thang-2026-10.csv", csv_text([row(1), row(2), row(3)]))
    drops.night()
    drops.put("thang-2026-10-sua.csv", csv_text([row(1), row(3)]), at=MORNING + HOUR)
    count = drops.night()
    assert (count.rows_gone, count.rows_stored) == (1, 0)
    assert set(drops.stored()) == {row(number)[0] for number in (1, 3, 9)}
    # The first export uploaded again with an older date: the newer one stands.
    drops.put("thang-2026-10-cu.csv", csv_text([row(1), row(2), row(4)]), at=MORNING - HOUR)
    count = drops.night()
    assert count.rows_stored == 0
    assert any("thang-2026-10-sua.csv" in note for note in count.notes)
    assert set(drops.stored()) == {row(number)[0] for number in (1, 3, 9)}


def test_going_back_to_an_earlier_state_of_a_month_is_news(tmp_path: Path) -> None:
    drops = Drops(tmp_path, MONTHLY)
    drops.put("thang-2026-10.csv", csv_text([row(1), row(2)]))
    drops.night()
    drops.put("thang-2026-10-b.csv", csv_text([row(1)]), at=MORNING + HOUR)
    drops.night()
    assert set(drops.stored()) == {row(1)[0]}
    drops.put("thang-2026-10-c.csv", csv_text([row(1), row(2)]), at=MORNING + 2 * HOUR)
    drops.night()
    assert set(drops.stored()) == {row(1)[0], row(2)[0]}


def test_a_slice_may_be_a_column(tmp_path: Path) -> None:
    drops = Drops(tmp_path, {"replaces": {"columns": ["Kỳ"]}})
    columns = (*COLUMNS, "Kỳ")
    drops.put("a.csv", csv_text([(*row(1), "09"), (*row(2), "10"), (*row(3), "10")], columns))
    drops.night()
    drops.put("b.csv", csv_text([(*row(3), "10"), (*row(4), "11")], columns), at=MORNING + HOUR)
    assert drops.night().rows_gone == 1
    assert set(drops.stored()) == {row(number)[0] for number in (1, 3, 4)}
    drops.put("old.csv", csv_text([(*row(2), "10"), (*row(5), "09")], columns), at=MORNING + HOUR / 2)
    drops.night()
    assert set(drops.stored()) == {row(number)[0] for number in (3, 4, 5)}, "09 is replaced, 10 stays as b.csv said"


def test_a_file_that_lost_most_of_its_rows_is_not_believed(tmp_path: Path) -> None:
    drops = Drops(tmp_path, MONTHLY, missing_floor=2)
    drops.put("thang-2026-10.csv", csv_text([row(number) for number in range(10)]))
    drops.night()
    drops.put("thang-2026-10-b.csv", csv_text([row(1)]), at=MORNING + HOUR)
    count = drops.night()
    assert (count.rows_gone, count.rows_missing) == (0, 9)
    assert len(drops.stored()) == 10


def test_a_file_with_a_row_that_is_no_known_record_replaces_nothing(tmp_path: Path) -> None:
    drops = Drops(tmp_path, MONTHLY)
    drops.put("thang-2026-10.csv", csv_text([row(1), row(2)]))
    drops.night()
    drops.put("thang-2026-10-b.csv", csv_text([row(1), row(2, c0="1.23E+11")]), at=MORNING + HOUR)
    count = drops.night()
    assert (count.rows_gone, count.rows_quarantined) == (0, 1)
    assert set(drops.stored()) == {row(1)[0], row(2)[0]}


def test_a_broken_row_with_a_name_is_not_taken_for_a_deleted_record(tmp_path: Path) -> None:
    drops = Drops(tmp_path, MONTHLY)
    drops.put("thang-2026-10.csv", csv_text([row(1), row(2)]))
    drops.night()
    drops.put("thang-2026-10-b.csv", csv_text([row(1), row(2, c6="31/02/2026")]), at=MORNING + HOUR)
    count = drops.night()
    assert (count.rows_gone, count.rows_quarantined) == (0, 1)
    assert set(drops.stored()) == {row(1)[0], row(2)[0]}


def test_a_file_without_its_end_waits_and_is_then_refused_loudly(tmp_path: Path) -> None:
    drops = Drops(tmp_path, partial_nights=2)
    drops.put("a.csv", csv_text(ROWS)[:-20])
    drops.put("b.csv", csv_text([row(7)]))
    first = drops.night()
    assert (first.rows_stored, first.rows_quarantined) == (1, 0), "the other file is read"
    assert any("a.csv" in note and "1/2" in note for note in first.notes)
    assert drops.night().rows_quarantined == 0
    third = drops.night()
    assert third.rows_quarantined == 1
    assert any("TỪ CHỐI" in note and "a.csv" in note for note in third.notes)
    assert drops.night().notes == (), "it is refused once"
    drops.put("a.csv", csv_text(ROWS), at=MORNING + HOUR)
    assert drops.night().rows_stored == 2, "the whole file is welcome"


def test_a_fresh_file_is_left_for_the_next_night(tmp_path: Path) -> None:
    drops = Drops(tmp_path, settle_seconds=3600)
    drops.put("a.csv", csv_text(ROWS), at=datetime.now(UTC))
    drops.put("a.csv.part", "x")
    count = drops.night()
    assert count.rows_read == 0
    assert len(count.notes) == 1


def test_another_map_of_columns_reads_everything_again(drops: Drops) -> None:
    drops.put("a.csv", csv_text(ROWS))
    drops.night()
    fields = {name: column for name, column in PROFILE["fields"].items() if name != "due_at"}
    drops.say({"fields": fields})
    count = drops.night()
    assert (count.rows_read, count.rows_stored) == (2, 2)
    assert drops.stored()[ROWS[0][0]]["due_at"] is None


def test_a_corrected_row_leaves_quarantine_by_itself(drops: Drops) -> None:
    drops.put("a.csv", csv_text([row(1, c6="31/02/2026"), row(2)]))
    assert drops.night().rows_quarantined == 1
    assert drops.home.quarantined()[0]["settled_at"] is None
    drops.put("b.csv", csv_text([row(1)]), at=MORNING + HOUR)
    drops.night()
    assert drops.home.quarantined()[0]["settled_at"] is not None


def test_a_corrected_profile_reads_again_what_was_set_aside(drops: Drops) -> None:
    drops.put("a.csv", csv_text([row(1, c6="2026.10.15"), row(2)]))
    assert drops.night().rows_quarantined == 1
    assert drops.told()[0][0] == "received_at_readable"
    assert "dòng 2, cột G" in drops.told()[0][1]
    drops.say({"dates": [*PROFILE["dates"], "%Y.%m.%d"]})
    drops.night()
    assert drops.stored()[row(1)[0]]["received_at"] == "2026.10.15"
    assert all(each["settled_at"] is not None for each in drops.home.quarantined())


@pytest.mark.parametrize("form", ["csv", "xlsx", "ndjson"])
def test_headings_that_come_and_go_are_told_once_and_stop_nothing(tmp_path: Path, form: str) -> None:
    """Cột hẹn trả không bắt buộc: khi mất thì báo; cột lạ thì báo là không lưu."""
    drops = Drops(tmp_path, {"optional": ["due_at"]})

    def content(cells: tuple[str, ...], columns: tuple[str, ...]) -> str | bytes:
        if form == "xlsx":
            return workbook([columns, cells])
        if form == "ndjson":
            return json.dumps(dict(zip(columns, cells, strict=True)), ensure_ascii=False) + "\n"
        return csv_text([cells], columns)

    drops.put(f"1.{form}", content(row(1), COLUMNS))
    assert drops.night().notes == ()
    more = (*COLUMNS[:-1], "Ghi chú thêm")
    for number in (2, 3):
        drops.put(f"{number}.{form}", content((*row(number)[:-1], "x"), more))
        count = drops.night()
        assert (count.rows_stored, count.rows_quarantined) == (1, 0)
        assert count.notes == (() if number == 3 else (
            "nguồn drop: trường mới «ghi chú thêm» (ngoài hợp đồng, không lưu)",
            "nguồn drop: không còn trường «ngày hẹn trả» (các chỉ số dùng trường này sẽ thiếu dữ liệu)",
        ))  # fmt: skip


def test_a_heading_that_names_a_person_is_told_by_its_length(drops: Drops) -> None:
    drops.put("1.csv", csv_text([row(1)]))
    drops.night()
    drops.put("2.csv", csv_text([(*row(2), "x")], (*COLUMNS, "Nguyễn Thị Hư Cấu")))
    assert drops.night().notes == ("nguồn drop: trường mới ««17 ký tự»» (ngoài hợp đồng, không lưu)",)

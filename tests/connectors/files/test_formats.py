"""One small file per quirk of the files that offices send: what is read, what is refused, and where it is told."""

from __future__ import annotations

import gzip
import io
import json
import unicodedata
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.files import probe, sample
from tests.connectors.files.drops import COLUMNS, PROFILE, ROWS, csv_text, row, workbook
from tests.connectors.files.reading import read, settings_of

CODES = [cells[0] for cells in ROWS]
TEXT = csv_text(ROWS)
OBJECTS = [dict(zip(COLUMNS, cells, strict=True)) for cells in ROWS]
#: Tone marks that Windows-1258 writes after their letter.
_TONES = "\u0300\u0301\u0303\u0309\u0323"


def windows_1258(text: str) -> bytes:
    """As old Vietnamese software wrote it: letters with hats in one byte, tone marks as bytes of their own."""
    pieces = []
    for letter in unicodedata.normalize("NFC", text):
        parts = unicodedata.normalize("NFD", letter)
        tones = "".join(part for part in parts if part in _TONES)
        bare = unicodedata.normalize("NFC", "".join(part for part in parts if part not in _TONES))
        pieces.append(bare + tones)
    return "".join(pieces).encode("cp1258")


def parquet(objects: list[dict[str, Any]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(objects), stream)
    return stream.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


SHAPES: dict[str, tuple[str, bytes]] = {
    "semicolons": ("a.csv", TEXT.encode()),
    "commas": ("a.csv", csv_text(ROWS, separator=",").encode()),
    "tabs": ("a.txt", csv_text(ROWS, separator="\t").encode()),
    "bars": ("a.csv", csv_text(ROWS, separator="|").encode()),
    "byte order mark": ("a.csv", b"\xef\xbb\xbf" + TEXT.encode()),
    "a line for Excel": ("a.csv", b"sep=;\n" + TEXT.encode()),
    "UTF-16": ("a.csv", TEXT.encode("utf-16")),
    "NFD": ("a.csv", unicodedata.normalize("NFD", TEXT).encode()),
    "Windows lines": ("a.csv", TEXT.replace("\n", "\r\n").encode()),
    "titles above": ("a.csv", ("SỞ TÀI CHÍNH\n\nBÁO CÁO HỒ SƠ;;;;;;;\n" + TEXT).encode()),
    "gzip": ("a.csv.gz", gzip.compress(TEXT.encode())),
    "zip": ("a.zip", zipped({"1.csv": csv_text(ROWS[:1]).encode(), "2/b.xlsx": workbook([COLUMNS, ROWS[1]])})),
    "workbook": ("a.xlsx", workbook([COLUMNS, *ROWS])),
    "workbook with titles": ("a.xlsx", workbook([["Báo cáo"], [], COLUMNS, *ROWS])),
    "column numbers": ("a.xlsx", workbook([COLUMNS, [f"({at})" for at in range(1, 9)], *ROWS])),
    "headings again": ("a.xlsx", workbook([COLUMNS, ROWS[0], COLUMNS, ROWS[1]])),
    "headings in capitals": ("a.xlsx", workbook([[name.upper() for name in COLUMNS], *ROWS])),
    "headings in two lines": ("a.xlsx", workbook([[name.replace(" ", "\n") for name in COLUMNS], *ROWS])),
    "JSON array": ("a.json", json.dumps(OBJECTS).encode()),
    "JSON object": ("a.json", json.dumps({"total": 2, "data": {"items": OBJECTS}}).encode()),
    "NDJSON": ("a.ndjson", "\n".join(json.dumps(each) for each in OBJECTS).encode()),
    "Parquet": ("a.parquet", parquet(OBJECTS)),
    "Parquet in gzip": ("a.parquet.gz", gzip.compress(parquet(OBJECTS))),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_records(shape: str, tmp_path: Path) -> None:
    name, content = SHAPES[shape]
    done = read(tmp_path, {name: content})
    assert done.broken == []
    assert done.codes == CODES
    assert [each["status"] for each in done.records] == ["Đang xử lý", "Đã trả kết quả"]
    assert [each["due_at"] for each in done.records] == ["30/10/2026", "26/10/2026"]
    assert all(unicodedata.is_normalized("NFC", each["agency"]) for each in done.records)


def test_windows_1258_is_read_where_the_profile_says_so(tmp_path: Path) -> None:
    done = read(tmp_path, {"a.csv": windows_1258(TEXT)}, encoding="windows-1258")
    assert [each["status"] for each in done.records] == ["Đang xử lý", "Đã trả kết quả"]


def test_bytes_that_are_no_text_refuse_the_file_and_are_named(tmp_path: Path) -> None:
    lines = TEXT.encode().split(b"\n")
    lines[2] = b"0123\xff" + lines[2]
    done = read(tmp_path, {"a.csv": b"\n".join(lines)})
    assert done.records == [], "nothing of the file is kept"
    (broken,) = done.broken
    assert broken.reason == "not_text"
    assert "dòng 3, cột 5" in broken.detail


def test_headings_of_two_rows_are_unfolded(tmp_path: Path) -> None:
    top = ["Mã hồ sơ", "Mã TTHC", "Đơn vị", "Trạng thái", "Hình thức nộp", "Ngày", None, None]
    low = [None, None, None, None, None, "Nộp", "Tiếp nhận", "Hẹn trả"]
    content = workbook([["Danh sách"], top, low, *ROWS], merges=["A1:H1", "A2:A3", "B2:B3", "F2:H2"])
    fields = PROFILE["fields"] | {
        "submitted_at": "Ngày / Nộp", "received_at": "Ngày / Tiếp nhận", "due_at": "Ngày / Hẹn trả",
    }  # fmt: skip
    done = read(tmp_path, {"a.xlsx": content}, fields=fields)
    assert done.codes == CODES
    assert done.records[0]["received_at"] == "15/10/2026 07:30"


def test_a_heading_that_stands_twice_is_refused_by_name_or_told_apart_by_number(tmp_path: Path) -> None:
    columns = (*COLUMNS[:6], "Ngày", "Ngày")
    (tmp_path / "x").mkdir()
    fields = PROFILE["fields"] | {"received_at": "Ngày", "due_at": "Ngày#2"}
    done = read(tmp_path / "x", {"a.xlsx": workbook([columns, *ROWS])}, fields=fields)
    assert [each.reason for each in done.broken] == ["duplicate_column"]
    assert "“Ngày” (cột G, H)" in done.broken[0].detail
    done = read(tmp_path, {"a.xlsx": workbook([columns, *ROWS])}, fields=fields | {"received_at": "Ngày#1"})
    assert (done.records[0]["received_at"], done.records[0]["due_at"]) == ("15/10/2026 07:30", "30/10/2026")


def test_a_column_that_is_missing_refuses_the_file_unless_it_may_be(tmp_path: Path) -> None:
    content = csv_text([cells[:-1] for cells in ROWS], COLUMNS[:-1]).encode()
    done = read(tmp_path, {"a.csv": content})
    assert [(each.reason, "“Ngày hẹn trả”" in each.detail) for each in done.broken] == [("missing_column", True)]
    assert read(tmp_path, {"a.csv": content}, optional=["due_at"]).codes == CODES


def test_a_row_that_breaks_leaves_the_others(tmp_path: Path) -> None:
    text = csv_text([row(1), row(2)]) + "lẻ;ô\n" + csv_text([row(3)]).split("\n", 1)[1]
    done = read(tmp_path, {"a.csv": text.encode()})
    assert done.codes == [row(number)[0] for number in (1, 2, 3)]
    assert [(each.reason, each.where) for each in done.broken] == [("broken_row", "tệp a.csv, dòng 4")]


def test_a_total_is_no_record(tmp_path: Path) -> None:
    done = read(tmp_path, {"a.xlsx": workbook([COLUMNS, *ROWS, [None, "Tổng cộng: 2"]])})
    assert (done.codes, done.broken) == (CODES, [])
    assert any("1 dòng không phải hồ sơ" in note for note in done.notes)


def test_a_row_without_its_code_is_told_by_its_cell_alone(tmp_path: Path) -> None:
    done = read(tmp_path, {"a.xlsx": workbook([COLUMNS, ROWS[0], [None, *ROWS[1][1:]]])})
    assert done.codes == CODES[:1]
    assert [each.detail for each in done.broken] == ["tệp a.xlsx, trang tính “Dữ liệu”, ô A3: thiếu mã bản ghi"]


def test_codes_keep_to_the_pattern_of_the_profile(tmp_path: Path) -> None:
    done = read(tmp_path, {"a.csv": csv_text([row(1), row(2, c1="1.00016")]).encode()},
                patterns={"procedure_code": r"\d\.\d{6}"})  # fmt: skip
    assert done.codes == [row(1)[0]]
    assert [each.reason for each in done.broken] == ["unlike_pattern"]
    assert "dòng 3, cột B" in done.broken[0].detail


def test_a_code_that_is_a_number_in_its_system_may_be_one(tmp_path: Path) -> None:
    cells = [[7, *ROWS[0]], [10**16, *ROWS[1]]]
    fields = {"record_id": "ID", **PROFILE["fields"]}
    done = read(tmp_path, {"a.xlsx": workbook([("ID", *COLUMNS), *cells])}, fields=fields, numeric=["record_id"])
    assert [each["record_id"] for each in done.records] == ["7"]
    assert [each.reason for each in done.broken] == ["spoilt_code"], "beyond 15 digits a workbook keeps none"


def test_every_sheet_with_the_headings_is_read(tmp_path: Path) -> None:
    book = openpyxl.load_workbook(io.BytesIO(workbook([COLUMNS, ROWS[0]], title="Tháng 9")))
    book.create_sheet("Bìa").append(["Báo cáo"])
    for cells in (COLUMNS, ROWS[1]):
        (book["Tháng 10"] if "Tháng 10" in book else book.create_sheet("Tháng 10")).append(cells)
    stream = io.BytesIO()
    book.save(stream)
    done = read(tmp_path, {"a.xlsx": stream.getvalue()})
    assert done.codes == CODES
    assert any("“Bìa”" in note for note in done.notes)
    assert (
        read(tmp_path, {"b.xlsx": stream.getvalue()}, sheets=["tháng 10"], replaces={"name": "(b)"}).codes == CODES[1:]
    )


def test_a_formula_without_its_result_is_no_blank(tmp_path: Path) -> None:
    done = read(tmp_path, {"a.xlsx": workbook([COLUMNS, ROWS[0], (*ROWS[1][:7], '="26/10/"&"2026"')])})
    assert done.codes == CODES[:1]
    assert [(each.reason, "ô H3" in each.detail) for each in done.broken] == [("no_result", True)]


def test_rows_that_follow_each_other_make_one_record(tmp_path: Path) -> None:
    columns = (*COLUMNS, "Mã giấy tờ", "Tệp đính kèm")
    rows = [
        (*ROWS[0], "G1", "nguyen-van-a.pdf"),
        (*[None] * 8, "G2", None),  # merged down
        (*ROWS[1], "G3", "x.pdf"),
        (*ROWS[1], "G4", "y.pdf"),
    ]
    lists = {"components": {"fields": {"component_code": "Mã giấy tờ", "has_file": "Tệp đính kèm"}}}
    done = read(tmp_path, {"a.xlsx": workbook([columns, *rows])}, rows="grouped", lists=lists)
    assert done.codes == CODES
    found = [[(one["component_code"], one["has_file"]) for one in each["components"]] for each in done.records]
    assert found == [[("G1", True), ("G2", False)], [("G3", True), ("G4", True)]]
    done = read(tmp_path, {"b.xlsx": workbook([columns, *rows, (*ROWS[0], "G5", None)])}, rows="grouped", lists=lists)
    assert "not_together" in [each.reason for each in done.broken]


def test_records_of_many_rows_outlive_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.files_map.BATCH_ROWS", 3)
    columns = (*COLUMNS, "Mã giấy tờ")
    rows = [(*row(number), f"G{item}") for number in range(5) for item in range(number + 1)]
    lists = {"components": {"fields": {"component_code": "Mã giấy tờ"}}}
    done = read(tmp_path, {"a.csv": csv_text(rows, columns).encode()}, rows="grouped", lists=lists)
    assert [len(each["components"]) for each in done.records] == [1, 2, 3, 4, 5]
    assert done.broken == []


def test_lists_inside_json(tmp_path: Path) -> None:
    document = [{**OBJECTS[0], "phi": [{"tien": 50000, "loai": {"ma": "truc-tuyen"}}, {"tien": "20.000"}]}, OBJECTS[1]]
    lists = {"payments": {"each": "phi", "fields": {"amount_vnd": "tien", "method": "loai.ma"}}}
    done = read(tmp_path, {"a.json": json.dumps(document).encode()}, lists=lists)
    found = [[(one["amount_vnd"], one["method"]) for one in each["payments"]] for each in done.records]
    assert found == [[("50000", "truc-tuyen"), ("20000", None)], []]


def test_instants_of_parquet_are_written_in_the_systems_zone(tmp_path: Path) -> None:
    objects = [{**OBJECTS[0], "Ngày tiếp nhận": datetime(2026, 10, 15, 0, 30, tzinfo=UTC)}]
    done = read(tmp_path, {"a.parquet": parquet(objects)})
    assert done.records[0]["received_at"] == "2026-10-15 07:30:00"


CUT = {
    "csv": ("a.csv", TEXT.encode()[:-15]),
    "open quotes": ("a.csv", TEXT.encode() + b'"000;1;2\n'),
    "json": ("a.json", json.dumps(OBJECTS).encode()[:-9]),
    "ndjson": ("a.ndjson", "\n".join(json.dumps(each) for each in OBJECTS).encode()[:-9]),
    "parquet": ("a.parquet", parquet(OBJECTS)[:-3]),
    "workbook": ("a.xlsx", workbook([COLUMNS, *ROWS])[:-30]),
    "zip": ("a.zip", zipped({"1.csv": TEXT.encode()})[:-10]),
    "gzip": ("a.csv.gz", gzip.compress(TEXT.encode())[:-12]),
    "nothing": ("a.csv", b""),
}


@pytest.mark.parametrize("kind", CUT)
def test_a_file_without_its_end_is_left_for_another_night(kind: str, tmp_path: Path) -> None:
    name, content = CUT[kind]
    done = read(tmp_path, {name: content})
    assert (done.records, done.broken) == ([], [])
    assert any("để lại đêm sau (lần 1/3)" in note for note in done.notes)


REFUSED = {
    "not a workbook": ("a.xlsx", b"<html>", "unreadable_file"),
    "another kind": ("a.pdf", b"%PDF", "unsupported_file"),
    "broken JSON": ("a.json", b'[{"a": 1,}]', "unreadable_file"),
    "two lists": ("a.json", json.dumps({"a": OBJECTS, "b": OBJECTS}).encode(), "missing_records"),
    "a bomb": ("a.zip", zipped({"1.csv": bytes(80 * 1024**2)}), "file_too_big"),
    "a bomb in gzip": ("a.csv.gz", gzip.compress(bytes(80 * 1024**2)), "file_too_big"),
    "a member of another kind": ("a.zip", zipped({"1.csv": TEXT.encode(), "2.doc": b""}), "unsupported_file"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_that_is_no_use_is_refused_and_the_others_are_read(kind: str, tmp_path: Path) -> None:
    name, content, reason = REFUSED[kind]
    done = read(tmp_path, {name: content, "b.csv": TEXT.encode()})
    assert [each.reason for each in done.broken] == [reason]
    assert done.codes == CODES
    assert any("TỪ CHỐI" in note for note in done.notes)


def test_no_person_is_told(tmp_path: Path) -> None:
    """Columns outside the map, file names and sheets that carry people appear in no record, error or note."""
    columns = (*COLUMNS, "Họ và tên", "SĐT")
    person = ("Nguyễn Văn Canary", "0912345678")
    rows = [
        (*row(1), *person),
        (*row(2, c6="Nguyễn Văn Canary"), *person),
        (*row(3), *person, "thừa"),
        (*row(4), *person),
    ]
    done = read(tmp_path, {
        "HS Nguyễn Văn Canary.csv": csv_text(rows, columns).encode(),
        "b.xlsx": workbook([columns, *rows[:2]], title="Nguyễn Văn Canary"),
    })  # fmt: skip
    assert len(done.broken) == 3
    told = f"{done.records} {done.broken} {done.notes}"
    assert "Canary" not in told
    assert "0912345678" not in told


def test_check_shows_a_sample_and_names_what_is_wrong(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, {"a.csv": TEXT.encode()})
    assert sample(settings, 1).to_pylist()[0]["dossier_code"] == CODES[0]
    assert "a.csv" in probe(settings)

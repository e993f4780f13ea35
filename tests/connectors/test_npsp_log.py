"""Lines and files of the message log: real files in a real folder, read through the connection."""

from __future__ import annotations

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from connectors.contract import Broken
from connectors.npsp_log import MESSAGES, PROGRESS, MessageLog, Sorted, position, probe, split_line
from connectors.protocol import Batch, Permanent, Span
from connectors.settings import MessageLogSettings
from tests.connectors.test_igate import START

SPAN = Span(START, START, is_update=False)
PAPER = {
    "MaThanhPhanHoSo": "TP1",
    "TenTepDinhKem": "cccd-nguyen-van-a.pdf",
    "DuocSoHoa": "1",
    "DuongDanTaiTepTin": "/nguyen-van-a",
}


def call(service: str, *records: dict[str, Any]) -> str:
    return json.dumps(
        {"madonvi": "H15", "service": service, "isUpdating": "False", "data": records}, ensure_ascii=False
    )


def read(folder: Path, consumed: dict[str, Any] | None = None, **changes: Any) -> list[Batch]:
    settings = MessageLogSettings.model_validate({"kind": "npsp-log", "folder": folder, "settle_seconds": 0, **changes})

    async def gather() -> list[Batch]:
        return [batch async for batch in MessageLog(settings, consumed or {}).batches(SPAN)]

    return asyncio.run(gather())


def nothing(batches: list[Batch]) -> bool:
    """Whether no record was read and no file consumed."""
    return not any(part.records.num_rows or part.broken for batch in batches for part in batch.parts) and not any(
        batch.cursors for batch in batches
    )


def codes(batches: list[Batch], part: int = 0) -> list[str]:
    return [code for batch in batches for code in batch.parts[part].records["MaHoSo"].to_pylist()]


@pytest.mark.parametrize(
    ("line", "contract"),
    [
        (call("DongBoHoSoMC", {"MaHoSo": "1"}), MESSAGES),
        (call("CapNhatTienDoHoSoMC", {"MaHoSo": "1"}), PROGRESS),
        ('{"MaHoSo":"1","MaTTHC":"1.001612"}', MESSAGES),
        ('{"MaHoSo":"1","ThoiDiemXuLy":"20261001080000"}', PROGRESS),
        ('\ufeff{"MaHoSo":"1"}', MESSAGES),
    ],
)
def test_a_line_is_told_apart_by_its_service_or_its_fields(line: str, contract: object) -> None:
    found = split_line(line.encode(), "here")
    assert isinstance(found, Sorted)
    assert found.contract is contract
    assert len(found.records) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"service":"DongBoHoSoMC","data":[{"MaHoSo":"1","ChuHoSo":"Nguyen', "unreadable_record"),
        (b'{"MaHoSo":"\xff\xfe"}', "unreadable_record"),
        (b'{"service":"TraCuuHoSo","data":[]}', "unknown_service"),
        (b"[]", "unreadable_record"),
    ],
)
def test_a_line_that_is_none_is_named_by_place_and_size_only(line: bytes, reason: str) -> None:
    found = split_line(line, "a.ndjson 000000007#0000")
    assert isinstance(found, Broken)
    assert (found.where, found.reason) == ("a.ndjson 000000007#0000", reason)
    assert "Nguyen" not in repr(found)


def test_blank_lines_are_nothing() -> None:
    assert split_line(b"  \n", "here") is None


def test_files_are_read_in_sending_order_and_consumed_by_name_size_and_sum(tmp_path: Path) -> None:
    (tmp_path / "2026-10-02_0001.ndjson").write_text(call("DongBoHoSoMC", {"MaHoSo": "late"}) + "\n")
    (tmp_path / "2026-10-01_0001.ndjson").write_text(
        call("DongBoHoSoMC", {"MaHoSo": "early"}, {"MaHoSo": "next"}) + "\n"
    )
    batches = read(tmp_path)
    assert codes(batches) == ["early", "next", "late"]
    positions = batches[0].parts[0].records["position"].to_pylist()
    assert positions == sorted(positions)
    body = (tmp_path / "2026-10-01_0001.ndjson").read_bytes()
    remembered = batches[-1].cursors["2026-10-01_0001.ndjson"]
    assert (remembered["size"], remembered["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())


def test_a_consumed_file_is_left_and_a_changed_one_read_again(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text(call("DongBoHoSoMC", {"MaHoSo": "1"}))
    cursors = dict(read(tmp_path)[0].cursors)
    assert nothing(read(tmp_path, cursors))
    file.write_text(call("DongBoHoSoMC", {"MaHoSo": "2"}))  # same name, same size
    assert codes(read(tmp_path, cursors)) == ["2"]


def test_a_file_still_being_written_is_left_for_the_next_night(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text(call("DongBoHoSoMC", {"MaHoSo": "1"}))
    assert nothing(read(tmp_path, settle_seconds=3600))


def test_a_truncated_last_line_is_told_by_file_and_line_and_the_rest_is_read(tmp_path: Path) -> None:
    whole = call("DongBoHoSoMC", {"MaHoSo": "1"})
    (tmp_path / "a.ndjson").write_text(f"{whole}\n{whole[:30]}")
    batch = read(tmp_path)[0]
    assert codes([batch]) == ["1"]
    assert [broken.where for broken in batch.parts[0].broken] == [position("a.ndjson", 2)]


def test_a_record_that_cannot_be_typed_does_not_shift_the_positions_of_others(tmp_path: Path) -> None:
    records = ({"MaHoSo": "1"}, {"MaHoSo": {"ten": "Nguyễn Văn A"}}, {"MaHoSo": 3, "TaiLieuNop": ""})
    (tmp_path / "a.ndjson").write_text(call("DongBoHoSoMC", *records))
    part = read(tmp_path)[0].parts[0]
    assert part.records["MaHoSo"].to_pylist() == ["1", "3"]
    assert part.records["position"].to_pylist() == [position("a.ndjson", 1, 0), position("a.ndjson", 1, 2)]
    assert [broken.where for broken in part.broken] == [position("a.ndjson", 1, 1)]


def test_of_a_file_only_its_being_there_is_kept(tmp_path: Path) -> None:
    records = (
        {"MaHoSo": "1", "TaiLieuNop": [PAPER, {"MaThanhPhanHoSo": "TP2", "DuongDanTaiTepTin": " "}]},
        {
            "MaHoSo": "2",
            "TaiLieuNop": None,
            "DanhSachGiayToKetQua": [{"MaGiayToKetQua": "K", "DuongDanTepTinKetQua": "/x"}],
        },
        {"MaHoSo": "3", "TaiLieuNop": []},
    )
    (tmp_path / "a.ndjson").write_text(call("DongBoHoSoMC", *records))
    rows = read(tmp_path)[0].parts[0].records.to_pylist()
    assert [paper["hasFile"] for paper in rows[0]["TaiLieuNop"]] == [True, False]
    assert rows[0]["TaiLieuNop"][0]["DuocSoHoa"] == "1"
    assert (rows[1]["TaiLieuNop"], rows[2]["TaiLieuNop"]) == (None, [])
    assert rows[1]["DanhSachGiayToKetQua"] == [{"MaGiayToKetQua": "K", "hasFile": True}]
    assert "nguyen" not in repr(rows)


def test_progress_is_a_part_of_its_own(tmp_path: Path) -> None:
    step = {"MaHoSo": "1", "NguoiXuLy": "Trần Thị B", "ThoiDiemXuLy": "20261001080000", "TrangThai": "2"}
    (tmp_path / "a.ndjson").write_text(call("CapNhatTienDoHoSoMC", step, step))
    batch = read(tmp_path)[0]
    assert codes([batch], part=1) == ["1", "1"]
    assert "NguoiXuLy" not in batch.parts[1].records.column_names


def test_a_missing_folder_names_its_key(tmp_path: Path) -> None:
    with pytest.raises(Permanent) as caught:
        probe(MessageLogSettings(kind="npsp-log", folder=tmp_path / "nowhere"))
    assert caught.value.key == "folder"

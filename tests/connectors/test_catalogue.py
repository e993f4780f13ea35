"""The catalogue's service and its files: what is read out of each wording, and that one bad procedure stops no other.

The service is the sandbox's, called in this process: what it says and what is true are written apart there.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import openpyxl
import pytest
from starlette.applications import Starlette

import sandbox.catalogue as province
from connectors.catalogue import (
    PROCEDURES,
    Catalogue,
    CatalogueService,
    CatalogueServiceSettings,
    UnusableProcedure,
    levels_of,
    national_code,
    read_procedure,
)
from connectors.catalogue_files import CatalogueFileSettings, read_file
from connectors.loop import Loop
from connectors.npsp_adapter import Session
from connectors.protocol import Call, Permanent, Reply, SourceError
from warehouse.reference import CATALOGUE_SAYS

BEFORE, AFTER = date(2026, 6, 30), date(2026, 7, 1)


# ---- codes and words


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("1.001612", "1.001612"),
        ("1.001612.000.00.00.H15", "1.001612"),
        (" 2.000100.000.00.00.h48 ", "2.000100"),
        ("2.0001", "2.000100"),  # a spreadsheet took it for a number
    ],
)
def test_every_way_of_writing_a_code_is_the_national_one(written: str, code: str) -> None:
    assert national_code(written) == code


@pytest.mark.parametrize("written", ["", "1001612", "1.0016123", "1.001612.H15", "BTP-1.001612", "2"])
def test_what_is_no_code_is_refused(written: str) -> None:
    with pytest.raises(UnusableProcedure) as refused:
        national_code(written)
    assert refused.value.reason == "unreadable_code"


@pytest.mark.parametrize(
    ("agencies", "levels"),
    [
        (["Ủy ban nhân dân cấp xã"], "Cấp xã"),
        (["UBND xã, phường, thị trấn", "Sở Tư pháp"], "Cấp tỉnh, Cấp xã"),
        (["Bộ Tư pháp"], "Cấp bộ"),
        (["Cơ quan chuyên môn thuộc UBND cấp tỉnh", "Bộ phận Một cửa"], None),  # one that does not tell: not said
        ([], None),
    ],
)
def test_levels_are_told_by_agencies_or_not_at_all(agencies: list[str], levels: str | None) -> None:
    assert levels_of(agencies) == levels


# ---- one procedure


def said(**changes: Any) -> dict[str, Any]:
    """Birth registration as LayThuTuc words it, by hand."""
    fees = [{"MAPHILEPHI": "LP01", "SOTIEN": "0", "DONVI": "VNĐ", "MOTA": ""}]
    times = [{"THOIGIANGIAIQUYET": "1", "DONVITINH": "Ngày làm việc", "MOTA": "", "PHILEPHI": fees}]
    return {
        "MATTHC": "1.001193",
        "TENTTHC": "Thủ tục  đăng ký khai sinh",
        "LINHVUCTHUCHIEN": [{"MALINHVUC": "HT", "TENLINHVUC": "Hộ tịch"}],
        "CACHTHUCTHUCHIEN": [{"KENH": "1", "THOIGIAN": times}, {"KENH": 2, "THOIGIAN": times}],
        "KETQUATHUCHIEN": [{"MAKETQUA": "KQ1", "TENKETQUA": "Giấy khai sinh"}],
        "COQUANTHUCHIEN": [{"MADONVI": "", "TENDONVI": "Ủy ban nhân dân cấp xã"}],
        "DOITUONGTHUCHIEN": [{"TENDOITUONG": "Công dân Việt Nam"}],
        "TRANGTHAI": "1",
        **changes,
    }


def read(**changes: Any) -> dict[str, Any]:
    return read_procedure(json.dumps(said(**changes)).encode(), {"1": "in_force", "0": "repealed"})


def way(channel: Any, *times: tuple[str, str, str]) -> dict[str, Any]:
    """A channel with its (limit, unit, amount)s."""
    return {
        "KENH": channel,
        "THOIGIAN": [
            {"THOIGIANGIAIQUYET": limit, "DONVITINH": unit, "PHILEPHI": [{"SOTIEN": amount}]}
            for limit, unit, amount in times
        ],
    }


def test_a_procedure_is_read_field_by_field() -> None:
    assert read() == {
        "procedure_code": "1.001193",
        "name": "Thủ tục đăng ký khai sinh",
        "sector": "Hộ tịch",
        "levels": "Cấp xã",
        "has_fee": False,
        "is_result_required": True,
        "offers_online": True,
        "is_citizen_subject": True,
        "has_whole_applicants": True,
        "limit_value": 1.0,
        "limit_unit": "Ngày làm việc",
        "online_level": None,  # the service of 2020 does not say it
        "is_online_eligible": None,
        "offers_online_payment": None,
        "is_integrated": None,
        "state": "in_force",
        "source": "catalogue",
    }


@pytest.mark.parametrize(
    ("amounts", "has_fee"),
    [
        (["0"], False),
        ([""], False),
        (["0", "00", "0.0", "0 đồng"], False),
        (["50000"], True),
        (["0", "8.000 đồng/bản"], True),
        ([0, 8000], True),
    ],
)
def test_a_fee_is_any_amount_that_is_not_0_or_blank(amounts: list[Any], has_fee: bool) -> None:
    ways = [way("1", *(("1", "Ngày", amount) for amount in amounts))]
    assert read(CACHTHUCTHUCHIEN=ways)["has_fee"] is has_fee


def test_the_fee_of_any_channel_counts_and_a_lone_object_is_a_list_of_one() -> None:
    assert read(CACHTHUCTHUCHIEN=[way("2", ("1", "Ngày", "0")), way("3", ("1", "Ngày", "30000"))])["has_fee"] is True
    assert read(CACHTHUCTHUCHIEN=way("2", ("1", "Ngày", "7")))["has_fee"] is True


@pytest.mark.parametrize(
    ("limits", "longest"),
    [
        ([("3", "Ngày làm việc"), ("5", "Ngày làm việc")], (5.0, "Ngày làm việc")),
        ([("1", "Tháng"), ("20", "Ngày làm việc")], (1.0, "Tháng")),  # 20 working days are 28 days
        ([("30", "Ngày"), ("22", "Ngày làm việc")], (22.0, "Ngày làm việc")),  # 22 working days are 30.8 days
        ([("8", "Giờ"), ("2", "Ngày làm việc")], (2.0, "Ngày làm việc")),
        ([("1,5", "Ngày"), ("", "")], (1.5, "Ngày")),
        ([("Giải quyết ngay", "")], (None, None)),
    ],
)
def test_the_longest_limit_of_all_channels_is_kept_as_published(
    limits: Sequence[tuple[str, str]], longest: tuple[float | None, str | None]
) -> None:
    row = read(CACHTHUCTHUCHIEN=[way(str(number), (*limit, "0")) for number, limit in enumerate(limits, start=1)])
    assert (row["limit_value"], row["limit_unit"]) == longest


def test_what_is_missing_is_not_said_and_what_is_empty_says_none() -> None:
    row = read(CACHTHUCTHUCHIEN=None, KETQUATHUCHIEN=None, DOITUONGTHUCHIEN=[], COQUANTHUCHIEN=None, TRANGTHAI="")
    unsaid = ("has_fee", "offers_online", "limit_value", "is_result_required", "is_citizen_subject", "levels", "state")
    assert [row[name] for name in unsaid] == [None] * len(unsaid)
    assert read(KETQUATHUCHIEN=[])["is_result_required"] is False


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"TENTTHC": "  "}, "TENTTHC_present"),
        ({"MATTHC": "x"}, "unreadable_code"),
        ({"TRANGTHAI": "7"}, "unmapped_state"),
        ({"CACHTHUCTHUCHIEN": "xem quyết định"}, "unreadable_record"),
        ({"CACHTHUCTHUCHIEN": [way("1", ("1", "Ngày", "theo quy định"))]}, "unreadable_fee"),
        ({"CACHTHUCTHUCHIEN": [way("1", ("1", "Quý", "0"))]}, "unmapped_unit"),
    ],
)
def test_what_cannot_be_used_says_which_field(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableProcedure) as refused:
        read(**changes)
    assert refused.value.reason == reason


def test_columns_are_those_that_the_warehouse_takes() -> None:
    assert set(PROCEDURES.names) == {"procedure_code", "source", *CATALOGUE_SAYS}


# ---- the service


def settings(**changes: Any) -> CatalogueServiceSettings:
    return CatalogueServiceSettings.model_validate(
        {
            "kind": "npsp-catalogue",
            "base_url": f"http://catalogue.invalid{province.PREFIX}",
            "auth_endpoint": province.AUTH_ENDPOINT,
            "share_endpoint": province.SHARE_ENDPOINT,
            "username_env": "THUOCDO_CATALOGUE_USERNAME",
            "password_env": "THUOCDO_CATALOGUE_PASSWORD",
            "madonvi": province.MADONVI,
            "dstcode": province.DSTCODE,
            "states": province.STATES,
            "manners": {"requests_per_second": 100_000, "concurrency": 8, "attempts": 2},
            **changes,
        }
    )


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in province.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


def fetched(service: province.Catalogue, **changes: Any) -> Catalogue:
    async def run() -> Catalogue:
        own = settings(**changes)
        transport = httpx.ASGITransport(app=Starlette(routes=service.routes()))
        async with httpx.AsyncClient(transport=transport, base_url=str(own.base_url)) as client:

            async def send(call: Call) -> Reply:
                found = await client.request(
                    call.method, call.path, params=call.params, headers=dict(call.headers), content=call.content
                )
                return Reply(found.status_code, found.headers, found.content)

            session = Session(send, own)
            return await CatalogueService(own, Loop.over(session.send, own.manners)).read()

    return asyncio.run(run())


def test_the_whole_catalogue_is_read_as_it_is_over_sessions_that_end() -> None:
    service = province.Catalogue(today=lambda: AFTER, broken=7)
    read_in = fetched(service)
    assert len(service.sessions) == 1 + len(service.listed()) // province.SESSION_CALLS  # logged in again, and no more
    expected = {each.code: each for each in province.truth(AFTER)}
    broken = set(service.broken_codes())
    assert {each.where for each in read_in.broken} == broken
    assert {each.reason for each in read_in.broken} == {"TENTTHC_present", "unmapped_state", "unreadable_record"}
    rows = {row["procedure_code"]: row for row in read_in.procedures.to_pylist()}
    assert set(rows) == set(expected) - broken
    for code, row in rows.items():
        true = expected[code]
        assert row["has_fee"] is true.has_fee
        assert row["offers_online"] is ("2" in true.channels)
        assert row["is_result_required"] is (true.result != "")
        assert row["is_citizen_subject"] is any("Công dân" in name for name in true.applicants)
        assert row["state"] == ("in_force" if true.is_in_force else "repealed")
        assert row["limit_value"] == (float(true.limit[0]) if true.limit[0] else None)


def test_a_local_code_that_says_something_else_is_told_and_the_national_one_believed() -> None:
    class TwoVoices(province.Catalogue):
        def listed(self) -> tuple[str, ...]:
            return (LOCAL, "1.001193")

        def _found(self, code: str) -> list[dict[str, Any]]:
            return [said(MATTHC=code, TENTTHC="Khai sinh" if code == LOCAL else "Đăng ký khai sinh")]

    read_in = fetched(TwoVoices(today=lambda: BEFORE))
    assert read_in.procedures["name"].to_pylist() == ["Đăng ký khai sinh"]
    assert [(each.where, each.reason) for each in read_in.broken] == [(LOCAL, "duplicate_procedure")]


LOCAL = "1.001193.000.00.00.H15"


def test_a_procedure_that_the_list_has_and_the_service_has_not_is_told() -> None:
    class Gap(province.Catalogue):
        def listed(self) -> tuple[str, ...]:
            return ("9.999999", "1.001193")

    read_in = fetched(Gap(today=lambda: BEFORE))
    assert read_in.procedures["procedure_code"].to_pylist() == ["1.001193"]
    assert [(each.where, each.reason) for each in read_in.broken] == [("9.999999", "missing_procedure")]


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"madonvi": "000.00.01.H99"}, "madonvi"), ({"dstcode": "elsewhere"}, "username_env, password_env")],
)
def test_a_refusal_is_final_and_names_the_key(changes: dict[str, str], key: str) -> None:
    with pytest.raises(Permanent) as refused:
        fetched(province.Catalogue(today=lambda: BEFORE), **changes)
    assert refused.value.key == key


def test_a_wrong_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUOCDO_CATALOGUE_PASSWORD", "canary-in-password")
    with pytest.raises(Permanent) as refused:
        fetched(province.Catalogue(today=lambda: BEFORE))
    assert "canary" not in str(refused.value)
    assert "THUOCDO_CATALOGUE_PASSWORD" in str(refused.value)


def test_a_catalogue_of_which_nothing_can_be_had_fails() -> None:
    class Dumb(province.Catalogue):
        def _found(self, code: str) -> list[dict[str, Any]]:  # noqa: ARG002
            return []

        def listed(self) -> tuple[str, ...]:
            return ("1.001193",)

    with pytest.raises(SourceError, match="none of the 1 procedures"):
        fetched(Dumb(today=lambda: BEFORE))


# ---- files


def file(path: Path, **changes: Any) -> Catalogue:
    return read_file(CatalogueFileSettings.model_validate({"kind": "catalogue-file", "path": path, **changes}))


def test_the_provinces_export_says_what_the_service_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "danh-muc.csv"
    path.write_text(province.catalogue_csv(BEFORE), encoding="utf-8-sig")
    read_in = file(path)
    assert read_in.broken == ()
    columns = ("online_level", "is_online_eligible", "offers_online_payment", "is_integrated")
    rows = {row["procedure_code"]: tuple(row[name] for name in columns) for row in read_in.procedures.to_pylist()}
    assert rows == {each.code: tuple(getattr(each, name) for name in columns) for each in province.truth(BEFORE)}
    assert read_in.procedures["has_fee"].null_count == read_in.procedures.num_rows  # not in the file: not said


TABLE = (
    ("SỞ TƯ PHÁP TỈNH ĐẮK LẮK", "", "", "", ""),
    ("Mã TTHC", "Mức độ DVCTT", "Cấp thực hiện", "Tích hợp", "Trạng thái"),
    ("1.001193.000.00.00.H15", "Mức độ 4", "Tỉnh, Xã", "x", "Còn hiệu lực"),
    ("2.000815", "mức 3", "Cấp xã", "Không", "Bãi bỏ"),
    ("1.004873", "2", "", "", ""),
    ("1.001022", "rất cao", "Cấp xã", "Có", ""),
    ("", "", "", "", ""),
)
EXPECTED = {
    "1.001193": ("full", "Cấp tỉnh, Cấp xã", True, "in_force"),
    "2.000815": ("partial", "Cấp xã", False, "repealed"),
    "1.004873": ("none", None, None, None),
}


def stated(read_in: Catalogue) -> dict[str, tuple[Any, ...]]:
    columns = ("online_level", "levels", "is_integrated", "state")
    return {row["procedure_code"]: tuple(row[name] for name in columns) for row in read_in.procedures.to_pylist()}


def test_a_table_is_read_whatever_stands_above_it_and_an_unknown_word_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "bang.csv"
    path.write_text("\n".join(";".join(f'"{cell}"' for cell in row) for row in TABLE), encoding="utf-8")
    read_in = file(path, delimiter=";")
    assert stated(read_in) == EXPECTED
    assert [(each.where, each.reason) for each in read_in.broken] == [("bang.csv, dòng 6", "unmapped_online_level")]


def test_a_workbook_says_the_same_and_a_code_kept_as_a_number_is_whole_again(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.title = "Bìa"
    sheet = book.create_sheet("Danh mục")
    for row in TABLE:
        sheet.append([2.000815 if cell == "2.000815" else cell or None for cell in row])
    sheet.append([2.0001, 4, "Xã", True, None])
    book.save(tmp_path / "bang.xlsx")
    read_in = file(tmp_path / "bang.xlsx", sheet="Danh mục")
    assert stated(read_in) == EXPECTED | {"2.000100": ("full", "Cấp xã", True, None)}
    assert len(read_in.broken) == 1


def test_json_is_read_flat_and_as_the_service_words_it(tmp_path: Path) -> None:
    header, *rows = TABLE[1:6]
    flat = [dict(zip(header, row, strict=True)) for row in rows]
    (tmp_path / "flat.json").write_text(json.dumps(flat), encoding="utf-8")
    assert stated(file(tmp_path / "flat.json")) == EXPECTED
    (tmp_path / "service.json").write_text(json.dumps({"error_code": 0, "result": [said()]}), encoding="utf-8")
    (row,) = file(tmp_path / "service.json", states={"1": "in_force"}).procedures.to_pylist()
    assert (row["name"], row["source"], row["state"]) == ("Thủ tục đăng ký khai sinh", "file", "in_force")


def test_an_exports_own_headers_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "rieng.csv"
    path.write_text("Số hiệu,DVC\n1.001193,Một phần\n", encoding="utf-8")
    read_in = file(path, columns={"procedure_code": "Số hiệu", "online_level": "DVC"})
    assert read_in.procedures["online_level"].to_pylist() == ["partial"]


@pytest.mark.parametrize(
    ("name", "content", "changes", "complaint"),
    [
        ("a.csv", b"Ten,Cap\nx,y\n", {}, "no column for the procedure's code"),
        ("a.csv", b"procedure_code,b\n1.001193,y\n", {"columns": {"state": "TT"}}, "no column TT"),
        ("a.csv", "Mã TTHC".encode("utf-16"), {}, "not text in utf-8-sig"),
        ("a.json", b"[{]", {}, "line 1: not JSON"),
        ("a.json", b'{"data": []}', {}, "expected a list of procedures"),
        ("a.xlsx", b"not a zip", {}, "not a workbook"),
        ("a.pdf", b"", {}, "a catalogue is a file named"),
    ],
)
def test_a_file_that_is_no_catalogue_says_why(
    tmp_path: Path, name: str, content: bytes, changes: dict[str, Any], complaint: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Permanent, match=complaint):
        file(tmp_path / name, **changes)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(Permanent, match="No such file"):
        file(tmp_path / "none.csv")

"""What directories of units say: the service over a real server, exported lists, and rows that cannot be used.

Over HTTP because sessions, spelling of codes and refusals are the wire's; the server beside the sandbox's is written
by hand from the description of the protocol.
"""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import stamina
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import sandbox.catalogue as province
import sandbox.directory as truth
from connectors.protocol import Permanent, Transient
from connectors.settings import MissingSecret
from connectors.units import Directory, UnitFileSettings, UnitServiceSettings, read_directory
from tests.connectors.test_loop import serving
from warehouse.reference import unit_table

PASSWORD = "canary-in-password"
HOME_AFFAIRS, JUSTICE = ("000.00.05.H15", "Sở Nội vụ"), ("000.00.01.H15", "Sở Tư pháp")
BEFORE, AFTER = date(2026, 11, 1), date(2026, 11, 2)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("UNITS_USERNAME", "thuocdo")
    monkeypatch.setenv("UNITS_PASSWORD", PASSWORD)
    with stamina.set_testing(True, attempts=2):
        yield


def settings(origin: str, **changes: Any) -> UnitServiceSettings:
    return UnitServiceSettings.model_validate(
        {
            "kind": "npsp-units",
            "source": "onestop",
            "base_url": origin,
            "auth_endpoint": "/auth",
            "share_endpoint": "/share",
            "username_env": "UNITS_USERNAME",
            "password_env": "UNITS_PASSWORD",
            "madonvi": "000.00.00.H15",
            "dstcode": "VN:GOV:NPSP",
            "manners": {"requests_per_second": 1000, "attempts": 2, "timeout_seconds": 5},
            **changes,
        }
    )


def rows(*units: tuple[Any, Any]) -> list[dict[str, Any]]:
    return [{"MADONVI": code, "TENDONVI": name} for code, name in units]


def listed(directory: Directory) -> list[tuple[str, str]]:
    return [(each.code, each.name) for each in directory.agencies]


def broken(directory: Directory) -> list[tuple[str, str]]:
    return [(each.where, each.reason) for each in directory.broken]


Log = list[dict[str, Any]]


def adapter(*answers: Any) -> tuple[list[Route], Log]:
    """An adapter that gives each log-in a session of its own, answers in turn, and keeps what it was told."""
    left, log = list(answers), []

    async def log_in(request: Request) -> Response:
        log.append({"path": "auth", **json.loads(await request.body()), "dstcode": request.headers["dstcode"]})
        session = f"phien-{sum(each['path'] == 'auth' for each in log)}"
        return JSONResponse({"error_code": "0", "message": "Thành công", "session": session})

    async def share(request: Request) -> Response:
        log.append({"path": "share", **json.loads(await request.body()), "dstcode": request.headers["dstcode"]})
        answer = left.pop(0)
        return answer if isinstance(answer, Response) else JSONResponse(answer)

    return [Route("/auth", log_in, methods=["POST"]), Route("/share", share, methods=["POST"])], log


def fetched(*answers: Any, **changes: Any) -> Directory:
    with serving(*adapter(*answers)[0]) as origin:
        return read_directory(settings(origin, **changes))


# ---- the service


def test_one_call_under_a_session_brings_the_whole_directory() -> None:
    routes, log = adapter({"error_code": 0, "message": "", "result": rows(HOME_AFFAIRS, JUSTICE)})
    with serving(*routes) as origin:
        found = read_directory(settings(origin))
    assert listed(found) == [JUSTICE, HOME_AFFAIRS]
    assert found.broken == ()
    assert log == [
        {"path": "auth", "username": "thuocdo", "password": PASSWORD, "dstcode": "VN:GOV:NPSP"},
        {"path": "share", "session": "phien-1", "madonvi": "000.00.00.H15", "dstcode": "VN:GOV:NPSP"}
        | {"service": "LayDanhMucCoQuan"},
    ]


@pytest.mark.parametrize("code", [0, "0", 0.0, " 0 "])
def test_success_is_a_number_or_text(code: Any) -> None:
    assert listed(fetched({"error_code": code, "result": rows(JUSTICE)})) == [JUSTICE]


@pytest.mark.parametrize(
    "old",
    [
        Response(status_code=401),
        {"error_code": "-2", "message": "Phiên làm việc đã hết hạn"},
        {"error_code": -2, "message": "Session expired"},
        {"error_code": "17", "message": "Lỗi"},
    ],
)
def test_a_session_that_ended_is_renewed_once(old: Any) -> None:
    routes, log = adapter(old, {"error_code": 0, "result": rows(JUSTICE)})
    with serving(*routes) as origin:
        assert listed(read_directory(settings(origin, stale_codes=["17"]))) == [JUSTICE]
    assert [each.get("session") for each in log] == [None, "phien-1", None, "phien-2"]


def test_the_sandboxes_directory_is_read_as_it_is_over_sessions_that_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nửa số tên ở dạng NFD hoặc thừa dấu cách; đọc vào là NFC, một dấu cách."""
    monkeypatch.setattr(province, "SESSION_CALLS", 0)
    for name, value in province.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def read(on: date) -> Directory:
        with serving(*province.Catalogue(today=lambda: on).routes()) as origin:
            names = dict(zip(("username_env", "password_env"), province.ENVIRONMENT, strict=True))
            own = {"base_url": origin + province.PREFIX, "madonvi": province.MADONVI, "dstcode": province.DSTCODE}
            return read_directory(settings(origin, **names, **own))

    with pytest.raises(Permanent, match="refused under a fresh session"):
        read(BEFORE)
    monkeypatch.setattr(province, "SESSION_CALLS", 1)
    for on in (BEFORE, AFTER):
        assert dict(listed(read(on))) == truth.truth(on)


@pytest.mark.parametrize(
    ("answer", "kind", "key"),
    [
        ({"error_code": -3, "message": "Đơn vị không được phép"}, Permanent, "madonvi"),
        ({"error_code": 0, "result": []}, Transient, "madonvi"),
        ({"error_code": 0, "result": None}, Transient, "madonvi"),
        ({"error_code": 0, "result": "xem tệp"}, Transient, "base_url"),
        (Response("<html>Đăng nhập</html>", media_type="text/html"), (Permanent, Transient), None),
        ({"error_code": 0, "result": rows(("", "Sở Tư pháp"))}, Permanent, "kind"),
    ],
)
def test_what_is_no_directory_fails_and_says_which_key(answer: Any, kind: Any, key: str | None) -> None:
    with pytest.raises(kind) as failed:
        fetched(answer, answer)
    assert key in (None, failed.value.key)
    assert PASSWORD not in str(failed.value)


def test_a_wrong_log_in_names_the_variables() -> None:
    async def refuse(_: Request) -> Response:
        return JSONResponse({"error_code": "-1", "message": "Sai mật khẩu"})

    with serving(Route("/auth", refuse, methods=["POST"])) as origin, pytest.raises(Permanent) as failed:
        read_directory(settings(origin))
    assert failed.value.key == "username_env, password_env"
    assert "UNITS_PASSWORD" in str(failed.value)
    assert PASSWORD not in str(failed.value)


def test_a_secret_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("UNITS_PASSWORD")
    with pytest.raises(MissingSecret, match="UNITS_PASSWORD"):
        read_directory(settings("http://127.0.0.1:9"))


# ---- rows that cannot be used


def test_a_row_that_cannot_be_used_is_told_and_stops_no_other() -> None:
    found = fetched(
        {
            "error_code": 0,
            "result": [
                *rows(JUSTICE, ("", "Sở Xây dựng"), ("000.00.09.H15", "  "), ("000.00.10.H15", None)),
                ["không", "phải", "đối tượng"],
                {"MADONVI": "000.00.11.H15", "TENDONVI": {"vi": "Sở Y tế"}},
            ],
        }
    )
    assert listed(found) == [JUSTICE]
    assert broken(found) == [
        ("LayDanhMucCoQuan#2", "MADONVI_present"),
        ("000.00.09.H15", "TENDONVI_present"),
        ("000.00.10.H15", "TENDONVI_present"),
        ("LayDanhMucCoQuan#5", "unreadable_record"),
        ("LayDanhMucCoQuan#6", "unreadable_record"),
    ]
    # They are listed all the same: none of them has gone.
    assert found.unusable == {"000.00.09.H15", "000.00.10.H15"}


def test_of_a_code_with_two_names_neither_is_believed_and_one_said_twice_is_one() -> None:
    twice = rows(("H15.7", "Sở Y tế"), ("h15.7", "Sở Giáo dục"), ("H15.8", "Sở Tài chính"), ("H15.8", "Sở  Tài chính"))
    found = fetched({"error_code": 0, "result": [*twice, *rows(JUSTICE)]})
    assert listed(found) == [JUSTICE, ("H15.8", "Sở Tài chính")]
    assert sorted(broken(found)) == [("H15.7", "two_names"), ("h15.7", "two_names")]
    assert "Sở Giáo dục" in found.broken[0].detail
    assert "Sở Y tế" in found.broken[0].detail
    assert {each.lower() for each in found.unusable} == {"h15.7"}


@pytest.mark.parametrize(
    ("code", "name", "canary"),
    [
        ("H15.9", "Chuyên viên Nguyễn Thị Canary", "Canary"),
        ("H15.9", "Bộ phận Một cửa 0905123456", "0905123456"),
        ("H15.9", "Sở Y tế - canary@daklak.gov.vn", "canary"),
        ("079085001234", "Sở Y tế", "079085001234"),
        ("Nguyễn Thị Canary", "Sở Y tế", "Canary"),
    ],
)
def test_a_person_is_refused_and_told_by_length_alone(code: str, name: str, canary: str) -> None:
    found = fetched({"error_code": 0, "result": rows(JUSTICE, (code, name))})
    assert listed(found) == [JUSTICE]
    assert [reason for _, reason in broken(found)] == ["looks_like_a_person"]
    assert canary not in repr(found)
    assert "ký tự»" in found.broken[0].detail


def test_a_unit_that_carries_the_name_of_a_person_is_none(tmp_path: Path) -> None:
    """Xã Văn Yên, phường Hai Bà Trưng: tên của đơn vị, không phải của người, dù viết hoa hay không."""
    path = tmp_path / "danh-ba.csv"
    path.write_text("Mã đơn vị,Tên đơn vị\n1,UBND XÃ VĂN YÊN\n2,Công an phường Hai Bà Trưng\n", encoding="utf-8")
    own = {"kind": "units-file", "source": "onestop", "path": path}
    found = read_directory(UnitFileSettings.model_validate(own), places=["Xã Văn Yên", "Phường Hai Bà Trưng"])
    assert listed(found) == [("1", "UBND XÃ VĂN YÊN"), ("2", "Công an phường Hai Bà Trưng")]


def test_no_unit_of_the_province_is_taken_for_a_person(tmp_path: Path) -> None:
    units = unit_table("H15", Path(__file__).parents[2] / "provinces" / "dak-lak" / "departments.csv")
    names = sorted(set(units["name"].to_pylist()))
    path = tmp_path / "danh-ba.json"
    path.write_text(json.dumps([{"code": f"M{at}", "name": name} for at, name in enumerate(names)]), encoding="utf-8")
    own = {"kind": "units-file", "source": "onestop", "path": path}
    found = read_directory(UnitFileSettings.model_validate(own), places=names)
    assert found.broken == ()
    assert sorted(each.name for each in found.agencies) == names


# ---- files


def file(path: Path, **changes: Any) -> Directory:
    own = {"kind": "units-file", "source": "portal", "path": path, **changes}
    return read_directory(UnitFileSettings.model_validate(own))


TABLE = (
    ("DANH BẠ ĐƠN VỊ TỈNH ĐẮK LẮK", "", ""),
    ("STT", "Mã đơn vị", "Tên đơn vị"),
    ("1", "000.00.05.H15", "Sở  Nội vụ"),
    ("2", "000.00.01.H15", "Sở Tư pháp"),
    ("", "", ""),
    ("STT", "Mã đơn vị", "Tên đơn vị"),
    ("3", "", "Sở Xây dựng"),
)


def _csv(path: Path) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(TABLE)
    path.write_text(unicodedata.normalize("NFD", text.getvalue()), encoding="utf-8-sig")


def _xlsx(path: Path) -> None:
    """The title over all columns; STT and the code's header merged downwards beside a heading of two rows."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(TABLE[0])
    sheet.merge_cells("A1:C1")
    sheet.append(("STT", "Mã đơn vị", "Đơn vị"))
    sheet.append((None, None, "Tên đơn vị"))
    sheet.merge_cells("A2:A3")
    sheet.merge_cells("B2:B3")
    for row in (*TABLE[2:5], *TABLE[6:]):
        sheet.append([cell or None for cell in row])
    book.save(path)


@pytest.mark.parametrize(("name", "write", "line"), [("bang.csv", _csv, 7), ("bang.xlsx", _xlsx, 7)])
def test_a_table_is_read_whatever_its_header_looks_like(
    tmp_path: Path, name: str, write: Callable[[Path], None], line: int
) -> None:
    """BOM, tên dạng NFD, dòng tiêu đề gộp ô, tiêu đề lặp lại ở trang sau, một dòng thiếu mã."""
    write(tmp_path / name)
    found = file(tmp_path / name)
    assert listed(found) == [JUSTICE, HOME_AFFAIRS]
    assert broken(found) == [(f"{name}, dòng {line}", "MADONVI_present")]


def test_json_is_read_as_the_service_words_it_and_as_a_one_stop_does(tmp_path: Path) -> None:
    service, flat = tmp_path / "service.json", tmp_path / "flat.json"
    service.write_text(json.dumps({"error_code": 0, "result": rows(JUSTICE)}), encoding="utf-8")
    agency = {"id": "62a", "code": JUSTICE[0], "name": JUSTICE[1], "parent": {"id": "62b"}}
    flat.write_text(json.dumps([agency, "x"]), encoding="utf-8")
    assert listed(file(service)) == [JUSTICE]
    found = file(flat)
    assert (listed(found), broken(found)) == ([JUSTICE], [("flat.json#2", "unreadable_record")])


def test_an_exports_own_headers_and_separator_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "rieng.csv"
    path.write_text("Ký hiệu;Cơ quan\n000.00.01.H15;Sở Tư pháp\n", encoding="utf-8")
    assert listed(file(path, delimiter=";", columns={"code": "Ký hiệu", "name": "Cơ quan"})) == [JUSTICE]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", "Mã đơn vị,Ghi chú\n1,x\n", "no column for the unit's name"),
        ("a.csv", "Mã đơn vị,Tên đơn vị\n", "lists no unit"),
        ("a.json", "{}", "expected a list of units"),
        ("a.pdf", "", "a directory of units is a file named"),
    ],
)
def test_a_file_that_is_no_directory_says_why(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(Permanent, match=complaint):
        file(tmp_path / name)

"""The shipped profile td-dvc, against a small server that answers as its comments say it is assumed to answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from connectors.rest import RestSettings
from tests.connectors.rest.homes import OneSource, vietnam
from tests.connectors.rest.servers import serving
from warehouse.tables import CORE_COMPONENT, CORE_DOSSIER, CORE_PAYMENT


def dossier(number: int, **said: Any) -> dict[str, Any]:
    day = f"2026-09-{20 - number:02d}"
    return {
        "id": f"00000000-0000-0000-0000-{number:012d}",
        "maHoSo": f"H15-260901-{number:04d}",
        "maTTHC": "1.001612",
        "donViId": "dv-1",
        "trangThaiHoSoId": 10,
        "kenhThucHien": "2",
        "lastModifiedOn": f"{day}T09:30:00.123",
        "createdOn": f"{day}T08:00:00",
        "ngayNopHoSo": f"{day}T08:00:00",
        "ngayTiepNhan": f"{day}T08:00:00",
        "ngayHenTra": f"{day}T17:00:00",
        "ngayTra": f"{day}T09:30:00",
        "dinhKemKetQua": "##",
        "deletedOn": None,
        "thanhPhanHoSos": [
            {"maGiayTo": "A", "dinhKem": "a.pdf##", "trangThaiSoHoa": 2, "duocLayTuKhoDMQuocGia": 0},
            {"maGiayTo": "B", "dinhKem": "##", "trangThaiSoHoa": 0, "duocLayTuKhoDMQuocGia": 1},
        ],
        "yeuCauThanhToans": [
            {"soTien": 15000.0, "hinhThucThanhToan": "truc-tuyen", "trangThai": "Đã thanh toán", "ngayThuPhi": day},
            {"soTien": 5000.0, "hinhThucThanhToan": "truc-tuyen", "trangThai": "Đã hoàn phí", "ngayThuPhi": day},
        ],
        **said,
    }


ROWS = [
    dossier(1, kenhThucHien=None),
    dossier(2, deletedOn="2026-09-18T10:00:00"),
    dossier(3, dinhKemKetQua="kq.pdf##"),
]


async def login(request: Request) -> Response:
    said = await request.json()
    is_known = said == {"userName": "can-bo", "password": "mat-khau"}
    return JSONResponse({"token": "ve"} if is_known else {}, status_code=200 if is_known else 401)


async def listed(request: Request) -> Response:
    if request.headers.get("authorization") != "Bearer ve":
        return JSONResponse({}, status_code=401)
    said = await request.json()
    begin = (said["pageNumber"] - 1) * said["pageSize"]
    shown = ROWS[begin : begin + said["pageSize"]]
    return JSONResponse({"data": shown, "currentPage": said["pageNumber"], "totalPages": 2, "totalCount": len(ROWS)})


def test_its_codes_files_and_refunds_are_read_as_its_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TD_USER", "can-bo")
    monkeypatch.setenv("TD_PASSWORD", "mat-khau")
    with serving({"/api/dang-nhap": login, "/api/ho-so": listed}) as address:
        settings = RestSettings.model_validate(
            {
                "kind": "rest",
                "role": "portal",
                "profile": "td-dvc",
                "base_url": f"{address}/api",
                "username_env": "TD_USER",
                "password_env": "TD_PASSWORD",
                "values": {"login_path": "/dang-nhap", "list_path": "/ho-so"},
                "page_rows": 2,
            }
        )
        home = OneSource(tmp_path, "td", settings, ["td,dv-1,H15.STP"])
        assert home.read("n1", vietnam(2026, 9, 1), vietnam(2026, 10, 1)).rows_stored == 3
    home.conform("n1")
    assert [row["reason"] for row in home.quarantined()] == []
    rows = {row["dossier_code"]: row for row in home.rows(CORE_DOSSIER)}
    assert set(rows) == {"H15-260901-0001", "H15-260901-0003"}, "the second one was deleted"
    told = [(row["channel"], row["has_electronic_result"], row["received_at"]) for row in rows.values()]
    assert told == [
        ("direct", False, vietnam(2026, 9, 19).replace(hour=8)),
        ("online", True, vietnam(2026, 9, 17).replace(hour=8)),
    ]
    components = {
        (row["component_code"], row["has_file"], row["is_digitised"], row["reuse_code"])
        for row in home.rows(CORE_COMPONENT)
    }
    assert components == {("A", True, True, 1), ("B", False, False, 0)}
    payments = home.rows(CORE_PAYMENT)
    assert {(row["amount_vnd"], row["is_settled"]) for row in payments} == {(15000, True), (5000, False)}
    assert all(row["is_online"] for row in payments if row["is_settled"])

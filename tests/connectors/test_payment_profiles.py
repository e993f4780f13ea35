"""One transaction told three ways (a row of a file, an element of a page, a row of a table) is the same record.

Why this level: a flat record fills its payment by each protocol's own way of mapping lists; only reading it from a
real server, folder and database shows that the three agree.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import yaml
from rich.console import Console
from starlette.requests import Request
from starlette.responses import JSONResponse

from assets.raw.tables import table_of
from connectors.database import DatabaseSettings
from connectors.files import FilesSettings
from connectors.profiled import ProfileError
from connectors.rest import RestSettings
from orchestration.build import assets, checks
from orchestration.check import check_configuration
from orchestration.commands.dry_run import plan
from orchestration.partitions import daily
from orchestration.settings import Home, load_province
from tests.connectors.database.conftest import URL_VARIABLE, Server, server
from tests.connectors.rest.homes import PROVINCES
from tests.connectors.rest.servers import serving
from tests.dossiers.platform import SOURCE, Platform, transaction
from tests.dossiers.records import onestop
from warehouse.tables import RAW_QUARANTINE

__all__ = ["server"]

CODES = [f"H15.07-261001-000{number}" for number in range(1, 4)]
MEANINGS = {
    "payment_method": {"": "online"},
    "payment_state": {"Đã thanh toán": "settled", "Đã hoàn phí": "refunded"},
}
REST: dict[str, Any] = {
    "system": "Cổng thanh toán",
    "subject": "payment",
    "dates": ["%Y%m%d%H%M%S"],
    "list": {"path": "/gd", "records": "data"},
    "fields": {
        "record_id": "MaThamChieu",
        "dossier_code": "ThongTinBienLai.MaHoSo",
        "payments": {"each": "$", "fields": {"amount_vnd": "SoTien", "state": "TrangThai", "paid_at": "ThoiGianGD"}},
    },
    "codes": MEANINGS,
}
DATABASE: dict[str, Any] = {
    "system": "Bảng yêu cầu thanh toán",
    "subject": "payment",
    "dates": ["%Y-%m-%d %H:%M:%S.%f"],
    "table": "requests",
    "key": "Reference",
    "modified": "Changed",
    "fields": {"dossier_code": "Dossier"},
    "lists": {"payments": {"fields": {"amount_vnd": "Amount", "method": "Way", "state": "State", "paid_at": "Paid"}}},
    "codes": MEANINGS | {"payment_method": {"truc-tuyen": "online", "tien-mat": "cash"}},
}
FILES: dict[str, Any] = {
    "system": "Tệp",
    "subject": "payment",
    "dates": ["%Y%m%d%H%M%S"],
    "fields": {"record_id": "MaThamChieu", "dossier_code": "MaHoSo"},
    "lists": {"payments": {"fields": {"amount_vnd": "SoTien", "state": "TrangThai", "paid_at": "ThoiGianGD"}}},
    "codes": MEANINGS,
}


def written(folder: Path, name: str, profile: dict[str, Any]) -> str:
    """The profile's file."""
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(profile, allow_unicode=True), encoding="utf-8")
    return str(file)


def element(reference: str, code: str, amount: Any, state: str = "Đã thanh toán") -> dict[str, Any]:
    """A transaction as the platform's messages hold it; who paid must stay behind."""
    return {
        "MaThamChieu": reference,
        "SoTien": amount,
        "ThoiGianGD": "20261002091500",
        "TrangThai": state,
        "NguoiNop": "Nguyễn Văn Thử",
        "ThongTinBienLai": {"MaHoSo": code, "TenDVC": "x"},
    }


@pytest.fixture
def page() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A REST server's address, and what it lists."""
    listed: list[dict[str, Any]] = []

    async def answer(request: Request) -> JSONResponse:  # noqa: ARG001  the whole list, whatever is asked
        return JSONResponse({"data": listed})

    with serving({"/gd": answer}) as address:
        yield address, listed


def rest(address: str, profile: str) -> RestSettings:
    return RestSettings.model_validate({"kind": "rest", "role": "payments", "profile": profile, "base_url": address})


def requests_table(server: Server) -> sa.Table:
    """An empty table of payment requests."""
    metadata = sa.MetaData()
    table = sa.Table(
        "requests",
        metadata,
        sa.Column("Reference", sa.String(40), primary_key=True),
        *(sa.Column(name, sa.String(50)) for name in ("Dossier", "Way", "State", "Payer")),
        sa.Column("Amount", sa.Numeric(18, 4)),
        *(sa.Column(name, sa.DateTime) for name in ("Paid", "Changed")),
    )
    server.tables(metadata)
    return table


@pytest.mark.parametrize("server", ["postgresql", pytest.param("mariadb", marks=pytest.mark.slow)], indirect=True)
def test_the_three_kinds_tell_the_same_of_a_transaction(
    server: Server, page: tuple[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    """Refunded in the second night wherever it is told; a payment by cash is the database's alone."""
    address, listed = page
    table = requests_table(server)
    world = Platform(tmp_path, profile=written(tmp_path, "tep", FILES))
    world.others["cong"] = rest(address, written(tmp_path, "cong", REST))
    said = {"kind": "database", "role": "payments", "profile": written(tmp_path, "bang", DATABASE)}
    said |= {"url_env": URL_VARIABLE, "schema": server.schema}
    world.others["bang"] = DatabaseSettings.model_validate(said)
    paid = datetime(2026, 10, 2, 9, 15)  # noqa: DTZ001  the platform's own clock
    row = {"Reference": "D1", "Dossier": CODES[2], "Way": "truc-tuyen", "State": "Đã thanh toán", "Amount": 50000}
    row |= {"Paid": paid, "Changed": paid, "Payer": "Nguyễn Văn Thử"}
    world.drop("1.csv", [transaction("T1", CODES[0])])
    listed.append(element("R1", CODES[1], 50000))
    with server.writing() as connection:
        cash = row | {"Reference": "D2", "Way": "tien-mat", "Amount": 20000}
        connection.execute(table.insert(), [row, cash])
    # The one-stop system noted the same cash: told by both, it counts once.
    noted = {"fees": [{"id": "f", "amount": 20000.0, "paid": 20000.0}], "paymentMethodName": "Tiền mặt"}
    said_by_onestop: list[dict[str, Any]] = [{}, {}, noted]
    world.night(
        onestop=[
            onestop(f"o{number}", code=code, **more)
            for number, (code, more) in enumerate(zip(CODES, said_by_onestop, strict=True))
        ]
    )
    told = [
        [
            (one["source"], one["amount_vnd"], one["method"], one["is_online"], one["paid_on"])
            for one in world.payments(code)
        ]
        for code in CODES
    ]
    online = ("payments", 50000, "online", True, date(2026, 10, 2))
    assert told == [[online], [online], [online, ("payments", 20000, "cash", False, date(2026, 10, 2))]]
    assert (world.quarantine(), {count.rows_quarantined for count in world.counts}) == ([], {0})
    world.drop("2.csv", [transaction("T1", CODES[0], TrangThai="Đã hoàn phí")])
    listed[0] = element("R1", CODES[1], "50000", "Đã hoàn phí")
    with server.writing() as connection:
        later = table.update().where(table.c.Reference == "D1")
        connection.execute(later.values(State="Đã hoàn phí", Changed=datetime(2026, 10, 9)))  # noqa: DTZ001
    world.night()
    assert [[one["is_online"] for one in world.payments(code)] for code in CODES] == [[False], [False], [False, False]]
    stored = [world.lake.read(table_of(name, "payments")).to_pylist() for name in world.sources]
    assert [len(rows) for rows in stored] == [2, 2, 3], "a refund is a version; what did not change is stored once"
    assert "Nguyễn" not in repr(stored)


def test_an_amount_that_is_no_whole_dong_is_set_aside(page: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    """50.000 may be fifty đồng or fifty thousand: only a file's clerk is known to mean thousands."""
    address, listed = page
    good: list[Any] = [50000, "50000", 50000.0, "50000.00", "50000.0000", 0]
    bad: list[Any] = ["50.000", "50,000", "-50000", 50000.5, "1e30", "9" * 40, "", None, "năm mươi"]
    listed += [element(f"R{number}", CODES[0], amount) for number, amount in enumerate([*good, *bad])]
    listed.append(element("không hồ sơ", "", 50000) | {"MaThamChieu": "R90"})
    listed.append(element("R91", CODES[0], 50000, ""))
    world = Platform(tmp_path)
    world.others["cong"] = rest(address, written(tmp_path, "cong", REST))
    world.night(onestop=[onestop("o1", code=CODES[0])])
    assert sorted(row["amount_vnd"] for row in world.payments(CODES[0])) == [0, *[50000] * 5]
    reasons = {key: reason for _, key, reason, _ in world.quarantine()}
    expected = {f"cong:R{number}": "amount_vnd_readable" for number in range(len(good), len(good) + len(bad))}
    expected |= {"cong:R90": "dossier_code_present", "cong:R91": "state_present"}
    assert reasons == expected
    assert "Nguyễn" not in repr(world.lake.read(RAW_QUARANTINE).to_pylist())


def _without(profile: dict[str, Any], *path: str) -> dict[str, Any]:
    first, *rest = path
    if not rest:
        return {name: value for name, value in profile.items() if name != first}
    return profile | {first: _without(profile[first], *rest)}


@pytest.mark.parametrize(
    ("kind", "profile", "told"),
    [
        ("rest", _without(REST, "subject"), "fields: status: is missing"),
        ("rest", _without(REST, "fields", "dossier_code"), "dossier_code: is missing; without it no payment"),
        ("rest", _without(REST, "fields", "payments"), "payments.amount_vnd: is missing"),
        ("rest", _without(REST, "codes", "payment_method"), "payments.method: is missing; map it"),
        ("rest", REST | {"fields": REST["fields"] | {"status": "x"}}, "status: a payment has no such field"),
        ("files", _without(FILES, "fields", "record_id"), "record_id: is missing; without it no payment"),
        ("files", _without(FILES, "lists", "payments", "fields", "state"), "payments.state: is missing"),
        ("files", FILES | {"rows": "grouped"}, "rows: a payment is one row"),
        ("files", _without(FILES, "subject"), "role payments needs `subject: payment`"),
        ("database", _without(DATABASE, "fields", "dossier_code"), "fields: Dictionary should have at least 1 item"),
        ("database", _without(DATABASE, "lists", "payments", "fields", "amount_vnd"), "payments.amount_vnd: is"),
        ("database", DATABASE | {"lists": {"payments": {"fields": {"who": "P"}}}}, "lists.payments.fields.who: not"),
        ("database", DATABASE | {"lists": {"payments": {"parent": "x", "fields": {"state": "y"}}}}, "table: Field"),
        ("database", DATABASE | {"fields": {"dossier_code": "d", "agency": "a"}}, "agency: a payment has no such"),
    ],
)  # fmt: skip
def test_what_a_profile_of_payments_lacks_is_told_by_its_key(
    kind: str, profile: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(ProfileError) as error:
        _settings(kind, written(tmp_path, "p", profile), "payments").loaded()
    assert told in str(error.value)
    assert "p.yaml" in str(error.value)


def _settings(kind: str, profile: str, role: str) -> RestSettings | FilesSettings | DatabaseSettings:
    said = {"kind": kind, "role": role, "profile": profile}
    if kind == "rest":
        return RestSettings.model_validate(said | {"base_url": "http://x"})
    if kind == "files":
        return FilesSettings.model_validate(said | {"folder": "x"})
    return DatabaseSettings.model_validate(said | {"url_env": "X"})


def test_a_platform_cannot_stand_in_the_place_of_a_one_stop_system(tmp_path: Path) -> None:
    for kind, profile in (("rest", REST), ("files", FILES), ("database", DATABASE)):
        with pytest.raises(ProfileError, match="role onestop needs `subject: dossier`"):
            _settings(kind, written(tmp_path, kind, profile), "onestop").loaded()


PROVINCE = f"""
province_code: H15
name: Thử nghiệm
start_on: 2026-01-01
departments: {PROVINCES}/departments.csv
agencies: {PROVINCES}/agencies.csv
codes: {PROVINCES}/codes.csv
targets: []
sources:
  {SOURCE}: {{kind: files, role: payments, profile: payment-platform-file, folder: in, settle_seconds: 0}}
  cong: {{kind: rest, role: payments, profile: cong.yaml, base_url: ADDRESS}}
"""


def test_everything_that_lists_sources_knows_the_platform(
    page: tuple[str, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check's sample, Dagster's assets and checks, and what a night would ask."""
    address, listed = page
    listed += [element("R1", CODES[0], 50000), element("R2", CODES[0], 50000, "Tranh chấp")]
    written(tmp_path, "cong", REST)
    (tmp_path / "province.yaml").write_text(PROVINCE.replace("ADDRESS", address), encoding="utf-8")
    monkeypatch.setenv("THUOCDO_HOME", str(tmp_path / "home"))
    home = Home.from_environment()
    (tmp_path / "home" / "in").mkdir(parents=True)
    row = transaction("T1", CODES[0])
    text = ";".join(row) + "\n" + ";".join(row.values()) + "\n"
    (tmp_path / "home" / "in" / "gd.csv").write_text(text, encoding="utf-8")
    found = {one.subject: one for one in check_configuration(tmp_path / "province.yaml", home)}
    assert (found[f"sources.{SOURCE}.profile"].is_fit, found["sources.cong.profile"].is_fit) == (True, False)
    assert found["sources.cong.profile"].text == "1 mã tình trạng thanh toán chưa có nghĩa (1 bản ghi) · unmapped"
    told = io.StringIO()
    for table in found["sources.cong.profile"].tables:
        Console(file=told, width=200).print(table)
    assert "Tranh chấp" in told.getvalue()
    assert CODES[0] in told.getvalue()
    assert "agency" not in told.getvalue(), "a payment has none to miss"

    province = load_province(tmp_path / "province.yaml", home=home)
    keys = {key.to_user_string() for one in assets(province, daily(province.start_on)) for key in one.keys}
    assert {f"raw_payments_{SOURCE}", "raw_payments_cong"} <= keys
    # Nothing is called and nothing is written to say what a night would ask.
    asked = {one.name: one for one in plan(home, province, first=None, last=None, now=datetime.now(UTC)).asked}
    assert len(asked["cong"].calls or ()) == 1
    assert "không gọi HTTP" in (asked[SOURCE].note or "")
    checked = {key.asset_key.to_user_string() for one in checks(province) for key in one.check_keys}
    assert {f"raw_payments_{SOURCE}", "raw_payments_cong"} <= checked

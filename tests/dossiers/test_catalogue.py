"""What catalogues say, night after night: the procedures that are known, the books, and what is kept out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa
import pytest
from starlette.requests import Request
from starlette.responses import Response

import sandbox.catalogue as province
from assets.dossiers.assets import reference_asset
from assets.dossiers.catalogue import amend, hear, laid_over
from assets.stores import Stores
from connectors.catalogue import PROCEDURES, Catalogue, CatalogueServiceSettings
from connectors.catalogue_files import CatalogueFileSettings
from connectors.contract import Broken
from tests.connectors.rest.servers import Answer, serving
from tests.rows import table_rows
from warehouse.calendar import Calendar
from warehouse.reference import SINCE_RECORDS_BEGAN, procedure_table
from warehouse.tables import CORE_PROCEDURE, RAW_QUARANTINE

BIRTH, LAND, NEW = "1.001193", "1.004203", "3.000001"
MAY, JUNE = date(2026, 5, 4), date(2026, 6, 1)
PROVINCE = Path(__file__).parents[2] / "provinces" / "dak-lak"
WHOLE = {"name": "Thủ tục mới", "has_fee": False, "is_result_required": True, "offers_online": True}


def known(*codes: str) -> pa.Table:
    """Procedures as the reference knows them."""
    fixed = {"valid_from": SINCE_RECORDS_BEGAN, "source": "reference", "state": "in_force", "name": "Thủ tục"}
    return table_rows(CORE_PROCEDURE, *(fixed | {"procedure_code": code} for code in codes))


def said(*rows: dict[str, Any], source: str = "catalogue", broken: tuple[Broken, ...] = ()) -> Catalogue:
    return Catalogue(pa.Table.from_pylist([{"source": source} | row for row in rows], schema=PROCEDURES), broken)


def refused(where: str) -> Broken:
    return Broken(where=where, reason="unreadable_code", clause="MATTHC", detail="Mã không đọc được", content_hash="h")


def spans(table: pa.Table, code: str, column: str) -> list[tuple[date, date | None, Any]]:
    rows = [row for row in table.to_pylist() if row["procedure_code"] == code]
    return [(row["valid_from"], row["valid_to"], row[column]) for row in rows]


# ---- one over the other


def test_the_last_one_that_says_something_counts() -> None:
    service = said({"procedure_code": BIRTH, "name": "Đăng ký khai sinh", "has_fee": False, "online_level": "partial"})
    file = said({"procedure_code": BIRTH, "online_level": "full"}, {"procedure_code": LAND}, source="file")
    rows = {row["procedure_code"]: row for row in laid_over([service.procedures, file.procedures]).to_pylist()}
    assert set(rows) == {BIRTH, LAND}
    birth = rows[BIRTH]
    assert (birth["name"], birth["has_fee"], birth["online_level"]) == ("Đăng ký khai sinh", False, "full")
    assert birth["source"] == "file"
    assert rows[LAND]["name"] is None


def test_two_wordings_of_a_name_do_not_open_a_row_every_night() -> None:
    service = said({"procedure_code": BIRTH, "name": "Đăng ký khai sinh"})
    file = said({"procedure_code": BIRTH, "name": "ĐĂNG KÝ KHAI SINH", "online_level": "full"}, source="file")
    first = amend(known(BIRTH), [service, file], on=MAY)
    second = amend(first.procedures, [service, file], on=JUNE)
    assert second.procedures.equals(first.procedures)
    assert (second.rows_read, second.rows_stored, second.rows_unchanged) == (1, 0, 1)


def test_a_night_without_one_of_them_keeps_what_it_said() -> None:
    service = said({"procedure_code": BIRTH, "has_fee": True})
    file = said({"procedure_code": BIRTH, "online_level": "full"}, source="file")
    first = amend(known(BIRTH), [service, file], on=MAY).procedures
    assert amend(first, [file], on=JUNE).procedures.equals(first)
    assert amend(first, [], on=JUNE).procedures.equals(first)


# ---- the books


def test_the_books_close() -> None:
    """Bốn thứ đọc được: một thủ tục đổi, một như cũ, một chưa đủ để thêm, một bản ghi hỏng."""
    heard = said(
        {"procedure_code": BIRTH, "online_level": "full"},
        {"procedure_code": LAND, "name": "Thủ tục"},
        {"procedure_code": NEW, "online_level": "full"},
        broken=(refused("danh-muc.csv, dòng 9"),),
    )
    found = amend(known(BIRTH, LAND), [heard], on=MAY)
    assert (found.rows_read, found.rows_stored, found.rows_unchanged, found.rows_quarantined) == (4, 1, 1, 2)
    assert [(entry["record_key"], entry["reason"]) for entry in found.refused] == [
        ("danh-muc.csv, dòng 9", "unreadable_code"),
        (NEW, "unplaced_procedure"),
    ]
    assert spans(found.procedures, NEW, "name") == []
    before_may = date(2026, 5, 3)
    assert spans(found.procedures, BIRTH, "online_level") == [
        (SINCE_RECORDS_BEGAN, before_may, None),
        (MAY, None, "full"),
    ]


def test_what_one_says_too_little_of_two_may_say_enough_of() -> None:
    service, file = said({"procedure_code": NEW} | WHOLE), said({"procedure_code": NEW, "online_level": "full"})
    assert amend(known(BIRTH), [file], on=MAY).rows_quarantined == 1
    found = amend(known(BIRTH), [service, file], on=MAY)
    assert (found.rows_stored, found.rows_quarantined) == (1, 0)
    assert spans(found.procedures, NEW, "online_level")[-1] == (MAY, None, "full")


# ---- a catalogue that cannot be had


def _service() -> CatalogueServiceSettings:
    """A service at a port where nobody listens."""
    return CatalogueServiceSettings.model_validate(
        {
            "kind": "npsp-catalogue",
            "base_url": "http://127.0.0.1:9",
            "auth_endpoint": "/auth",
            "share_endpoint": "/share",
            "username_env": "THUOCDO_THU_USERNAME",
            "password_env": "THUOCDO_THU_PASSWORD",
            "madonvi": "000.00.00.H15",
            "dstcode": "VN",
            "manners": {"attempts": 1, "timeout_seconds": 2},
        }
    )


def test_a_secret_that_is_not_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("THUOCDO_THU_USERNAME", raising=False)
    heard = hear(_service())
    assert heard.catalogue is None
    assert "THUOCDO_THU_USERNAME" in heard.said
    assert "giữ nguyên danh mục đã biết" in heard.said


def test_a_service_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THUOCDO_THU_USERNAME", "nguoi-dung-bi-mat")
    monkeypatch.setenv("THUOCDO_THU_PASSWORD", "mat-khau-bi-mat")
    heard = hear(_service())
    assert heard.catalogue is None
    assert "POST /auth" in heard.said
    assert "bi-mat" not in heard.said


# ---- the asset


class Trail:
    """Keeps what a night says and counts."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def read(self, source: str, rows: int) -> None: ...


class _Known(Stores):
    """A home of which every source was read to the end of the day that its night is named after."""

    def as_of(self) -> datetime:
        return datetime.fromisoformat(self.night).replace(tzinfo=ZoneInfo("Asia/Ho_Chi_Minh")) + timedelta(days=1)


def _stores(
    home: Path, night: str, *catalogues: CatalogueFileSettings | CatalogueServiceSettings, every_days: int = 1
) -> Stores:
    return _Known(
        night=night,
        province_code="H15",
        start_on=date(2026, 1, 1),
        sources={},
        departments=PROVINCE / "departments.csv",
        agencies=PROVINCE / "agencies.csv",
        codes=PROVINCE / "codes.csv",
        working_calendar=Calendar.load(None),
        sectors=None,
        observations=None,
        observation_sources={},
        catalogues=catalogues,
        catalogue_every_days=every_days,
        evaluation=None,
        target_sets=(),
        minimum_denominator=0,
        published=home / "published",
        lake_root=str(home / "lake"),
        database_url=f"sqlite:///{home / 'thuocdo.db'}",
        watcher=Trail(),
    )


def _night(stores: Stores) -> Mapping[str, Any]:
    """Run the asset; the metadata of core_procedure."""
    stores.database().begin_night(stores.night, province_code="H15")
    resource = dg.ResourceDefinition.hardcoded_resource(stores)
    result = dg.materialize([reference_asset([])], resources={"stores": resource})
    assert result.success
    shown = {each.asset_key.to_user_string(): each for each in result.asset_materializations_for_node("reference")}
    return {name: value.value for name, value in shown["core_procedure"].metadata.items()}


def _open(stores: Stores) -> set[tuple[str, str]]:
    """What is set aside and not closed: (where it stood, reason)."""
    rows = stores.lake().read(RAW_QUARANTINE).to_pylist()
    assert {row["source"] for row in rows} <= {"catalogue"}
    return {(row["record_key"], row["reason"]) for row in rows if row["settled_at"] is None}


def _lines(stores: Stores) -> list[str]:
    assert isinstance(stores.watcher, Trail)
    return stores.watcher.lines


def test_without_a_catalogue_procedures_are_those_of_the_reference(tmp_path: Path) -> None:
    stores = _stores(tmp_path, "2026-10-29")
    assert "rows_read" not in _night(stores)
    assert stores.lake().read(CORE_PROCEDURE).equals(procedure_table())
    assert stores.database().counts("2026-10-29") == []


def test_a_night_learns_quarantines_and_goes_on_without_the_file(tmp_path: Path) -> None:
    """Ba đêm: nạp tệp có một dòng đúng, một dòng chưa đủ, một dòng hỏng; nạp lại như cũ; rồi tệp biến mất."""
    path = tmp_path / "danh-muc.csv"
    path.write_text(f"Mã TTHC,Mức độ DVCTT\n{BIRTH},Toàn trình\n9.999999,Toàn trình\n,Một phần\n", encoding="utf-8")
    settings = CatalogueFileSettings(kind="catalogue-file", path=path)
    first = _stores(tmp_path, "2026-10-29", settings)
    shown = _night(first)
    assert (shown["rows_read"], shown["rows_stored"], shown["rows_quarantined"]) == (3, 1, 2)
    learned = first.lake().read(CORE_PROCEDURE)
    assert spans(learned, BIRTH, "online_level")[-1] == (date(2026, 10, 29), None, "full")
    quarantined = [(row["source"], row["reason"]) for row in first.lake().read(RAW_QUARANTINE).to_pylist()]
    assert sorted(quarantined) == [("catalogue", "unplaced_procedure"), ("catalogue", "unreadable_code")]
    assert [row["rows_read"] for row in first.database().counts("2026-10-29")] == [3]

    again = _stores(tmp_path, "2026-10-30", settings)
    version = again.lake().version(CORE_PROCEDURE)
    assert _night(again)["rows_stored"] == 0
    assert (again.lake().version(CORE_PROCEDURE), again.lake().read(RAW_QUARANTINE).num_rows) == (version, 2)

    path.unlink()
    without = _stores(tmp_path, "2026-10-31", settings)
    told = _night(without)["catalogue_1"]
    assert "không đọc được, giữ nguyên danh mục đã biết" in told
    assert told in _lines(without)
    assert without.lake().read(CORE_PROCEDURE).equals(learned)

    # Taken out of the configuration: what was learned stays.
    _night(_stores(tmp_path, "2026-11-01"))
    assert without.lake().read(CORE_PROCEDURE).equals(learned)


def test_catalogues_are_asked_again_only_when_their_days_are_over_or_the_file_is_another(tmp_path: Path) -> None:
    path = tmp_path / "danh-muc.csv"
    path.write_text(f"Mã TTHC,Mức độ DVCTT\n{BIRTH},Toàn trình\n", encoding="utf-8")
    settings = CatalogueFileSettings(kind="catalogue-file", path=path)
    asked = [
        "rows_read" in _night(_stores(tmp_path, f"2026-10-{day:02d}", settings, every_days=7)) for day in (1, 2, 7, 8)
    ]
    assert asked == [True, False, False, True]
    path.write_text(f"Mã TTHC,Mức độ DVCTT\n{BIRTH},Một phần\n", encoding="utf-8")
    assert _night(_stores(tmp_path, "2026-10-09", settings, every_days=7))["rows_stored"] == 1


# ---- what was set aside


def _csv(path: Path, *rows: str) -> CatalogueFileSettings:
    path.write_text("\n".join(["Mã TTHC,Mức độ DVCTT", *rows, ""]), encoding="utf-8")
    return CatalogueFileSettings(kind="catalogue-file", path=path)


def test_a_row_that_was_mended_is_closed_and_one_that_is_still_refused_stays_open(tmp_path: Path) -> None:
    """Dòng 2 và 3 hỏng; đêm sau dòng 2 đã sửa, dòng 3 vẫn hỏng, rồi hỏng cách khác; cuối cùng bỏ danh mục."""
    path, wrong, other = tmp_path / "danh-muc.csv", f"{BIRTH},rất cao", f"{LAND},khá cao"
    row_2, row_3 = [(f"danh-muc.csv, dòng {line}", "unmapped_online_level") for line in (2, 3)]
    first = _stores(tmp_path, "2026-10-01", _csv(path, wrong, other, "9.999999,Toàn trình"))
    _night(first)
    assert _open(first) == {row_2, row_3, ("9.999999", "unplaced_procedure")}
    second = _stores(tmp_path, "2026-10-02", _csv(path, f"{BIRTH},Toàn trình", other))
    _night(second)
    assert _open(second) == {row_3}
    version = second.lake().version(RAW_QUARANTINE)
    again = _stores(tmp_path, "2026-10-03", _csv(path, f"{BIRTH},Toàn trình", other))
    _night(again)
    assert again.lake().version(RAW_QUARANTINE) == version, "nothing new is written of what is known"
    third = _stores(tmp_path, "2026-10-04", _csv(path, f"{BIRTH},Toàn trình", f"{LAND},tầm tầm"))
    _night(third)
    assert _open(third) == {row_3}
    entries = [row for row in third.lake().read(RAW_QUARANTINE).to_pylist() if row["record_key"] == row_3[0]]
    assert sorted(row["settled_at"] is None for row in entries) == [False, True], "the words of before are closed"
    without = _stores(tmp_path, "2026-10-05")
    _night(without)
    assert _open(without) == set()


def test_a_catalogue_that_cannot_be_had_closes_nothing_of_any(tmp_path: Path) -> None:
    one, two = _csv(tmp_path / "mot.csv", f"{BIRTH},rất cao"), _csv(tmp_path / "hai.csv", f"{LAND},rất cao")
    both = {("mot.csv, dòng 2", "unmapped_online_level"), ("hai.csv, dòng 2", "unmapped_online_level")}
    first = _stores(tmp_path, "2026-10-01", one, two)
    _night(first)
    assert _open(first) == both
    two.path.unlink()
    second = _stores(tmp_path, "2026-10-02", _csv(one.path, f"{BIRTH},Toàn trình"), two)
    _night(second)
    assert _open(second) == both
    third = _stores(tmp_path, "2026-10-03", one, _csv(two.path, f"{LAND},rất cao"))
    _night(third)
    assert _open(third) == {("hai.csv, dòng 2", "unmapped_online_level")}


class _Ailing(province.Catalogue):
    """Three procedures: one with a state without a meaning, and one new of which too little is said, until `is_well`.

    Of both of them nothing at all can be had while it `is_dumb`.
    """

    is_dumb = is_well = False
    odd, new = "2.000815", f"{NEW}.000.00.00.H15"

    def listed(self) -> tuple[str, ...]:
        return BIRTH, self.odd, self.new

    async def share(self, request: Request) -> Response:
        if self.is_dumb and json.loads(await request.body()).get("maTTHC") in (self.odd, self.new):
            return self._answer(9, "Hệ thống bận")
        return await super().share(request)

    def _found(self, code: str) -> list[dict[str, Any]]:
        fee = {"THOIGIANGIAIQUYET": "", "DONVITINH": "", "PHILEPHI": [{"SOTIEN": "0"}]}
        ways = {"CACHTHUCTHUCHIEN": [{"KENH": "2", "THOIGIAN": [fee]}], "KETQUATHUCHIEN": []}
        if code != self.new or self.is_well:
            state = "9" if code == self.odd and not self.is_well else "1"
            return [{"MATTHC": code, "TENTTHC": "Thủ tục", "TRANGTHAI": state, **ways}]
        return [{"MATTHC": code, "TENTTHC": "Thủ tục mới"}]


def test_what_the_service_did_not_say_tonight_closes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in province.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    service = _Ailing(today=lambda: JUNE)
    answers: list[tuple[str, Answer]] = [
        (province.AUTH_ENDPOINT, service.log_in),
        (province.SHARE_ENDPOINT, service.share),
    ]
    waits = {(service.odd, "unmapped_state"), (NEW, "unplaced_procedure")}
    with serving({f"{province.PREFIX}{path}": answer for path, answer in answers}) as address:
        settings = CatalogueServiceSettings.model_validate(
            {
                "kind": "npsp-catalogue",
                "base_url": f"{address}{province.PREFIX}",
                "auth_endpoint": province.AUTH_ENDPOINT,
                "share_endpoint": province.SHARE_ENDPOINT,
                "username_env": "THUOCDO_CATALOGUE_USERNAME",
                "password_env": "THUOCDO_CATALOGUE_PASSWORD",
                "madonvi": province.MADONVI,
                "dstcode": province.DSTCODE,
                "states": province.STATES,
                "manners": {"requests_per_second": 1000},
            }
        )
        found = []
        for day, service.is_dumb, service.is_well in ((1, False, False), (2, True, False), (3, False, True)):
            stores = _stores(tmp_path, f"2026-10-0{day}", settings)
            _night(stores)
            found.append(_open(stores))
    first, second, third = found
    assert first == waits
    assert second == waits | {(service.odd, "refused_procedure"), (service.new, "refused_procedure")}
    assert third == set()


def test_the_name_of_a_file_that_holds_a_person_is_not_told(tmp_path: Path) -> None:
    stores = _stores(tmp_path, "2026-10-01", _csv(tmp_path / "danh muc cua Nguyễn Văn An.csv", "x,Toàn trình"))
    _night(stores)
    (entry,) = stores.lake().read(RAW_QUARANTINE).to_pylist()
    assert entry["reason"] == "unreadable_code"
    assert "Nguyễn" not in repr(entry)

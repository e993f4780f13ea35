"""What directories say, day after day: the codes known, the books, which unit a code may be, and what waits for it.

Proposals are judged case by case as a clerk would (`unit_proposal_cases.csv`).
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from assets.dossiers.directory import Amended, amend, entries, knows_later, mapped, waiting, wanted
from assets.dossiers.directory_assets import agency_asset
from assets.dossiers.unit_proposal import Proposal, propose
from assets.raw.quarantine import reasons
from assets.stores import Stores
from connectors.contract import Broken
from connectors.protocol import Guard
from connectors.units import Agency, Directory, UnitFileSettings, UnitSettings
from orchestration.commands.quarantine import quarantine as quarantine_command
from orchestration.commands.units import units as units_command
from tests.dossiers.records import World, message, onestop, portal
from tests.dossiers.test_catalogue import Trail
from tests.rows import table_rows
from warehouse.calendar import Calendar
from warehouse.lake import Lake
from warehouse.reference import unit_table
from warehouse.tables import CORE_AGENCY, CORE_UNIT, RAW_QUARANTINE

PROVINCE = Path(__file__).parents[2] / "provinces" / "dak-lak"
NOBODY = CORE_AGENCY.arrow_schema().empty_table()
AGENCIES = pa.schema([(name, pa.string()) for name in ("source", "agency", "unit_code")])


def day(number: int) -> date:
    return date(2026, 11, number)


def directory(names: Mapping[str, str]) -> Directory:
    return Directory(tuple(Agency(code, name) for code, name in names.items()))


def said(known: pa.Table, on: int, names: Mapping[str, str], *, source: str = "onestop", **guard: Any) -> Amended:
    return amend(known, source, directory(names), guard=Guard(**guard), on=day(on))


def spans(table: pa.Table, code: str, source: str = "onestop") -> list[tuple[str, int, int | None]]:
    """Name, first and last day of November of each row of a code."""
    rows = [row for row in table.to_pylist() if (row["source"], row["agency"]) == (source, code)]
    return [
        (row["name"], row["first_listed_on"].day, row["last_listed_on"] and row["last_listed_on"].day) for row in rows
    ]


# ---- day after day


def test_a_code_is_new_renamed_gone_and_back_again() -> None:
    """A có từ đầu; B mới ngày 3, đổi tên ngày 5, mất ngày 7, trở lại ngày 9."""
    known = said(NOBODY, 1, {"A": "Sở A"}).agencies
    for on, names in (
        (3, {"A": "Sở A", "B": "Tổ B"}),
        (5, {"A": "Sở A", "B": "Phòng B"}),
        (7, {"A": "Sở A"}),
        (9, {"A": "Sở A", "B": "Phòng B"}),
    ):
        known = said(known, on, names).agencies
    assert spans(known, "A") == [("Sở A", 1, None)]
    assert spans(known, "B") == [("Tổ B", 3, 4), ("Phòng B", 5, 6), ("Phòng B", 9, None)]
    first, second = entries(known)
    assert (first.note, first.is_new) == ("", False)
    assert second.note == "trở lại từ 09/11/2026"


@pytest.mark.parametrize(
    ("names", "note"),
    [
        ({"A": "Sở A", "B": "Tổ B"}, "mới từ 03/11/2026"),
        ({"A": "Sở A", "B": "Phòng B"}, "đổi tên từ 05/11/2026, trước là “Tổ B”; mới từ 03/11/2026"),
        ({"A": "Sở A"}, "không còn liệt kê từ 05/11/2026; mới từ 03/11/2026"),
    ],
)
def test_an_operator_is_told_what_became_of_a_code(names: dict[str, str], note: str) -> None:
    known = said(said(NOBODY, 1, {"A": "Sở A"}).agencies, 3, {"A": "Sở A", "B": "Tổ B"}).agencies
    assert entries(said(known, 5, names).agencies)[1].note == note


def test_the_same_statement_again_changes_nothing() -> None:
    first = said(NOBODY, 1, {"A": "Sở A", "B": "Sở B"})
    again = said(first.agencies, 4, {"A": "Sở A", "B": "Sở B"})
    assert again.agencies.equals(first.agencies)
    assert (first.rows_stored, again.rows_read, again.rows_stored, again.rows_unchanged) == (2, 2, 0, 2)


def test_another_statement_on_the_same_day_takes_the_place_of_the_first() -> None:
    known = said(NOBODY, 1, {"A": "Sở A", "B": "Sở B"}).agencies
    wrong = said(known, 3, {"A": "Sở Khác", "C": "Sở C"}).agencies
    assert spans(wrong, "B") == [("Sở B", 1, 2)]
    assert said(wrong, 3, {"A": "Sở A", "B": "Sở B"}).agencies.equals(known)


def test_a_code_in_another_case_is_the_same_code() -> None:
    known = amend(NOBODY, "onestop", Directory((Agency("H15.A", "Sở A"),)), guard=Guard(), on=day(1)).agencies
    again = amend(known, "onestop", Directory((Agency("h15.a", "Sở A"),)), guard=Guard(), on=day(2))
    assert again.agencies.equals(known)


def test_sources_are_told_apart() -> None:
    known = said(said(NOBODY, 1, {"A": "Sở A"}).agencies, 1, {"A": "Sở khác", "P": "Sở P"}, source="portal").agencies
    after = said(known, 2, {"B": "Sở B"}).agencies
    assert spans(after, "A") == [("Sở A", 1, 1)]
    assert spans(after, "A", "portal") == [("Sở khác", 1, None)]


def test_a_listed_code_that_is_unusable_has_not_gone() -> None:
    known = said(NOBODY, 1, {"A": "Sở A", "B": "Sở B"}).agencies
    broken = Broken(where="B", reason="two_names", clause="TENDONVI", detail="Mã B có hai tên", content_hash="h")
    after = amend(
        known, "onestop", Directory((Agency("A", "Sở A"),), (broken,), frozenset({"b"})), guard=Guard(), on=day(2)
    )
    assert after.agencies.equals(known)
    assert (after.rows_read, after.rows_unchanged, after.rows_quarantined, after.closed) == (2, 1, 1, 0)


MANY = {f"M{number:03d}": f"Xã {number}" for number in range(100)}


@pytest.mark.parametrize(
    ("missing", "floor", "doubted"),
    [
        (20, 20, False),  # one fifth is not more than one fifth
        (21, 20, True),
        (21, 21, False),  # too few to be a failure
        (99, 20, True),
    ],
)
def test_a_directory_that_suddenly_lists_far_fewer_is_not_believed(missing: int, floor: int, doubted: bool) -> None:
    known = said(NOBODY, 1, MANY).agencies
    left = dict(list(MANY.items())[missing:])
    after = said(known, 2, left | {"NEW": "Xã mới"}, floor=floor)
    closed = sum(row["last_listed_on"] is not None for row in after.agencies.to_pylist())
    assert (closed, after.closed, after.doubted) == ((0, 0, missing) if doubted else (missing, missing, 0))
    assert spans(after.agencies, "NEW") == [("Xã mới", 2, None)]  # what it does list is believed


@pytest.mark.parametrize(("on", "later"), [(2, True), (3, True), (4, False), (5, False)])
def test_a_day_before_what_is_known_is_seen(on: int, later: bool) -> None:
    """B mất ngày 4 (ngày cuối là 3): hỏi lại cho chính ngày 4 được, cho ngày 3 thì không."""
    known = said(said(NOBODY, 1, {"A": "Sở A", "B": "Sở B"}).agencies, 4, {"A": "Sở A"}).agencies
    assert knows_later(known, "onestop", on=day(on)) is later
    assert not knows_later(known, "portal", on=day(on))


def test_a_code_is_the_unit_that_its_source_means_by_code_or_by_name() -> None:
    known = said(NOBODY, 1, {"A": "Sở Nội vụ", "B": "Sở B"}).agencies
    known = said(known, 1, {"A": "Sở  nội VỤ"}, source="messages").agencies
    table = pa.Table.from_pylist(
        [
            {"source": "onestop", "agency": "a", "unit_code": "H15.SNV"},
            {"source": "onestop", "agency": "Sở B", "unit_code": "H15.STP"},  # dossiers name it by its code
            {"source": "messages", "agency": "Sở Nội vụ", "unit_code": "H15.SNV"},
        ],
        schema=AGENCIES,
    )
    found = mapped(known, table, {"onestop": "code", "messages": "name"})
    assert [(row["source"], row["agency"], row["unit_code"], row["mapped_by"]) for row in found.to_pylist()] == [
        ("messages", "A", "H15.SNV", "name"),
        ("onestop", "A", "H15.SNV", "code"),
        ("onestop", "B", None, None),
    ]
    # Taken out of agencies.csv, it is mapped no longer; rows of a directory that is read no more stay.
    without = mapped(found, table.slice(2), {"onestop": "code"})
    assert without["unit_code"].to_pylist() == ["H15.SNV", None, None]


# ---- proposals


_LINES = (Path(__file__).parent / "unit_proposal_cases.csv").read_text(encoding="utf-8").splitlines(keepends=True)
CASES = list(csv.DictReader(line for line in _LINES if not line.startswith("#")))
REFORM = date(2025, 7, 1)


def _units() -> pa.Table:
    """The units that the head of the file of cases describes."""
    fixed = {"province_code": "H15", "parent_code": "H15", "level": "commune", "valid_from": date(1900, 1, 1)}
    old = fixed | {"valid_to": REFORM - timedelta(days=1)}
    return table_rows(
        CORE_UNIT,
        *(
            fixed | {"unit_code": code, "name": name, "level": "province"}
            for code, name in (("H15.SNV", "Sở Nội vụ"), ("H15.SYT", "Sở Y tế"))
        ),
        *(
            old | {"unit_code": code, "name": name}
            for code, name in (
                ("H15.643.1", "Xã Ea Kar"),
                ("H15.643.2", "Xã Ea Tân"),
                ("H15.644.2", "Xã Ea Tân"),
                ("H15.644.9", "Xã Cư Né"),
            )
        ),
        *(
            fixed | {"unit_code": code, "name": name, "valid_from": REFORM}
            for code, name in (("H15.24001", "Xã Ea Kar"), ("H15.24002", "Xã Krông Búk"))
        ),
    )


def _pairs(text: str) -> list[list[str]]:
    return [part.split(" = ") for part in text.split("|") if part]


def _proposed(case: Mapping[str, str]) -> Proposal:
    """What is proposed for the code of a case, out of a directory of its own."""
    rows = [{"source": "onestop", "agency": code, "unit_code": unit} for code, unit in _pairs(case["da_gan"])]
    table = pa.Table.from_pylist(rows, schema=AGENCIES)
    says = {"onestop": {"mã": "code", "tên": "name"}[case["ho_so_ghi"]]}
    names = {case["ma"]: case["ten"]} | dict(_pairs(case["ma_khac"]))
    known = mapped(said(NOBODY, 1, names).agencies, table, says)
    found = propose(entries(known), _units(), table, says=says, on=date.fromisoformat(case["ngay"]))
    (mine,) = [each for each in found if each.code == case["ma"]]
    return mine


@pytest.mark.parametrize("case", CASES, ids=[f"{case['so']} {case['tinh_huong']}" for case in CASES])
def test_what_is_beyond_doubt_is_proposed_and_the_rest_told(case: Mapping[str, str]) -> None:
    mine = _proposed(case)
    assert (mine.unit_code or "", mine.why) == (case["don_vi"], case["ly_do"])
    assert sorted(each.unit_code for each in mine.candidates) == [code for code in case["ung_vien"].split("|") if code]
    assert mine.agency == (case["ma"] if case["ho_so_ghi"] == "mã" else case["ten"])


def test_of_codes_that_are_gone_mapped_or_of_a_source_without_a_directory_nothing_is_proposed() -> None:
    known = said(NOBODY, 1, {"GONE": "Sở Nội vụ", "OURS": "Sở Nội vụ"}).agencies
    known = said(known, 2, {"OURS": "Sở Nội vụ"}).agencies
    table = pa.Table.from_pylist([{"source": "onestop", "agency": "OURS", "unit_code": "H15.SNV"}], schema=AGENCIES)
    says = {"onestop": "code"}
    assert propose(entries(mapped(known, table, says)), _units(), table, says=says, on=day(2)) == []
    assert propose(entries(known), _units(), AGENCIES.empty_table(), says={}, on=day(2)) == []


def test_candidates_say_when_they_ended_and_what_they_are_mapped_to() -> None:
    case = next(case for case in CASES if case["so"] == "10")
    assert [str(each) for each in _proposed(case).candidates] == [
        "H15.24001 Xã Ea Kar (đã gắn với H15.101)",
        "H15.643.1 Xã Ea Kar (đến 30/06/2025, đã gắn với 000.01.30.H15)",
    ]


# ---- the asset


class _Known(Stores):
    """A home of which every source was read to the end of the day that its night is named after."""

    def as_of(self) -> datetime:
        return datetime.fromisoformat(self.night).replace(tzinfo=ZoneInfo("Asia/Ho_Chi_Minh")) + timedelta(days=1)


def _stores(home: Path, night: str, *units: UnitSettings, every_days: int = 1) -> Stores:
    agencies = home / "agencies.csv"
    if not agencies.exists():
        agencies.write_text("source,agency,unit_code\nonestop,H15.10.05,H15.SNV\n", encoding="utf-8")
    return _Known(
        night=night,
        province_code="H15",
        start_on=date(2026, 1, 1),
        sources={},
        departments=PROVINCE / "departments.csv",
        agencies=agencies,
        codes=PROVINCE / "codes.csv",
        working_calendar=Calendar.load(None),
        sectors=None,
        observations=None,
        observation_sources={},
        catalogues=(),
        catalogue_every_days=7,
        units=units,
        units_every_days=every_days,
        evaluation=None,
        target_sets=(),
        minimum_denominator=0,
        published=home / "published",
        lake_root=str(home / "lake"),
        database_url=f"sqlite:///{home / 'thuocdo.db'}",
        watcher=Trail(),
    )


def _night(stores: Stores) -> dict[str, Any]:
    """What the asset tells of itself; a run of its own would take a second, and whole nights are run elsewhere."""
    stores.lake().replace_if_different(CORE_UNIT, unit_table("H15", stores.departments))
    stores.database().begin_night(stores.night, province_code="H15")
    done = agency_asset([])(stores=stores)
    assert isinstance(done, dg.MaterializeResult)
    return dict(done.metadata or {})


def _file(path: Path, *rows: str, **changes: Any) -> UnitFileSettings:
    path.write_text("\n".join(["Mã đơn vị,Tên đơn vị", *rows, ""]), encoding="utf-8")
    return UnitFileSettings(kind="units-file", source="onestop", path=path, **changes)


HOME_AFFAIRS, DESK = "H15.10.05,Sở Nội vụ", "H15.10.99,Trung tâm"


def test_a_night_learns_sets_aside_goes_on_without_the_file_and_forgets_what_was_mended(tmp_path: Path) -> None:
    """Năm đêm: một dòng hỏng; như cũ; tệp biến mất; tệp đã sửa và đổi tên; agencies.csv thêm một dòng."""
    path = tmp_path / "danh-ba.csv"
    first = _stores(tmp_path, "2026-10-29", _file(path, HOME_AFFAIRS, DESK, ",Sở Xây dựng"))
    shown = _night(first)
    assert (shown["rows_read"], shown["rows_stored"], shown["rows_quarantined"]) == (3, 2, 1)
    assert (shown["listed"], shown["unmapped"]) == (2, 1)
    (held,) = first.lake().read(RAW_QUARANTINE).to_pylist()
    assert (held["source"], held["reason"], held["clause"]) == ("units", "MADONVI_present", "MADONVI")
    assert held["record_key"] == "onestop: danh-ba.csv, dòng 4"
    assert [(row["source"], row["rows_read"]) for row in first.database().counts("2026-10-29")] == [("units", 3)]

    again = _stores(tmp_path, "2026-10-30", _file(path, HOME_AFFAIRS, DESK, ",Sở Xây dựng"))
    version = again.lake().version(CORE_AGENCY)
    assert _night(again)["rows_stored"] == 0
    assert (again.lake().version(CORE_AGENCY), again.lake().read(RAW_QUARANTINE).num_rows) == (version, 1)

    settings = _file(path)
    path.unlink()
    without = _stores(tmp_path, "2026-10-31", settings)
    told = _night(without)["directory_1"]
    assert "không đọc được, giữ nguyên danh bạ đã biết" in told
    assert isinstance(without.watcher, Trail)
    assert told in without.watcher.lines
    assert without.lake().version(CORE_AGENCY) == version

    mended = _stores(tmp_path, "2026-11-01", _file(path, HOME_AFFAIRS, "H15.10.99,Trung tâm tỉnh"))
    assert _night(mended)["rows_stored"] == 1
    assert reasons(mended.lake()) == []
    (desk,) = [each for each in entries(mended.lake().read(CORE_AGENCY)) if each.agency == "H15.10.99"]
    assert desk.note == "đổi tên từ 01/11/2026, trước là “Trung tâm”"

    (tmp_path / "agencies.csv").write_text("source,agency,unit_code\nonestop,H15.10.99,H15.SNV\n", encoding="utf-8")
    later = _stores(tmp_path, "2026-11-02", *mended.units, every_days=7)
    assert "rows_read" not in _night(later)  # not asked, and mapped all the same
    units = {each.agency: each.unit_code for each in entries(later.lake().read(CORE_AGENCY))}
    assert units == {"H15.10.05": None, "H15.10.99": "H15.SNV"}


def test_a_directory_is_asked_when_its_days_are_over_or_the_file_is_another(tmp_path: Path) -> None:
    path = tmp_path / "danh-ba.csv"
    settings = _file(path, HOME_AFFAIRS)
    asked = [
        "rows_read" in _night(_stores(tmp_path, f"2026-10-{number:02d}", settings, every_days=7))
        for number in (1, 2, 7, 8)
    ]
    assert asked == [True, False, False, True]
    changed = _file(path, HOME_AFFAIRS, DESK)
    # Not for a day before the one that it was asked for last.
    assert "rows_read" not in _night(_stores(tmp_path, "2026-09-30", changed, every_days=7))
    assert _night(_stores(tmp_path, "2026-10-09", changed, every_days=7))["rows_stored"] == 1


def test_a_gap_that_is_doubted_is_told_and_asked_about_the_next_night(tmp_path: Path) -> None:
    path, rows = tmp_path / "danh-ba.csv", [f"M{number},Xã {number}" for number in range(50)]
    _night(_stores(tmp_path, "2026-10-01", _file(path, *rows), every_days=7))
    gap = _file(path, *rows[30:])
    for night in ("2026-10-02", "2026-10-03"):
        told = _night(_stores(tmp_path, night, gap, every_days=7))["directory_1"]
        assert "thiếu đột ngột 30 mã nên chưa coi là đã bỏ" in told
    believed = _stores(tmp_path, "2026-10-04", _file(path, *rows[30:], missing_share=1.0), every_days=7)
    assert "30 mã không còn" in _night(believed)["directory_1"]
    assert sum(each.listed_to == date(2026, 10, 3) for each in entries(believed.lake().read(CORE_AGENCY))) == 30


def test_a_person_in_a_directory_is_in_no_byte_of_the_home(tmp_path: Path) -> None:
    path = tmp_path / "ngoai" / "danh-ba.csv"
    path.parent.mkdir()
    home = tmp_path / "home"
    home.mkdir()
    stores = _stores(home, "2026-10-29", _file(path, HOME_AFFAIRS, "H15.9,Bà Nguyễn Thị Canary", "0905123456,Sở Y tế"))
    assert _night(stores)["rows_quarantined"] == 2
    assert {each.reason for each in reasons(stores.lake())} == {"looks_like_a_person"}
    kept = b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())
    assert b"Canary" not in kept
    assert b"0905123456" not in kept


# ---- what waits, and the commands


@dataclass(frozen=True)
class Here:
    """A home with its lake."""

    folder: Path

    @property
    def lake(self) -> Lake:
        """The lake."""
        return Lake(str(self.folder / "lake"))


@pytest.fixture(scope="module")
def conformed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dossiers of four agencies that nobody mapped; the one-stop calls one of them like a unit that is mapped."""
    world = World(tmp_path_factory.mktemp("waiting"))
    world.night(
        portal=[portal(1, govAgencyCode="000.00.44.H15"), portal(2, govAgencyCode="000.00.44.H15")],
        onestop=[
            onestop("a1", agencyCode="H15.99", agencyName="Sở Mới"),
            onestop("a2", agencyCode="H15.98", agencyName="Sở Nội vụ"),
        ],
        messages=[message("A-261001-0009", DonViXuLy="Sở  tư pháp")],
    )
    known = said(NOBODY, 1, {"H15.99": "Sở Mới và khác", "H15.97": "Sở Tư pháp", "H15.07": "Sở Nội vụ"}).agencies
    known = said(known, 1, {"000.00.01.H15": "Sở Tư pháp"}, source="messages").agencies
    world.lake.replace(
        CORE_AGENCY,
        amend(known, "portal", Directory((Agency("000.00.44.H15", "Sở Ngoại vụ"),)), guard=Guard(), on=day(1)).agencies,
    )
    return world.folder


@pytest.fixture
def waiting_world(conformed: Path, tmp_path: Path) -> Here:
    """That home, to change."""
    return Here(Path(shutil.copytree(conformed, tmp_path / "home")))


def test_an_unknown_agency_has_the_name_and_code_of_its_sources_directory(waiting_world: Here) -> None:
    held = waiting(waiting_world.lake)
    assert [(each.source, each.agency, each.records, [str(one) for one in each.listed]) for each in held] == [
        ("messages", "Sở  tư pháp", 1, ["000.00.01.H15 “Sở Tư pháp”"]),
        ("onestop", "H15.98", 1, []),  # not listed; H15.07 has the name and is another code
        ("onestop", "H15.99", 1, ["H15.99 “Sở Mới và khác”"]),
        ("portal", "000.00.44.H15", 2, ["000.00.44.H15 “Sở Ngoại vụ”"]),
    ]
    assert wanted(held) == {
        ("messages", "000.00.01.H15"): 1,
        ("onestop", "H15.99"): 1,
        ("portal", "000.00.44.H15"): 2,
    }
    assert [each.source for each in waiting(waiting_world.lake, source="portal")] == ["portal"]


@pytest.fixture
def cli(waiting_world: Here, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    """The commands in that home."""
    folder = waiting_world.folder
    text = (PROVINCE.with_suffix(".yaml")).read_text(encoding="utf-8").replace("dak-lak/", f"{PROVINCE}/")
    province = folder / "tinh.yaml"
    province.write_text(text.replace(f"{PROVINCE}/agencies.csv", f"{folder}/agencies.csv"), encoding="utf-8")
    monkeypatch.setenv("THUOCDO_HOME", str(folder))
    monkeypatch.setenv("THUOCDO_PROVINCE", str(province))
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command("units")(units_command)
    app.command("quarantine")(quarantine_command)
    return app


def test_the_quarantine_names_unknown_agencies(cli: typer.Typer) -> None:
    text = CliRunner().invoke(cli, ["quarantine"], catch_exceptions=False).output
    assert "000.00.44.H15 “Sở Ngoại vụ”" in text


def test_units_are_listed_with_what_waits_for_them(cli: typer.Typer) -> None:
    text = CliRunner().invoke(cli, ["units", "--source", "portal"], catch_exceptions=False).output
    assert "chưa gắn, 2 bản ghi chờ" in text
    assert "portal: 1 mã đang liệt kê, 1 chưa gắn (1 có hồ sơ chờ), 0 không còn liệt kê" in text
    assert "onestop" not in text


def test_proposed_rows_can_be_appended_as_they_are(cli: typer.Typer, waiting_world: Here) -> None:
    """Dòng đề xuất ra luồng chính, điều còn nghi ngờ ra luồng lỗi; dán vào rồi thì không đề xuất nữa."""
    result = CliRunner().invoke(cli, ["units", "--propose"], catch_exceptions=False)
    assert result.stdout == "source,agency,unit_code\nonestop,H15.97,H15.STP\n"
    assert "onestop H15.99 “Sở Mới và khác”: không đơn vị nào mang đúng tên này" in result.stderr
    with (waiting_world.folder / "agencies.csv").open("a", encoding="utf-8") as file:
        file.write(result.stdout.split("\n", 1)[1])
    assert CliRunner().invoke(cli, ["units", "--propose"]).stdout == "source,agency,unit_code\n"
    unmapped = CliRunner().invoke(cli, ["units", "--unmapped"], catch_exceptions=False).output
    assert "H15.99" in unmapped
    assert "H15.97" not in unmapped


def test_before_any_directory_was_read_it_is_said_what_to_do(cli: typer.Typer, waiting_world: Here) -> None:
    waiting_world.lake.replace(CORE_AGENCY, NOBODY)
    assert "khai báo units trong tệp của tỉnh" in CliRunner().invoke(cli, ["units"], catch_exceptions=False).output

"""What was reported, the same counted again, and the dossiers between: by hand, and over two real nights."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from assets.indicators.definitions import find, load_definitions
from assets.indicators.evaluate import evaluate
from assets.periods import Period
from assets.questions.past import (
    NoNightError,
    PastLake,
    VersionGoneError,
    definitions_of,
    first_night_covering,
    newest_night,
    night_known_on,
)
from assets.questions.restate import Figure, Knowledge, Restated, restate
from tests.questions.conftest import TwoNights
from tests.rows import table_rows
from warehouse.database import Database, PastNight
from warehouse.lake import Lake
from warehouse.tables import CORE_CROSSWALK, CORE_DOSSIER, CORE_UNIT, OUT_INDICATOR, TABLES

OCTOBER = Period.parse("2026-10")
START = date(2026, 9, 1)
THEN, NOW = datetime(2026, 10, 31, 17, tzinfo=UTC), datetime(2026, 11, 30, 17, tzinfo=UTC)
DEFINITIONS = load_definitions()
UNITS = table_rows(
    CORE_UNIT,
    {"unit_code": "H15", "valid_from": date(1900, 1, 1), "level": "province", "province_code": "H15"},
    {"unit_code": "H15.SNV", "valid_from": date(1900, 1, 1), "level": "province", "parent_code": "H15"},
    {"unit_code": "H15.24133", "valid_from": date(2025, 7, 1), "level": "commune", "parent_code": "H15"},
)


def _dossier(key: str, **facts: Any) -> dict[str, Any]:
    day = date(2026, 10, 5)
    return {"dossier_key": key, "unit_code": "H15.SNV", "received_on": day, "is_received": True, "status_code": 4} | {
        "received_at": datetime(2026, 10, 5, 2, tzinfo=UTC),
        **facts,
    }


def _night(
    lake: Lake, name: str, as_of: datetime, dossiers: list[dict[str, Any]], records: Mapping[str, str] | None = None
) -> Knowledge:
    """A night over these dossiers; `records` names the dossier of each portal record."""
    lake.replace(CORE_UNIT, UNITS)
    lake.replace(CORE_DOSSIER, table_rows(CORE_DOSSIER, *dossiers))
    said = [{"source": "portal", "record_key": record, "dossier_key": key} for record, key in (records or {}).items()]
    lake.replace(CORE_CROSSWALK, table_rows(CORE_CROSSWALK, *said))
    lake.replace(OUT_INDICATOR, evaluate(lake, DEFINITIONS, province_code="H15", as_of=as_of, start_on=START))
    versions = {table.name: lake.version(table) for table in TABLES.values()}
    night = PastNight(night=name, as_of=as_of, ended_at=as_of, lake_versions=versions)
    return Knowledge(night=name, as_of=as_of, lake=PastLake.of(lake, night), definitions=None)


def _restated(then: Knowledge, now: Knowledge, indicator: str, version: str, **more: Any) -> Restated:
    asked: dict[str, Any] = {"period": OCTOBER, "indicator": indicator, "version": version} | more
    found = restate(then, now, DEFINITIONS, province_code="H15", start_on=START, **asked)
    (only,) = found.figures
    return only


def _changed_in_every_way(lake: Lake) -> tuple[Knowledge, Knowledge]:
    """The two nights of the table in `test_each_way_in_which_a_dossier_can_change`."""
    then = _night(
        lake,
        "n1",
        THEN,
        [
            _dossier("same", is_reused=True),
            _dossier("portal:1", received_on=None, is_received=False),
            _dossier("denied"),
            _dossier("won"),
            _dossier("lost", is_reused=True),
            _dossier("moved"),
            _dossier("later"),
        ],
        {"1": "portal:1", "2": "won"},
    )
    now = _night(
        lake,
        "n2",
        NOW,
        [
            _dossier("same", is_reused=True),
            _dossier("new"),
            _dossier("draft"),
            _dossier("denied", is_received=False, status_code=3),
            _dossier("won", is_reused=True),
            _dossier("lost"),
            _dossier("moved", unit_code="H15.24133", unit_level="commune", is_reused=True),
            _dossier("later", received_on=date(2026, 11, 2)),
        ],
        {"1": "draft", "2": "won"},
    )
    return then, now


def test_each_way_in_which_a_dossier_can_change(tmp_path: Path) -> None:
    """Reuse (4.3): received dossiers of October, of which reused. What each dossier was, and is:

    hồ sơ    đêm 31/10                 đêm 30/11                     thay đổi
    same     đếm, tái sử dụng          như cũ                        -
    new      chưa có                   đếm                           vào mẫu số
    draft    bản nháp portal:1         có mã, đếm                    vào mẫu số (trước là portal:1)
    denied   đếm                       bị từ chối, không đếm         ra khỏi mẫu số
    won      đếm                       đếm, tái sử dụng              vào tử số
    lost     đếm, tái sử dụng          đếm                           ra khỏi tử số
    moved    đếm ở Sở                  đếm ở xã, tái sử dụng         đổi đơn vị + vào tử số
    later    tiếp nhận tháng 10        tiếp nhận tháng 11            đổi tháng
    """
    then, now = _changed_in_every_way(Lake(str(tmp_path)))
    found = _restated(then, now, "reuse", "766-4.3")
    assert found.reported == found.recomputed == Figure(numerator=2, denominator=6, rate=2 / 6)
    assert found.now == Figure(numerator=3, denominator=6, rate=3 / 6)
    assert {one.dossier_key: (one.change, one.other_key) for one in found.dossiers} == {
        "new": ("joined", None),
        "draft": ("joined", "portal:1"),
        "denied": ("left", None),
        "won": ("gained", None),
        "lost": ("lost", None),
        "moved": ("moved_unit + gained", None),
        "later": ("moved_month", None),
    }
    facts = {one.dossier_key: [(f.field, f.then, f.now) for f in one.fields] for one in found.dossiers}
    assert facts["denied"] == [("status_code", "4", "3"), ("is_received", "true", "false")]
    assert facts["later"] == [("received_on", "2026-10-05", "2026-11-02")]
    assert facts["new"] == []
    known = {one.dossier_key: (one.known_then, one.known_now) for one in found.dossiers}
    assert (known["new"], known["draft"], known["won"]) == ((False, True), (False, True), (True, True))
    because = {one.dossier_key: [part.vi for part in one.because] for one in found.dossiers}
    assert because["won"] == because["lost"] == ["is_reused → sai (is_reused = false)"]
    assert because["denied"] == ["is_received → sai (is_received = false)"]
    assert because["new"] == []
    department = _restated(then, now, "reuse", "766-4.3", unit_code="H15.SNV")
    assert department.now == Figure(numerator=2, denominator=5, rate=2 / 5)
    (moved,) = [one for one in department.dossiers if one.dossier_key == "moved"]
    assert (moved.denominator_then, moved.denominator_now, moved.numerator_now) == (True, False, False)


def test_time_alone_can_change_a_figure(tmp_path: Path) -> None:
    """Open, promised for 10 November: not late on 31 October, late at the end of the quarter so far."""
    dossier = _dossier("a", due_at=datetime(2026, 11, 10, tzinfo=UTC), deadline_at=datetime(2026, 11, 10, tzinfo=UTC))
    lake = Lake(str(tmp_path))
    then, now = _night(lake, "n1", THEN, [dossier]), _night(lake, "n2", NOW, [dossier])
    month = _restated(then, now, "on-time", "766-2.1")
    assert (month.reported, month.now, month.dossiers) == (Figure(numerator=1, denominator=1, rate=1.0),) * 2 + ((),)
    quarter = _restated(then, now, "on-time", "766-2.1", period=Period.parse("2026-Q4"))
    assert (quarter.reported, quarter.now) == (
        Figure(numerator=1, denominator=1, rate=1.0),
        Figure(numerator=0, denominator=1, rate=0.0),
    )
    (only,) = quarter.dossiers
    assert (only.change, only.fields, only.known_then) == ("lost", (), True)
    _, late = only.because
    assert ("deadline_at", "10/11/2026 07:00:00") in late.values
    assert ("$period_end", "01/12/2026 00:00:00") in late.values


def test_a_rule_that_changed_since_is_said(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    then, now = _night(lake, "n1", THEN, [_dossier("a")]), _night(lake, "n2", NOW, [_dossier("a")])
    rule = find(DEFINITIONS, "reuse", "766-4.3")
    said = {
        "same": {"reuse/766-4.3": rule.fingerprint},
        "changed": {"reuse/766-4.3": "0" * 16},
        "absent": {},
        "unknown": None,
    }
    for standing, definitions in said.items():
        assert _restated(replace(then, definitions=definitions), now, *rule.key).definition == standing


def test_a_version_that_was_cleared_away_is_an_error(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    then, now = _night(lake, "n1", THEN, [_dossier("a")]), _night(lake, "n2", NOW, [_dossier("b")])
    opened = lake.open(CORE_DOSSIER)
    assert opened is not None
    opened.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(VersionGoneError, match=r"core_dossier phiên bản 0 .*đêm n1"):
        _restated(then, now, "reuse", "766-4.3")
    shutil.rmtree(tmp_path / CORE_DOSSIER.name / "_delta_log")
    with pytest.raises(VersionGoneError, match="core_dossier"):
        _restated(then, now, "reuse", "766-4.3")


def test_a_past_lake_is_only_read(tmp_path: Path) -> None:
    past = _night(Lake(str(tmp_path)), "n1", THEN, [_dossier("a")]).lake
    with pytest.raises(TypeError, match="cannot be written"):
        past.replace(CORE_DOSSIER, table_rows(CORE_DOSSIER, _dossier("b")))
    assert past.read(CORE_DOSSIER)["dossier_key"].to_pylist() == ["a"]


def test_a_night_without_versions_says_so(tmp_path: Path) -> None:
    night = PastNight(night="n0", as_of=THEN, ended_at=THEN, lake_versions={})
    with pytest.raises(VersionGoneError, match="n0 không ghi phiên bản của bảng core_dossier"):
        PastLake.of(Lake(str(tmp_path)), night).read(CORE_DOSSIER)


def test_which_night_answers(tmp_path: Path) -> None:
    """Two runs of 31 October, one of 2 November; as known on 1 November is the later run of 31 October."""
    database = Database.open(f"sqlite:///{tmp_path / 'thuocdo.db'}")
    with pytest.raises(NoNightError, match="Chưa có đêm nào"):
        newest_night(database)
    for name, as_of in (("n1", THEN), ("n2", THEN), ("n3", datetime(2026, 11, 2, 17, tzinfo=UTC))):
        database.begin_night(name, province_code="H15")
        database.end_night(name, as_of=as_of, publication=name, lake_versions={"core_dossier": int(name[1])})
    assert night_known_on(database, date(2026, 10, 31)).night == "n2"
    assert night_known_on(database, date(2026, 11, 1)).night == "n2"
    assert newest_night(database).night == "n3"
    with pytest.raises(NoNightError, match="hết ngày 30/10/2026"):
        night_known_on(database, date(2026, 10, 30))
    first = first_night_covering(database, OCTOBER.ends_at)
    assert first is not None
    assert (first.night, first.lake_versions) == ("n1", {"core_dossier": 1})
    assert first_night_covering(database, Period.parse("2026-11").ends_at) is None


def _knowledge(two_nights: TwoNights, night: PastNight) -> Knowledge:
    here = two_nights.here
    definitions = definitions_of(here.home.published.parent / "publications", night.night)
    return Knowledge(night=night.night, as_of=night.as_of, lake=PastLake.of(here.lake, night), definitions=definitions)


@pytest.mark.parametrize("name", ["2026-10", pytest.param("2026", marks=pytest.mark.slow)])
def test_restated_then_is_reported_then_and_the_dossiers_between_add_up(two_nights: TwoNights, name: str) -> None:
    here = two_nights.here
    past = night_known_on(here.database, date(2026, 10, 31))
    found = restate(
        _knowledge(two_nights, past),
        _knowledge(two_nights, newest_night(here.database)),
        DEFINITIONS,
        period=Period.parse(name),
        province_code=here.province.province_code,
        start_on=here.province.start_on,
    )
    assert {(one.indicator, one.version) for one in found.figures} == {one.key for one in DEFINITIONS}
    for one in found.figures:
        assert one.definition == "same"
        assert one.reported is not None
        assert one.now is not None
        assert one.recomputed == one.reported
        for what in ("numerator", "denominator"):
            between = sum(getattr(d, f"{what}_now") - getattr(d, f"{what}_then") for d in one.dossiers)
            assert getattr(one.reported, what) + between == getattr(one.now, what), (one.indicator, one.version)
    assert sum(len(one.dossiers) for one in found.figures) > 0
    assert any(d.fields for one in found.figures for d in one.dossiers)

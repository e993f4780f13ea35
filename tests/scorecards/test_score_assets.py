"""The score and the comparison as assets, materialised for real: what is read, written and told when the
portal refuses are properties of a run, not of a function.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from assets.scorecards.score_assets import evaluation, published_evaluation, score_units
from connectors.evaluation import EvaluationSettings
from sandbox.evaluation import EvaluationEndpoints
from tests.connectors.test_evaluation import serving
from tests.rows import table_rows
from warehouse.lake import Lake
from warehouse.tables import OUT_INDICATOR
from warehouse.tables.score import OUT_EVALUATION, OUT_SCORE, OUT_SCORE_TOTAL, RAW_EVALUATION, TOTAL

AS_OF = datetime(2026, 10, 31, 18, tzinfo=UTC)  # 1 November in Vietnam
YEAR = date(2026, 1, 1)


@dataclass
class Home:
    """What the assets ask of their stores."""

    root: Path
    province_code: str = "H15"
    told: list[str] = field(default_factory=list)

    def lake(self) -> Lake:
        return Lake(str(self.root / "lake"))

    def as_of(self) -> datetime:
        return AS_OF

    @property
    def agencies(self) -> Path:
        return self.root / "agencies.csv"

    @property
    def watcher(self) -> Home:
        return self

    def say(self, text: str) -> None:
        self.told.append(text)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path)
    made.agencies.write_text(
        "source,agency,unit_code\nportal,000.00.01.H15,H15.STP\nevaluation,H15.100,H15.24133\n", encoding="utf-8"
    )
    subjects = [
        {"scope": "unit", "level": "commune", "unit_code": "H15.24133"},
        {"scope": "province", "level": "all", "unit_code": "H15"},
    ]
    rows = [
        subject
        | {"indicator": "on-time", "version": "766-2.1", "boundaries": "then", "period": "year", "period_start": YEAR}
        | {"numerator": 9, "denominator": 10, "rate": 0.9, "state": "ok", "as_of": AS_OF}
        for subject in subjects
    ]
    made.lake().replace(OUT_INDICATOR, table_rows(OUT_INDICATOR, *rows))
    return made


def _figures() -> pa.Table:
    root = {"department_id": "root", "department_code": "H15", "department_name": "UBND tỉnh", "is_root": True}
    unit = {"department_id": "u1", "department_code": "H15.100", "department_name": "UBND xã A", "is_root": False}
    rows: list[dict[str, Any]] = []
    for endpoint in EvaluationSettings(root_department_id="root").endpoints:
        for period, start in (("year", YEAR), ("quarter", date(2026, 10, 1)), ("month", date(2026, 10, 1))):
            place = {"endpoint": endpoint, "period": period, "period_start": start, "kind": "group", "code": ""}
            rows.append(place | root | {"score": 1.0, "max_score": 18.0})
            if endpoint == "dvc-progress-tree":
                tree = {"totalOnTime": 8.0, "totalReceived": 10.0}
                rows += [place | who | {"score": 16.0, "max_score": 20.0} for who in (unit,)]
                rows += [
                    place | who | {"kind": "field", "code": code, "numerator": value}
                    for who in (root, unit)
                    for code, value in tree.items()
                ]
    return table_rows(RAW_EVALUATION, *rows)


def _run(home: Home, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(list(assets), resources={"stores": home}, instance=instance)
    assert result.success
    return result


def test_a_night_scores_reads_and_compares(home: Home) -> None:
    with serving(EvaluationEndpoints(_figures())) as url:
        settings = EvaluationSettings.model_validate(
            {"base_url": url, "root_department_id": "root", "pause_seconds": 0.001}
        )
        result = _run(home, score_units, published_evaluation(settings), evaluation)
    lake = home.lake()
    totals = lake.read(OUT_SCORE_TOTAL).to_pylist()
    assert {
        (row["set_id"], row["unit_code"]): (row["points"], row["scored_max"], row["rank"])
        for row in totals
        if row["group_id"] == TOTAL
    } == {
        ("766", "H15.24133"): (18.0, 20, 1),
        ("766", "H15"): (18.0, 20, None),
        # A commune is not asked for 4.5a and 4.5b by this reading: 4 points more.
        ("766-text", "H15.24133"): (22.0, 24, 1),
        ("766-text", "H15"): (18.0, 20, None),
    }
    assert lake.read(OUT_SCORE).num_rows == 2 * 2 * 21
    # Six groups of the province in three periods, the agency's progress, and two fields of each of them.
    assert lake.read(RAW_EVALUATION).num_rows == 6 * 3 + 3 + 2 * 2 * 3
    compared = {
        (row["set_id"], row["department_id"], row["measure"], row["period"]): row
        for row in lake.read(OUT_EVALUATION).to_pylist()
    }
    row = compared["766", "u1", "2.1", "year"]
    assert (row["unit_code"], row["numerator_difference"], row["points_difference"]) == ("H15.24133", 1, None)
    assert compared["766", "u1", "2", "year"]["points_difference"] == 2.0
    (shown,) = [
        each.metadata
        for each in result.asset_materializations_for_node("score")
        if each.asset_key.path[-1] == "out_score_total"
    ]
    assert shown["766"].value == "18.00 / 20"


def test_a_refusal_ends_the_reading_and_not_the_night(home: Home) -> None:
    endpoints = EvaluationEndpoints(_figures())
    with serving(endpoints) as url:
        settings = EvaluationSettings.model_validate(
            {"base_url": url, "root_department_id": "root", "pause_seconds": 0.001}
        )
        reading = published_evaluation(settings)
        _run(home, score_units, reading, evaluation)
        before = home.lake().read(RAW_EVALUATION)
        endpoints.is_refusing = True
        _run(home, score_units, reading, evaluation)
    assert home.lake().read(RAW_EVALUATION).equals(before)
    assert home.lake().read(OUT_EVALUATION).num_rows > 0, "compared with what was read before"
    assert any("không cho đọc" in text for text in home.told)


def test_without_a_reading_nothing_is_compared(home: Home) -> None:
    _run(home, score_units, evaluation)
    assert home.lake().read(OUT_EVALUATION).num_rows == 0

"""What must hold of the score and its comparison: a good world passes, and one defect is caught by its own rule.

The queries run on DuckDB alone, which is quick; that Great Expectations judges their counts is shown once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

import duckdb
import pyarrow as pa
import pytest

from assets.scorecards.evaluation import compare
from assets.scorecards.score import COUNTS, score_counts
from assets.scorecards.sets import load_sets
from expectations.gx import Source, check
from expectations.suites import Suite, load_suite
from tests.rows import table_rows
from warehouse.lake import connect
from warehouse.schema import Table
from warehouse.tables import CORE_UNIT, TABLES
from warehouse.tables.score import OUT_EVALUATION, OUT_SCORE, OUT_SCORE_TOTAL, RAW_EVALUATION

OURS = (OUT_SCORE, OUT_SCORE_TOTAL, OUT_EVALUATION, RAW_EVALUATION)
AS_OF = datetime(2026, 10, 31, 18, tzinfo=UTC)
YEAR = date(2026, 1, 1)

#: What breaks each query: SQL that a reader can check by eye.
SPOILT = {
    ("out_score", "points_within_maximum"): "UPDATE out_score SET points = max_points + 1, lost = -1 WHERE lost = 0",
    ("out_score", "points_have_two_decimals"): "UPDATE out_score SET points = 1.005, lost = max_points - 1.005 "
    "WHERE component = '2.1' AND points IS NOT NULL",
    ("out_score", "lost_is_what_is_left"): "UPDATE out_score SET lost = lost + 1 WHERE component = '2.1'",
    ("out_score", "unscored_has_no_points"): "UPDATE out_score SET points = 0, lost = max_points "
    "WHERE state = 'no_source'",
    ("out_score", "out_of_scope_has_all_points"): "UPDATE out_score SET points = 0, lost = max_points "
    "WHERE state = 'out_of_scope'",
    ("out_score", "next_point_of_counts_only"): "UPDATE out_score SET next_point = 1 WHERE state = 'zero_rule'",
    ("out_score", "unit_known"): "DELETE FROM core_unit WHERE unit_code = 'H15.SNV'",
    (
        "out_score_total",
        "group_is_the_sum_of_its_components",
    ): "UPDATE out_score SET points = 0 WHERE component = '2.1'",
    ("out_score_total", "total_is_the_sum_of_the_groups"): "DELETE FROM out_score_total WHERE group_id = '5'",
    ("out_score_total", "nothing_lost_but_of_what_was_scored"): "UPDATE out_score_total SET lost = 0",
    ("out_score_total", "rank_among_the_ranked"): "UPDATE out_score_total SET rank = 9 WHERE scope = 'unit'",
    ("out_evaluation", "counts_not_negative"): "UPDATE out_evaluation SET their_numerator = -1, numerator_difference = "
    "our_numerator + 1",
    ("out_evaluation", "differences_are_ours_less_theirs"): "UPDATE out_evaluation SET numerator_difference = 0",
    ("out_evaluation", "published_with_contradictions"): "UPDATE out_evaluation SET quality_note = 'x'",
    ("out_evaluation", "unit_known"): "UPDATE out_evaluation SET unit_code = 'H16'",
    ("raw_evaluation", "one_province_per_answer"): "UPDATE raw_evaluation SET is_root = false",
}


@pytest.fixture
def suites(monkeypatch: pytest.MonkeyPatch) -> dict[str, Suite]:
    monkeypatch.setattr("expectations.suites.TABLES", {**TABLES, **{table.name: table for table in OURS}})
    return {table.name: load_suite(table) for table in OURS}


def _published() -> pa.Table:
    row = {
        "read_at": AS_OF,
        "endpoint": "dvc-progress-tree",
        "period": "year",
        "period_start": YEAR,
        "department_id": "root",
        "is_root": True,
        "kind": "field",
    }
    fields = [row | {"code": code, "numerator": value} for code, value in (("totalOnTime", 8), ("totalReceived", 10))]
    return table_rows(RAW_EVALUATION, *fields, row | {"kind": "group", "code": "", "score": 16.0, "max_score": 20.0})


def _tables() -> Iterator[tuple[Table, pa.Table]]:
    place = {"boundaries": "then", "period": "year", "period_start": YEAR}
    subjects = [
        {"scope": "unit", "level": "commune", "unit_code": "H15.24133"},
        {"scope": "unit", "level": "province", "unit_code": "H15.SNV"},
        {"scope": "province", "level": "all", "unit_code": "H15"},
    ]
    counts = [("2.1", 9, 10), ("5.2", 0, 0), ("4.1", 0, 0), ("1.3", 2, 2)]
    rows = [
        place | subject | {"component": component, "numerator": numerator, "denominator": denominator}
        for subject in subjects
        for component, numerator, denominator in counts
    ]
    ours = {
        scoring: score_counts(pa.Table.from_pylist(rows, schema=COUNTS), scoring, as_of=AS_OF)
        for scoring in load_sets()
    }
    yield OUT_SCORE, pa.concat_tables([each.components for each in ours.values()])
    yield OUT_SCORE_TOTAL, pa.concat_tables([each.totals for each in ours.values()])
    yield RAW_EVALUATION, _published()
    yield (
        OUT_EVALUATION,
        pa.concat_tables(
            compare(_published(), each, scoring, units={}, province_code="H15", as_of=AS_OF)
            for scoring, each in ours.items()
        ),
    )
    units = ({"unit_code": code, "level": "commune"} for code in ("H15", "H15.24133", "H15.SNV"))
    yield CORE_UNIT, table_rows(CORE_UNIT, *units)


@pytest.fixture(scope="module")
def tables() -> list[tuple[Table, pa.Table]]:
    return list(_tables())


@pytest.fixture
def world(tables: list[tuple[Table, pa.Table]]) -> duckdb.DuckDBPyConnection:
    connection = connect()
    for table, rows in tables:
        connection.register("rows", rows)
        connection.execute(f"CREATE TABLE {table.name} AS SELECT * FROM rows")
        connection.unregister("rows")
    return connection


def _offences(connection: duckdb.DuckDBPyConnection, suite: Suite) -> dict[str, int]:
    return {
        each.id: len(connection.sql(each.query).fetchall()) for each in suite.expectations if each.query is not None
    }


def test_a_good_world_holds_by_great_expectations_too(
    suites: dict[str, Suite], world: duckdb.DuckDBPyConnection
) -> None:
    for name, suite in suites.items():
        result = check(Source(world.cursor(), suite.table.arrow_schema()), suite)
        assert result.success, (name, [each.expectation.id for each in result.failed])


def test_every_query_has_its_defect(suites: dict[str, Suite]) -> None:
    written = {
        (name, each.id) for name, suite in suites.items() for each in suite.expectations if each.query is not None
    }
    assert written - {(name, "key_unique") for name in suites} == set(SPOILT)


@pytest.mark.parametrize(("table", "rule"), SPOILT)
def test_one_defect_is_caught_by_its_rule(
    table: str, rule: str, suites: dict[str, Suite], world: duckdb.DuckDBPyConnection
) -> None:
    assert not any(_offences(world, suites[table]).values())
    world.execute(SPOILT[table, rule])
    assert _offences(world, suites[table])[rule] > 0

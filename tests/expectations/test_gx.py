"""The runner: batches, crashes, what leaves it, and when Great Expectations is imported. Run through
Great Expectations itself, since its habits (nulls, swallowed exceptions, cell values in results) are
what the runner exists for.
"""

from __future__ import annotations

import math
import random
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from expectations import gx
from expectations.gx import CheckCrashedError, Source, check, check_schema, from_lake, schema_frame, validate
from expectations.suites import Expectation, Suite, load_suite
from tests.expectations.conftest import good_rows
from tests.rows import table_rows
from warehouse.lake import Lake, connect
from warehouse.schema import COUNT, DAY, FLAG, RATE, TEXT, Column, Table
from warehouse.tables import CORE_CROSSWALK, CORE_DOSSIER, CORE_STEP, CORE_UNIT

SECRET = "Nguyễn Văn A 0912345678"


def _step(name: str, kind: str, **kwargs: object) -> Expectation:
    return Expectation(id=name, group="domains", severity="critical", vi="vi", en="en", type=kind, kwargs=kwargs)


RANGE = _step("range", "expect_column_values_to_be_between", column="step_no", min_value=0)
PRESENT = _step("present", "expect_column_values_to_not_be_null", column="started_at")
STEPS = Suite(table=CORE_STEP, expectations=(RANGE, PRESENT))


def _steps(*numbers: int) -> pa.Table:
    return table_rows(CORE_STEP, *({"dossier_key": f"d{n}", "step_no": n, "lake_month": SECRET} for n in numbers))


def _source(rows: pa.Table) -> Source:
    connection = connect()
    connection.register("core_step", rows)
    return Source(connection, CORE_STEP.arrow_schema())


def test_counts_of_batches_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gx, "BATCH_ROWS", 2)
    batches = list(_source(_steps(1, -1, 2, -2, -3)).batches(CORE_STEP, ["dossier_key", "step_no", "started_at"]))
    assert [batch.num_rows for batch in batches] == [2, 2, 1]
    result = validate(batches, STEPS)
    assert [(each.evaluated, each.unexpected) for each in result.results] == [(5, 3), (5, 5)]
    assert not result.success
    assert not result.is_fit


def test_a_key_twice_is_found_across_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gx, "BATCH_ROWS", 1)
    suite = load_suite(CORE_STEP).group("keys")
    result = check(_source(_steps(1, 2, 3, 1)), suite)
    assert [(each.expectation.id, each.unexpected) for each in result.failed] == [("key_unique", 1)]


def test_an_empty_table_holds_everything() -> None:
    result = check(_source(CORE_STEP.arrow_schema().empty_table()), STEPS)
    assert result.success
    assert [each.evaluated for each in result.results] == [0, 0]


def test_keys_come_only_when_asked_for_and_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gx, "KEYS_KEPT", 3)
    monkeypatch.setattr(gx, "BATCH_ROWS", 2)
    source = _source(_steps(-1, 5, -2, -3, -4))
    assert check(source, STEPS).results[0].keys == ()
    kept = check(source, STEPS, with_keys=True).results[0]
    assert (kept.unexpected, kept.keys) == (4, (("d-1", -1), ("d-2", -2), ("d-3", -3)))


def test_keys_of_a_query_are_what_it_lists() -> None:
    query = "SELECT dossier_key FROM core_step WHERE step_no < 0"
    each = Expectation(id="q", group="identities", severity="warning", vi="vi", en="en", query=query)
    result = check(_source(_steps(1, -1)), Suite(table=CORE_STEP, expectations=(each,)), with_keys=True)
    assert result.results[0].keys == (("d-1",),)
    assert result.is_fit, "a warning does not make a table unfit"


def test_no_cell_value_leaves() -> None:
    wanted = _step("month", "expect_column_values_to_match_regex", column="lake_month", regex=r"^\d{4}-\d{2}$")
    suite = Suite(table=CORE_STEP, expectations=(wanted,))
    result = check(_source(_steps(1, 2)), suite)
    assert result.results[0].unexpected == 2
    assert SECRET not in repr(result)


def test_a_crash_is_not_a_failure_and_quotes_no_cell() -> None:
    senseless = _step("senseless", "expect_column_values_to_be_between", column="lake_month", min_value=0)
    with pytest.raises(CheckCrashedError, match=r"senseless could not be evaluated \(TypeError\)") as error:
        check(_source(_steps(1)), Suite(table=CORE_STEP, expectations=(RANGE, senseless)))
    assert SECRET not in str(error.value)


ODD = Table(
    name="odd",
    vi="Lạ",
    en="Odd",
    columns=(
        Column(name="id", type=COUNT, vi="Mã", en="Id", nullable=False),
        Column(name="word", type=TEXT, vi="Chữ", en="Word"),
        Column(name="share", type=RATE, vi="Phần", en="Share"),
        Column(name="number", type=COUNT, vi="Số", en="Number"),
        Column(name="least", type=COUNT, vi="Ít nhất", en="Least"),
        Column(name="flag", type=FLAG, vi="Cờ", en="Flag"),
        Column(name="day", type=DAY, vi="Ngày", en="Day"),
        Column(name="last", type=DAY, vi="Ngày cuối", en="Last day"),
    ),
    key=("id",),
)
WHENS = (
    None,
    ("word", "==", "a'b"),
    ("word", "!=", "a'b"),
    ("word", "IN", ["c", "d"]),
    ("number", "==", 0),
    ("number", ">", 0),
    ("number", "<=", 1),
    ("flag", "==", True),
    ("flag", "==", False),
    ("share", ">=", 0.5),
)


def _every_kind() -> tuple[Expectation, ...]:
    made = []
    for number, when in enumerate(WHENS):
        for column in ("word", "share", "number", "flag", "day"):
            for kind in ("not_be_null", "be_null"):
                each = _step(f"{column}_{kind}_{number}", f"expect_column_values_to_{kind}", column=column)
                made.append(replace(each, when=when))
        for column, values in (("word", ["a'b", "c"]), ("number", [0, 1]), ("flag", [True])):
            for kind in ("be_in_set", "not_be_in_set"):
                each = _step(
                    f"{column}_{kind}_{number}", f"expect_column_values_to_{kind}", column=column, value_set=values
                )
                made.append(replace(each, when=when))
        kind = "expect_column_values_to_be_between"
        for bounds in ({"min_value": 1}, {"max_value": 1}, {"min_value": 1, "max_value": 1}):
            each = _step(f"between_{len(made)}", kind, column="number", **bounds)
            made.append(replace(each, when=when))
        kind = "expect_column_pair_values_a_to_be_greater_than_b"
        for ignored in (None, "both_values_are_missing", "either_value_is_missing", "neither"):
            for a, b in (("number", "least"), ("day", "last")):
                pair = {"column_A": a, "column_B": b, "or_equal": True}
                pair |= {"ignore_row_if": ignored} if ignored else {}
                made.append(replace(_step(f"pair_{len(made)}", kind, **pair), when=when))
        # Digits of every script, and a line end before the end of the text, are Python's own.
        patterns = ("^[a-c]$", r"^(?:\w'?\w?)?$", "^(?:a'b|[cd])?$", "[^a]", r"^(?:\d{4}-\d{2})?$", r"^(?:.|\s)*$")
        for pattern in patterns:
            each = _step(f"regex_{len(made)}", "expect_column_values_to_match_regex", column="word", regex=pattern)
            made.append(replace(each, when=when))
    return tuple(made)


@pytest.mark.slow
def test_what_duckdb_counts_is_what_great_expectations_counts_row_by_row() -> None:
    draw = random.Random(7)
    columns: dict[str, list[Any]] = {
        "word": [None, "a'b", "c", "d", "", "c\n", "2026-10", "٢٠٢٦-١٠", "2026-10\n"],
        "share": [None, math.nan, 0.0, 0.5, 1.0],
        "number": [None, 0, 1, 2],
        "least": [None, 0, 1, 2],
        "flag": [None, True, False],
        "day": [None, date(2026, 1, 1), date(2026, 2, 1)],
        "last": [None, date(2026, 1, 1), date(2026, 2, 1)],
    }
    rows = pa.Table.from_pylist(
        [{"id": n} | {name: draw.choice(values) for name, values in columns.items()} for n in range(200)],
        schema=ODD.arrow_schema(),
    )
    connection = connect()
    connection.register("odd", rows)
    suite = Suite(table=ODD, expectations=_every_kind())
    ours = check(Source(connection, ODD.arrow_schema()), suite, with_keys=True)
    theirs = validate([rows], suite, with_keys=True)
    for one, other in zip(ours.results, theirs.results, strict=True):
        assert (one.evaluated, one.unexpected, one.success) == (other.evaluated, other.unexpected, other.success), one
        assert set(one.keys) == set(other.keys)


def test_a_column_of_another_type_crashes_the_check_and_is_not_quoted() -> None:
    connection = connect()
    connection.register("odd", pa.table({"id": [1], "number": [SECRET], "word": ["c"]}))
    each = replace(_step("word", "expect_column_values_to_not_be_null", column="word"), when=("number", ">", 0))
    with pytest.raises(CheckCrashedError, match="word could not be evaluated") as error:
        check(Source(connection, ODD.arrow_schema()), Suite(table=ODD, expectations=(each,)))
    assert SECRET not in str(error.value)
    assert error.value.__suppress_context__


def test_results_are_plain_python() -> None:
    for each in check(_source(_steps(1, -1)), STEPS, with_keys=True).results:
        assert type(each.evaluated) is int
        assert type(each.unexpected) is int
        assert type(each.success) is bool


def test_the_stored_schema_is_held_against_the_declaration(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    suite = load_suite(CORE_DOSSIER)
    assert check_schema(from_lake(lake, suite), CORE_DOSSIER)[0].success, "never written: nothing differs"
    lake.append(CORE_DOSSIER, good_rows(CORE_DOSSIER))
    result, differing = check_schema(from_lake(lake, suite), CORE_DOSSIER)
    assert (result.success, differing.num_rows) == (True, 0)


def test_columns_missing_besides_or_of_another_type_are_named(tmp_path: Path) -> None:
    lake = Lake(str(tmp_path))
    rows = good_rows(CORE_CROSSWALK).drop_columns(["rule"]).append_column("full_name", pa.array([SECRET] * 3))
    rows = rows.set_column(0, "source", pa.array([1, 2, 3], pa.int64()))
    write_deltalake(lake.uri(CORE_CROSSWALK), rows)
    source = Source(connect(), pa.schema(lake.open(CORE_CROSSWALK).schema().to_arrow()))  # type: ignore[union-attr]
    result, differing = check_schema(source, CORE_CROSSWALK)
    assert result.results[0].unexpected == 3
    assert differing.to_pylist() == [
        {"column": "source", "declared": "string", "stored": "int64"},
        {"column": "rule", "declared": "string", "stored": "(missing)"},
        {"column": "full_name", "declared": "(missing)", "stored": "string"},
    ]


def test_how_a_writer_lays_out_text_and_lists_is_no_difference() -> None:
    stored = pa.schema(
        [
            field.with_type(pa.large_string()) if field.type == pa.string() else field
            for field in CORE_UNIT.arrow_schema()
        ]
    )
    frame = schema_frame(CORE_UNIT, stored)
    assert frame["declared"].equals(frame["stored"])


def test_great_expectations_is_imported_only_when_a_check_runs() -> None:
    modules = "expectations.checks, expectations.gx, expectations.suites, assets.scorecards.verdicts"
    program = f"import sys, {modules}, assets.scorecards.scorecard; sys.exit('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.slow
def test_nothing_is_sent_or_drawn_while_it_runs() -> None:
    program = (
        "import os, socket\n"
        "def refuse(*args, **kwargs): os._exit(9)\n"
        "socket.getaddrinfo = socket.socket.connect = refuse\n"
        "from tests.expectations.test_gx import STEPS, _steps\n"
        "from expectations.gx import validate\n"
        "validate([_steps(1)], STEPS)\n"
        "assert os.environ['GX_ANALYTICS_ENABLED'] == 'false'\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, cwd=root)
    assert "Calculating Metrics" not in done.stdout + done.stderr

"""Running suites with Great Expectations.

Belongs here: feeding frames to Great Expectations and adding up what it found, as plain Python. Does
not belong here: what must hold (`expectations/suites/`), or how Dagster shows it
(`expectations/checks.py`).

Three manners, each for a reason:

- Great Expectations is imported inside the functions that need it: the import takes five seconds,
  and every process that loads the definitions would pay for it.
- Only counts and opaque keys leave: a result of Great Expectations also carries cell values, and
  those would end up in an event log that nobody can erase.
- Rows are judged in batches, so memory does not grow with the table. That is sound because only
  row-wise types are allowed in suites: their counts add up. What looks across rows (a unique key,
  sums that must agree, a twin in another table) is a query, counted by DuckDB over the whole table;
  Great Expectations then judges the small frame of those counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import duckdb
import pandas as pd
import pyarrow as pa

from expectations.suites import Expectation, Suite
from warehouse.lake import Lake
from warehouse.schema import Table

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition

BATCH_ROWS = 250_000
#: Keys of failing rows that are kept per expectation.
KEYS_KEPT = 1000
_MISSING = "(missing)"

SCHEMA_EXPECTATION = Expectation(
    id="schema",
    group="schema",
    severity="critical",
    type="expect_column_pair_values_to_be_equal",
    kwargs={"column_A": "declared", "column_B": "stored", "ignore_row_if": "neither"},
    vi="Tên và kiểu cột phải đúng như khai báo, không thừa, không thiếu",
    en="Names and types of columns are as declared, none missing and none besides",
)


class CheckCrashedError(RuntimeError):
    """An expectation could not be evaluated: the check is broken, which says nothing of the data."""


@dataclass(frozen=True, kw_only=True)
class ExpectationResult:
    """What came of one expectation: rows judged, rows that break it, and the keys of some of those.

    `keys` are the table's key columns in declared order, at most `KEYS_KEPT`; for a query they are
    the columns that it lists.
    """

    expectation: Expectation
    evaluated: int
    unexpected: int
    keys: tuple[tuple[Any, ...], ...] = ()

    @property
    def success(self) -> bool:
        """Whether it holds."""
        return self.unexpected == 0


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """What came of a suite, in the order of its expectations."""

    table: str
    results: tuple[ExpectationResult, ...]

    @property
    def success(self) -> bool:
        """Whether everything holds."""
        return not self.failed

    @property
    def failed(self) -> tuple[ExpectationResult, ...]:
        """What does not hold."""
        return tuple(result for result in self.results if not result.success)

    @property
    def is_fit(self) -> bool:
        """Whether the table may be built upon: nothing critical failed."""
        return all(result.expectation.severity != "critical" for result in self.failed)


@dataclass(frozen=True)
class Source:
    """What is checked: a connection on which the suite's tables are views, and the schema as stored."""

    connection: duckdb.DuckDBPyConnection
    stored: pa.Schema

    def batches(self, table: Table, columns: Sequence[str]) -> Iterator[pa.Table]:
        """The named columns of `table` in batches of at most `BATCH_ROWS` rows, as few as that allows.

        DuckDB hands out the rows file by file; a table of many small files would otherwise be judged
        in as many batches, and a batch costs a quarter of a second however few rows it has.
        """
        names = ", ".join(f'"{name}"' for name in columns)
        waiting: list[pa.RecordBatch] = []
        for batch in self.connection.sql(f'SELECT {names} FROM "{table.name}"').to_arrow_reader(BATCH_ROWS):
            if waiting and sum(each.num_rows for each in waiting) + batch.num_rows > BATCH_ROWS:
                yield pa.Table.from_batches(waiting)
                waiting = []
            if batch.num_rows:
                waiting.append(batch)
        if waiting:
            yield pa.Table.from_batches(waiting)


def from_lake(lake: Lake, suite: Suite) -> Source:
    """The suite's tables in their newest version; a table never written is empty and as declared."""
    opened = lake.open(suite.table)
    stored = suite.table.arrow_schema() if opened is None else pa.schema(opened.schema().to_arrow())
    return Source(lake.connect(suite.table, *suite.reads), stored)


def check(source: Source, suite: Suite, *, with_keys: bool = False) -> SuiteResult:
    """Evaluate all of `suite` on `source`.

    With `with_keys` the keys of failing rows come along, for a table that is protected itself; they
    must not be shown where cell values must not be. Raises `CheckCrashedError` when an expectation cannot
    be evaluated.
    """
    names = suite.table.column_names
    rowwise = tuple(each for each in suite.expectations if each.type)
    wanted = {name for each in rowwise for name in each.reads} | set(suite.table.key if with_keys else ())
    columns = [name for name in names if name in wanted]
    found: dict[str, ExpectationResult] = {}
    if rowwise:
        by_row = Suite(table=suite.table, expectations=rowwise)
        found |= _by_id(validate(source.batches(suite.table, columns), by_row, with_keys=with_keys))
    found |= _by_id(_check_queries(source, suite, with_keys=with_keys))
    ordered = tuple(found[each.id] for each in suite.expectations)
    return SuiteResult(table=suite.table.name, results=ordered)


def check_schema(source: Source, table: Table) -> tuple[SuiteResult, pa.Table]:
    """Hold the stored names and types against the declaration; returns the columns that differ too."""
    frame = schema_frame(table, source.stored)
    result = validate([frame], Suite(table=table, expectations=(SCHEMA_EXPECTATION,)))
    differing = [row for row in frame.to_pylist() if row["declared"] != row["stored"]]
    return result, pa.Table.from_pylist(differing, schema=frame.schema)


def schema_frame(table: Table, stored: pa.Schema) -> pa.Table:
    """One row per column: its declared and its stored type as text, or "(missing)".

    Offsets of 32 or 64 bits and views are one type here: that choice is the writer's, and no reader
    of the file sees it.
    """
    declared = {field.name: _type_name(field.type) for field in table.arrow_schema()}
    found = {field.name: _type_name(field.type) for field in stored}
    names = list(dict.fromkeys([*declared, *found]))
    return pa.table(
        {
            "column": names,
            "declared": [declared.get(name, _MISSING) for name in names],
            "stored": [found.get(name, _MISSING) for name in names],
        }
    )


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"list<{_type_name(kind.value_type)}>"
    if pa.types.is_struct(kind):
        return f"struct<{', '.join(f'{child.name}: {_type_name(child.type)}' for child in kind)}>"
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    return str(kind)


def validate(frame_batches: Iterable[pa.Table], suite: Suite, *, with_keys: bool = False) -> SuiteResult:
    """Judge the row-wise expectations of `suite` on batches of one table, and add up the counts.

    Each batch holds at least the columns that the expectations read, and the table's key when
    `with_keys`. Expectations with a query are not for this function. Raises `CheckCrashedError`.
    """
    definition = _batch_definition()
    tally = {each.id: _Tally() for each in suite.expectations}
    for batch in frame_batches:
        # Days as datetime64 and not as Python objects: forty times faster to compare.
        frame = batch.to_pandas(date_as_object=False)
        failed = _judge(definition, frame, suite.expectations, tally)
        if with_keys and failed:
            _collect_keys(definition, frame, failed, suite.table.key, tally)
    results = tuple(
        ExpectationResult(
            expectation=each,
            evaluated=tally[each.id].evaluated,
            unexpected=tally[each.id].unexpected,
            keys=tuple(tally[each.id].keys),
        )
        for each in suite.expectations
    )
    return SuiteResult(table=suite.table.name, results=results)


class _Tally:
    def __init__(self) -> None:
        self.evaluated = 0
        self.unexpected = 0
        self.keys: list[tuple[Any, ...]] = []


def _batch_definition() -> BatchDefinition[Any]:
    """A fresh, silent context; nothing is written to disk and nothing is sent anywhere."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx  # noqa: PLC0415  (five seconds)
    from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    return (
        context.data_sources.add_pandas("frames")
        .add_dataframe_asset("frame")
        .add_batch_definition_whole_dataframe("all")
    )


def _run(
    definition: BatchDefinition[Any],
    frame: pd.DataFrame,
    expectations: Iterable[Expectation],
    keys: Sequence[str] = (),
) -> list[tuple[str, Any]]:
    """Great Expectations' own results beside our ids; it answers in an order of its own."""
    import great_expectations as gx  # noqa: PLC0415  (five seconds)
    from great_expectations.expectations.registry import get_expectation_impl  # noqa: PLC0415
    from great_expectations.expectations.row_conditions import (  # noqa: PLC0415
        Column,
        ComparisonCondition,
        Operator,
    )

    built = []
    for each in expectations:
        kwargs = dict(each.kwargs)
        if each.when:
            column, operator, value = each.when
            condition = ComparisonCondition(column=Column(column), operator=Operator(operator), parameter=value)
            kwargs["row_condition"] = condition
        built.append(get_expectation_impl(cast("str", each.type))(**kwargs, meta={"id": each.id}))
    result_format: dict[str, Any] = {"result_format": "SUMMARY"}
    if keys:
        result_format |= {"unexpected_index_column_names": list(keys), "partial_unexpected_count": KEYS_KEPT}
    batch = definition.get_batch({"dataframe": frame})
    answer = batch.validate(gx.ExpectationSuite(name="suite", expectations=built), result_format=result_format)
    return [(cast("Any", result.expectation_config).meta["id"], result) for result in answer.results]


def _judge(
    definition: BatchDefinition[Any],
    frame: pd.DataFrame,
    expectations: Sequence[Expectation],
    tally: dict[str, _Tally],
) -> list[Expectation]:
    """Add the counts of one batch to `tally`; returns what failed on it."""
    failed = set()
    for name, result in _run(definition, frame, expectations):
        _refuse_crash(name, result)
        tally[name].evaluated += int(result.result["element_count"]) - int(result.result.get("missing_count") or 0)
        tally[name].unexpected += int(result.result["unexpected_count"])
        if not result.success:
            failed.add(name)
    return [each for each in expectations if each.id in failed]


def _refuse_crash(name: str, result: Any) -> None:
    """Great Expectations turns an exception into "not successful"; turn it back.

    Its message may quote a cell, so only the kind of the exception is told.
    """
    info = result.exception_info or {}
    crashes = [info] if "raised_exception" in info else list(info.values())
    raised = [crash for crash in crashes if crash["raised_exception"]]
    if raised:
        # The first exception of the traceback is the cause, the later ones wrap it.
        kinds = re.findall(
            r"^(?:[\w.]+\.)?(\w+(?:Error|Exception))\b", raised[0]["exception_traceback"] or "", re.MULTILINE
        )
        raise CheckCrashedError(
            f"expectation {name} could not be evaluated ({kinds[0] if kinds else 'unknown error'}): "
            "a column is missing or has a type that it cannot judge; look at the schema check first"
        )


def _collect_keys(
    definition: BatchDefinition[Any],
    frame: pd.DataFrame,
    failed: Sequence[Expectation],
    key: Sequence[str],
    tally: dict[str, _Tally],
) -> None:
    """Run the failed expectations again for keys: asking for them in the first run is six times slower."""
    for name, result in _run(definition, frame, failed, key):
        room = KEYS_KEPT - len(tally[name].keys)
        for row in result.result.get("partial_unexpected_index_list", [])[:room]:
            tally[name].keys.append(tuple(row[column] for column in key))


def _check_queries(source: Source, suite: Suite, *, with_keys: bool) -> SuiteResult:
    """Count each query's offences in DuckDB, then let Great Expectations judge the counts."""
    asked = [each for each in suite.expectations if each.query]
    if not asked:
        return SuiteResult(table=suite.table.name, results=())
    offences = {each.id: _count(source, each) for each in asked}
    total = _scalar(source, f'SELECT count(*) FROM "{suite.table.name}"')
    judged = _by_id(validate([_counts_frame(offences)], _none_allowed(suite.table, asked)))
    results = []
    for each in asked:
        unexpected = offences[each.id] if not judged[each.id].success else 0
        keys = _keys(source, each) if unexpected and with_keys else ()
        results.append(ExpectationResult(expectation=each, evaluated=total, unexpected=unexpected, keys=keys))
    return SuiteResult(table=suite.table.name, results=tuple(results))


def _counts_frame(offences: dict[str, int]) -> pa.Table:
    return pa.table({name: pa.array([count], pa.int64()) for name, count in offences.items()})


def _none_allowed(table: Table, asked: Iterable[Expectation]) -> Suite:
    """Each count must be 0; a count is never null, so the range is safe without a twin."""
    judged = tuple(
        Expectation(
            id=each.id,
            group=each.group,
            severity=each.severity,
            vi=each.vi,
            en=each.en,
            type="expect_column_values_to_be_between",
            kwargs={"column": each.id, "min_value": 0, "max_value": 0},
        )
        for each in asked
    )
    return Suite(table=table, expectations=judged)


def _count(source: Source, expectation: Expectation) -> int:
    return _scalar(source, f"SELECT count(*) FROM ({expectation.query})")


def _scalar(source: Source, query: str) -> int:
    row = source.connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _keys(source: Source, expectation: Expectation) -> tuple[tuple[Any, ...], ...]:
    rows = source.connection.execute(f"SELECT * FROM ({expectation.query}) ORDER BY ALL LIMIT {KEYS_KEPT}").fetchall()
    return tuple(tuple(row) for row in rows)


def _by_id(result: SuiteResult) -> dict[str, ExpectationResult]:
    return {each.expectation.id: each for each in result.results}

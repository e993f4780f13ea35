"""Running suites with Great Expectations.

Belongs here: feeding frames to Great Expectations and adding up what it found, as plain Python. Does
not belong here: what must hold (`expectations/suites/`), or how Dagster shows it
(`expectations/checks.py`).

Four manners, each for a reason:

- Great Expectations is imported inside the functions that need it: the import takes five seconds,
  and every process that loads the definitions would pay for it.
- Only counts and opaque keys leave: a result of Great Expectations also carries cell values, and
  those would end up in an event log that nobody can erase.
- Rows are judged in batches, so memory does not grow with the table. That is sound because only
  row-wise types are allowed in suites: their counts add up. What looks across rows (a unique key,
  sums that must agree, a twin in another table) is a query, counted by DuckDB over the whole table;
  Great Expectations then judges the small frame of those counts.
- Great Expectations takes ten milliseconds for an expectation and fifty for a frame, however few rows
  there are, and a hundred times what DuckDB takes for a row. So a table is judged in one go and not group by group,
  and whatever means the same in SQL (nulls, closed lists, ranges of whole numbers, instants in order) is counted by
  DuckDB in one pass and judged with the queries' counts. Patterns are counted so too, as long as nothing breaks
  them: what fits DuckDB's regular expressions fits Python's (`_PLAIN`), and where something does not fit, Great
  Expectations judges.
"""

from __future__ import annotations

import functools
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
_NOT_NULL, _NULL = "expect_column_values_to_not_be_null", "expect_column_values_to_be_null"
_IN_SET, _NOT_IN_SET = "expect_column_values_to_be_in_set", "expect_column_values_to_not_be_in_set"
_AT_LEAST = "expect_column_pair_values_a_to_be_greater_than_b"
_BETWEEN, _REGEX = "expect_column_values_to_be_between", "expect_column_values_to_match_regex"
#: Patterns made of what DuckDB takes no wider than Python: letters, digits, some signs, positive classes of them,
#: groups, choices, counts and anchors. (Python's digits are those of every script, its $ lets a line's end follow.)
_PLAIN = re.compile(r"(?:[A-Za-z0-9 \-:/_]|\\[d./+-]|\[[A-Za-z0-9+-]+\]|\(\?:|[)?|^$]|\{\d+(?:,\d+)?\})*")
#: Comparisons in SQL that let no null through, in SQL or in pandas.
_COMPARED = {"==": "IN", "IN": "IN", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
#: Great Expectations holds one frame at a time in the context that all checks share.
_ONE_AT_A_TIME = threading.Lock()

SCHEMA_EXPECTATION = Expectation(
    id="schema",
    group="schema",
    severity="critical",
    type="expect_column_pair_values_to_be_equal",
    kwargs={"column_A": "declared", "column_B": "stored", "ignore_row_if": "neither"},
    vi="Tên và kiểu cột phải đúng như khai báo, không thừa, không thiếu",
    en="Names and types of columns are as declared, none missing and none besides",
)

#: What is expected of each row of the frame of counts; a count is never null, so the range needs no twin.
NO_OFFENCES = Expectation(
    id="no_offences",
    group="identities",
    severity="critical",
    type="expect_column_values_to_be_between",
    kwargs={"column": "offences", "min_value": 0, "max_value": 0},
    vi="Không dòng nào vi phạm",
    en="No row breaks the rule",
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

    def group(self, name: str) -> SuiteResult:
        """The same with one group of expectations only."""
        return replace(self, results=tuple(each for each in self.results if each.expectation.group == name))

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
    counted = {each.id: sql for each in suite.expectations if each.type and (sql := _offence(suite.table, each))}
    counts = _count_rows(source, suite.table, counted)
    # A text that breaks a pattern here may still keep it in Python.
    doubted = {each.id for each in suite.expectations if each.type == _REGEX and counts.get(each.id, (0, 0))[1]}
    counted = {name: sql for name, sql in counted.items() if name not in doubted}
    rowwise = tuple(each for each in suite.expectations if each.type and each.id not in counted)
    others = [each for each in suite.expectations if each not in rowwise]
    wanted = {name for each in rowwise for name in each.reads} | set(suite.table.key if with_keys else ())
    columns = [name for name in suite.table.column_names if name in wanted]
    found: dict[str, ExpectationResult] = {}
    if rowwise:
        by_row = Suite(table=suite.table, expectations=rowwise)
        found |= _by_id(validate(source.batches(suite.table, columns), by_row, with_keys=with_keys))
    if others:
        known = {name: counts[name] for name in counted}
        found |= _by_id(_check_counts(source, suite.table, counted, known, others, with_keys=with_keys))
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


@functools.cache
def _batch_definition() -> BatchDefinition[Any]:
    """The process's silent context; nothing is written to disk and nothing is sent anywhere."""
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
    with _ONE_AT_A_TIME:
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
        raise _crashed(name, kinds[0] if kinds else "unknown error")


def _crashed(name: str, kind: str) -> CheckCrashedError:
    return CheckCrashedError(
        f"expectation {name} could not be evaluated ({kind}): "
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


def _check_counts(
    source: Source,
    table: Table,
    counted: Mapping[str, _Offence],
    known: Mapping[str, tuple[int, int]],
    asked: Sequence[Expectation],
    *,
    with_keys: bool,
) -> SuiteResult:
    """Count the offences that queries list beside those `known`, then let Great Expectations judge the counts."""
    counts = dict(known)
    total = _scalar(source, f'SELECT count(*) FROM "{table.name}"', table.name)
    for each in asked:
        if each.query:
            counts[each.id] = (total, _scalar(source, f"SELECT count(*) FROM ({each.query})", each.id))
    broken = _judge_counts({name: offences for name, (_, offences) in counts.items()})
    results = []
    for each in asked:
        evaluated, offences = counts[each.id]
        unexpected = offences if each.id in broken else 0
        query = each.query or counted[each.id].listing(table)
        keys = _keys(source, query) if unexpected and with_keys else ()
        results.append(ExpectationResult(expectation=each, evaluated=evaluated, unexpected=unexpected, keys=keys))
    return SuiteResult(table=table.name, results=tuple(results))


@dataclass(frozen=True)
class _Offence:
    """Which rows an expectation judges and which of those break it, as SQL conditions."""

    judged: str
    broken: str

    def listing(self, table: Table) -> str:
        """A query for the keys of the rows that break it."""
        key = ", ".join(f'"{name}"' for name in table.key)
        return f'SELECT {key} FROM "{table.name}" WHERE {self.judged} AND {self.broken}'


def _offence(table: Table, expectation: Expectation) -> _Offence | None:
    """The expectation as conditions that mean in SQL what they mean to Great Expectations, None where they might not.

    Those are nulls, closed lists, ranges of whole numbers, plain patterns and columns in order, of all rows or of those
    where a column compares to a value of its type.
    """
    when = _condition(table, expectation.when) if expectation.when else "true"
    if when is not None and expectation.type == _AT_LEAST:
        return _pair_offence(table, expectation, when)
    if when is None or expectation.type not in (_NOT_NULL, _NULL, _IN_SET, _NOT_IN_SET, _BETWEEN, _REGEX):
        return None
    name = str(expectation.kwargs["column"])
    kind = table.arrow_schema().field(name).type
    if expectation.type not in (_NOT_NULL, _NULL):
        kept = _kept(f'"{name}"', kind, expectation)
        return None if kept is None else _Offence(f'{when} AND "{name}" IS NOT NULL', f"NOT ({kept})")
    is_null = f'"{name}" IS NULL'
    if pa.types.is_floating(kind):
        is_null = f'({is_null} OR isnan("{name}"))'  # as in pandas
    return _Offence(when, is_null if expectation.type == _NOT_NULL else f"NOT {is_null}")


#: Which rows of a pair of columns are judged; Great Expectations takes the first when nothing is said.
_JUDGED = {
    "both_values_are_missing": '("{a}" IS NOT NULL OR "{b}" IS NOT NULL)',
    "either_value_is_missing": '"{a}" IS NOT NULL AND "{b}" IS NOT NULL',
    "neither": "true",
}


def _pair_offence(table: Table, expectation: Expectation, when: str) -> _Offence | None:
    """One column at least another of its type; where one is missing and the row is judged, it is not."""
    said = dict(expectation.kwargs)
    a, b = (str(said.pop(name)) for name in ("column_A", "column_B"))
    judged = _JUDGED.get(str(said.pop("ignore_row_if", "both_values_are_missing")))
    kinds = {table.arrow_schema().field(name).type for name in (a, b)}
    kind = next(iter(kinds))
    is_ordered = pa.types.is_integer(kind) or pa.types.is_temporal(kind)
    if len(kinds) > 1 or not is_ordered or judged is None or said != {"or_equal": True}:
        return None
    return _Offence(f"{when} AND {judged.format(a=a, b=b)}", f'NOT coalesce("{a}" >= "{b}", false)')


def _kept(column: str, kind: pa.DataType, expectation: Expectation) -> str | None:
    """What a value that is there must be, in SQL."""
    said = {name: value for name, value in expectation.kwargs.items() if name != "column" and value is not None}
    wanted = _python_type(kind)
    if expectation.type == _REGEX:
        pattern = str(said.pop("regex"))
        is_plain = wanted is str and not said and _PLAIN.fullmatch(pattern)
        return f"regexp_matches({column}, {_literal(pattern)})" if is_plain else None
    values = said.pop("value_set", [*said.values()])
    if wanted is None or any(type(value) is not wanted for value in values):
        return None
    if expectation.type in (_IN_SET, _NOT_IN_SET):
        is_in = "IN" if expectation.type == _IN_SET else "NOT IN"
        return f"{column} {is_in} ({', '.join(map(_literal, values))})" if values and not said else None
    bounds = {"min_value": ">=", "max_value": "<="}
    if wanted is not int or not said or set(said) - set(bounds):
        return None
    return " AND ".join(f"{column} {bounds[name]} {_literal(value)}" for name, value in said.items())


def _condition(table: Table, when: tuple[str, str, Any]) -> str | None:
    """`when` in SQL, None where a null or another type might compare in another way than in pandas."""
    name, operator, value = when
    kind = table.arrow_schema().field(name).type
    values = value if operator == "IN" else [value]
    if operator == "!=" and pa.types.is_string(kind) and isinstance(value, str):
        return f'"{name}" IS DISTINCT FROM {_literal(value)}'  # a text that is missing is another one
    wanted = _python_type(kind)
    if operator not in _COMPARED or wanted is None:
        return None
    if any(type(each) is not wanted for each in values):
        return None
    literals = ", ".join(map(_literal, values))
    return f'coalesce("{name}" {_COMPARED[operator]} ({literals}), false)'


def _python_type(kind: pa.DataType) -> type | None:
    if pa.types.is_string(kind):
        return str
    if pa.types.is_boolean(kind):
        return bool
    return int if pa.types.is_integer(kind) else None


def _literal(value: str | int) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def _count_rows(source: Source, table: Table, counted: Mapping[str, _Offence]) -> dict[str, tuple[int, int]]:
    """How many rows each judges and how many of them break it; one pass over the table."""
    if not counted:
        return {}
    counts = ", ".join(
        f"count(*) FILTER (WHERE {each.judged}), count(*) FILTER (WHERE {each.judged} AND {each.broken})"
        for each in counted.values()
    )
    found = iter(_row(source, f'SELECT {counts} FROM "{table.name}"', next(iter(counted))))
    return {name: (next(found), next(found)) for name in counted}


def _judge_counts(offences: dict[str, int]) -> set[str]:
    """The ids of those expectations whose count Great Expectations finds wrong."""
    frame = pd.DataFrame({"expectation": list(offences), "offences": list(offences.values())})
    ((_, result),) = _run(_batch_definition(), frame, [NO_OFFENCES], keys=("expectation",))
    _refuse_crash(NO_OFFENCES.id, result)
    return {row["expectation"] for row in result.result.get("partial_unexpected_index_list", [])}


def _scalar(source: Source, query: str, name: str) -> int:
    return _row(source, query, name)[0]


def _row(source: Source, query: str, name: str) -> tuple[int, ...]:
    try:
        (row,) = source.connection.execute(query).fetchall()
    except duckdb.Error as error:
        # Its text may quote a cell.
        raise _crashed(name, type(error).__name__) from None
    return tuple(int(number) for number in row)


def _keys(source: Source, query: str) -> tuple[tuple[Any, ...], ...]:
    rows = source.connection.execute(f"SELECT * FROM ({query}) ORDER BY ALL LIMIT {KEYS_KEPT}").fetchall()
    return tuple(tuple(row) for row in rows)


def _by_id(result: SuiteResult) -> dict[str, ExpectationResult]:
    return {each.expectation.id: each for each in result.results}

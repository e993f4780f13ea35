"""Suites: what must hold of each table, as data (one YAML file per table beside this module).

Belongs here: what an expectation is, reading and checking the files, and the expectations that
follow from a table's declaration. Does not belong here: running them (`expectations/gx.py`) or
showing them (`expectations/checks.py`).

The declaration says names, types, keys, which columns are never null and which values are allowed;
those expectations are made from it and not written again. A file adds what the declaration cannot
say. An entry is either

- a Great Expectations type that judges row by row, with its kwargs; `when: [column, operator, value]`
  narrows it to some of the rows; or
- a `query` in DuckDB's SQL that lists the rows which break a rule, one line per offence, the
  columns being opaque keys. Its count is expected to be 0. Such a query can compare rows with each
  other and with the tables named under `reads`.

`mostly` is refused (it is a share of the rows that are not null, which hides both kinds of fault),
and so is a range, set or pattern over a column that may be null without a word on its nulls: Great
Expectations skips nulls there. Say so with a not-null expectation, or with `nulls:` and the reason
why null is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml

from warehouse.schema import Table
from warehouse.tables import TABLES

FOLDER = Path(__file__).parent
#: Tables that share one suite, by what their names begin with: one table per system connected by a profile. Their
#: queries write `{table}` for the name.
SHARED = ("raw_profiled", "raw_payments")
#: Groups in the order in which a reader asks: is it the right shape, is a row one thing, are the
#: values possible, do the numbers agree.
GROUPS = ("schema", "keys", "domains", "identities")
Group = Literal["schema", "keys", "domains", "identities"]
Severity = Literal["critical", "warning"]

_NOT_NULL = "expect_column_values_to_not_be_null"
#: Row by row, so that counts of batches can be added up, and each with how it treats nulls.
ROW_TYPES = {
    _NOT_NULL: "judges",
    "expect_column_values_to_be_null": "judges",
    "expect_column_values_to_be_between": "skips",
    "expect_column_values_to_be_in_set": "skips",
    "expect_column_values_to_not_be_in_set": "skips",
    "expect_column_values_to_match_regex": "skips",
    "expect_column_values_to_not_match_regex": "skips",
    "expect_column_pair_values_a_to_be_greater_than_b": "skips",
    "expect_column_pair_values_to_be_equal": "judges",
}
OPERATORS = ("==", "!=", "<", "<=", ">", ">=", "IN", "NOT_IN")
_KEYS = {"id", "group", "type", "kwargs", "when", "query", "severity", "vi", "en", "nulls"}


class SuiteError(ValueError):
    """A suite file cannot be used; the text names the file and the entry, one problem per line."""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """One thing that must hold: a row-wise Great Expectations type, or a query that lists offences."""

    id: str
    group: str
    severity: str
    vi: str
    en: str
    type: str | None = None
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    when: tuple[str, str, Any] | None = None
    query: str | None = None
    nulls: str | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that a row-wise expectation looks at, so that no other leaves the storage."""
        names = [str(self.kwargs[key]) for key in ("column", "column_A", "column_B") if key in self.kwargs]
        return tuple(dict.fromkeys([*names, *([self.when[0]] if self.when else [])]))


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Everything that must hold of one table; `reads` are other tables that its queries look into."""

    table: Table
    expectations: tuple[Expectation, ...]
    reads: tuple[Table, ...] = ()

    def group(self, name: str) -> Suite:
        """The same suite with one group of expectations only."""
        return replace(self, expectations=tuple(each for each in self.expectations if each.group == name))

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups that have an expectation; `schema` always has."""
        return tuple(name for name in GROUPS if name == "schema" or self.group(name).expectations)

    @property
    def is_integrity(self) -> bool:
        """Whether a failure makes the table unfit to go on with."""
        return any(each.severity == "critical" for each in self.expectations)


def load_suite(table: Table, *, folder: Path = FOLDER) -> Suite:
    """The suite of `table`: what its declaration implies, then what its file adds.

    Raises `SuiteError` with every problem of the file, each naming the entry.
    """
    shared = next((prefix for prefix in SHARED if table.name.startswith(f"{prefix}_")), None)
    path = folder / f"{shared or table.name}.yaml"
    if not path.is_file():
        raise SuiteError(f"{path.name}: no such suite; a table that is checked needs this file, even if it adds little")
    text = path.read_text(encoding="utf-8")
    content = yaml.safe_load(text.replace("{table}", table.name) if shared else text)
    if not isinstance(content, dict) or set(content) - {"reads", "expectations"}:
        raise SuiteError(f"{path.name}: the keys at the top must be `expectations` and, if needed, `reads`")
    problems: list[str] = []
    reads = _reads(path.name, content.get("reads") or [], problems)
    generated = declared_expectations(table)
    written = [_entry(path.name, number, entry, problems) for number, entry in enumerate(content["expectations"] or [])]
    added = [each for each in written if each is not None]
    problems += _wrong_together(path.name, table, [*generated, *added])
    if problems:
        raise SuiteError("\n".join(problems))
    return Suite(table=table, reads=reads, expectations=(*generated, *added))


def declared_expectations(table: Table) -> tuple[Expectation, ...]:
    """What the declaration of `table` implies: a unique key, columns never null, closed lists.

    The declared names and types are not here: they are judged on the stored schema, see
    `expectations.gx.schema_frame`.
    """
    key = ", ".join(f'"{name}"' for name in table.key)
    made = [
        Expectation(
            id="key_unique",
            group="keys",
            severity="critical",
            query=f'SELECT {key} FROM "{table.name}" GROUP BY {key} HAVING count(*) > 1',
            vi=f"Khóa {', '.join(table.key)} không được trùng",
            en=f"The key {', '.join(table.key)} is unique",
        )
    ]
    for column in table.columns:
        if not column.nullable:
            made.append(
                Expectation(
                    id=f"{column.name}_not_null",
                    group="keys" if column.name in table.key else "domains",
                    severity="critical",
                    type=_NOT_NULL,
                    kwargs={"column": column.name},
                    vi=f"{column.vi} ({column.name}) không được trống",
                    en=f"{column.name} is never null",
                )
            )
        if column.values:
            made.append(
                Expectation(
                    id=f"{column.name}_in_set",
                    group="domains",
                    severity="critical",
                    type="expect_column_values_to_be_in_set",
                    kwargs={"column": column.name, "value_set": list(column.values)},
                    nulls=f"khai báo cho phép: {column.vi}" if column.nullable else None,
                    vi=f"{column.vi} ({column.name}) phải là một trong: {', '.join(column.values)}",
                    en=f"{column.name} is one of {', '.join(column.values)}",
                )
            )
    return tuple(made)


def _reads(file: str, names: list[str], problems: list[str]) -> tuple[Table, ...]:
    problems += [f"{file}: reads: there is no table {name!r}" for name in names if name not in TABLES]
    return tuple(TABLES[name] for name in names if name in TABLES)


def _entry(file: str, number: int, entry: Any, problems: list[str]) -> Expectation | None:
    """The entry as an expectation, or None with what is wrong added to `problems`."""
    place = f"{file}: entry {number + 1} ({entry.get('id', 'without id') if isinstance(entry, dict) else entry})"
    if not isinstance(entry, dict):
        problems.append(f"{place}: expected a mapping")
        return None
    wrong = [f"unknown key {key!r}" for key in sorted(set(entry) - _KEYS)]
    wrong += [f"{key} is missing" for key in ("id", "group", "severity", "vi", "en") if not entry.get(key)]
    if entry.get("group") not in GROUPS:
        wrong.append(f"group must be one of {', '.join(GROUPS)}")
    if entry.get("severity") not in ("critical", "warning"):
        wrong.append("severity must be critical or warning")
    if bool(entry.get("type")) == bool(entry.get("query")):
        wrong.append("needs either a type or a query")
    if entry.get("type") and entry["type"] not in ROW_TYPES:
        wrong.append(f"type {entry['type']!r} does not judge row by row; use a query, or one of {', '.join(ROW_TYPES)}")
    if "mostly" in (entry.get("kwargs") or {}):
        wrong.append("mostly is not allowed: it is a share of the rows that are not null")
    wrong += _wrong_when(entry)
    problems += [f"{place}: {problem}" for problem in wrong]
    when = tuple(entry["when"]) if entry.get("when") and not wrong else None
    return None if wrong else Expectation(**entry | {"when": when})


def _wrong_when(entry: Mapping[str, Any]) -> list[str]:
    when = entry.get("when")
    if "row_condition" in (entry.get("kwargs") or {}):
        return ["row_condition is written as `when: [column, operator, value]`"]
    match when:
        case None:
            return []
        case [str(), operator, _] if operator in OPERATORS:
            return []
    return [f"when must be [column, operator, value] with an operator of {' '.join(OPERATORS)}"]


def _wrong_together(file: str, table: Table, expectations: list[Expectation]) -> list[str]:
    names = set(table.column_names)
    watched = {str(each.kwargs["column"]) for each in expectations if each.type == _NOT_NULL}
    problems = []
    seen: set[str] = set()
    for each in expectations:
        if each.id in seen:
            problems.append(f"{file}: {each.id}: this id is used twice (the declaration may already imply it)")
        seen.add(each.id)
        problems += [
            f"{file}: {each.id}: {table.name} has no column {name!r}" for name in each.reads if name not in names
        ]
        if each.type and ROW_TYPES[each.type] == "skips" and each.nulls is None:
            problems += [
                f"{file}: {each.id}: nulls of {name} would pass unseen; add a not-null expectation or say `nulls:`"
                for name in each.reads
                if name in names and name not in watched
            ]
    return problems

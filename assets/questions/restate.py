"""Figures as they were known on a day, as they are known now, and the dossiers between.

Belongs here: what a night reported, the same counted again from the facts of that night, what is counted
now, and every dossier whose membership changed meanwhile, with the facts that changed. Does not belong
here: finding the night and opening the lake at it (`past.py`), nor splitting a rate's change into units
(`explain.py`).

reported then + what the dossiers between changed = now, for every figure, exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib import resources
from typing import Any

import duckdb
import pyarrow as pa

from assets.indicators.definitions import Definition
from assets.indicators.evaluate import evaluate
from assets.periods import Period
from assets.questions.decisions import Judgement, Part, Question
from assets.questions.memberships import membership_sql
from warehouse.lake import Lake, connect, session
from warehouse.schema import INSTANT, Table
from warehouse.tables import CORE_CROSSWALK, CORE_DOSSIER, CORE_PAYMENT, OUT_INDICATOR

#: How a membership changed, in the words of an operator; several are joined by " + ".
CHANGE_VI: Mapping[str, str] = {
    "joined": "vào mẫu số",
    "left": "ra khỏi mẫu số",
    "gained": "vào tử số",
    "lost": "ra khỏi tử số",
    "moved_unit": "đổi đơn vị",
    "moved_month": "đổi tháng",
}
#: Divides files, or says the key again; not a fact of the dossier.
_NO_FACTS = frozenset({"lake_month", "dossier_key", "payment_no"})


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A numerator and denominator; both None where another system gave only a value, `rate`."""

    numerator: int | None
    denominator: int | None
    rate: float | None


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """One night as a question sees it: the lake as it left it, and the instant up to which it knew."""

    night: str
    as_of: datetime
    lake: Lake
    #: Fingerprints by "indicator/version" that it was counted with; None when nobody can say any more.
    definitions: Mapping[str, str] | None


@dataclass(frozen=True, kw_only=True)
class FieldChange:
    """A column of the conformed row that reads otherwise now."""

    field: str
    then: str | None
    now: str | None


@dataclass(frozen=True, kw_only=True)
class Changed:
    """A dossier (or payment) between two figures; flags say whether the period and unit asked for have it.

    `change` is made of the keys of `CHANGE_VI`. Without `fields` the facts are the same and only time has
    passed (a deadline came), unless it was not there then or is not there now (`known_then`, `known_now`;
    `other_key`: under which key its records were on the other night).
    """

    dossier_key: str
    payment_no: int | None
    change: str
    unit_then: str | None
    unit_now: str | None
    day_then: date | None
    day_now: date | None
    denominator_then: bool
    denominator_now: bool
    numerator_then: bool
    numerator_now: bool
    other_key: str | None
    known_then: bool
    known_now: bool
    fields: tuple[FieldChange, ...]
    #: What kept it out on the night on which it counted less.
    because: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Restated:
    """One indicator version: reported then, counted again from the facts of then, and now.

    `recomputed` and `dossiers` are empty for what is not counted from dossiers. `definition` says how the
    rule stood then: same, changed, absent, or unknown (the publication of that night is gone).
    """

    indicator: str
    version: str
    reported: Figure | None
    recomputed: Figure | None
    now: Figure | None
    definition: str
    is_counted: bool
    dossiers: tuple[Changed, ...]

    @property
    def changes(self) -> dict[str, int]:
        """How many dossiers changed in each way (one may in several)."""
        return dict(Counter(kind for one in self.dossiers for kind in one.change.split(" + ")))


@dataclass(frozen=True, kw_only=True)
class Restatement:
    """Figures of one period and unit (None: the province) at two nights."""

    then: Knowledge
    now: Knowledge
    period: Period
    unit_code: str | None
    figures: tuple[Restated, ...]


def restate(
    then: Knowledge,
    now: Knowledge,
    definitions: Sequence[Definition],
    *,
    period: Period,
    province_code: str,
    start_on: date,
    unit_code: str | None = None,
    indicator: str | None = None,
    version: str | None = None,
) -> Restatement:
    """Restate every figure of `period`, or of one indicator or version of it.

    `definitions` are today's rules of dossiers. Raises `VersionGoneError` when a table of the past night
    can no longer be read.
    """
    subject = _Subject(period, province_code, None if unit_code == province_code else unit_code)
    wanted = {one.key: one for one in definitions if indicator in (None, one.id) and version in (None, one.version)}
    reported, shown = (subject.figures(known.lake.read(OUT_INDICATOR)) for known in (then, now))
    recomputed = _recomputed(then, tuple(wanted.values()), subject, start_on) if wanted else {}
    connection = _both(then.lake, now.lake)
    figures = [
        Restated(
            indicator=key[0],
            version=key[1],
            reported=reported.get(key),
            recomputed=recomputed.get(key),
            now=shown.get(key),
            definition=_standing(wanted.get(key), then.definitions),
            is_counted=key in wanted,
            dossiers=_between(connection, wanted[key], (then, now), subject) if key in wanted else (),
        )
        for key in sorted({*wanted, *reported, *shown})
        if indicator in (None, key[0]) and version in (None, key[1])
    ]
    return Restatement(then=then, now=now, period=period, unit_code=subject.unit_code, figures=tuple(figures))


_Figures = dict[tuple[str, str], Figure]


@dataclass(frozen=True)
class _Subject:
    """Whose figures, and of when; without a unit the province's."""

    period: Period
    province_code: str
    unit_code: str | None

    def figures(self, rows: pa.Table) -> _Figures:
        """The figures of this subject among `out_indicator` rows."""
        connection = session()
        connection.register("indicator_rows", rows)
        found = connection.execute(
            "SELECT indicator, version, numerator, denominator, rate FROM indicator_rows "
            "WHERE boundaries = 'then' AND period = $kind AND period_start = $start AND scope = $scope "
            "AND unit_code = $unit",
            {
                "kind": self.period.kind,
                "start": self.period.start,
                "scope": "province" if self.unit_code is None else "unit",
                "unit": self.unit_code or self.province_code,
            },
        ).fetchall()
        return {(row[0], row[1]): Figure(numerator=row[2], denominator=row[3], rate=row[4]) for row in found}


def _recomputed(then: Knowledge, definitions: Sequence[Definition], subject: _Subject, start_on: date) -> _Figures:
    province_code = subject.province_code
    rows = evaluate(then.lake, definitions, province_code=province_code, as_of=then.as_of, start_on=start_on)
    return subject.figures(rows)


def _standing(definition: Definition | None, fingerprints: Mapping[str, str] | None) -> str:
    if definition is None or fingerprints is None:
        return "unknown"
    before = fingerprints.get(f"{definition.id}/{definition.version}")
    if before is None:
        return "absent"
    return "same" if before == definition.fingerprint else "changed"


def _both(then: Lake, now: Lake) -> duckdb.DuckDBPyConnection:
    """Both nights in one connection, in the schemas past and present."""
    connection = connect()
    for schema, lake in (("past", then), ("present", now)):
        connection.execute(f"CREATE SCHEMA {schema}")
        for table in (CORE_DOSSIER, CORE_PAYMENT, CORE_CROSSWALK):
            connection.execute(f"CREATE VIEW {schema}.{table.name} AS SELECT * FROM {lake.relation_sql(table)}")
    return connection


def _between(
    connection: duckdb.DuckDBPyConnection,
    definition: Definition,
    nights: tuple[Knowledge, Knowledge],
    subject: _Subject,
) -> tuple[Changed, ...]:
    for schema, known in zip(("past", "present"), nights, strict=True):
        query = membership_sql((definition,), as_of=known.as_of, kinds=(subject.period.kind,), schema=schema)
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE member_{schema} AS SELECT *, coalesce(payment_no, 0) AS item, "
            "event_on >= $first AND event_on < $end AND ($unit::VARCHAR IS NULL OR unit_code = $unit) AS in_period "
            f"FROM ({query})",
            {"first": subject.period.start, "end": subject.period.end, "unit": subject.unit_code},
        )
    text = resources.files("assets.questions").joinpath("changes.sql").read_text(encoding="utf-8")
    text = text.format(
        fields=_fields_sql(definition.table), known=_known_sql(definition.table), rows=_rows_sql(definition.table)
    )
    *preparing, asking = connection.extract_statements(text)
    for statement in preparing:
        connection.execute(statement)
    rows = connection.sql(asking.query).to_arrow_table().to_pylist()
    judged = [_judged(connection, definition, *one, subject) for one in zip(("past", "present"), nights, strict=True)]
    return tuple(_changed(row, *judged) for row in rows)


_Judged = Mapping[tuple[str, int | None], Judgement]


def _judged(
    connection: duckdb.DuckDBPyConnection, definition: Definition, schema: str, known: Knowledge, subject: _Subject
) -> _Judged:
    """Every changed dossier as the rule saw it on one night."""
    counted_for = subject.period.kind if definition.is_judged_at_period_end else None
    found = Question(definition, known.as_of, counted_for).judgements(connection, schema=schema, among="change")
    return {(one.dossier_key, one.payment_no): one for one in found}


def _rows_sql(table: Table) -> str:
    """The conformed rows of both nights beside a change; payments beside their dossier."""
    parts = []
    for letter, one in _compared(table):
        for schema in ("past", "present"):
            side = f"{letter}_{schema}"
            keys = " AND ".join(f"{side}.{name} = c.{name}" for name in one.key)
            held = f"SELECT * FROM {schema}.{one.name} SEMI JOIN change USING (dossier_key)"
            parts.append(f"LEFT JOIN ({held}) AS {side} ON {keys}")
    return "\n".join(parts)


def _known_sql(table: Table) -> str:
    """Whether the row that is counted was there on each night."""
    letter = _compared(table)[-1][0]
    sides = (("past", "then"), ("present", "now"))
    return ", ".join(f"{letter}_{schema}.dossier_key IS NOT NULL AS known_{night}" for schema, night in sides)


def _compared(table: Table) -> tuple[tuple[str, Table], ...]:
    """Which rows are compared, by the letter they have in the query: the dossier, and the payment counted."""
    return (("d", CORE_DOSSIER), ("f", CORE_PAYMENT)) if table is CORE_PAYMENT else (("d", CORE_DOSSIER),)


def _fields_sql(table: Table) -> str:
    """A list of {field, then, now} of what differs; nothing where the row is missing on one side."""
    pieces = []
    for letter, one in _compared(table):
        for column in one.columns:
            if column.name in _NO_FACTS:
                continue
            name = column.name if one is CORE_DOSSIER else f"{one.name}.{column.name}"
            before, after = (_text_sql(f"{letter}_{side}", column.name, column.type) for side in ("past", "present"))
            pieces.append(
                f"CASE WHEN {letter}_past.dossier_key = {letter}_present.dossier_key AND {before} IS DISTINCT FROM "
                f"{after} THEN struct_pack(field := '{name}', \"then\" := {before}, now := {after}) END"
            )
    return f"list_filter([{', '.join(pieces)}], lambda one: one IS NOT NULL)"


def _text_sql(side: str, name: str, kind: pa.DataType) -> str:
    """A value as text, instants in Vietnam's time."""
    column = f'{side}."{name}"'
    value = f"timezone('Asia/Ho_Chi_Minh', {column})" if kind == INSTANT else column
    return f"CAST({value} AS VARCHAR)"


def _changed(row: Mapping[str, Any], then: _Judged, now: _Judged) -> Changed:
    fields = tuple(FieldChange(**one) for one in row["fields"])
    was_less = row["change"].startswith("joined") or row["change"].endswith("gained")
    less = (then if was_less else now).get((row["dossier_key"], row["payment_no"]))
    return Changed(**{**row, "fields": fields}, because=less.against if less else ())

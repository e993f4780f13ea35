"""Which dossiers the sources disagree about, and whether a late one is late by everybody's dates.

Belongs here: what is compared, how much may differ, whose word stands, and running the queries of
`sql/reconciliation.sql`. Does not belong here: merging (`conform.py`), the sentences that explain a
finding (`reconciliation.csv`), nor which dossiers lose points (`assets/scorecards/worklist.py`).

A finding never changes a figure: figures follow the table of precedence. It says where another source
would have given another figure, so that the source can be mended.

Late is late by the national rule (indicators 2.2): more than one supplement, or the end (else `as_of`)
after the deadline. Its lateness is then asked of every system but the one that is believed for
handling: with that system's own end and promise,
- sync (đồng bộ): at least one of them makes it on time;
- real (thật): every one that has dates to say makes it late, or supplements alone make it late;
- one_source: no other system says an end or a promise.
A log that sends what waits (5, 6, 8) as finished (9) is not asked: its end is the sender's invention
(systems 3.4). Gia Lai found 61 % of its late dossiers to be of the first kind (operators, 09/2025).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import resources
from io import BytesIO
from typing import Literal

import duckdb
import pyarrow as pa
import pyarrow.csv as pa_csv

from assets.dossiers.precedence import PRECEDENCE, Source
from warehouse.schema import Table
from warehouse.tables.core import (
    CORE_CLAIM,
    CORE_CROSSWALK,
    CORE_DOSSIER,
    CORE_STEP,
    CORE_SUPPLEMENT,
    CORE_UNIT,
)
from warehouse.tables.reconciliation import OUT_RECONCILIATION

#: The tables that must be there, as views of those names.
READS: tuple[Table, ...] = (CORE_DOSSIER, CORE_CLAIM, CORE_CROSSWALK, CORE_STEP, CORE_SUPPLEMENT, CORE_UNIT)

#: Instants that differ by no more agree: one-stop writes milliseconds, the others whole seconds, and what a
#: sender writes down when it pushes is a matter of seconds. An instant at midnight is a day without a time
#: (some vendors keep days only, systems 5.1): such a one is compared by day.
DATE_TOLERANCE = timedelta(seconds=60)
#: A dossier may be so long on its way between systems: what fails on a Friday evening is sent again on Monday.
GRACE = timedelta(days=3)
#: Changes of status closer than this were not work but typing (operators, Bến Tre 10/2020).
BURST = timedelta(seconds=60)
#: Finished and handed over at once are two honest changes; a third needs time.
BURST_CHANGES = 3
#: Vietnam is 7 hours ahead of UTC; a time written in the other zone is out by just that (systems, fact 6).
ZONE_SECONDS = 7 * 3600
#: `hh` is a clock of 12 hours: 13:05 becomes 01:05 (systems 5.1).
CLOCK_SECONDS = 12 * 3600

_LETTER: Mapping[Source, str] = {"portal": "p", "onestop": "o", "messages": "m"}
_SAID = (
    "is_there",
    "code",
    "other_code",
    "unit_code",
    "procedure_code",
    "channel",
    "status_code",
    "received_at",
    "due_at",
    "ended_at",
    "is_paid_online",
    "has_result",
    "changed_at",
)


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One fact that is compared between sources.

    `facts` name the rows of the precedence table that decide it, the first one first; `text` is the SQL
    that words a value; `pattern` the SQL that recognises how a difference came about.
    """

    kind: str
    column: str
    facts: tuple[str, ...]
    text: str = "{}"
    pattern: str = "CAST(NULL AS VARCHAR)"
    #: For an instant: statuses in which a source that says nothing leaves out what it should say.
    demanded: tuple[int, ...] = ()

    @property
    def is_instant(self) -> bool:
        """Whether values are compared with a tolerance."""
        return bool(self.demanded)

    @property
    def belief(self) -> tuple[tuple[Source, ...], Literal["value", "block", "list"]]:
        """The order in which sources are believed, and what counts as having said something."""
        facts = {fact.name: fact for fact in PRECEDENCE}
        order = dict.fromkeys(source for name in self.facts for source in facts[name].order)
        return tuple(order), facts[self.facts[0]].rule


_RECEIVED = (2, 4, 5, 6, 7, 8, 9, 10)
COMPARED = (
    Compared(
        kind="status",
        column="status_code",
        facts=("status_code",),
        text="status_text({})",
        pattern="CASE WHEN {paused} THEN 'paused_sent_as_finished' END",
    ),
    Compared(
        kind="received_date",
        column="received_at",
        facts=("received_at",),
        text="local_text({})",
        demanded=_RECEIVED,
    ),
    Compared(kind="due_date", column="due_at", facts=("due_at",), text="local_text({})", demanded=_RECEIVED),
    Compared(kind="end_date", column="ended_at", facts=("completed_at",), text="local_text({})", demanded=(9, 10)),
    Compared(kind="channel", column="channel", facts=("channel",), text="channel_text({})"),
    Compared(
        kind="payment",
        column="is_paid_online",
        facts=("paid_online_code", "payments"),
        text="yes_no({})",
        pattern="CASE WHEN m_is_paid_online AND has_offline_payment THEN 'any_payment_sent_as_online' END",
    ),
    Compared(
        kind="result",
        column="has_result",
        facts=("has_result",),
        text="yes_no({})",
        pattern="CASE WHEN m_has_result AND has_component_attachment AND NOT is_resolved "
        "THEN 'component_sent_as_result' END",
    ),
    Compared(kind="procedure_code", column="procedure_code", facts=("procedure_code",)),
    Compared(
        kind="unit",
        column="unit_code",
        facts=("unit_code",),
        pattern="CASE WHEN p_unit_code IN (SELECT unit_code FROM ended_unit) "
        "OR o_unit_code IN (SELECT unit_code FROM ended_unit) "
        "OR m_unit_code IN (SELECT unit_code FROM ended_unit) THEN 'old_unit' END",
    ),
    Compared(
        kind="code_mismatch",
        column="code",
        facts=("dossier_code",),
        # One shows the national portal's code, another its own with the national one beside it.
        pattern="CASE WHEN m_code IN (o_other_code, p_other_code) OR p_code = o_other_code OR o_code = p_other_code "
        "THEN 'national_code' "
        "WHEN m_other_code IN (o_code, p_code) THEN 'substitute_code' END",
    ),
)


def reconcile(connection: duckdb.DuckDBPyConnection, *, as_of: datetime) -> pa.Table:
    """Every finding at `as_of`, as `out_reconciliation` rows: one per dossier and kind.

    `connection` shows the tables of `READS` under their names (`lake.connect(*READS)`); only temporary
    tables are made in it. Raises `ValueError` when `as_of` has no zone.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of must be an instant with its zone")
    connection.register("explanation", explanations())
    *steps, last = connection.extract_statements(_statements())
    for statement in steps:
        connection.execute(statement, {"as_of": as_of} if "as_of" in statement.named_parameters else None)
    rows = connection.sql(last.query, params={"as_of": as_of}).to_arrow_table()
    return rows.select(list(OUT_RECONCILIATION.column_names)).cast(OUT_RECONCILIATION.arrow_schema())


def explanations() -> pa.Table:
    """The Vietnamese sentences: kind, detail (a pattern or a lateness, '' for neither), explanation."""
    said = resources.files("assets.dossiers").joinpath("reconciliation.csv").read_bytes()
    names = ("kind", "detail", "explanation")
    options = pa_csv.ConvertOptions(column_types={name: pa.string() for name in names}, strings_can_be_null=False)
    return pa_csv.read_csv(BytesIO(said), convert_options=options)


def _statements() -> str:
    text = resources.files("assets.dossiers").joinpath("sql/reconciliation.sql").read_text(encoding="utf-8")
    parts = {
        "tolerance": str(int(DATE_TOLERANCE.total_seconds())),
        "grace": str(int(GRACE.total_seconds())),
        "burst": str(int(BURST.total_seconds())),
        "burst_changes": str(BURST_CHANGES),
        "said": ",\n    ".join(f"{x}.{name} AS {x}_{name}" for x in _LETTER.values() for name in _SAID),
        "joins": "\n".join(
            f"LEFT JOIN newest_claim AS {x} ON {x}.source = '{source}' AND {x}.dossier_key = d.dossier_key"
            for source, x in _LETTER.items()
        ),
        "compared": "\nUNION ALL BY NAME\n".join(_compared(each) for each in COMPARED),
        "others": "\n    UNION ALL ".join(_other(source, x) for source, x in _LETTER.items()),
    }
    for name, piece in parts.items():
        text = text.replace("{" + name + "}", piece)
    return text


#: A log that says finished of what another system says is waiting or stopped.
_PAUSED = "coalesce(m_status_code = 9 AND (p_status_code IN (5, 6, 8) OR o_status_code IN (5, 6, 8)), false)"


def _other(source: Source, x: str) -> str:
    said = ", ".join(f"{x}_{name} AS {name}" for name in ("status_code", "received_at", "due_at", "ended_at"))
    trusted = f" AND NOT {_PAUSED}" if source == "messages" else ""
    return f"SELECT dossier_key, '{source}' AS source, {said} FROM late WHERE {x}_is_there{trusted}"


def _pairs(values: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    p, o, m = values.values()
    yield from ((p, o), (p, m), (o, m))


def _compared(fact: Compared) -> str:
    """The findings about one fact, as a SELECT over `side`."""
    values = {x: f"{x}_{fact.column}" for x in _LETTER.values()}
    listed = ", ".join(values.values())
    involved = {x: f"{value} IS NOT NULL" for x, value in values.items()}
    condition = " OR ".join(f"{a} <> {b}" for a, b in _pairs(values))
    pattern, seconds, days = fact.pattern.replace("{paused}", _PAUSED), "CAST(NULL AS BIGINT)", "CAST(NULL AS BIGINT)"
    if fact.is_instant:
        statuses = ", ".join(map(str, fact.demanded))
        missing = {x: f"({value} IS NULL AND {x}_status_code IN ({statuses}))" for x, value in values.items()}
        lacking = " OR ".join(missing.values())
        condition = " OR ".join(f"apart({a}, {b})" for a, b in _pairs(values))
        pattern = _instant_pattern(values, condition)
        condition += f" OR (coalesce({listed}) IS NOT NULL AND ({lacking}))"
        involved = {x: f"{involved[x]} OR {missing[x]}" for x in values}
        seconds = f"seconds_between(least({listed}), greatest({listed}))"
        days = f"day_number(greatest({listed})) - day_number(least({listed}))"
    since = ", ".join(f"CASE WHEN {involved[x]} THEN {x}_changed_at END" for x in values)
    texts = {source: fact.text.format(values[x]) for source, x in _LETTER.items()}
    return (
        f"SELECT dossier_key, '{fact.kind}' AS kind, "
        + "".join(f"{text} AS {source}_value, " for source, text in texts.items())
        + f"{_believed(fact)} AS believed_source, CAST(NULL AS VARCHAR) AS other_key, "
        f"{seconds} AS difference_seconds, {days} AS difference_days, greatest({since}) AS since_at, "
        f"{pattern} AS pattern, CAST(NULL AS VARCHAR) AS lateness FROM side WHERE {condition}"
    )


def _instant_pattern(values: Mapping[str, str], apart: str) -> str:
    """A whole zone or half a clock apart; else, where the values that are there agree, one is missing."""
    branches = [
        (seconds, name) for seconds, name in ((ZONE_SECONDS, "zone_7h"), (CLOCK_SECONDS, "clock_12h"))
    ]  # fmt: skip
    cases = " ".join(
        f"WHEN {' OR '.join(f'apart_by({a}, {b}, {seconds})' for a, b in _pairs(values))} THEN '{name}'"
        for seconds, name in branches
    )
    return f"CASE {cases} WHEN NOT coalesce({apart}, false) THEN 'missing_value' END"


def _believed(fact: Compared) -> str:
    """Whose word stands in core_dossier, by the table of precedence."""
    order, rule = fact.belief
    column = "is_there" if rule == "block" else fact.column
    cases = " ".join(f"WHEN {_LETTER[source]}_{column} IS NOT NULL THEN '{source}'" for source in order)
    return f"CASE {cases} END"

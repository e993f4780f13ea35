"""The dossier statistics table of the periodic report: what came, what was resolved, what is left.

Belongs here: counting `out_statistic` from the conformed dossiers. Does not belong here: the shape of the
table (`warehouse/tables/statistic.py`), its sheet (`workbook.py`), rates (`assets/indicators`).

Stock and flow are told from the dates of a dossier as they are known now. What the past does not tell is written
down in docs/decisions/0017-forms-and-suppression.md and in the columns' meaning, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from importlib import resources

import duckdb
import pyarrow as pa

from warehouse.lake import Lake
from warehouse.tables import CORE_DOSSIER, CORE_PROCEDURE, CORE_SUPPLEMENT, CORE_UNIT
from warehouse.tables.statistic import OUT_STATISTIC, STATISTIC_COUNTS, UNKNOWN_SECTOR

#: What the statement reads.
SOURCES = (CORE_DOSSIER, CORE_SUPPLEMENT, CORE_UNIT, CORE_PROCEDURE)

#: Counted where they happen, in one month, and added over the months of a period.
_FLOWS = (
    "received_online",
    "received_direct",
    "received_post",
    "resolved_early",
    "resolved_on_time",
    "resolved_late",
    "resolved_supplemented_again",
    "stopped",
    "denied",
    "withdrawn",
)
_MOVES = ("in_first", "in_later", "out_first", "out_later")
_WAITS = ("waiting_supplement", "waiting_payment", "waiting_overdue", "waiting_undated")
_RUNNING = ("opened", "overdue", "undated")


def statistics(lake: Lake, *, province_code: str, as_of: datetime, start_on: date) -> pa.Table:
    """Count `out_statistic` from the lake; see `tabulate`."""
    connection = lake.connect(*SOURCES)
    return tabulate(connection, province_code=province_code, as_of=as_of, start_on=start_on)


def tabulate(connection: duckdb.DuckDBPyConnection, *, province_code: str, as_of: datetime, start_on: date) -> pa.Table:
    """Count `out_statistic` from the relations core_dossier, core_supplement, core_unit, core_procedure.

    Periods run from the month of `start_on` to the month of `as_of` (an instant with its zone) in
    Asia/Ho_Chi_Minh, together with their quarters, halves and years; the running period closes at `as_of`. Every
    unit gets a row in every period in which it exists; sectors only where they have a dossier. Rows come in the
    order of the table's key. Raises `ValueError` for an instant without a zone.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of {as_of!r} has no zone; give an instant with its zone")
    values = {
        "province_code": province_code,
        "as_of": as_of,
        "start_on": start_on,
        "unknown_sector": UNKNOWN_SECTOR,
    }
    for statement in duckdb.extract_statements(_script()):
        named = {name: values[name] for name in statement.named_parameters}
        connection.execute(statement, named or None)
    order = ", ".join(OUT_STATISTIC.key)
    rows = connection.sql(
        f"SELECT *, $as_of::TIMESTAMPTZ AS as_of FROM statistic ORDER BY {order}", params={"as_of": as_of}
    ).to_arrow_table()
    return rows.select(list(OUT_STATISTIC.column_names)).cast(OUT_STATISTIC.arrow_schema())


def _script() -> str:
    text = resources.files("assets.publications").joinpath("statistics.sql").read_text(encoding="utf-8")
    events = (*_FLOWS, *_MOVES, *_WAITS)
    return text.format(
        event_sums=_listed(f"coalesce(sum({name}), 0) AS {name}" for name in (*events, *_RUNNING)),
        event_columns=_listed(f"coalesce(s.{name}, 0) AS {name}" for name in events),
        flow_sums=_listed(f"sum(m.{name}) AS {name}" for name in _FLOWS),
        sums=_listed(f"sum({name}) AS {name}" for name in STATISTIC_COUNTS),
        counts=_listed(f"{name}::BIGINT AS {name}" for name in STATISTIC_COUNTS),
        filled=_listed(f"coalesce({name}, 0)::BIGINT AS {name}" for name in STATISTIC_COUNTS),
    )


def _listed(parts: Iterable[str]) -> str:
    return ", ".join(parts)

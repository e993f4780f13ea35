"""Evaluation of indicators over many dossiers: the first set against hand-written SQL and pandas, and the whole
catalogue against the first set.

Belongs here: making dossiers to count (uniform random facts: the speed of counting does not depend
on what they say), the two peers, and the comparison of time and peak memory. The peers must find the
same counts, or the run fails: a faster wrong answer is no peer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from assets.indicators.definitions import load_definitions
from assets.indicators.evaluate import counting_statement
from assets.indicators.procedures import load_procedure_definitions, load_sectors, procedure_rows
from benchmarks.processes import stopwatch
from warehouse.lake import Lake, duckdb_type
from warehouse.reference import procedure_table, unit_table
from warehouse.tables import CORE_DOSSIER, CORE_PAYMENT, CORE_PROCEDURE, CORE_UNIT

MODULE = "benchmarks.evaluate"
#: The twelve definitions that the peers were written for, as they were when the service could do no more.
FIRST_SET = Path(__file__).parent / "first_set"
AS_OF = datetime(2026, 10, 31, 17, tzinfo=UTC)
#: Before the first event of the dossiers made here.
START = date(2023, 12, 1)
SECTORS = Path(__file__).parent.parent / "provinces/dak-lak/sectors.csv"
DEPARTMENTS = Path(__file__).parent.parent / "provinces/dak-lak/departments.csv"

#: What a good engineer would type for the same twelve pairs of counts.
HAND_WRITTEN = """
SELECT 'received' AS event, unit_code, date_trunc('month', received_on) AS month,
    count(*) FILTER (is_received AND has_component_attachment AND (NOT is_result_required OR has_electronic_result)),
    count(*) FILTER (is_received),
    count(*) FILTER (is_received AND is_result_required AND has_electronic_result),
    count(*) FILTER (is_received AND is_result_required),
    count(*) FILTER (is_received AND ((is_resolved AND (due_at IS NULL OR resolved_at <= due_at))
        OR (NOT is_resolved AND (due_at IS NULL OR due_at >= TIMESTAMPTZ '2026-10-31 17:00:00+00')))),
    count(*) FILTER (is_received AND has_fee AND NOT is_fee_waived AND is_paid_online),
    count(*) FILTER (is_received AND has_fee AND NOT is_fee_waived),
    count(*) FILTER (is_received AND channel = 'online' AND (NOT is_result_required OR has_electronic_result)),
    count(*) FILTER (is_received AND channel IN ('direct', 'online') AND channel = 'online'),
    count(*) FILTER (is_received AND channel IN ('direct', 'online')),
    count(*) FILTER (is_received AND is_reused),
    count(*) FILTER (is_received AND channel = 'online' AND is_processed_online AND has_electronic_result
        AND (NOT has_fee OR is_fee_waived OR is_paid_online))
FROM core_dossier WHERE received_on IS NOT NULL GROUP BY ALL
"""
HAND_WRITTEN_OTHERS = (
    """
    SELECT unit_code, date_trunc('month', due_on) AS month,
        count(*) FILTER (is_received AND due_at <= TIMESTAMPTZ '2026-10-31 17:00:00+00' AND is_resolved
            AND resolved_at <= due_at),
        count(*) FILTER (is_received AND due_at <= TIMESTAMPTZ '2026-10-31 17:00:00+00')
    FROM core_dossier WHERE due_on IS NOT NULL GROUP BY ALL
    """,
    """
    SELECT unit_code, date_trunc('month', resolved_on) AS month,
        count(*) FILTER (is_received AND is_resolved AND (due_at IS NULL OR resolved_at <= due_at)),
        count(*) FILTER (is_received AND is_resolved)
    FROM core_dossier WHERE resolved_on IS NOT NULL GROUP BY ALL
    """,
    """
    SELECT unit_code, date_trunc('month', paid_on) AS month,
        count(*) FILTER (has_fee AND transaction_count > 0 AND online_transaction_count > 0),
        count(*) FILTER (has_fee AND transaction_count > 0)
    FROM core_dossier WHERE paid_on IS NOT NULL GROUP BY ALL
    """,
    """
    SELECT unit_code, date_trunc('month', paid_on) AS month, count(*) FILTER (is_settled AND has_fee AND is_online),
        count(*) FILTER (is_settled AND has_fee)
    FROM core_payment WHERE paid_on IS NOT NULL GROUP BY ALL
    """,
)


def make_lake(folder: Path, *, dossiers: int) -> Lake:
    """A lake with `dossiers` rows over 34 months and the province's units; reused when it is there."""
    lake = Lake(str(folder / f"lake-{dossiers}"))
    if lake.version(CORE_PAYMENT) >= 0:
        return lake
    lake.replace(CORE_UNIT, unit_table("H15", DEPARTMENTS))
    lake.replace(CORE_PROCEDURE, procedure_table())
    connection = lake.connect(CORE_UNIT)
    connection.execute("SELECT setseed(0.3478)")
    connection.execute(
        "CREATE TEMP TABLE place AS SELECT row_number() OVER () - 1 AS place_no, unit_code, level "
        "FROM core_unit WHERE parent_code IS NOT NULL"
    )
    connection.register("known_procedure", procedure_table().select(["procedure_code"]).slice(0, 250))
    connection.execute(
        "CREATE TEMP TABLE procedure AS SELECT row_number() OVER (ORDER BY procedure_code) - 1 AS procedure_no, "
        "procedure_code FROM known_procedure"
    )
    places = connection.sql("SELECT count(*) FROM place").fetchall()[0][0]
    step = 1_000_000
    for first in range(0, dossiers, step):
        rows = connection.sql(_dossiers(first, min(step, dossiers - first), places=places)).to_arrow_table()
        lake.append(CORE_DOSSIER, rows)
        connection.register("made", rows)
        lake.append(CORE_PAYMENT, connection.sql(_PAYMENTS).to_arrow_table())
    return lake


def _dossiers(first: int, count: int, *, places: int) -> str:
    known = {
        "dossier_key": "'H15-' || i",
        "dossier_code": "'H15-' || i",
        "lake_month": "strftime(received, '%Y-%m')",
        "unit_code": "p.unit_code",
        "unit_level": "p.level",
        "procedure_code": "q.procedure_code",
        "channel": "CASE WHEN r1 < 0.6 THEN 'online' WHEN r1 < 0.95 THEN 'direct' ELSE 'post' END",
        "service_level": "'full'",
        "status_code": "CASE WHEN r2 < 0.97 THEN 10 ELSE 4 END",
        "ended_at": "CASE WHEN r2 < 0.97 THEN received + INTERVAL 1 HOUR * (r2 * 300)::INTEGER END",
        "ended_on": "CASE WHEN r2 < 0.97 THEN (received + INTERVAL 1 HOUR * (r2 * 300)::INTEGER)::DATE END",
        "end_kind": "CASE WHEN r2 < 0.97 THEN 'processed' END",
        "deadline_at": "received + INTERVAL 10 DAY",
        "deadline_basis": "'promise'",
        "supplement_count": "CASE WHEN r1 < 0.05 THEN 2 ELSE 0 END",
        "reception_due_at": "received + INTERVAL 1 DAY",
        "reception_unit_code": "p.unit_code",
        "previous_unit_code": "NULL",
        "denied_at": "NULL",
        "received_at": "received",
        "submitted_at": "received",
        "due_at": "received + INTERVAL 10 DAY",
        "completed_at": "received + INTERVAL 1 HOUR * (r2 * 300)::INTEGER",
        "returned_at": "NULL",
        "resolved_at": "received + INTERVAL 1 HOUR * (r2 * 300)::INTEGER",
        "received_on": "received::DATE",
        "submitted_on": "received::DATE",
        "due_on": "(received + INTERVAL 10 DAY)::DATE",
        "resolved_on": "(received + INTERVAL 1 HOUR * (r2 * 300)::INTEGER)::DATE",
        "paid_on": "CASE WHEN i % 3 = 0 THEN received::DATE END",
        "transaction_count": "CASE WHEN i % 3 = 0 THEN 1 ELSE 0 END",
        "online_transaction_count": "CASE WHEN i % 3 = 0 AND r1 < 0.3 THEN 1 ELSE 0 END",
    }
    columns = []
    for number, column in enumerate(CORE_DOSSIER.columns):
        value = known.get(column.name, "3" if duckdb_type(column.type) == "BIGINT" else f"hash(i, {number}) % 3 > 0")
        columns.append(f"CAST({value} AS {duckdb_type(column.type)}) AS {column.name}")
    return f"""
        SELECT {", ".join(columns)}
        FROM (SELECT i, random() AS r1, random() AS r2,
            TIMESTAMPTZ '2024-01-01 00:00:00+07' + INTERVAL 1 MINUTE * (random() * 1489000)::INTEGER AS received
            FROM range({first}, {first + count}) AS t(i)) AS d
        JOIN place AS p ON p.place_no = (hash(d.i) % {places})::BIGINT
        JOIN procedure AS q ON q.procedure_no = floor(250 * pow((hash(d.i, 7) % 100000) / 100000.0, 3))
    """


_PAYMENTS = """
    SELECT dossier_key, 1::BIGINT AS payment_no, lake_month, 'onestop' AS source, unit_code, unit_level, procedure_code,
        channel, has_fee, 100000::BIGINT AS amount_vnd, 'online' AS method, true AS is_settled,
        online_transaction_count > 0 AS is_online, received_at AS paid_at, paid_on
    FROM made WHERE transaction_count > 0
"""


def ours(lake: Lake) -> dict[str, int]:
    """The evaluator's own statement for the first set; total of every numerator and denominator."""
    definitions = load_definitions(FIRST_SET)
    rows = (
        lake.connect(CORE_DOSSIER, CORE_PAYMENT)
        .sql(counting_statement(definitions, as_of=AS_OF, since=START))
        .to_arrow_table()
    )
    totals = {}
    for index, definition in enumerate(definitions):
        for letter in "nd":
            values = rows.column(f"{letter}_{index}").to_pylist()
            totals[f"{definition.id} {definition.version} {letter}"] = sum(values)
    return totals


def whole_catalogue(lake: Lake) -> dict[str, int]:
    """Every definition there is now: the evaluator's own statement, and the rates that count procedures."""
    definitions, by_procedure = load_definitions(), load_procedure_definitions()
    rows = (
        lake.connect(CORE_DOSSIER, CORE_PAYMENT)
        .sql(counting_statement(definitions, as_of=AS_OF, since=START))
        .to_arrow_table()
    )
    procedures = procedure_rows(
        lake, by_procedure, province_code="H15", as_of=AS_OF, start_on=START, sectors=load_sectors(SECTORS)
    )
    return {"definitions": len(definitions) + len(by_procedure), "rows": rows.num_rows + procedures.num_rows}


def hand_written(lake: Lake) -> dict[str, int]:
    """The same counts by SQL written for them alone."""
    connection = lake.connect(CORE_DOSSIER, CORE_PAYMENT)
    first = connection.sql(HAND_WRITTEN).fetchall()
    others = [connection.sql(query).fetchall() for query in HAND_WRITTEN_OTHERS]
    received = [sum(column) for column in list(zip(*first, strict=True))[3:]]
    rest = [sum(column) for rows in others for column in list(zip(*rows, strict=True))[2:]]
    names = [
        "digitisation 766-4.2 n", "digitisation 766-4.2 d",
        "electronic-result 766-4.1 n", "electronic-result 766-4.1 d",
        "on-time received n", "online-payment 766-3.6 n", "online-payment 766-3.6 d", "online-processing 766-3.3 n",
        "online-processing vendor-td n", "online-processing vendor-td d",
        "reuse 766-4.3 n", "wholly-online 3478-ii6a n",
        "on-time due n", "on-time due d", "on-time resolved n", "on-time resolved d", "online-payment vendor-td n",
        "online-payment vendor-td d", "payment-transactions 3478-ii2a n", "payment-transactions 3478-ii2a d",
    ]  # fmt: skip
    return dict(zip(names, [*received, *rest], strict=True))


def by_pandas(lake: Lake) -> dict[str, int]:
    """The same counts the pandas way: read the columns, mark, group by unit and month."""
    columns = [c for c in CORE_DOSSIER.column_names if c not in ("dossier_code", "dossier_key", "lake_month")]
    connection = lake.connect(CORE_DOSSIER, CORE_PAYMENT)
    d = connection.sql(f"SELECT {', '.join(columns)} FROM core_dossier").df()
    p = connection.sql("SELECT unit_code, paid_on, is_settled, has_fee, is_online FROM core_payment").df()
    received, online = d.is_received, d.channel == "online"
    electronic = ~d.is_result_required | d.has_electronic_result
    fee = received & d.has_fee & ~d.is_fee_waived
    in_time = d.due_at.isna() | (d.resolved_at <= d.due_at)
    open_in_time = ~d.is_resolved & (d.due_at.isna() | (d.due_at >= pd.Timestamp(AS_OF)))
    due = received & (d.due_at <= pd.Timestamp(AS_OF))
    marks = {
        "received_on": {
            "digitisation 766-4.2 n": received & d.has_component_attachment & electronic,
            "digitisation 766-4.2 d": received,
            "electronic-result 766-4.1 n": received & d.is_result_required & d.has_electronic_result,
            "electronic-result 766-4.1 d": received & d.is_result_required,
            "on-time received n": received & ((d.is_resolved & in_time) | open_in_time),
            "online-payment 766-3.6 n": fee & d.is_paid_online,
            "online-payment 766-3.6 d": fee,
            "online-processing 766-3.3 n": received & online & electronic,
            "online-processing vendor-td n": received & online,
            "online-processing vendor-td d": received & (online | (d.channel == "direct")),
            "reuse 766-4.3 n": received & d.is_reused,
            "wholly-online 3478-ii6a n": received & online & d.is_processed_online & d.has_electronic_result
            & (~d.has_fee | d.is_fee_waived | d.is_paid_online),
        },
        "due_on": {"on-time due n": due & d.is_resolved & (d.resolved_at <= d.due_at), "on-time due d": due},
        "resolved_on": {
            "on-time resolved n": received & d.is_resolved & in_time,
            "on-time resolved d": received & d.is_resolved,
        },
        "paid_on": {
            "online-payment vendor-td n": d.has_fee & (d.transaction_count > 0) & (d.online_transaction_count > 0),
            "online-payment vendor-td d": d.has_fee & (d.transaction_count > 0),
        },
    }  # fmt: skip
    totals: dict[str, int] = {}
    for event, columns_of_event in marks.items():
        frame = pd.DataFrame(columns_of_event)
        month = d[event].dt.to_period("M")
        totals |= _summed(frame, d.unit_code, month)
    settled = p.is_settled & p.has_fee
    frame = pd.DataFrame(
        {"payment-transactions 3478-ii2a n": settled & p.is_online, "payment-transactions 3478-ii2a d": settled}
    )
    return totals | _summed(frame, p.unit_code, p.paid_on.dt.to_period("M"))


def _summed(marks: pd.DataFrame, unit: pd.Series[str], month: pd.Series[Any]) -> dict[str, int]:
    by_unit_and_month = marks.groupby([unit, month], observed=True).sum()
    return {str(name): int(total) for name, total in by_unit_and_month.sum().items()}


PEERS: dict[str, Callable[[Lake], dict[str, int]]] = {
    "thuocdo": ours,
    "whole catalogue": whole_catalogue,
    "hand-written": hand_written,
    "pandas": by_pandas,
}


def refuse_different_counts(answers: Mapping[str, Mapping[str, int]]) -> None:
    """Raise `ValueError` when a peer counts differently from ours."""
    ours = answers["thuocdo"]
    for name, counts in answers.items():
        if name == "whole catalogue":  # counts other things
            continue
        wrong = {key: (value, ours[key]) for key, value in counts.items() if ours[key] != value}
        if wrong:
            raise ValueError(f"{name} counts differently: {wrong}")


def main(name: str, folder: Path, dossiers: int) -> None:
    """Time one peer over the lake in `folder`."""
    lake = make_lake(folder, dossiers=dossiers)
    with stopwatch() as facts:
        facts.update({key: int(value) for key, value in PEERS[name](lake).items()})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

"""A batch against its contract and the lake: key, hash, clauses, what is new.

Belongs here: the evaluation of a record contract over a batch, and the comparison with what is stored.
Does not belong here: any source's contract (`connectors`), nor what becomes of a refused record
(`quarantine.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import SEEN, RecordContract
from connectors.person_fields import MASK, without_persons
from connectors.protocol import Part
from warehouse.lake import Lake, session
from warehouse.schema import Table

#: Beside the wire columns: the first field that holds what only a person has. In place of a clause's number.
SPOILT, NO_PERSON = "_spoilt", -1


@dataclass(frozen=True)
class Sifted:
    """A batch against its contract and the lake: what is new, how many rows are known, what breaks a clause."""

    changed: pa.Table
    unchanged: int
    broken: list[dict[str, Any]]


def sift(part: Part, lake: Lake, table: Table) -> Sifted:
    """Hash, deduplicate, check and compare the records of a batch, in DuckDB.

    `changed` has the wire columns, `record_key`, `content_hash` and `version` (1, 2, … per record).
    Only keys and hashes pass through DuckDB; the records themselves are picked from the batch. What looks like a
    person is replaced by its length before anything else sees it.
    """
    records, spoilt = without_persons(part.records)
    connection = lake.connect(table)
    connection.register("batch", records.append_column(SPOILT, spoilt))
    connection.execute(f"CREATE TEMP TABLE checked AS {_checked_sql(part.contract)}")
    connection.execute(f"CREATE TEMP TABLE judged AS {_judged_sql(part.contract, table)}")
    chosen = f"SELECT {SEEN}, record_key, content_hash, version FROM judged WHERE is_changed ORDER BY {SEEN}"
    refused = (
        f"SELECT {SEEN}, record_key, content_hash, clause, {SPOILT} FROM checked "
        f"WHERE clause IS NOT NULL ORDER BY {SEEN}"
    )
    return Sifted(
        changed=_picked(records, _arrow(connection, chosen)),
        unchanged=int(_value(connection, "SELECT count(*) FROM judged WHERE NOT is_changed")),
        broken=_picked(records, _arrow(connection, refused)).to_pylist(),
    )


def _picked(records: pa.Table, chosen: pa.Table) -> pa.Table:
    """The records that `chosen` names by `SEEN`, with its other columns; both are in order of `SEEN`."""
    picked = records.filter(pc.is_in(records[SEEN], value_set=chosen[SEEN].combine_chunks())).drop_columns([SEEN])
    for name in chosen.column_names[1:]:
        picked = picked.append_column(name, chosen[name])
    return picked


def _arrow(connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[Any] = ()) -> pa.Table:
    return connection.sql(query, params=list(parameters)).to_arrow_table()


def _value(connection: duckdb.DuckDBPyConnection, query: str) -> Any:
    return connection.sql(query).fetchall()[0][0]


def _checked_sql(contract: RecordContract) -> str:
    """Key, hash and the first clause that it breaks, of every distinct record."""
    position = f', "{contract.position}"' if contract.position else ""
    clauses = " ".join(
        f"WHEN NOT coalesce({clause.predicate}, false) THEN {index}" for index, clause in enumerate(contract.clauses)
    )
    # Records whose key is hidden are not copies of one another.
    key = f"CASE WHEN NOT coalesce(contains({contract.key}, '{MASK}'), false) THEN {contract.key} END"
    copies = f"PARTITION BY coalesce(record_key, '#' || {SEEN}) ORDER BY {contract.newest}"
    single = f"QUALIFY row_number() OVER ({copies}) = 1"
    return f"""
        SELECT {SEEN}{position}, {SPOILT}, {key} AS record_key, {_hash_sql(contract)} AS content_hash,
            CASE WHEN {SPOILT} IS NOT NULL THEN {NO_PERSON} {clauses} END AS clause
        FROM batch {"" if contract.position else single}
    """


def _hash_sql(contract: RecordContract) -> str:
    """md5 over the contract's fields, unit-separated; nothing said and said to be blank are not the same."""
    kinds = {item.name: item.type for item in contract.schema}
    plain = (f'to_json("{name}")' if pa.types.is_nested(kinds[name]) else f'"{name}"' for name in contract.hashed)
    texts = ", ".join(f"coalesce(CAST({text} AS VARCHAR), chr(30))" for text in plain)
    return f"md5(concat_ws(chr(31), {texts}))"


def _judged_sql(contract: RecordContract, table: Table) -> str:
    """Records that keep the contract, each marked as a new version or not.

    A record is compared with the newest stored version; a message also with the message before it,
    and one that was sent before the newest stored version changes nothing.
    """
    position = f', arg_max("{contract.position}", extracted_at) AS known_position' if contract.position else ""
    order = f'"{contract.position}"' if contract.position else SEEN
    is_newer = f'(known_position IS NULL OR "{contract.position}" >= known_position)' if contract.position else "true"
    return f"""
        WITH known AS (
            SELECT record_key, arg_max(content_hash, extracted_at) AS known_hash{position}
            FROM "{table.name}" WHERE record_key IN (SELECT record_key FROM checked) GROUP BY record_key
        ), compared AS (
            SELECT checked.*, known_hash, {is_newer} AS is_newer
            FROM checked LEFT JOIN known USING (record_key) WHERE clause IS NULL
        ), marked AS (
            SELECT *, is_newer AND content_hash IS DISTINCT FROM coalesce(
                lag(content_hash) OVER (PARTITION BY record_key, is_newer ORDER BY {order}), known_hash) AS is_changed
            FROM compared
        )
        SELECT *, row_number() OVER (PARTITION BY record_key, is_changed ORDER BY {order}) AS version FROM marked
    """


def after(lake: Lake, table: Table, now: datetime) -> datetime:
    """`now`, or just after the newest stored version if that is later: versions never share an instant."""
    newest: datetime | None = _value(lake.connect(table), f'SELECT max(extracted_at) FROM "{table.name}"')
    return now.astimezone(UTC) if newest is None else max(now, newest + timedelta(microseconds=1)).astimezone(UTC)


#: Columns of a raw table that storing fills.
_STAMPED = frozenset({"extracted_at", "night", "is_gone"})
#: Columns that are made here of what was looked over already.
_OWN = frozenset({"record_key", "content_hash", "version"})


def versions(records: pa.Table, table: Table, *, night: str, at: datetime) -> pa.Table:
    """Changed records as rows of the raw table; further versions of a record follow by one microsecond each.

    What further calls filled in was not seen by `sift`: there, too, a person is replaced by a length.
    """
    own = [name for name in records.column_names if name in _OWN]
    cleaned, _ = without_persons(records.drop_columns(own))
    for name in own:
        cleaned = cleaned.append_column(name, records[name])
    records = cleaned
    connection = session()
    connection.register("records", records)
    names = ", ".join(f'"{name}"' for name in table.column_names if name not in _STAMPED)
    stamps = "$1 + to_microseconds(version - 1) AS extracted_at, $2 AS night, false AS is_gone"
    query = f"SELECT {names}, {stamps} FROM records"
    rows = _arrow(connection, query, [at, night])
    return rows.select(list(table.column_names)).cast(table.arrow_schema())

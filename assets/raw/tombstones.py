"""Records that their source no longer has: found by comparison, written as tombstones.

Belongs here: what is missing from a window that was read wholly, the guard against a search that failed, what
a reading for comparison alone may store, and the tombstone's row. Does not belong here: which windows were read
wholly and how a source is asked about a single record (`connectors`), nor what a tombstone does to a dossier
(`assets/dossiers`).

Only a full-window comparison makes a tombstone, or the source's own word. Until then a record that is not
seen stays: a night reads a few windows, and what stands in none of them is not gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from connectors.contract import SEEN
from connectors.protocol import Part, Whole
from warehouse.lake import Lake
from warehouse.schema import Table

#: Content hash of a tombstone: no record has it, so that one that comes back is a new version.
GONE_HASH = hashlib.md5(b"gone", usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Comparison:
    """What is stored within a whole's window, and which of it was not seen: the newest version of each record."""

    whole: Whole
    known: int
    missing: pa.Table

    @property
    def is_doubted(self) -> bool:
        """Whether so much is missing that the reading is doubted instead."""
        return self.whole.guard.doubts(self.missing.num_rows, self.known)


def compare(part: Part, lake: Lake, table: Table) -> list[Comparison]:
    """Compare each of the part's wholes with what is stored of it."""
    if not part.wholes or lake.open(table) is None:
        return []
    connection = lake.connect(table)
    connection.register("batch", part.records)
    # A record without a key is in quarantine; among the keys seen its null would hide whatever is missing.
    keyed = f"SELECT DISTINCT {part.contract.key} AS record_key FROM batch"
    connection.execute(f"CREATE TEMP TABLE seen AS SELECT * FROM ({keyed}) WHERE record_key IS NOT NULL")
    tests = [f"coalesce({whole.within}, false)" for whole in part.wholes]
    flags = ", ".join(f"w{number} := {test}" for number, test in enumerate(tests))
    # Only records of which some version stands in a window are aggregated: a night compares a part of a history.
    connection.execute(f"""
        CREATE TEMP TABLE known AS
        SELECT record_key, unnest(arg_max(struct_pack(is_there := NOT coalesce(is_gone, false), {flags}), extracted_at))
        FROM "{table.name}"
        WHERE record_key IN (SELECT record_key FROM "{table.name}" WHERE {" OR ".join(tests)})
        GROUP BY record_key
    """)
    found = []
    for number, whole in enumerate(part.wholes):
        within = f"SELECT record_key FROM known WHERE is_there AND w{number}"
        known = int(connection.sql(f"SELECT count(*) FROM ({within})").fetchall()[0][0])
        seen = "SELECT record_key FROM seen"
        if whole.seen is not None:
            connection.register("seen_before", pa.table({"record_key": whole.seen}))
            seen += " UNION ALL SELECT record_key FROM seen_before"
        keys = connection.sql(f"{within} AND record_key NOT IN ({seen}) ORDER BY record_key").to_arrow_table()
        found.append(Comparison(whole, known, _newest(lake, table, keys)))
    return found


def only_known(part: Part, lake: Lake, table: Table) -> Part:
    """The part without records of which nothing was ever stored, where it was read for comparison alone."""
    if not part.only_known:
        return part
    connection = lake.connect(table)
    connection.register("batch", part.records)
    known = connection.sql(
        f'SELECT {SEEN} FROM batch WHERE {part.contract.key} IN (SELECT record_key FROM "{table.name}")'
    ).to_arrow_table()
    kept = pc.is_in(part.records[SEEN], value_set=known[SEEN].combine_chunks())
    return replace(part, records=part.records.filter(kept), broken=())


def tombstones(lake: Lake, table: Table, keys: Collection[str], *, night: str, at: datetime) -> pa.Table:
    """Rows that say of `keys` that they are gone: the fields of their last version; none for what is gone already."""
    last = _newest(lake, table, pa.table({"record_key": pa.array(sorted(keys), pa.string())}))
    if last.num_rows == 0:
        return table.arrow_schema().empty_table()
    stamps = {"content_hash": GONE_HASH, "extracted_at": at, "night": night, "is_gone": True}
    for name, value in stamps.items():
        field = table.arrow_schema().field(name)
        filled = pa.array([value] * last.num_rows, field.type)
        last = last.set_column(last.schema.get_field_index(name), field, filled)
    return last.cast(table.arrow_schema())


def _newest(lake: Lake, table: Table, keys: pa.Table) -> pa.Table:
    """The newest version of each record of `keys` that is still there."""
    if keys.num_rows == 0 or lake.open(table) is None:
        return table.arrow_schema().empty_table()
    connection = lake.connect(table)
    connection.register("wanted", keys)
    rows = connection.sql(f"""
        SELECT * FROM (
            SELECT * FROM "{table.name}" WHERE record_key IN (SELECT record_key FROM wanted)
            QUALIFY row_number() OVER (PARTITION BY record_key ORDER BY extracted_at DESC) = 1
        ) WHERE NOT coalesce(is_gone, false) ORDER BY record_key
    """).to_arrow_table()
    return rows.cast(table.arrow_schema())

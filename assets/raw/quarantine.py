"""What is set aside, and how it is told without telling a person.

Belongs here: quarantine entries of extraction, their masked excerpts, and storing them once. Does not
belong here: deciding what breaks a contract (`sift.py`), nor the conform stage's reasons (its SQL).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa

from assets.raw.hashes import in_use
from assets.raw.sift import NO_PERSON, SPOILT
from connectors.contract import Broken, RecordContract
from connectors.person_fields import is_personal, shown
from warehouse.lake import Lake
from warehouse.schema import Table
from warehouse.tables import RAW_QUARANTINE

STAGE = "extract"
#: In place of a contract's fingerprint: an operator wants the entry read again.
_ASKED = "asked"

_EXCERPT_LENGTH = 60
#: Of an entry, not stored: its hash under the key before.
_BEFORE = "hash_before"
#: What a date or number field may show in an excerpt: no letters, and no bare run of digits that could be an identity.
_HARMLESS = re.compile(r"(?!\d{9,13}$)[0-9/:T .+Z-]{0,40}$")


def refused(row: Mapping[str, Any], contract: RecordContract) -> dict[str, Any]:
    """The quarantine entry of a record that breaks a clause, or holds what only a person has."""
    hashes = _hashes(row["content_hash"])
    same = {"record_key": row["record_key"] or f"#{hashes['content_hash']}", **hashes}
    if row["clause"] == NO_PERSON:
        return same | {
            "reason": "looks_like_a_person",
            "clause": row[SPOILT],
            "detail": f"Trường {row[SPOILT]} có vẻ chứa thông tin của một người (tên, số định danh, điện thoại, thư "
            "điện tử, địa chỉ); giá trị không được lưu, hãy sửa tại nguồn",
            "excerpt": excerpt(row, contract),
        }
    clause = contract.clauses[row["clause"]]
    return same | {
        "reason": clause.name,
        "clause": ", ".join(clause.fields),
        "detail": clause.vi,
        "excerpt": excerpt(row, contract),
    }


def unreadable(broken: Broken) -> dict[str, Any]:
    """The quarantine entry of a record that never became columns; a place that names somebody is not told."""
    where, code = shown(broken.where), broken.dossier_code
    is_told = code is not None and not is_personal("dossier_code", code)
    return {
        "record_key": where,
        **_hashes(broken.content_hash),
        "reason": broken.reason,
        "clause": broken.clause,
        "detail": broken.detail.replace(broken.where, where),
        "excerpt": json.dumps({"dossier_code": code}, ensure_ascii=False) if is_told else None,
    }


def _keyed(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry with the keyed hash in place of one that a source made itself."""
    return entry if _BEFORE in entry else {**entry, **_hashes(entry["content_hash"])}


def _hashes(said: str) -> dict[str, str | None]:
    """The keyed hash of a record's own hash; beside it, for one turn of the key, the one that may be stored."""
    keys = in_use()
    return {"content_hash": keys.of(said), _BEFORE: keys.before(said)}


def excerpt(row: Mapping[str, Any], contract: RecordContract) -> str:
    """Contract fields of a record as JSON, for someone who looks into it.

    Lists are left out. A field that should hold a date or a number may, in a broken record, hold
    anything, so letters and bare runs of digits in it are told by their length only.
    """
    dates = {name for clause in contract.clauses if clause.name.endswith("_readable") for name in clause.fields}
    shown = {
        name: _masked(str(value)) if name in dates else str(value)[:_EXCERPT_LENGTH]
        for name, value in row.items()
        if name in contract.hashed and value not in (None, "") and not isinstance(value, list | dict)
    }
    return json.dumps(shown, ensure_ascii=False)


def _masked(text: str) -> str:
    return text if _HARMLESS.match(text) else f"«{len(text)} ký tự»"


def quarantine(
    entries: Sequence[Mapping[str, Any]],
    source: str,
    lake: Lake,
    *,
    now: datetime,
    window: tuple[datetime, datetime] | None = None,
    contract: str | None = None,
) -> None:
    """Store entries, each once: one that stands there already keeps its first instant and is open again.

    No plain hash passes here: entries that neither `refused` nor `unreadable` made are given the keyed one.
    `window` is the span that was read, `contract` the fingerprint of the contract that they break; both are
    what reading them again goes by.
    """
    if not entries:
        return
    entries = [_keyed(entry) for entry in entries]
    _rekey(entries, source, lake)
    start, end = window or (None, None)
    more = {"stage": STAGE, "source": source, "quarantined_at": now, "window_start": start, "window_end": end}
    rows = pa.Table.from_pylist(
        [{**entry, **more, "contract": contract, "settled_at": None} for entry in entries],
        schema=RAW_QUARANTINE.arrow_schema(),
    )
    connection = lake.connect(RAW_QUARANTINE)
    connection.register("entries", rows)
    key = ", ".join(RAW_QUARANTINE.key)
    connection.execute(f"CREATE TEMP TABLE said AS SELECT DISTINCT ON ({key}) * FROM entries")
    fresh = connection.sql(f"SELECT * FROM said ANTI JOIN raw_quarantine USING ({key})").to_arrow_table()
    reopened = connection.sql(
        "SELECT q.* REPLACE (said.contract AS contract, CAST(NULL AS TIMESTAMPTZ) AS settled_at) "
        f"FROM raw_quarantine AS q JOIN said USING ({key}) "
        "WHERE q.settled_at IS NOT NULL OR q.contract IS DISTINCT FROM said.contract"
    ).to_arrow_table()
    if not reopened.num_rows:
        lake.append(RAW_QUARANTINE, fresh.cast(RAW_QUARANTINE.arrow_schema()))
        return
    connection.register("reopened", reopened)
    kept = connection.sql(f"SELECT * FROM raw_quarantine ANTI JOIN reopened USING ({key})").to_arrow_table()
    lake.replace(RAW_QUARANTINE, pa.concat_tables([kept, reopened, fresh.select(kept.column_names)]))


def _rekey(entries: Sequence[Mapping[str, Any]], source: str, lake: Lake) -> None:
    """Give stored entries that are seen again the hash of today's key, so that none is set aside twice."""
    pairs = [
        {"before": entry[_BEFORE], "now": entry["content_hash"], "source": source, "stage": STAGE}
        for entry in entries
        if entry.get(_BEFORE)
    ]
    if not pairs:
        return
    connection = lake.connect(RAW_QUARANTINE)
    connection.register("pairs", pa.Table.from_pylist(pairs))
    known = "FROM raw_quarantine AS q {} JOIN (SELECT DISTINCT * FROM pairs) AS p ON p.before = q.content_hash "
    known += "AND p.source = q.source AND p.stage = q.stage"
    if connection.sql(f"SELECT 1 {known.format('')} LIMIT 1").fetchall():
        key = "CASE WHEN q.record_key = '#' || p.before THEN '#' || p.now ELSE q.record_key END AS record_key"
        query = f"SELECT q.* REPLACE (coalesce(p.now, q.content_hash) AS content_hash, {key}) {known.format('LEFT')}"
        lake.replace(RAW_QUARANTINE, connection.sql(query).to_arrow_table().cast(RAW_QUARANTINE.arrow_schema()))


@dataclass(frozen=True)
class Reason:
    """How many records of a source wait for one reason, and what one of them is told."""

    source: str
    stage: str
    reason: str
    count: int
    detail: str


def reasons(lake: Lake, *, source: str | None = None) -> list[Reason]:
    """The open entries by source, stage and reason; the most frequent first within a source."""
    rows = (
        lake.connect(RAW_QUARANTINE)
        .sql(
            "SELECT source, stage, reason, count(*) AS entries, min(detail) FROM raw_quarantine "
            "WHERE settled_at IS NULL AND ($source IS NULL OR source = $source) GROUP BY 1, 2, 3 "
            "ORDER BY source, stage, entries DESC, reason",
            params={"source": source},
        )
        .fetchall()
    )
    return [Reason(*row) for row in rows]


def ask_again(lake: Lake, *, source: str | None = None) -> int:
    """Have the next night read again what extraction set aside, whatever its contract; return how many entries."""
    connection = lake.connect(RAW_QUARANTINE)
    asked = (
        f"stage = '{STAGE}' AND settled_at IS NULL AND contract IS NOT NULL AND ($source IS NULL OR source = $source)"
    )
    count = int(
        connection.sql(f"SELECT count(*) FROM raw_quarantine WHERE {asked}", params={"source": source}).fetchall()[0][0]
    )
    if count:
        query = (
            f"SELECT * REPLACE (CASE WHEN {asked} THEN '{_ASKED}' ELSE contract END AS contract) FROM raw_quarantine"
        )
        lake.replace(RAW_QUARANTINE, connection.sql(query, params={"source": source}).to_arrow_table())
    return count


@dataclass(frozen=True)
class Waiting:
    """Entries of one source that extraction set aside and that wait to be read again."""

    spans: tuple[tuple[datetime, datetime], ...]
    entries: int


def waiting(lake: Lake, source: str, contracts: Iterable[str]) -> Waiting:
    """Open entries of `source` that broke another contract than today's, and the spans that hold them.

    A record that was refused under a rule that has changed since is asked for again. Entries without a
    span (files) count too; what is read again for them is the reader's matter.
    """
    known = ", ".join(f"'{one}'" for one in contracts)
    rows = (
        lake.connect(RAW_QUARANTINE)
        .sql(
            "SELECT window_start, window_end FROM raw_quarantine WHERE stage = $stage AND source = $source "
            f"AND settled_at IS NULL AND contract IS NOT NULL AND contract NOT IN ({known}) ORDER BY 1, 2",
            params={"stage": STAGE, "source": source},
        )
        .fetchall()
    )
    return Waiting(tuple(_merged((start, end) for start, end in rows if start and end)), len(rows))


def _merged(spans: Iterable[tuple[datetime, datetime]]) -> Iterator[tuple[datetime, datetime]]:
    """Overlapping and touching spans as one; `spans` are in order of their start."""
    held: tuple[datetime, datetime] | None = None
    for start, end in spans:
        if held and start <= held[1]:
            held = (held[0], max(held[1], end))
            continue
        if held:
            yield held
        held = (start, end)
    if held:
        yield held


def settle(
    lake: Lake,
    source: str,
    table: Table,
    seen: Collection[str],
    spans: Collection[tuple[datetime, datetime]] | None,
    *,
    now: datetime,
) -> int:
    """Close the open entries of `source` whose reason is gone, and return how many.

    That is so for a record that `table` holds by now, and for one that did not break its contract again
    (`seen` holds the keys that did) although its whole span was among `spans`, the ones just read; None says
    that everything was. A source without spans is not read again by itself, so only storing closes its entries.
    """
    connection = lake.connect(RAW_QUARANTINE, table)
    read = " OR ".join(
        f"(window_start >= TIMESTAMPTZ '{start.isoformat()}' AND window_end <= TIMESTAMPTZ '{end.isoformat()}')"
        for start, end in spans or ()
        if start < end
    )
    whole = "true" if spans is None else read or "false"
    connection.register("seen", pa.table({"record_key": pa.array(sorted(seen), pa.string())}))
    is_settled = f"""
        stage = '{STAGE}' AND source = $source AND settled_at IS NULL AND contract IS NOT NULL
        AND record_key NOT IN (SELECT record_key FROM seen) AND (
            EXISTS (SELECT 1 FROM "{table.name}" AS r
                WHERE r.record_key = raw_quarantine.record_key AND r.extracted_at >= raw_quarantine.quarantined_at)
            OR {whole}
        )"""
    connection.execute(
        f"CREATE TEMP TABLE judged AS SELECT *, ({is_settled}) AS now_settled FROM raw_quarantine", {"source": source}
    )
    count = int(connection.sql("SELECT count(*) FROM judged WHERE now_settled").fetchall()[0][0])
    if count:
        settled = "CASE WHEN now_settled THEN $now ELSE settled_at END AS settled_at"
        query = f"SELECT * EXCLUDE (now_settled) REPLACE ({settled}) FROM judged"
        lake.replace(RAW_QUARANTINE, connection.sql(query, params={"now": now}).to_arrow_table())
    return count


def settle_unsaid(
    lake: Lake,
    source: str,
    said: Sequence[Mapping[str, Any]],
    *,
    now: datetime,
    prefix: str = "",
    unread: Collection[str] = (),
) -> None:
    """Close open entries of a small source whose keys begin with `prefix` and that are not among those `said` now.

    For lists that are read whole: what is no longer refused is mended, or gone, and so is what is refused with other
    words than before. `unread` are places that were not read this time: what stands there, or below it ("place, row"),
    stays open.
    """
    connection = lake.connect(RAW_QUARANTINE)
    names = ("record_key", "reason", "content_hash")
    # Stored under the key of the hashes before, where it has not been seen again since that was replaced.
    hashed = [(entry, entry[name]) for entry in map(_keyed, said) for name in ("content_hash", _BEFORE)]
    rows = [{**{name: entry[name] for name in names}, "content_hash": each} for entry, each in hashed if each]
    connection.register("still", pa.Table.from_pylist(rows, schema=pa.schema([(name, pa.string()) for name in names])))
    connection.register("unread", pa.table({"place": pa.array(sorted(unread), pa.string())}))
    is_over = f"""
        stage = $stage AND source = $source AND settled_at IS NULL AND starts_with(record_key, $prefix)
        AND ({", ".join(names)}) NOT IN (SELECT {", ".join(names)} FROM still)
        AND NOT EXISTS (FROM unread WHERE record_key = place OR starts_with(record_key, place || ', '))"""
    values: dict[str, Any] = {"stage": STAGE, "source": source, "prefix": prefix}
    if connection.sql(f"SELECT 1 FROM raw_quarantine WHERE {is_over} LIMIT 1", params=values).fetchall():
        settled = f"CASE WHEN {is_over} THEN $now ELSE settled_at END AS settled_at"
        query = f"SELECT * REPLACE ({settled}) FROM raw_quarantine"
        lake.replace(RAW_QUARANTINE, connection.sql(query, params={**values, "now": now}).to_arrow_table())

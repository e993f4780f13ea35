"""What the configured unit directories say today, and what that makes of the agency codes known.

Belongs here: asking a directory, laying its statement over what is known of a source's codes, which unit each code
is, the books, and what dossiers wait for. Does not belong here: how a directory is read (`connectors/units.py`),
which unit a code that nobody mapped may be (`unit_proposal.py`), nor storage.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pyarrow as pa

from connectors.protocol import Guard, SourceError
from connectors.settings import MissingSecret
from connectors.units import Directory, UnitFileSettings, UnitSettings, read_directory
from expectations.wording import count_vi
from warehouse.lake import Lake
from warehouse.reference import tidy
from warehouse.tables import CORE_AGENCY, RAW_QUARANTINE

#: What counts, cursors and the quarantine call all directories together.
SOURCE = "units"
_DAY = timedelta(days=1)
Row = dict[str, Any]
#: Rows of one code by time.
History = list[Row]


def folded(text: str) -> str:
    """A code or name as the table of agencies compares it: NFC, one case, single spaces (SQL: agency_key)."""
    return tidy(text).lower()


# ---- asking


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What came of asking one directory: its rows, or the reason why there are none."""

    settings: UnitSettings
    directory: Directory | None
    error: str = ""


def hear(settings: UnitSettings, *, places: Collection[str]) -> Heard:
    """Ask one directory. One that cannot be had, or whose secret is not set, is told and raises nothing."""
    try:
        return Heard(settings=settings, directory=read_directory(settings, places=places))
    except (SourceError, MissingSecret) as error:
        return Heard(settings=settings, directory=None, error=str(error))


def settings_key(settings: UnitSettings) -> str:
    """A name for this directory: another configuration, or another file, is asked at once."""
    told = settings.model_dump_json()
    if isinstance(settings, UnitFileSettings) and settings.path.is_file():
        told += hashlib.sha256(settings.path.read_bytes()).hexdigest()
    return hashlib.sha256(told.encode()).hexdigest()[:16]


# ---- over what is known


@dataclass(frozen=True, kw_only=True)
class Amended:
    """The codes known after one directory (`core_agency` rows), and the books of it.

    A row read is a code that was listed, or a record that could not be used.
    """

    agencies: pa.Table
    source: str
    rows_read: int
    rows_stored: int
    rows_quarantined: int
    #: Codes that were missing: those closed, and those that were too many to be believed.
    closed: int
    doubted: int

    @property
    def rows_unchanged(self) -> int:
        """Codes of which nothing new was said."""
        return self.rows_read - self.rows_stored - self.rows_quarantined


def amend(known: pa.Table, source: str, directory: Directory, *, guard: Guard, on: date) -> Amended:
    """`known` (`core_agency` rows) with what the directory of `source` said on the day `on`.

    A code with another name has its row closed the day before and another one opened; one that is no longer listed
    has its row closed, one that comes back gets another. The same statement again changes nothing, and another one
    on the same day takes the place of the first. A code that is listed but unusable stays as it is. When the
    `guard` doubts the gap, no code is closed.
    """
    rows = known.to_pylist()
    histories: dict[str, History] = {}
    for row in sorted(rows, key=lambda row: row["first_listed_on"]):
        if row["source"] == source:
            histories.setdefault(folded(row["agency"]), []).append(row)
    listed = {folded(each.code): each for each in directory.agencies}
    present = {*listed, *map(folded, directory.unusable)}
    current = {code for code, history in histories.items() if history[-1]["last_listed_on"] is None}
    missing = current - present
    doubted = guard.doubts(len(missing), len(current))
    changed = 0
    for code, each in listed.items():
        before = histories.get(code, [])
        histories[code] = _listed(_until(before, on), source, each.code, each.name, on)
        changed += histories[code] != before
    for code in () if doubted else missing:
        histories[code] = _closed(_until(histories[code], on), on)
    kept = [row for row in rows if row["source"] != source]
    return Amended(
        agencies=_table([*kept, *(row for history in histories.values() for row in history)]),
        source=source,
        rows_read=len(listed) + len(directory.broken),
        rows_stored=changed,
        rows_quarantined=len(directory.broken),
        closed=0 if doubted else len(missing),
        doubted=len(missing) if doubted else 0,
    )


def knows_later(known: pa.Table, source: str, *, on: date) -> bool:
    """Whether something is known of the source's codes that was said after the day `on`."""
    own = [row for row in known.to_pylist() if row["source"] == source]
    return any(row["first_listed_on"] > on or (row["last_listed_on"] or date.min) >= on for row in own)


def _until(history: History, on: date) -> History:
    """The history as it stood before anything was said on the day `on`."""
    before = [row for row in history if row["first_listed_on"] < on]
    if before and before[-1]["last_listed_on"] == on - _DAY:
        before[-1] = before[-1] | {"last_listed_on": None}
    return before


def _listed(history: History, source: str, code: str, name: str, on: date) -> History:
    newest = history[-1] if history else None
    is_open = newest is not None and newest["last_listed_on"] is None
    if newest is not None and is_open and newest["name"] == name:
        return history
    row: Row = dict.fromkeys(CORE_AGENCY.column_names)
    row |= {"source": source, "agency": code, "name": name, "first_listed_on": on}
    if newest is not None:
        # Until the table of agencies is looked at again.
        row |= {"unit_code": newest["unit_code"], "mapped_by": newest["mapped_by"]}
    return [*(_closed(history, on) if is_open else history), row]


def _closed(history: History, on: date) -> History:
    return [*history[:-1], history[-1] | {"last_listed_on": on - _DAY}] if history else []


def mapped(known: pa.Table, agencies: pa.Table, says: Mapping[str, str]) -> pa.Table:
    """`known` with the units that `agencies` (source, agency, unit_code) gives its codes.

    `says` is what the dossiers of each source name an agency by, code or name; rows of any other source stay.
    """
    units = {(row["source"], folded(row["agency"])): row["unit_code"] for row in agencies.to_pylist()}
    rows = []
    for row in known.to_pylist():
        if by := says.get(row["source"]):
            unit = units.get((row["source"], folded(row["agency" if by == "code" else "name"])))
            row |= {"unit_code": unit, "mapped_by": by if unit else None}
        rows.append(row)
    return _table(rows)


def _table(rows: Sequence[Row]) -> pa.Table:
    table = pa.Table.from_pylist(list(rows), schema=CORE_AGENCY.arrow_schema())
    return table.sort_by([(name, "ascending") for name in CORE_AGENCY.sort])


def told(heard: Heard, amended: Amended | None) -> str:
    """What came of one directory, in one Vietnamese line."""
    name = f"{SOURCE} {heard.settings.source} ({heard.settings.kind})"
    if amended is None:
        return f"{name}: không đọc được, giữ nguyên danh bạ đã biết. {heard.error}"
    parts = [
        f"{count_vi(amended.rows_read - amended.rows_quarantined)} mã đơn vị",
        f"{count_vi(amended.rows_stored)} mã mới hoặc đổi tên",
        f"{count_vi(amended.closed)} mã không còn",
        f"{count_vi(amended.rows_quarantined)} bản ghi không dùng được",
    ]
    if amended.doubted:
        parts.append(
            f"thiếu đột ngột {count_vi(amended.doubted)} mã nên chưa coi là đã bỏ; nếu đúng là đã bỏ, nâng "
            "missing_share của danh bạ này"
        )
    return f"{name}: {', '.join(parts)}"


# ---- for whoever looks


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One code of a source's directory as it stands, and what became of it."""

    source: str
    agency: str
    name: str
    unit_code: str | None
    listed_from: date
    #: Last day on which it was listed; None while it is.
    listed_to: date | None
    #: Whether it came after the directory was first read.
    is_new: bool
    #: The name before, and the day from which it has this one.
    former_name: str | None
    renamed_on: date | None
    #: Whether it had gone before.
    is_back: bool

    @property
    def note(self) -> str:
        """What became of it, in Vietnamese."""
        parts = []
        if self.listed_to:
            parts.append(f"không còn liệt kê từ {self.listed_to + _DAY:%d/%m/%Y}")
        if self.renamed_on:
            parts.append(f"đổi tên từ {self.renamed_on:%d/%m/%Y}, trước là “{self.former_name}”")
        if self.is_back:
            parts.append(f"trở lại từ {self.listed_from:%d/%m/%Y}")
        elif self.is_new:
            parts.append(f"mới từ {self.listed_from:%d/%m/%Y}")
        return "; ".join(parts)


def entries(agencies: pa.Table) -> list[Entry]:
    """One entry a code of `core_agency` rows, by source and code."""
    histories: dict[tuple[str, str], History] = {}
    began: dict[str, date] = {}
    for row in sorted(agencies.to_pylist(), key=lambda row: row["first_listed_on"]):
        histories.setdefault((row["source"], folded(row["agency"])), []).append(row)
        began.setdefault(row["source"], row["first_listed_on"])
    return [_entry(histories[key], began[key[0]]) for key in sorted(histories)]


def _entry(history: History, began: date) -> Entry:
    newest = history[-1]
    first = next(at for at in range(len(history) - 1, -1, -1) if at == 0 or not _joined(history[at - 1], history[at]))
    run = history[first:]
    return Entry(
        source=newest["source"],
        agency=newest["agency"],
        name=newest["name"],
        unit_code=newest["unit_code"],
        listed_from=run[0]["first_listed_on"],
        listed_to=newest["last_listed_on"],
        is_new=run[0]["first_listed_on"] > began,
        former_name=run[-2]["name"] if len(run) > 1 else None,
        renamed_on=newest["first_listed_on"] if len(run) > 1 else None,
        is_back=first > 0,
    )


def _joined(before: Row, after: Row) -> bool:
    return bool(before["last_listed_on"] == after["first_listed_on"] - _DAY)


@dataclass(frozen=True)
class Named:
    """What a directory says of a code."""

    source: str
    agency: str
    name: str

    def __str__(self) -> str:
        """For an operator."""
        return f"{self.agency} “{self.name}”"


@dataclass(frozen=True)
class Waiting:
    """Records of a source that wait because nobody knows the unit of their agency."""

    source: str
    #: The agency as its records name it, by code or by name.
    agency: str
    records: int
    #: The codes of the source's directory that this may be, as last listed.
    listed: tuple[Named, ...]


#: A record of a system connected by a profile waits under the source whose place the system takes; its key begins
#: with the system's name, and so does the name of the system's directory.
_WAITING_SQL = """
    CREATE OR REPLACE TEMP MACRO folded(text) AS lower(trim(regexp_replace(nfc_normalize(text), '\\s+', ' ', 'g')));
    WITH held AS (
        SELECT source, excerpt ->> 'code' AS agency, count(*) AS records, list(DISTINCT system) AS systems
        FROM (
            SELECT *, CASE WHEN split_part(record_key, ':', 1) IN (SELECT source FROM core_agency)
                THEN split_part(record_key, ':', 1) END AS system
            FROM raw_quarantine
            WHERE stage = 'conform' AND reason = 'unmapped_agency' AND settled_at IS NULL
                AND excerpt ->> 'code' IS NOT NULL AND ($source IS NULL OR source = $source)
        )
        GROUP BY ALL
    ), listed AS (
        SELECT source, agency, name FROM core_agency
        QUALIFY row_number() OVER (PARTITION BY source, lower(agency) ORDER BY first_listed_on DESC) = 1
    )
    SELECT h.source, h.agency, any_value(h.records), list(l ORDER BY l.agency) FILTER (l.agency IS NOT NULL)
    FROM held AS h
    LEFT JOIN listed AS l ON (l.source = h.source OR list_contains(h.systems, l.source))
        AND folded(h.agency) IN (folded(l.agency), folded(l.name))
    GROUP BY h.source, h.agency ORDER BY h.source, any_value(h.records) DESC, h.agency
"""


def waiting(lake: Lake, *, source: str | None = None) -> list[Waiting]:
    """The agencies that records wait for, the most wanted first, each as its source's directory lists it."""
    rows = lake.connect(CORE_AGENCY, RAW_QUARANTINE).sql(_WAITING_SQL, params={"source": source}).fetchall()
    return [
        Waiting(source, agency, records, tuple(Named(**each) for each in listed or ()))
        for source, agency, records, listed in rows
    ]


def wanted(held: Iterable[Waiting]) -> dict[tuple[str, str], int]:
    """How many records wait for each code of a directory, by its source and code; others are not there."""
    found: Counter[tuple[str, str]] = Counter()
    for each in held:
        for one in each.listed:
            found[one.source, one.agency] += each.records
    return dict(found)


def places(units: pa.Table) -> list[str]:
    """Names of units, which carry names of persons as their own (`core_unit` rows)."""
    return sorted(set(units["name"].to_pylist()))

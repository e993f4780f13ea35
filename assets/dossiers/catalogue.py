"""What the configured catalogues of procedures say today, and what that makes of the procedures known.

Belongs here: asking every catalogue, laying what they say over each other, and the books of it. Does not belong
here: how a catalogue is read (`connectors/catalogue.py`, `connectors/catalogue_files.py`), how a statement
changes what is known (`warehouse.reference.merge_catalogue`), nor storage.

Catalogues are laid over each other before they are merged: two that word a name differently would otherwise
open a new row of the procedure every night.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from assets.raw.quarantine import unreadable
from connectors.catalogue import PROCEDURES, Catalogue, CatalogueServiceSettings, read_service
from connectors.catalogue_files import CatalogueFileSettings, read_file
from connectors.protocol import SourceError
from connectors.settings import MissingSecret
from expectations.wording import count_vi
from warehouse.database import Cursor
from warehouse.reference import merge_catalogue, unplaced_procedures

#: What counts and the quarantine call all catalogues together.
SOURCE = "catalogue"
_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
Settings = CatalogueServiceSettings | CatalogueFileSettings


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What came of asking one catalogue: its procedures, or the reason why there are none."""

    kind: str
    catalogue: Catalogue | None
    error: str = ""

    @property
    def said(self) -> str:
        """One Vietnamese line for whoever watches."""
        if self.catalogue is None:
            return f"{SOURCE} ({self.kind}): không đọc được, giữ nguyên danh mục đã biết. {self.error}"
        read, broken = self.catalogue.procedures.num_rows, len(self.catalogue.broken)
        return f"{SOURCE} ({self.kind}): {count_vi(read)} thủ tục, {count_vi(broken)} bản ghi không dùng được"


@dataclass(frozen=True, kw_only=True)
class Amended:
    """The procedures after all catalogues, what was refused (quarantine entries), and the books of both.

    A row is a procedure that some catalogue named, or a record that could not be used. Of the codes `unheard` a
    catalogue did not answer: what was refused of them before may be so still.
    """

    procedures: pa.Table
    refused: tuple[dict[str, Any], ...]
    unheard: frozenset[str]
    rows_read: int
    rows_stored: int
    source: str = SOURCE

    @property
    def rows_quarantined(self) -> int:
        """Records and procedures kept out, each with its reason."""
        return len(self.refused)

    @property
    def rows_unchanged(self) -> int:
        """Procedures of which nothing new was said."""
        return self.rows_read - self.rows_stored - self.rows_quarantined


def settings_key(catalogues: Sequence[Settings]) -> str:
    """A name for these catalogues together: another configuration, or another file, is asked at once."""
    told = "\n".join(each.model_dump_json() + _stamp(each) for each in catalogues)
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _stamp(settings: Settings) -> str:
    if not isinstance(settings, CatalogueFileSettings) or not settings.path.is_file():
        return ""
    return hashlib.sha256(settings.path.read_bytes()).hexdigest()


def last_day(as_of: datetime) -> date:
    """The last day in Vietnam that is wholly known at `as_of`: what catalogues say now is said of that day."""
    return (as_of - timedelta(microseconds=1)).astimezone(_ZONE).date()


def is_due(cursor: Cursor | None, *, on: date, every_days: int) -> bool:
    """Whether catalogues that were asked for the day of `cursor` are to be asked for the day `on`."""
    return cursor is None or on - date.fromisoformat(cursor.position["on"]) >= timedelta(days=every_days)


def hear(settings: Settings) -> Heard:
    """Ask one catalogue. One that cannot be had, or whose secret is not set, is told and raises nothing."""
    try:
        found = read_file(settings) if isinstance(settings, CatalogueFileSettings) else read_service(settings)
    except (SourceError, MissingSecret) as error:
        return Heard(kind=settings.kind, catalogue=None, error=str(error))
    return Heard(kind=settings.kind, catalogue=found)


def amend(known: pa.Table, catalogues: Sequence[Catalogue], *, on: date) -> Amended:
    """`known` (`core_procedure` rows) with what the catalogues said on the day `on`; a later one outweighs.

    Raises `ValueError` when what is known was learned after `on`.
    """
    said = laid_over(each.procedures for each in catalogues)
    broken = [unreadable(each) for catalogue in catalogues for each in catalogue.broken]
    unplaced = unplaced_procedures(known, said)
    merged = merge_catalogue(known, said, on=on)
    return Amended(
        procedures=merged,
        refused=(*broken, *(_unplaced(code) for code in unplaced)),
        unheard=frozenset(code for catalogue in catalogues for code in catalogue.unheard),
        rows_read=said.num_rows + len(broken),
        rows_stored=_changed(known, merged),
    )


def laid_over(tables: Iterable[pa.Table]) -> pa.Table:
    """One row a procedure: in every column what the last catalogue said that said anything (`PROCEDURES`)."""
    rows: dict[str, dict[str, Any]] = {}
    for table in tables:
        for row in table.to_pylist():
            said = {name: value for name, value in row.items() if value is not None}
            rows[row["procedure_code"]] = rows.get(row["procedure_code"], {}) | said
    return pa.Table.from_pylist(list(rows.values()), schema=PROCEDURES)


def _changed(before: pa.Table, after: pa.Table) -> int:
    """How many procedures have another history than before."""
    known = {tuple(row.values()) for row in before.select(after.column_names).to_pylist()}
    return len({row["procedure_code"] for row in after.to_pylist() if tuple(row.values()) not in known})


def _unplaced(code: str) -> dict[str, Any]:
    detail = (
        f"Thủ tục {code} chưa có trong danh mục đã biết, và chưa danh mục nào cho biết đủ tên, phí, kết quả và "
        "kênh trực tuyến để thêm vào"
    )
    digest = hashlib.md5(code.encode(), usedforsecurity=False).hexdigest()
    return {
        "record_key": code,
        "content_hash": digest,
        "reason": "unplaced_procedure",
        "clause": "name, has_fee, is_result_required, offers_online",
        "detail": detail,
        "excerpt": None,
    }

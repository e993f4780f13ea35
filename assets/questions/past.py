"""The lake as a night left it.

Belongs here: reading every table at the version that a night ended with, saying so when it is gone, and
finding the night of a question. Does not belong here: what is asked of it (`restate.py`, `trace.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from assets.periods import VIETNAM
from assets.publications.manifest import ManifestError, read_manifest
from warehouse.database import Database, PastNight, night_table, version_table
from warehouse.lake import Lake
from warehouse.schema import Table


class VersionGoneError(LookupError):
    """A table can no longer be read as a night left it; the text names table, version and what can be done."""


class NoNightError(LookupError):
    """No night answers the question; the text says which one was looked for."""


@dataclass(frozen=True)
class PastLake(Lake):
    """A lake in which each table is read at its version in `versions`; it cannot be written.

    -1 is the version of a table that was not written yet, and has no rows. Raises `VersionGoneError` where
    a version was never remembered or its files were cleared away.
    """

    versions: Mapping[str, int] = field(default_factory=dict)
    night: str = ""

    @classmethod
    def of(cls, lake: Lake, night: PastNight) -> PastLake:
        """`lake` as `night` left it."""
        return cls(lake.root, lake.storage_options, versions=night.lake_versions, night=night.night)

    def open(self, table: Table, *, version: int | None = None) -> DeltaTable | None:
        """The table at the night's version, None when there was none yet."""
        wanted = version if version is not None else self.versions.get(table.name)
        if wanted is None:
            raise VersionGoneError(
                f"Đêm {self.night} không ghi phiên bản của bảng {table.name} (đêm chạy trước khi chương trình ghi "
                "phiên bản), nên không thể đọc lại · the night remembered no version of this table"
            )
        if wanted < 0:
            return None
        try:
            opened = super().open(table, version=wanted)
        except DeltaError:
            opened = None
        if opened is None or self._lacks_files(table, opened):
            raise VersionGoneError(
                f"Bảng {table.name} phiên bản {wanted} (đêm {self.night}) không còn trong kho: các tệp cũ đã bị dọn. "
                "Khôi phục kho từ bản sao lưu, hoặc hỏi một ngày gần hơn · this version was vacuumed"
            )
        return opened

    def _lacks_files(self, table: Table, opened: DeltaTable) -> bool:
        """Whether a file of a local table is missing; an object store is believed."""
        if not opened.table_uri.startswith("file://"):
            return False
        return not all(Path(file).is_file() for file in self._files(opened, table, None))

    def _write(self, table: Table, *_: Any, **__: Any) -> None:
        raise TypeError(f"{table.name}: the lake of a past night cannot be written")


def newest_night(database: Database) -> PastNight:
    """The night whose facts reach furthest; `NoNightError` before the first one."""
    night = database.newest_night()
    if night is None:
        raise NoNightError("Chưa có đêm nào chạy xong; hãy chạy thuocdo night · no night has ended yet")
    return night


def night_known_on(database: Database, day: date) -> PastNight:
    """The last night with facts up to the end of `day` in Vietnam; `NoNightError` when there was none yet."""
    night = database.night_known_on(datetime.combine(day + timedelta(days=1), time(), VIETNAM))
    if night is None:
        raise NoNightError(
            f"Chưa có đêm nào có số liệu đến hết ngày {day:%d/%m/%Y} hoặc sớm hơn · no night knew that day yet"
        )
    return night


def first_night_covering(database: Database, instant: datetime) -> PastNight | None:
    """The first night that ended with facts up to `instant` or later: the one that reported a period ending then."""
    query = (
        sa.select(night_table)
        .where(night_table.c.ended_at.is_not(None), night_table.c.as_of >= instant)
        .order_by(night_table.c.as_of, night_table.c.ended_at)
        .limit(1)
    )
    with database.engine.connect() as connection:
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        mine = sa.select(version_table).where(version_table.c.night == row.night)
        versions = {found.table_name: found.lake_version for found in connection.execute(mine)}
    return PastNight(night=row.night, as_of=row.as_of, ended_at=row.ended_at, lake_versions=versions)


def definitions_of(publications: Path, night: str) -> Mapping[str, str] | None:
    """Fingerprints by "indicator/version" that `night` published with; None when its publication is gone."""
    for folder in sorted(publications.glob(f"*-{night}"), reverse=True):
        try:
            manifest = read_manifest(folder)
        except ManifestError:
            continue
        if manifest.get("x-night") == night:
            return dict(manifest.get("x-definitions") or {})
    return None

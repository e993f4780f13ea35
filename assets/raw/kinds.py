"""Which connector reads a kind of source, and which raw tables it fills.

Belongs here: one entry per kind, and what a connector is told of the store. Does not belong here: any
protocol (`connectors`), what is done with a batch (`extraction.py`), Dagster (`assets.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa

from assets.raw.hashes import in_use
from assets.raw.stored_days import StoredDays
from assets.raw.tables import RAW_ONESTOP, RAW_PORTAL, RAW_TABLES, table_of
from connectors import database, files, igate, npsp_log, opencps, profiled, rest
from connectors.database import DatabaseSettings
from connectors.file_names import FileNames
from connectors.files import FilesSettings
from connectors.loop import Loop
from connectors.protocol import Connection
from connectors.rest import RestSettings
from connectors.settings import IGateSettings, MessageLogSettings, OpenCpsSettings
from connectors.sources import SourceSettings
from warehouse.lake import Lake
from warehouse.schema import Table

Tables = Mapping[str, Table]
Cursors = Mapping[str, Mapping[str, Any]]
S = TypeVar("S")
Http = TypeVar("Http", OpenCpsSettings, IGateSettings, RestSettings)


@dataclass(frozen=True)
class Opening:
    """What a connector may be told when a source is opened: its name, what is stored, how far it was read.

    `remembered` are the stored cursors where `cursors` are not, because everything is to be read again.
    """

    name: str
    lake: Lake
    cursors: Cursors
    remembered: Cursors | None = None

    @property
    def names(self) -> FileNames:
        """What the files of a folder were called before."""
        return FileNames.of(_hashes, self.cursors if self.remembered is None else self.remembered)

    def rows(self, table: Table) -> int:
        """How many versions `table` holds."""
        found = self.lake.connect(table).sql(f'SELECT count(*) FROM "{table.name}"').fetchall()
        return int(found[0][0])


def _hashes(said: str) -> tuple[str, ...]:
    """Today's keyed hash of a text and, for one turn of the key, the one that may be stored."""
    keys = in_use()
    before = keys.before(said)
    return (keys.of(said),) if before is None else (keys.of(said), before)


@dataclass(frozen=True)
class SourceKind(Generic[S]):
    """One kind of source. `tables`: contract kind → table, the first of which carries the source's own counts.

    `lag`: how far behind the present a span of time must end; None where everything that is new is read
    whatever the span. `probe` makes the smallest call there is and says what came back. `sample` reads up
    to so many records of a system that is connected by a profile, for someone who checks the profile. `rehearse`
    is `open` over a loop that makes no call, for a source over HTTP: it shows what a night would ask first.
    """

    tables: Callable[[str, S], Tables]
    open: Callable[[Opening, S], AbstractAsyncContextManager[Connection]]
    probe: Callable[[S], str]
    lag: Callable[[S], timedelta] | None = None
    sample: Callable[[S, int], pa.Table] | None = None
    rehearse: Callable[[Opening, S, Loop], Connection] | None = None


def kind_of(settings: SourceSettings) -> SourceKind[Any]:
    """The entry of the kind that `settings` are of."""
    return KINDS[type(settings)]


def raw_tables(sources: Mapping[str, SourceSettings]) -> tuple[Table, ...]:
    """Every raw table that the configured sources fill."""
    return tuple(table for name, each in sources.items() for table in kind_of(each).tables(name, each).values())


def below_home(settings: SourceSettings, root: Path) -> SourceSettings:
    """`settings` with what comes in below the home resolved there, where its path is relative."""
    folder = getattr(settings, "folder", None)
    return settings if folder is None else settings.model_copy(update={"folder": root / folder})


def _hasty(probe: Callable[[Http], Awaitable[str]]) -> Callable[[Http], str]:
    """A probe that does not wait out a whole night's retries."""

    def run(settings: Http) -> str:
        manners = settings.manners.model_copy(update={"attempts": 2, "patience_minutes": 0})
        return asyncio.run(_awaited(probe(settings.model_copy(update={"manners": manners}))))

    return run


async def _awaited(result: Awaitable[str]) -> str:
    return await result


def _log_tables(name: str, settings: MessageLogSettings) -> Tables:  # noqa: ARG001  one log, whatever its name
    return {kind: RAW_TABLES[kind] for kind in (npsp_log.MESSAGES.kind, npsp_log.PROGRESS.kind)}


KINDS: Mapping[type, SourceKind[Any]] = {
    OpenCpsSettings: SourceKind[OpenCpsSettings](
        tables=lambda _name, _settings: {"portal": RAW_PORTAL},
        open=lambda opening, settings: opencps.connect(
            settings, StoredDays.of(opening.lake), positions=opening.cursors
        ),
        probe=_hasty(opencps.probe),
        lag=lambda settings: timedelta(minutes=settings.lag_minutes),
        rehearse=lambda opening, settings, loop: opencps.Portal(
            settings, loop, StoredDays.of(opening.lake), opening.cursors
        ),
    ),
    IGateSettings: SourceKind[IGateSettings](
        tables=lambda _name, _settings: {"onestop": RAW_ONESTOP},
        open=lambda opening, settings: igate.connect(
            settings, known=opening.rows(RAW_ONESTOP), positions=opening.cursors
        ),
        probe=_hasty(igate.probe),
        lag=lambda settings: timedelta(minutes=settings.lag_minutes),
        rehearse=lambda opening, settings, loop: igate.OneStop(
            settings, loop, opening.rows(RAW_ONESTOP), opening.cursors
        ),
    ),
    MessageLogSettings: SourceKind[MessageLogSettings](
        tables=_log_tables,
        open=lambda opening, settings: npsp_log.connect(settings, opening.cursors, names=opening.names),
        probe=npsp_log.probe,
    ),
    RestSettings: SourceKind[RestSettings](
        tables=lambda name, settings: {profiled.KIND: table_of(name, settings.role)},
        open=lambda opening, settings: rest.connect(
            settings, name=opening.name, known=opening.rows(table_of(opening.name, settings.role))
        ),
        probe=_hasty(rest.probe),
        lag=lambda settings: timedelta(minutes=settings.lag_minutes),
        sample=rest.sample,
        rehearse=lambda opening, settings, loop: rest.rehearsed(settings, loop, name=opening.name),
    ),
    FilesSettings: SourceKind[FilesSettings](
        tables=lambda name, settings: {profiled.KIND: table_of(name, settings.role, is_dropped=True)},
        open=lambda opening, settings: files.connect(
            settings, name=opening.name, positions=opening.cursors, names=opening.names
        ),
        probe=files.probe,
        sample=files.sample,
    ),
    DatabaseSettings: SourceKind[DatabaseSettings](
        tables=lambda name, settings: {profiled.KIND: table_of(name, settings.role)},
        open=lambda opening, settings: database.connect(settings, name=opening.name, positions=opening.cursors),
        probe=database.probe,
        lag=lambda settings: settings.lag,
        sample=database.sample,
    ),
}

"""Dagster's event log on SQLite, with files that stay open and a batch of events in one transaction.

Belongs here: those two differences. Does not belong here: anything about what an event says, nor any
other storage (PostgreSQL batches by itself).

Why: a first night covers every day since the province's start, and Dagster writes one planned and one
materialised event per day and asset. Its own SQLite storage opens an engine for each event and once more
to look whether a table is there, commits twice, and writes the asset's newest event again with each: about
10 ms; a thousand days of four assets were one and a half minutes of nothing but that. The rows that are
left behind are those of the parent class.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import dagster as dg
import sqlalchemy as sa
from dagster import DagsterEventType, EventLogEntry

# What Dagster's own storage mirrors, and the table that it writes.
from dagster._core.events import ASSET_CHECK_EVENTS, ASSET_EVENTS, EVENT_TYPE_TO_PIPELINE_RUN_STATUS

# The two modules that Dagster's own dagster.yaml reference names for its storages.
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from orchestration.settings import Home

_INDEX = "index"
#: Seconds to wait for another writer; a batch holds the file for a fraction of one.
_BUSY_SECONDS = 30
#: Dagster buffers the events of a many-day run up to this number, then stores them in one transaction.
_BATCH = 1000
#: Events that are also kept in the file that all runs share.
_MIRRORED = ASSET_EVENTS | ASSET_CHECK_EVENTS | EVENT_TYPE_TO_PIPELINE_RUN_STATUS.keys()


class BatchingSqliteEventLogStorage(SqliteEventLogStorage):
    """`SqliteEventLogStorage` whose `store_event_batch` is one transaction per database file.

    Dagster forms batches when the environment says DAGSTER_EVENT_BATCH_SIZE (see `EmbeddedStorage`). Two files
    stay open: the one that all runs share and that of the run asked for last.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held = threading.local()
        self._engines: dict[str, sa.Engine] = {}
        self._opening = threading.Lock()
        self._tables: set[str] = set()
        super().__init__(*args, **kwargs)

    def run_connection(self, run_id: str | None = None) -> AbstractContextManager[sa.Connection]:
        """A connection to the file of one run, in a transaction."""
        return super().run_connection(run_id) if run_id is None else self._begin(run_id)

    def index_connection(self) -> AbstractContextManager[sa.Connection]:
        """A connection to the file that all runs share, in a transaction: the batch's, else one of its own."""
        held: sa.Connection | None = getattr(self._held, "index", None)
        return self._begin(_INDEX) if held is None else nullcontext(held)

    def has_table(self, table_name: str) -> bool:
        """Whether there is such a table; one that was there is not looked for again."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event."""
        self.store_event_batch([event])

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store `events` of one run, all or none in each file."""
        (run_id,) = {event.run_id for event in events}
        rows = [self._event_to_row(event) for event in events]
        mirrored = [at for at, event in enumerate(events) if _type(event) in _MIRRORED]
        with ExitStack() as stack:
            # The shared file is opened first and so committed last, as the parent does.
            index = stack.enter_context(self._holding_index()) if mirrored else None
            stack.enter_context(self.run_connection(run_id)).execute(SqlEventLogStorageTable.insert(), rows)
            if index is not None:
                insert = SqlEventLogStorageTable.insert().returning(
                    SqlEventLogStorageTable.c.id, sort_by_parameter_order=True
                )
                ids = index.execute(insert, [rows[at] for at in mirrored]).scalars().all()
                self._tell_assets([events[at] for at in mirrored], ids)
        # Dagster's web server learns of new events by a change of this very file, and SQLite writes beside it
        # (to its write-ahead log) for as long as it is open.
        os.utime(self.path_for_shard(run_id))

    def _tell_assets(self, events: Sequence[EventLogEntry], ids: Sequence[int]) -> None:
        """Keep what is known of each asset and check up to date, within the transaction that is held."""
        of_assets = [(event, id_) for event, id_ in zip(events, ids, strict=True) if _type(event) in ASSET_EVENTS]
        if of_assets:
            self.store_asset_event_tags(*zip(*of_assets, strict=True))
        # An asset's row holds its newest event of a type: the ones before would only be written over.
        newest = {(event.get_dagster_event().asset_key, _type(event)): at for at, (event, _) in enumerate(of_assets)}
        for at in sorted(newest.values()):
            self.store_asset_event(*of_assets[at])
        for event, id_ in zip(events, ids, strict=True):
            if _type(event) in ASSET_CHECK_EVENTS:
                self.store_asset_check_event(event, id_)

    @contextmanager
    def _holding_index(self) -> Iterator[sa.Connection]:
        with self.index_connection() as index:
            self._held.index = index
            try:
                yield index
            finally:
                self._held.index = None

    def _begin(self, shard: str) -> AbstractContextManager[sa.Connection]:
        with self._opening:
            engine = self._engines.get(shard) or self._open(shard)
        return engine.begin()

    def _open(self, shard: str) -> sa.Engine:
        with super().index_connection() if shard == _INDEX else super().run_connection(shard):
            pass  # the parent creates what is missing in the file
        if shard != _INDEX:
            self._close(*(self._engines.keys() - {_INDEX}))
        arguments = {"timeout": _BUSY_SECONDS}
        self._engines[shard] = sa.create_engine(self.conn_string_for_shard(shard), connect_args=arguments)
        return self._engines[shard]

    def _close(self, *shards: str) -> None:
        for shard in shards:
            self._engines.pop(shard).dispose()

    def wipe(self) -> None:
        """Forget every event."""
        with self._opening:
            self._close(*list(self._engines))
        super().wipe()

    def dispose(self) -> None:
        """Close the files."""
        with self._opening:
            self._close(*list(self._engines))
        super().dispose()


class EmbeddedStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage with the event log above; named in dagster.yaml.

    It lies in `base_dir`, by default in DAGSTER_HOME, and without that in the home of THUOCDO_HOME, so
    that `dagster dev` in a clone finds the same runs as the command line.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(_BATCH))
        super().__init__(base_dir, inst_data)
        self._event_log_storage = BatchingSqliteEventLogStorage(str(Path(base_dir) / "history" / "runs"))

    @classmethod
    def config_type(cls) -> dict[str, dg.Field]:
        """What dagster.yaml may say."""
        return {"base_dir": dg.Field(dg.StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Build from dagster.yaml."""
        said = config_value.get("base_dir") or os.environ.get("DAGSTER_HOME")
        return cls.from_local(said or str(Home.from_environment().dagster), inst_data)


def _type(event: EventLogEntry) -> DagsterEventType | None:
    return event.dagster_event_type if event.is_dagster_event else None

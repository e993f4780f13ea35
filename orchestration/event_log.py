"""Dagster's event log on SQLite, writing a batch of events in one transaction.

Belongs here: that one difference. Does not belong here: anything about what an event says, nor any
other storage (PostgreSQL batches by itself).

Why: a first night covers every day since the province's start, and Dagster writes one planned and one
materialised event per day and asset. Its own SQLite storage opens an engine and commits twice for
each, about 10 ms; a thousand days of four assets were one and a half minutes of nothing but that.
Only public methods are overridden; the rows written are those of the parent class.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

import dagster as dg
import sqlalchemy as sa
from dagster import EventLogEntry

# The two modules that Dagster's own dagster.yaml reference names for its storages.
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from orchestration.settings import Home

_INDEX = "index"
#: Seconds to wait for another writer; the batch itself holds the file for a second or two.
_BUSY_SECONDS = 30
#: Dagster buffers the events of a many-day run up to this number, then stores them in one transaction.
_BATCH = 1000


class BatchingSqliteEventLogStorage(SqliteEventLogStorage):
    """`SqliteEventLogStorage` whose `store_event_batch` is one transaction per database file.

    Dagster forms batches when the environment says DAGSTER_EVENT_BATCH_SIZE (see `EmbeddedStorage`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._held = threading.local()
        super().__init__(*args, **kwargs)

    def run_connection(self, run_id: str | None = None) -> AbstractContextManager[sa.Connection]:
        """The connection held for the batch, else the parent's."""
        held: dict[str | None, sa.Connection] = getattr(self._held, "connections", {})
        return nullcontext(held[run_id]) if run_id in held else super().run_connection(run_id)

    def index_connection(self) -> AbstractContextManager[sa.Connection]:
        """The connection held for the batch, else the parent's."""
        held: dict[str | None, sa.Connection] = getattr(self._held, "connections", {})
        return nullcontext(held[_INDEX]) if _INDEX in held else super().index_connection()

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store `events` of one run, all or none."""
        (run_id,) = {event.run_id for event in events}
        for parents in (super().run_connection(run_id), super().index_connection()):
            with parents:
                pass  # the parent creates what is missing in the file
        with self._transaction(run_id) as run, self._transaction(_INDEX) as index:
            self._held.connections = {run_id: run, _INDEX: index}
            try:
                for event in events:
                    self.store_event(event)
            finally:
                self._held.connections = {}

    @contextmanager
    def _transaction(self, shard: str) -> Iterator[sa.Connection]:
        engine = sa.create_engine(self.conn_string_for_shard(shard), connect_args={"timeout": _BUSY_SECONDS})
        try:
            with engine.begin() as connection:
                yield connection
        finally:
            engine.dispose()


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

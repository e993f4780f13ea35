"""A small system with one table of dossiers and one of payments, to change under a reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
import yaml
from sqlalchemy.dialects.mysql import DATETIME

from connectors.database import DatabaseSettings, connect
from connectors.protocol import Batch, Span
from sandbox.population import VIETNAM
from tests.connectors.database.conftest import SOURCE, Server, settings_of

NIGHT = datetime(2026, 10, 31, 2, tzinfo=VIETNAM)
STAMP = sa.DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")
METADATA = sa.MetaData()
DOSSIER = sa.Table(
    "dossier",
    METADATA,
    sa.Column("Id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("Code", sa.String(50)),
    sa.Column("Status", sa.String(20)),
    sa.Column("Received", STAMP),
    sa.Column("Changed", STAMP),
    sa.Column("Removed", sa.Boolean),
    sa.Column("Papers", sa.Text),
    sa.Column("Owner", sa.String(200)),
)
PAYMENT = sa.Table(
    "payment",
    METADATA,
    sa.Column("Id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("Dossier", sa.BigInteger),
    sa.Column("Amount", sa.Numeric(12, 2)),
    sa.Column("Changed", STAMP),
)
PROFILE: dict[str, Any] = {
    "system": "small",
    "dates": ["%Y-%m-%d %H:%M:%S.%f"],
    "table": "dossier",
    "key": "Id",
    "modified": "Changed",
    "deleted": {"column": "Removed", "when": "true"},
    "fields": {
        "dossier_code": "Code",
        "procedure_code": "Status",
        "agency": "Status",
        "status": "Status",
        "received_at": "Received",
        "has_result": {"column": "Papers", "separator": "##"},
    },
    "lists": {
        "payments": {
            "table": "payment",
            "parent": "Dossier",
            "key": "Id",
            "modified": "Changed",
            "fields": {"amount_vnd": "Amount", "paid_at": "Changed"},
        }
    },
}


def small(server: Server, folder: Path, *, profile: dict[str, Any] | None = None, **more: Any) -> DatabaseSettings:
    """The small system's source, its profile written into `folder`; its tables are created."""
    server.tables(METADATA)
    return source(server, folder, profile=profile, **more)


def source(server: Server, folder: Path, *, profile: dict[str, Any] | None = None, **more: Any) -> DatabaseSettings:
    """The same without creating anything."""
    file = folder / "small.yaml"
    file.write_text(yaml.safe_dump(profile or PROFILE, allow_unicode=True), encoding="utf-8")
    return settings_of(server, str(file), **{"chunk_rows": 10, "overlap_minutes": 60} | more)


def at(minutes: float) -> datetime:
    """A local time so many minutes before the night's end (so many after it where negative)."""
    return NIGHT.replace(tzinfo=None) - timedelta(minutes=minutes)


def dossier(number: int, changed: datetime | None, **more: Any) -> dict[str, Any]:
    """A row of a dossier."""
    said = {"Code": f"H15-{number:04d}", "Status": "x", "Received": at(600), "Removed": False, "Papers": ""}
    return {"Id": number, "Changed": changed, "Owner": "Nguyễn Văn Hư Cấu", **said, **more}


def put(server: Server, *rows: dict[str, Any], table: sa.Table = DOSSIER) -> None:
    """Insert rows and commit."""
    with server.writing() as connection:
        connection.execute(table.insert(), list(rows))


def change(server: Server, number: int, **values: Any) -> None:
    """Change a dossier and commit."""
    with server.writing() as connection:
        connection.execute(DOSSIER.update().where(DOSSIER.c.Id == number).values(**values))


def read(
    settings: DatabaseSettings,
    span: Span,
    *,
    positions: dict[str, Any] | None = None,
    after_each: Callable[[int, Batch], None] | None = None,
    copies: bool = True,
) -> list[Batch]:
    """Every batch of a reading; `after_each` is called between them with the batch's number."""

    async def collected() -> list[Batch]:
        batches = []
        async with connect(settings, name=SOURCE, positions=positions) as replica:
            replica.session.copies = copies
            async for batch in replica.batches(span):
                batches.append(batch)
                if after_each:
                    after_each(len(batches), batch)
        return batches

    return asyncio.run(collected())


def records(batches: list[Batch]) -> pa.Table:
    """The records of all batches, in order."""
    return pa.concat_tables([part.records for batch in batches for part in batch.parts])


FIRST = Span(datetime(2026, 1, 1, tzinfo=VIETNAM), NIGHT, is_update=False)

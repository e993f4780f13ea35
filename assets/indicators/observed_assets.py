"""Statements of offices and other systems (core_observation), as one Dagster asset.

Belongs here: the asset. Does not belong here: how statements are read (`connectors/observations.py`),
which indicators they answer (`observed.csv`), or what is computed from them (`observed.py`).
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.indicators.observed import figures_of, observed_indicators
from assets.raw.quarantine import quarantine, settle_unsaid
from assets.shown import materialised, spec
from assets.stores import Stores
from connectors.conditional import Document
from connectors.observations import (
    SOURCE,
    ObservationApiSettings,
    Reading,
    pull_observations,
    read_observations,
)
from connectors.protocol import Transient
from expectations.wording import count_vi
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.tables.core import CORE_UNIT
from warehouse.tables.observation import CORE_OBSERVATION

GROUP = "indicators"
#: Another try of a pull, after those that the connector made of each call.
RETRIES = 2
PAUSE_SECONDS = 30


def observation_asset(
    folder: Path | None, sources: Mapping[str, ObservationApiSettings], *, settle_seconds: float = 60.0
) -> dg.AssetsDefinition:
    """The asset core_observation of a province: its folder of files (None: it has none) and its endpoints."""

    @dg.multi_asset(
        name="observe",
        specs=[spec(CORE_OBSERVATION, group=GROUP, kinds=("deltalake",), deps=[CORE_UNIT.name])],
    )
    def observe(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
        """Appended, never overwritten: a correction is one more statement, of a later day."""
        lake, now = stores.lake(), datetime.now(UTC)
        try:
            found = _readings(lake, stores.database(), folder, sources, now=now, settle_seconds=settle_seconds)
            readings = store_readings(lake, found, now=now)
        except Transient as error:
            stores.watcher.say(f"{SOURCE}: {error}; thử lại sau {PAUSE_SECONDS} giây")
            raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=PAUSE_SECONDS) from error
        counts = reading_counts(readings)
        books: dict[str, Any] = {
            name: counts[name] for name in ("rows_read", "rows_stored", "rows_unchanged", "rows_quarantined")
        }
        stores.database().record_counts(stores.night, stage="extract", source=SOURCE, **books)
        stores.watcher.say(said(counts))
        return materialised(lake, CORE_OBSERVATION, counts | state_of(lake, now=now))

    return observe


def _readings(
    lake: Lake,
    database: Database,
    folder: Path | None,
    sources: Mapping[str, ObservationApiSettings],
    *,
    now: datetime,
    settle_seconds: float,
) -> Iterator[Reading]:
    """Files first: an endpoint that is down does not hold them up. Each sees what the ones before stored."""
    units, indicators = lake.read(CORE_UNIT), observed_indicators()
    if folder is not None:
        known = lake.read(CORE_OBSERVATION)
        yield read_observations(
            folder, indicators=indicators, units=units, now=now, known=known, settle_seconds=settle_seconds
        )
    for name, settings in sources.items():
        yield from _pulled(lake, database, name, settings, indicators=indicators, units=units, now=now)


def _pulled(
    lake: Lake, database: Database, name: str, settings: ObservationApiSettings, **more: Any
) -> Iterator[Reading]:
    """One pull. Pages that have not changed since they were stored are not sent again."""
    known, version = lake.read(CORE_OBSERVATION), lake.version(CORE_OBSERVATION)
    is_stored = name in known["source"].to_pylist()
    before = database.documents(name, lake_version=version) if is_stored else {}
    documents = {key: Document.restored(stored) for key, stored in before.items()}
    reading = pull_observations(settings, name=name, known=known, documents=documents, **more)
    yield reading
    # Whoever asks for the next reading has stored this one.
    stored = {key: document.stored() for key, document in reading.documents.items()}
    database.keep_documents(name, stored, lake_version=lake.version(CORE_OBSERVATION))


def store_readings(lake: Lake, readings: Iterator[Reading], *, now: datetime) -> list[Reading]:
    """Store each reading as it comes: new statements, and the reasons of those refused.

    What the same folder or endpoint no longer gives, or gives so that it is not refused, is closed.
    """
    stored = []
    for reading in readings:
        lake.append(CORE_OBSERVATION, reading.rows)
        refused = reading.refused.to_pylist()
        quarantine(refused, SOURCE, lake, now=now)
        if reading.prefix is not None:
            settle_unsaid(lake, SOURCE, refused, prefix=reading.prefix, unread=reading.waiting, now=now)
        stored.append(reading)
    return stored


def reading_counts(readings: list[Reading]) -> dict[str, int]:
    """The books of several readings; read = stored + unchanged + quarantined, blank rows and files beside."""
    return {
        "rows_read": sum(each.rows_read for each in readings),
        "rows_stored": sum(int(each.rows.num_rows) for each in readings),
        "rows_unchanged": sum(each.rows_unchanged for each in readings),
        "rows_quarantined": sum(each.rows_refused for each in readings),
        "rows_blank": sum(each.rows_blank for each in readings),
        "files_waiting": sum(each.files_waiting for each in readings),
    }


def said(counts: Mapping[str, int]) -> str:
    """The books in one Vietnamese line."""
    read, stored, same, refused = (
        count_vi(counts[f"rows_{name}"]) for name in ("read", "stored", "unchanged", "quarantined")
    )
    return f"{SOURCE}: đọc {read}, ghi {stored}, không đổi {same}, cách ly {refused}"


def state_of(lake: Lake, *, now: datetime) -> dict[str, Any]:
    """What the statements leave open today: levels that lack units, and figures that contradict their sum."""
    found = figures_of(lake.read(CORE_OBSERVATION), lake.read(CORE_UNIT), as_of=now)
    return {
        "levels_incomplete": found.gaps.num_rows,
        "contradictions": found.contradictions.num_rows,
        "what_is_missing": dg.MetadataValue.md(_gap_lines(found.gaps)),
        "what_contradicts": dg.MetadataValue.md(_contradiction_lines(found.contradictions)),
    }


#: Lines that the UI shows of each list; the rest is counted.
_SHOWN = 50


def _gap_lines(missing: pa.Table) -> str:
    newest = sorted(missing.to_pylist(), key=lambda row: (row["period_start"], row["indicator"]), reverse=True)
    lines = [
        f"- {row['indicator']}, {row['level']}, {row['period']} {row['period_start']:%m/%Y}: thiếu "
        f"{row['missing_count']} trong {row['unit_count']} đơn vị"
        for row in newest
    ]
    return _bounded(lines, "Không cấp nào thiếu số liệu của đơn vị.")


def _contradiction_lines(differing: pa.Table) -> str:
    newest = sorted(differing.to_pylist(), key=lambda row: (row["period_start"], row["indicator"]), reverse=True)
    parts = {"units": "các đơn vị", "periods": "các kỳ"}
    lines = [
        f"- {row['indicator']}, {row['unit_code']} ({row['level']}), {row['period']} {row['period_start']:%m/%Y}: "
        f"nêu {_figure(row, '')}, cộng {parts[row['against']]} được {_figure(row, 'summed_')}"
        for row in newest
    ]
    return _bounded(lines, "Không có số nêu nào trái với tổng.")


def _figure(row: Mapping[str, Any], prefix: str) -> str:
    if row[f"{prefix}denominator"] is None:
        return f"{row[f'{prefix}value']:g}"
    return f"{count_vi(row[f'{prefix}numerator'])}/{count_vi(row[f'{prefix}denominator'])}"


def _bounded(lines: list[str], nothing: str) -> str:
    rest = [f"- … và {len(lines) - _SHOWN} dòng nữa"] if len(lines) > _SHOWN else []
    return "\n".join([*lines[:_SHOWN], *rest]) or nothing

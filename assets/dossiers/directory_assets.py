"""The unit directories of the sources (core_agency), as one Dagster asset.

Belongs here: the asset. Does not belong here: how a directory is read (`connectors/units.py`), or what its
statement makes of what is known (`directory.py`).
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pyarrow as pa

from assets.dossiers.catalogue import is_due, last_day
from assets.dossiers.directory import (
    SOURCE,
    Amended,
    Heard,
    amend,
    hear,
    knows_later,
    mapped,
    places,
    settings_key,
    told,
)
from assets.dossiers.meanings import load_agencies
from assets.raw.quarantine import STAGE, quarantine, settle_unsaid, unreadable
from assets.shown import count_metadata, materialised, spec
from assets.stores import Stores
from connectors.units import UnitSettings
from warehouse.lake import Lake
from warehouse.schema import Table
from warehouse.tables import CORE_AGENCY, CORE_DOSSIER, CORE_UNIT

GROUP = "dossiers"


def agency_asset(raw: Iterable[Table]) -> dg.AssetsDefinition:
    """The asset core_agency of a province that reads directories.

    It comes after the `raw` tables, whose last day dates what a directory says, and after the dossiers, so that its
    check knows which codes dossiers wait for tonight.
    """
    upstream = [*(table.name for table in raw), CORE_UNIT.name, CORE_DOSSIER.name]

    @dg.multi_asset(name="directory", specs=[spec(CORE_AGENCY, group=GROUP, deps=upstream)])
    def directory(stores: dg.ResourceParam[Stores]) -> dg.MaterializeResult[Any]:
        """Each directory is asked every `units_every_days` days; which unit a code is, is looked up every night."""
        lake, now = stores.lake(), datetime.now(UTC)
        lake.renew(CORE_AGENCY)
        heard = [
            hear(each, places=places(lake.read(CORE_UNIT))) for each in stores.units if _is_due(each, stores, lake)
        ]
        known, books = _amended(lake.read(CORE_AGENCY), heard, stores)
        says = {each.source: each.dossiers_say for each in stores.units}
        known = mapped(known, load_agencies(stores.agencies), says)
        _set_aside(heard, lake, now=now)
        lake.replace_if_different(CORE_AGENCY, known)
        return materialised(lake, CORE_AGENCY, _written(heard, books, stores, lake) | _standing(known))

    return directory


def _is_due(settings: UnitSettings, stores: Stores, lake: Lake) -> bool:
    """Whether a directory is to be asked tonight; never for a day before one that it was asked for already."""
    on = last_day(stores.as_of())
    asked = stores.database().cursor(SOURCE, settings_key(settings))
    is_late = knows_later(lake.read(CORE_AGENCY), settings.source, on=on)
    return is_due(asked, on=on, every_days=stores.units_every_days) and not is_late


def _amended(known: pa.Table, heard: Iterable[Heard], stores: Stores) -> tuple[pa.Table, list[Amended | None]]:
    """What is known after all directories, and the books of each; None of one that could not be had."""
    on = last_day(stores.as_of())
    books: list[Amended | None] = []
    for each in heard:
        if each.directory is None:
            books.append(None)
            continue
        done = amend(known, each.settings.source, each.directory, guard=each.settings.guard, on=on)
        known = done.agencies
        books.append(done)
    return known, books


def _set_aside(heard: Iterable[Heard], lake: Lake, *, now: datetime) -> None:
    """Store what of each directory could not be used, and close what of it is no longer so."""
    for each in heard:
        if each.directory is None:
            continue
        prefix = f"{each.settings.source}: "
        refused = [unreadable(broken) for broken in each.directory.broken]
        refused = [entry | {"record_key": prefix + entry["record_key"]} for entry in refused]
        settle_unsaid(lake, SOURCE, refused, prefix=prefix, now=now)
        quarantine(refused, SOURCE, lake, now=now)


def _written(heard: list[Heard], books: list[Amended | None], stores: Stores, lake: Lake) -> dict[str, Any]:
    """The night's counts, the cursors of the directories that were had, and what is told of each."""
    database, on = stores.database(), last_day(stores.as_of())
    done = [each for each in books if each is not None]
    counts: dict[str, Any] = {}
    if heard:
        counts = {name: sum(count_metadata(each)[name] for each in done) for name in _COUNTS}
        database.record_counts(stores.night, stage=STAGE, source=SOURCE, **counts)
    lines = [told(each, book) for each, book in zip(heard, books, strict=True)]
    for each, book in zip(heard, books, strict=True):
        # A gap that is doubted is looked at again the next night.
        if book is not None and not book.doubted:
            at = {"on": on.isoformat()}
            database.move_cursor(SOURCE, settings_key(each.settings), at, lake_version=lake.version(CORE_AGENCY))
    for line in lines:
        stores.watcher.say(line)
    return counts | {f"directory_{number}": line for number, line in enumerate(lines, start=1)}


_COUNTS = ("rows_read", "rows_stored", "rows_unchanged", "rows_quarantined")


def _standing(known: pa.Table) -> dict[str, Any]:
    """How many codes are listed now, and how many of them are mapped to no unit."""
    listed = [row for row in known.to_pylist() if row["last_listed_on"] is None]
    return {"listed": len(listed), "unmapped": sum(row["unit_code"] is None for row in listed)}

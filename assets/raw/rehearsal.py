"""What a night would ask of a source first, without asking it.

Belongs here: running a kind's own walks over a loop that makes no call. Does not belong here: any protocol
(`connectors`), how a plan is told (`orchestration/commands/dry_run.py`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from assets.raw.extraction import next_span
from assets.raw.kinds import Cursors, Opening, kind_of
from assets.raw.stored_days import StoredDays
from connectors.loop import Rehearsal
from connectors.opencps import Slice
from connectors.protocol import Call, Connection, Span
from connectors.settings import OpenCpsSettings
from connectors.sources import SourceSettings
from warehouse.lake import Lake


@dataclass(frozen=True)
class Rehearsed:
    """The span that would be read and the calls it begins with: each is made once at least.

    `further` are the pages behind them that what is stored lets expect; what the source has beyond that, and
    the details of what changed, only its answers can tell.
    """

    span: Span
    calls: tuple[Call, ...]
    further: int


def rehearse(
    name: str,
    settings: SourceSettings,
    *,
    window: tuple[datetime, datetime],
    lake: Lake,
    cursors: Cursors,
    now: datetime,
) -> Rehearsed | None:
    """What `extract` would ask source `name` first over `window`, None for a kind that cannot be rehearsed.

    `cursors` are the source's stored ones, stream → position. Nothing is called and nothing written; no secret
    is needed.
    """
    prepare = kind_of(settings).rehearse
    if prepare is None or not hasattr(settings, "manners"):
        return None
    span = next_span(settings, window=window, cursors=cursors, now=now)
    loop = Rehearsal(settings.manners)
    asyncio.run(_through(prepare(Opening(name, lake, cursors), settings, loop), span))
    return Rehearsed(span, tuple(loop.calls), _further(loop, settings, lake))


async def _through(connection: Connection, span: Span) -> None:
    async for _ in connection.batches(span):
        pass


def _further(loop: Rehearsal, settings: SourceSettings, lake: Lake) -> int:
    """Pages behind the first ones of the portal's list, by the dossiers stored for the days that are asked for."""
    if not isinstance(settings, OpenCpsSettings):
        return 0
    stored = StoredDays.of(lake)
    rows = min(settings.page_rows, settings.search_limit)
    asked = (getattr(call.tag, "slice", None) for call in loop.calls)
    return sum(max(0, _stored_rows(item, stored) - 1) // rows for item in asked if item)


def _stored_rows(item: Slice, stored: StoredDays) -> int:
    """Of windows of submission and reception only; what others hold is not known before."""
    is_narrowed = item.statistic or item.status or item.before or getattr(item, "deleted", False)
    is_known = item.axis in ("submit", "receive") and not is_narrowed
    return stored.known(item.site, item.axis, item.first, item.last) if is_known and item.first and item.last else 0

"""In which zone the portal's search index keeps its days: found by asking, not by trust.

Belongs here: choosing dossiers that can tell, and asking for the days on which each may be filed. Does not
belong here: what a shifted index means for windows (`opencps.py`).

Dates are shown in Vietnam's time, but the index writes its own in the zone of the server's JVM, often GMT.
A dossier that was submitted before seven in the morning is then filed under the day before, so that asking
for each of both days says which it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import msgspec
import pyarrow as pa

from connectors.loop import Loop
from connectors.opencps_list import ListWalk, Slice
from connectors.opencps_records import DATES
from connectors.settings import OpenCpsSettings

#: Hours between Vietnam and GMT: what was submitted before that hour has two days.
_EARLY = 7
#: An index in Vietnam's zone, and one in GMT.
SAME, BEHIND = 0, -7
#: So many dossiers are asked for, and must agree.
_WITNESSES = 3


@dataclass(frozen=True)
class Witness:
    """A dossier submitted in the early hours of `day` in Vietnam."""

    site: int
    dossier: int
    day: date


def witnesses(rows: Iterable[tuple[str | None, int | None, str | None]]) -> list[Witness]:
    """The latest few of (groupId, dossierId, submitDate) that can tell."""
    found = []
    for site, dossier, said in rows:
        at = _instant(said)
        if site and dossier and at and at.hour < _EARLY:
            found.append((at, Witness(int(site), int(dossier), at.date())))
    found.sort(key=lambda pair: (pair[0], pair[1].dossier))
    return [witness for _, witness in found[-_WITNESSES:]]


def witnesses_of(records: pa.Table) -> list[Witness]:
    """The same of records in wire columns."""
    columns = (records[name].to_pylist() for name in ("groupId", "dossierId", "submitDate"))
    return witnesses(zip(*columns, strict=True))


def _instant(said: str | None) -> datetime | None:
    try:
        return datetime.strptime((said or "").strip(), DATES[0])  # noqa: DTZ007  the portal's own calendar
    except ValueError:
        return None


async def shift_hours(loop: Loop, settings: OpenCpsSettings, asked: Sequence[Witness]) -> int | None:
    """`SAME` or `BEHIND`, None when no witness was found under exactly one of its days, or they disagree."""
    votes = {await _vote(loop, settings, witness) for witness in asked} - {None}
    return votes.pop() if len(votes) == 1 else None


async def _vote(loop: Loop, settings: OpenCpsSettings, witness: Witness) -> int | None:
    is_same = await _is_filed(loop, settings, witness, witness.day)
    is_before = await _is_filed(loop, settings, witness, witness.day - timedelta(days=1))
    return None if is_same == is_before else SAME if is_same else BEHIND


class _Identified(msgspec.Struct):
    dossierId: int | str | None = None  # noqa: N815  named as the source names it


async def _is_filed(loop: Loop, settings: OpenCpsSettings, witness: Witness, day: date) -> bool:
    walk = ListWalk([Slice(witness.site, "submit", day, day)], settings)
    found = False
    async for step in loop.run(walk):
        ids = (msgspec.json.decode(record, type=_Identified).dossierId for record in step.records)
        found = found or any(str(identity) == str(witness.dossier) for identity in ids)
    return found

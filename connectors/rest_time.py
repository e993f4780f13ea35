"""Instants as a profile's system writes them, and the windows in which it is asked.

Belongs here: reading a date by the profile's formats outside SQL (for where a walk ends), and cutting a
span into windows. Does not belong here: what conforming makes of dates (SQL, `connectors.profiled`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from zoneinfo import ZoneInfo

from connectors.profiled import NUMERIC_FORMATS, Profile
from connectors.protocol import Span
from connectors.rest_profile import Windows

_DAY = timedelta(days=1)
_SPREADSHEET_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001  a day of a calendar on paper


def instant_reader(profile: Profile) -> Callable[[str | None], datetime | None]:
    """What reads a text as `instant_sql` does: the first format that fits, local where none has an offset."""
    readers = [_reader(item, ZoneInfo(profile.zone)) for item in profile.dates]

    def read(text: str | None) -> datetime | None:
        """The instant; None for a blank text or one of no known format."""
        trimmed = (text or "").strip()
        return next((found for reader in readers if trimmed and (found := reader(trimmed))), None)

    return read


def _reader(item: str, zone: ZoneInfo) -> Callable[[str], datetime | None]:
    if item in NUMERIC_FORMATS:
        return partial(_from_number, item, zone)
    # DuckDB's %g is three digits of a second, which Python's %f reads too; it needs no sign for unpadded numbers.
    pattern = item.replace("%g", "%f").replace("%-", "%")
    is_iso = pattern.startswith("%Y-%m-%dT%H:%M:%S")

    def read(text: str) -> datetime | None:
        try:
            found = datetime.fromisoformat(text) if is_iso else datetime.strptime(text, pattern)  # noqa: DTZ007
        except ValueError:
            return None
        if (found.tzinfo is not None) != ("%z" in pattern):
            return None
        return found if found.tzinfo else found.replace(tzinfo=zone)

    return read


def _from_number(item: str, zone: ZoneInfo, text: str) -> datetime | None:
    try:
        number = float(text)
        if item == "excel":
            return (_SPREADSHEET_EPOCH + timedelta(days=number)).replace(tzinfo=zone)
        return datetime.fromtimestamp(number / (1000 if item == "epoch_ms" else 1), UTC)
    except (ValueError, OverflowError, OSError):
        return None


@dataclass(frozen=True)
class Window:
    """A window as the system is asked for it, and the instant up to which it was read once it is."""

    start: str
    end: str
    until: datetime


def windows(span: Span, changes: Windows, zone: str) -> Iterator[Window]:
    """Whole days of `zone` from the span's start less the overlap up to its end, `days` at a time."""
    here = ZoneInfo(zone)
    day = (span.start.astimezone(here) - changes.overlap_days * _DAY).date()
    last = span.end.astimezone(here).date()
    while day <= last:
        following = min(day + changes.days * _DAY, last + _DAY)
        after = _midnight(following, here)
        closing = after if changes.to_is_exclusive else after - (timedelta(seconds=1) if changes.shows_time else _DAY)
        yield Window(
            start=_written(_midnight(day, here), changes.format),
            end=_written(closing, changes.format),
            until=min(after, span.end),
        )
        day = following


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def _written(instant: datetime, item: str) -> str:
    if item in NUMERIC_FORMATS:
        return str(int(instant.timestamp() * (1000 if item == "epoch_ms" else 1)))
    return instant.strftime(item)

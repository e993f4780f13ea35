"""How a good guest behaves: when a source may be called, and how many calls it is given at once.

Belongs here: the hours of the day, and the arithmetic that follows a source's latency; pure, without clock
or I/O. Does not belong here: waiting, pausing and calling (`loop.py`), nor what an integrator writes (`settings.py`).

The number of calls under way follows the gradient of latency as TCP Vegas and Netflix' concurrency-limits do:
what a kind of call takes when the source has little to do is its baseline. While answers take about as long,
one call more is risked; when they take clearly longer, calls queue at the source and bring nothing but load, so
the number is cut by a factor (additive increase, multiplicative decrease).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from statistics import median
from zoneinfo import ZoneInfo

from connectors.protocol import SourceError

#: Hours are Vietnam's, wherever the service runs.
ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
_DAY = timedelta(days=1)
_SPAN = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-(?:([01]\d|2[0-3]):([0-5]\d)|(24):(00))")

#: Answers of a kind that are judged together, by their median.
_WINDOW = 3
#: Answers are late when they take so many times the baseline, and so many seconds more: below that
#: nobody at the source's end would notice, and our own work beside the waiting would be mistaken for theirs.
_FACTOR = 2.0
_SLACK_SECONDS = 0.1
_CUT = 0.7
_CUT_ON_REFUSAL = 0.5
#: Late windows in a row before the number is cut: a single one may be a hiccup, of the source or of ours.
_LATE = 2
#: Late windows with one call under way after which the source itself, not our calls, is held to be slower than before.
_ALONE = 3
#: Kinds that are told apart; what comes later is taken together.
_MOST_KINDS = 16


class OutsideCallingHours(SourceError):  # noqa: N818  says what is the case
    """The source may not be called now, and its hours begin later than the night is willing to wait."""

    def __init__(self, hours: CallingHours, patience: timedelta) -> None:
        super().__init__(
            f"ngoài giờ được gọi nguồn này ({hours} giờ Việt Nam, chờ tối đa {patience // timedelta(minutes=1)} phút); "
            "đêm sau đọc tiếp từ chỗ đã lưu · outside the hours in which this source may be called; "
            "the next night goes on from the stored cursor",
            hint="Xem manners.calling_hours và manners.patience_minutes · see these keys, or start the night later",
            key="manners.calling_hours",
        )


@dataclass(frozen=True)
class CallingHours:
    """Spans of the day in which a source may be called; none means always.

    Each span is [begin, begin + length) in time of day; one that reaches past midnight goes on into the next day.

    Example:
        >>> night = CallingHours.of(["19:00-06:00"])
        >>> night.wait(datetime(2026, 11, 2, 18, 30, tzinfo=ZONE))
        datetime.timedelta(seconds=1800)
    """

    spans: tuple[tuple[timedelta, timedelta], ...] = ()

    @classmethod
    def of(cls, texts: Iterable[str]) -> CallingHours:
        """From texts like "19:00-06:00"; `ValueError` says which cannot be read."""
        return cls(tuple(_span(text) for text in texts))

    def __str__(self) -> str:
        return ", ".join(f"{_clock(begin)}-{_clock(begin + length)}" for begin, length in self.spans) or "mọi giờ"

    def wait(self, now: datetime) -> timedelta:
        """How long from `now` (aware) until calls may begin: nothing inside a span. Vietnam keeps no summer time."""
        local = now.astimezone(ZONE)
        clock = local - local.replace(hour=0, minute=0, second=0, microsecond=0)
        if not self.spans or any((clock - begin) % _DAY < length for begin, length in self.spans):
            return timedelta()
        return min((begin - clock) % _DAY for begin, _ in self.spans)


def _span(text: str) -> tuple[timedelta, timedelta]:
    found = _SPAN.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no span of the day; write e.g. 19:00-06:00")
    hour, minute, *end = (int(part) for part in found.groups() if part is not None)
    begin, close = timedelta(hours=hour, minutes=minute), timedelta(hours=end[0], minutes=end[1])
    if begin == close:
        raise ValueError(f"{text!r} begins and ends at once; leave the key out for every hour")
    return begin, (close - begin) % _DAY or _DAY


def _clock(offset: timedelta) -> str:
    minutes = offset // timedelta(minutes=1)
    hour = minutes // 60 % 24 if minutes != 24 * 60 else 24
    return f"{hour:02d}:{minutes % 60:02d}"


@dataclass
class _Pace:
    """What is known of one kind of answer: its latency with little to do, and the answers not judged yet."""

    baseline: float | None = None
    window: list[float] = field(default_factory=list)
    late: int = 0


class Concurrency:
    """How many calls of one source may be under way: from 1 to `ceiling`, by what its answers tell.

    It begins with one call and doubles while all is well, so that the baseline is taken before there is load, and
    again when a kind of call appears for the first time. Pure: the same answers give the same limits.
    """

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.limit = 1
        self._climbing = True
        self._kinds: set[str] = set()
        self._paces: dict[tuple[str, int], _Pace] = {}
        self._ignored = 0
        self._used = 0

    def observe(self, latency: float, ok: bool, *, kind: str = "", size: int = 0, under_way: int | None = None) -> int:
        """Take one answer in and say how many calls may be under way now.

        `latency` in seconds; `ok` is False for an answer that says "too much" or none at all. `kind` names calls
        that ask for the same; `size` (bytes) keeps long answers from being held against short ones. `under_way`
        counts this call and those beside it; a limit that is not reached is not raised.
        """
        self._used = max(self._used, self.limit if under_way is None else under_way)
        if not ok:
            return self._cut(_CUT_ON_REFUSAL)
        if self._ignored:
            # It was sent before the last cut, and says nothing of what the cut did.
            self._ignored -= 1
            return self.limit
        if self._is_new(kind):
            self._climbing, self.limit = True, 1
            self._forget_windows()
        return self._judge(self._pace(kind, size), latency)

    def _is_new(self, kind: str) -> bool:
        if kind in self._kinds or len(self._kinds) >= _MOST_KINDS:
            return False
        self._kinds.add(kind)
        return len(self._kinds) > 1

    def _pace(self, kind: str, size: int) -> _Pace:
        """Sizes are told apart by factors of four: a page of 500 rows is not late because an empty one was quick."""
        name = kind if kind in self._kinds else ""
        return self._paces.setdefault((name, size.bit_length() // 2), _Pace())

    def _judge(self, pace: _Pace, latency: float) -> int:
        pace.window.append(latency)
        if len(pace.window) < max(_WINDOW, self.limit):
            return self.limit
        typical = median(pace.window)
        pace.window.clear()
        if pace.baseline is None or typical < pace.baseline:
            pace.baseline = typical
        if typical <= pace.baseline * _FACTOR or typical <= pace.baseline + _SLACK_SECONDS:
            pace.late = 0
            return self._raise()
        pace.late += 1
        if self.limit > 1:
            return self._cut(_CUT) if pace.late >= _LATE else self.limit
        if pace.late >= _ALONE:
            pace.late, pace.baseline = 0, typical
        return self.limit

    def _raise(self) -> int:
        if self._used >= self.limit < self.ceiling:
            self.limit = min(self.ceiling, self.limit * 2 if self._climbing else self.limit + 1)
            self._forget_windows()
        self._used = 0
        return self.limit

    def _cut(self, factor: float) -> int:
        if self._ignored:
            self._ignored -= 1
            return self.limit
        self._climbing = False
        self._ignored = self.limit - 1
        self.limit = max(1, int(self.limit * factor))
        self._used = 0
        self._forget_windows()
        return self.limit

    def _forget_windows(self) -> None:
        """What was measured under another limit is not held against this one."""
        for pace in self._paces.values():
            pace.window.clear()
            pace.late = 0

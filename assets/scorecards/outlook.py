"""Outlook: where the year ends at this pace, and what is needed to meet the target.

Belongs here: the forecast of one rate, the trial of the same forecast on the past, and the count that is still
needed. Does not belong here: verdicts (`verdicts.py`), or any smoothing that an operator could not redo by hand.

The rest of the year is taken to go as the last three whole months did: as many denominators a day, and the same
rate. The same is tried on every past span of twelve whole months, standing where the year stands now; the largest
error of those trials is the width of the outlook. With fewer than `LEAST_TRIALS` there is no width: two lucky months
are not a measure. Only indicators whose months add up can be reckoned so (adds_up "always").
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from assets.periods import VIETNAM
from expectations.targets import ALL_LEVELS, Target
from warehouse.tables.outlook import OUT_OUTLOOK

#: Whole months whose pace is carried on.
PACE_MONTHS = 3
#: Fewer trials on the past than these give no width.
LEAST_TRIALS = 5
_YEAR_MONTHS = 12

Counts = Mapping[date, tuple[int, int]]
Subject = tuple[str, str, str, str, str]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A rate at the end of twelve months, of which some are known.

    `rest` is how many denominators are still to come, `pace` the numerator and denominator of the months that
    are carried on.
    """

    numerator: int
    denominator: int
    rest: int
    pace: tuple[int, int]

    @property
    def rate(self) -> float | None:
        """Expected at the end; None while nothing is known to carry on."""
        whole = self.denominator + self.rest
        if not self.pace[1] or not whole:
            return None
        return (self.numerator + self.rest * self.pace[0] / self.pace[1]) / whole


def forecast(months: Counts, *, start: date, last: date) -> Forecast:
    """From the counts by month: the twelve months from `start` as seen at the end of the day `last`.

    The month of `last` may have just begun; its days to come are part of the rest.
    """
    end = _later(start, _YEAR_MONTHS)
    known = [counts for month, counts in months.items() if start <= month <= last]
    first_open = (last + timedelta(days=1)).replace(day=1)
    carried = [_later(first_open, -back) for back in range(1, PACE_MONTHS + 1)]
    pace = _sum(months.get(month, (0, 0)) for month in carried)
    days = (first_open - carried[-1]).days
    left = (end - last).days - 1
    return Forecast(
        numerator=sum(n for n, _ in known),
        denominator=sum(d for _, d in known),
        # Half up, in whole numbers.
        rest=(2 * pace[1] * left + days) // (2 * days),
        pace=pace,
    )


def trial_errors(months: Counts, *, known_months: int, first: date, last_whole: date) -> list[float]:
    """What `forecast` was off by on every past span of twelve whole months, `known_months` of them known.

    Spans begin no earlier than the pace of the months before them is known; the last one ends with the month
    `last_whole`. A span whose outcome or forecast has no rate gives no error.
    """
    errors = []
    start = _later(first, max(0, PACE_MONTHS - known_months))
    while _later(start, _YEAR_MONTHS - 1) <= last_whole:
        seen = _later(start, known_months) - timedelta(days=1)
        # What came after `seen` was not known then.
        expected = forecast({m: c for m, c in months.items() if m <= seen}, start=start, last=seen).rate
        n, d = _sum(months.get(_later(start, step), (0, 0)) for step in range(_YEAR_MONTHS))
        if expected is not None and d:
            errors.append(abs(expected - n / d))
        start = _later(start, 1)
    return errors


def needed(seen: Forecast, threshold: Decimal) -> int | None:
    """How many of the rest must join the numerator to reach `threshold` at the end; None when all would not do."""
    p, q = threshold.as_integer_ratio()
    missing = -((-p * (seen.denominator + seen.rest)) // q) - seen.numerator
    return None if missing > seen.rest else max(0, missing)


def outlook(indicators: pa.Table, targets: Sequence[Target], *, as_of: datetime, start_on: date) -> pa.Table:
    """Rows of out_outlook for the year of the last day known, from rows of out_indicator.

    One row per target in force, subject of its level, and indicator whose months add up. `start_on` is the first
    day of extraction: months before it are not known, months after it without rows had no dossiers.
    """
    last = as_of.astimezone(VIETNAM).date() - timedelta(days=1)
    monthly = _monthly(indicators)
    rows = [
        _row(target, subject, months, last=last, first=start_on.replace(day=1))
        for target in targets
        if target.holds_on(last) and target.operator == ">="
        for subject, months in monthly.items()
        if subject[:2] == (target.indicator, target.version) and target.level in (ALL_LEVELS, subject[3])
    ]
    return pa.Table.from_pylist(rows, schema=OUT_OUTLOOK.arrow_schema()).sort_by(
        [(name, "ascending") for name in OUT_OUTLOOK.sort]
    )


def _monthly(indicators: pa.Table) -> dict[Subject, Counts]:
    """Counts by month of every subject that exists today: whose last month is among them."""
    months = indicators.filter(
        (pc.field("period") == "month") & (pc.field("adds_up") == "always") & (pc.field("boundaries") == "then")
    )
    newest = pc.max(months["period_start"]).as_py()
    found: dict[Subject, dict[date, tuple[int, int]]] = defaultdict(dict)
    names = ("indicator", "version", "scope", "level", "unit_code", "period_start", "numerator", "denominator")
    for *subject, month, n, d in zip(*(months[name].to_pylist() for name in names), strict=True):
        found[tuple(subject)][month] = (n, d)
    return {subject: counts for subject, counts in found.items() if newest in counts}


def _row(target: Target, subject: Subject, months: Counts, *, last: date, first: date) -> dict[str, object]:
    year = date(last.year, 1, 1)
    # A unit that began later has no months before; they are no trials.
    begun = max(first, min(months))
    seen = forecast(months, start=year, last=last)
    errors = list(_past_errors(months, last=last, first=begun))
    rate, width = seen.rate, max(errors) if len(errors) >= LEAST_TRIALS else None
    missing = needed(seen, target.threshold)
    weeks = ((_later(year, _YEAR_MONTHS) - last).days - 1) / 7
    pace_days = _pace_days(last)
    names = ("indicator", "version", "scope", "level", "unit_code")
    return dict(zip(names, subject, strict=True)) | {
        "target": target.target,
        "year_start": year,
        "known_until": last,
        "threshold": float(target.threshold),
        "numerator": seen.numerator,
        "denominator": seen.denominator,
        "denominator_expected": seen.rest,
        "rate_expected": rate,
        "rate_low": None if rate is None or width is None else max(0.0, rate - width),
        "rate_high": None if rate is None or width is None else min(1.0, rate + width),
        "error_count": len(errors),
        "error_largest": max(errors, default=None),
        "needed": missing,
        "needed_per_week": missing / weeks if missing is not None and weeks else None,
        "pace_per_week": seen.pace[0] * 7 / pace_days if seen.pace[1] else None,
    }


def _past_errors(months: Counts, *, last: date, first: date) -> Iterator[float]:
    """Trials that stand where the year stands now, to the nearest whole month, at least one."""
    following = last + timedelta(days=1)
    known = max(1, min(_YEAR_MONTHS - 1, following.month - 1 if following.year == last.year else _YEAR_MONTHS))
    last_whole = _later(following.replace(day=1), -1)
    yield from trial_errors(months, known_months=known, first=first, last_whole=last_whole)


def _pace_days(last: date) -> int:
    first_open = (last + timedelta(days=1)).replace(day=1)
    return (first_open - _later(first_open, -PACE_MONTHS)).days


def _sum(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    listed = list(pairs)
    return sum(n for n, _ in listed), sum(d for _, d in listed)


def _later(first: date, months: int) -> date:
    """The first day so many months on (or back)."""
    index = first.year * 12 + first.month - 1 + months
    return date(index // 12, index % 12 + 1, 1)

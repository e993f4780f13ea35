"""The 766 score a second time: plain fractions, the group formulas that reproduce published scores.

Belongs here: domain notes on indicators 2.1 written down once more, component by component, with the rounding
and the cases of an empty denominator that docs/decisions/0015-score-766.md states. Does not belong here: the
sets' files, or anything of the product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

#: (indicator, version) → numerator, denominator of one unit and period.
Counts = Mapping[tuple[str, str], tuple[int, int]]
Component = Callable[[Counts, Counts, str], "Fraction | None"]


def _rate(found: Counts, indicator: str, version: str) -> Fraction | None:
    """The quotient of the counts; None without the row or without a denominator."""
    numerator, denominator = found.get((indicator, version), (0, 0))
    return Fraction(numerator, denominator) if denominator else None


def _linear(most: int, indicator: str, version: str, *, empty: int | None = None) -> Component:
    return _by_threshold(most, Fraction(1), indicator, version, empty=empty)


def _by_threshold(
    most: int, threshold: Fraction, indicator: str, version: str, *, empty: int | None = None
) -> Component:
    """min(max, max R / T); `empty` points where the unit has the row but nothing to count."""

    def points(now: Counts, _: Counts, __: str) -> Fraction | None:
        rate = _rate(now, indicator, version)
        if rate is not None:
            return min(Fraction(most), most * rate / threshold)
        return Fraction(empty) if empty is not None and (indicator, version) in now else None

    return points


def _synchronised(now: Counts, last_year: Counts, period: str) -> Fraction | None:
    """1.4: with nothing received, last year's total / 12 or / 4 is the denominator."""
    key = ("synchronised", "766-1.4")
    if (rate := _rate(now, *key)) is not None:
        return 6 * rate
    total, parts = last_year.get(key, (0, 0))[1], {"month": 12, "quarter": 4}.get(period)
    return min(Fraction(6), Fraction(6 * now[key][0] * parts, total)) if total and parts and key in now else None


_80, _50 = Fraction(80, 100), Fraction(50, 100)
#: Group → components that dossiers and the catalogue give. What other systems state (1.1 to 1.3, 4.6 and the
#: petitions of group 5) nobody stated in the sandbox, so it has no points and is no part of the maximum.
GROUPS: dict[str, tuple[tuple[int, Component], ...]] = {
    "1": ((6, _synchronised),),
    "2": ((20, _linear(20, "on-time", "766-2.1")),),
    "3a": (
        (2, _by_threshold(2, _80, "procedures-online", "catalogue")),
        (4, _linear(4, "services-with-online-dossiers", "766-3.2")),
        (6, _by_threshold(6, _50, "online-processing", "766-3.3")),
    ),
    # Published scores of units without fee dossiers are 0.
    "3b": (
        (6, _linear(6, "online-payment", "766-3.6", empty=0)),
        (2, _by_threshold(2, _80, "fee-procedures-synchronised", "766-3.5a", empty=0)),
        (2, _by_threshold(2, _80, "fee-procedures-paid-online", "766-3.5b", empty=0)),
    ),
    "4": (
        (6, _linear(6, "electronic-result", "766-4.1")),
        (4, _linear(4, "digitisation", "766-4.2")),
        (2, _by_threshold(2, _80, "reuse", "766-4.3")),
        (4, _linear(4, "personal-store", "766-4.4")),
        (2, _linear(2, "citizen-procedures-connected", "766-4.5a")),
        (2, _linear(2, "population-data", "766-4.5b")),
    ),
    "5": (),
}


@dataclass(frozen=True)
class Points:
    """Hundredths of points won, and the points of the components that could be judged."""

    hundredths: int
    scored_max: int


def expected_points(now: Counts, last_year: Counts, period: str) -> dict[str, Points]:
    """Points by group, and "total" for their sum."""
    groups = {
        group: _summed((most, points(now, last_year, period)) for most, points in components)
        for group, components in GROUPS.items()
    }
    total = Points(sum(one.hundredths for one in groups.values()), sum(one.scored_max for one in groups.values()))
    return groups | {"total": total}


def _summed(components: Iterable[tuple[int, Fraction | None]]) -> Points:
    judged = [(most, points) for most, points in components if points is not None]
    return Points(sum(_hundredths(points) for _, points in judged), sum(most for most, _ in judged))


def _hundredths(points: Fraction) -> int:
    """Rounded half up, as the portal shows a component."""
    return int(points * 100 + Fraction(1, 2))


def expected_ranks(scored: Mapping[str, Points]) -> dict[str, int]:
    """Place of each unit among those of its level: 1 and how many are truly better; ties share it."""
    shares = {unit: Fraction(one.hundredths, one.scored_max) for unit, one in scored.items() if one.scored_max}
    return {unit: 1 + sum(other > share for other in shares.values()) for unit, share in shares.items()}

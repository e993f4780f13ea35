"""Why a rate changed between two periods: what each unit and procedure did, and how their weights moved.

Belongs here: the split of one change into rate effects and mix effects, which add up to it exactly. Does
not belong here: printing (`orchestration.commands.explain`), or what was known when (`restate.py`).

With d and n the denominator and numerator of a group (one procedure at one unit), w its share of all
denominators and r = n / d, both split a change without remainder (Bennet's indicator):

- rate effect  = (w0 + w1) / 2 x (r1 - r0)                the group did better or worse
- mix effect   = (w1 - w0) x ((r0 + r1) / 2 - (R0 + R1) / 2)   more or fewer of the dossiers were of a group
  that stands above or below the whole

A group without dossiers in one of the periods did neither better nor worse: its r there is its r of the
other period, and all of its effect is mix. Effects are kept in whole ten-thousandths of a percentage point,
rounded so that they add up (largest remainder): what is printed adds up, digit for digit.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from assets.indicators.definitions import Definition
from assets.indicators.evaluate import columns_of, counting_statement
from assets.periods import Period
from warehouse.lake import Lake

#: Effects are whole numbers of this part of a percentage point.
PARTS = 10_000
#: What sums of floats may be off by.
_SLACK = 1e-6
_GRAIN = ("unit_code", "procedure_code")


class NothingToExplainError(ValueError):
    """One of the two periods has no denominator, so that there is no change of a rate."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Numerator and denominator of one group in the period before and in the period after."""

    unit_code: str
    procedure_code: str
    before: tuple[int, int]
    after: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What one unit, procedure or both together contribute, in ten-thousandths of a percentage point."""

    name: str
    before: tuple[int, int]
    after: tuple[int, int]
    rate: int
    mix: int

    @property
    def total(self) -> int:
        """Both effects."""
        return self.rate + self.mix


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """The change of a rate, in ten-thousandths of a percentage point, and its two splits.

    `units` and `procedures` each add up to `change`, as do `rate` and `mix`; greatest effect first.
    """

    before: tuple[int, int]
    after: tuple[int, int]
    change: int
    rate: int
    mix: int
    units: tuple[Effect, ...]
    procedures: tuple[Effect, ...]


def explain(
    lake: Lake,
    definition: Definition,
    *,
    period: Period,
    against: Period,
    as_of: datetime,
    unit_code: str | None = None,
) -> Explanation:
    """Split the change of `definition` from `against` to `period`, for the province or for one unit.

    Raises `NothingToExplainError` when one of them has no denominator.
    """
    groups = _counts(lake, definition, period=period, against=against, as_of=as_of)
    return split([one for one in groups if unit_code in (None, one.unit_code)])


def _counts(lake: Lake, definition: Definition, *, period: Period, against: Period, as_of: datetime) -> list[Counts]:
    """Counts by unit and procedure in both periods, from the conformed rows."""
    statement = counting_statement([definition], as_of=as_of, since=min(period.start, against.start), grain=_GRAIN)
    kinds = [column.counted_for for column in columns_of([definition])]
    sums = ", ".join(
        f"coalesce(sum({letter}_{kinds.index(one.kind) if one.kind in kinds else 0}) "
        f"FILTER (WHERE month >= DATE '{one.start}' AND month < DATE '{one.end}'), 0)::BIGINT"
        for one in (against, period)
        for letter in "nd"
    )
    rows = lake.connect(definition.table).sql(
        f"SELECT unit_code, procedure_code, {sums} FROM ({statement}) GROUP BY ALL"
    )
    return [
        Counts(unit_code=unit, procedure_code=procedure, before=(n0, d0), after=(n1, d1))
        for unit, procedure, n0, d0, n1, d1 in rows.fetchall()
        if d0 or d1
    ]


def split(groups: Sequence[Counts]) -> Explanation:
    """The splits of a change, from the counts of its groups in any order; see the module for the rule."""
    # Equal remainders are rounded by their place: without an order of our own the same question had two answers.
    groups = sorted(groups, key=lambda one: (one.unit_code, one.procedure_code))
    before, after = _sum(one.before for one in groups), _sum(one.after for one in groups)
    if not before[1] or not after[1]:
        raise NothingToExplainError("Một trong hai kỳ không có mẫu số nên không có gì để so sánh (no denominator)")
    change = _whole(after) - _whole(before)
    effects = [effect for one in groups for effect in _effects(one, before, after)]
    parts = apportion(effects, change)
    by_group = [(one, parts[2 * place], parts[2 * place + 1]) for place, one in enumerate(groups)]
    return Explanation(
        before=before,
        after=after,
        change=change,
        rate=sum(rate for _, rate, _ in by_group),
        mix=sum(mix for _, _, mix in by_group),
        units=_grouped(by_group, lambda one: one.unit_code),
        procedures=_grouped(by_group, lambda one: one.procedure_code),
    )


def _sum(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    listed = list(pairs)
    return sum(n for n, _ in listed), sum(d for _, d in listed)


def _whole(pair: tuple[int, int]) -> int:
    """A rate in ten-thousandths of a percentage point, half up, in whole numbers."""
    numerator, denominator = pair
    return (2 * numerator * 100 * PARTS + denominator) // (2 * denominator)


def _effects(one: Counts, before: tuple[int, int], after: tuple[int, int]) -> tuple[float, float]:
    """Rate and mix effect of a group, in ten-thousandths of a percentage point, not rounded."""
    (n0, d0), (n1, d1) = one.before, one.after
    w0, w1 = d0 / before[1], d1 / after[1]
    r0 = n0 / d0 if d0 else n1 / d1
    r1 = n1 / d1 if d1 else r0
    middle = (before[0] / before[1] + after[0] / after[1]) / 2
    scale = 100 * PARTS
    return (w0 + w1) / 2 * (r1 - r0) * scale, (w1 - w0) * ((r0 + r1) / 2 - middle) * scale


def apportion(values: Sequence[float], total: int) -> list[int]:
    """`values` as whole numbers that add up to `total`, each beside its own value (largest remainder).

    Of values whose sum is within rounding of `total`; `ValueError` otherwise, for then the split is wrong.
    """
    if abs(math.fsum(values) - total) > 1 + _SLACK:
        raise ValueError(f"the parts add up to {math.fsum(values):.3f}, not to {total}")
    floors = [math.floor(value) for value in values]
    each, extra = divmod(total - sum(floors), len(values))
    order = sorted(range(len(values)), key=lambda place: (floors[place] - values[place], place))
    raised = set(order[:extra])
    return [floor + each + (place in raised) for place, floor in enumerate(floors)]


def _grouped(rows: Iterable[tuple[Counts, int, int]], key: Callable[[Counts], str]) -> tuple[Effect, ...]:
    members: dict[str, list[tuple[Counts, int, int]]] = defaultdict(list)
    for row in rows:
        members[key(row[0])].append(row)
    effects = [
        Effect(
            name=name,
            before=_sum(one.before for one, _, _ in found),
            after=_sum(one.after for one, _, _ in found),
            rate=sum(rate for _, rate, _ in found),
            mix=sum(mix for _, _, mix in found),
        )
        for name, found in members.items()
    ]
    return tuple(sorted(effects, key=lambda effect: (-abs(effect.total), effect.name)))

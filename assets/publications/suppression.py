"""Small counts withheld from public copies, in a way that subtraction does not bring them back.

Belongs here: pure functions from rows of out_indicator or out_statistic to rows of public_indicator or
public_statistic. Does not belong here: the audit of what they made, which shares no code with them on purpose
(`disclosure.py`), nor writing a copy (`public.py`).

What is done, in this order:

1. Only finished periods, and units on the boundaries of their time. A running year would give its last month away.
2. A count from 1 to `threshold` is withheld; a rate goes with either of its counts. Zero is shown: it is about nobody.
3. Where a place withholds one month of a quarter it withholds all three and still shows the quarter; the same for
   quarters of a half and halves of a year. A place too small for months speaks in quarters, and so on.
4. Where one unit of a level withholds, a second one does too (the smallest that is not empty), else the level; the
   same for levels, and for sectors, of the province.
5. What is left is rounded to the nearest multiple of `rounding`, and rates are made anew from rounded counts.

Why that holds against any adding and subtracting, not of one sum alone: whatever a place withholds it withholds for
all parts of a longer period, so that a dossier could be moved from one withheld part to another, and the opposite in
the second place, and no shown number would change (docs/decisions/0017-forms-and-suppression.md).

After ehrQL's disclosure control (threshold 7, rounding 5), to which the second and third hiding are added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from assets.periods import Period
from warehouse.tables.common import PERIODS
from warehouse.tables.statistic import PUBLIC_FAMILIES, PUBLIC_INDICATOR, PUBLIC_STATISTIC

#: Counts from 1 up to this are withheld.
THRESHOLD = 7
#: Counts above are rounded to multiples of this.
ROUNDING = 5
#: Versions that count procedures of the catalogue: nobody stands behind such a number.
EXEMPT_VERSIONS = frozenset({"catalogue"})
#: Families of counts that stand at the end of a period; the others add up over periods.
STOCKS = frozenset({"in_process_total"})

_PLACE = ["scope", "level", "unit_code", "sector"]
_TIME = ["period", "period_start"]

Flags = NDArray[np.bool_]
Counts = NDArray[np.int64]


def suppress(
    rows: pa.Table,
    *,
    threshold: int = THRESHOLD,
    rounding: int = ROUNDING,
    exempt: Collection[str] = EXEMPT_VERSIONS,
) -> pa.Table:
    """Rows of out_indicator (or out_statistic) as rows of public_indicator (or public_statistic).

    Rows of running periods, on today's boundaries, and by sector below the province are left out. Withheld counts are
    null and their row's state is `suppressed`. Indicator versions in `exempt` are passed on as they are, as are
    values without counts. Raises `ValueError` for a threshold below 1, or a rounding that would show the smallest
    count left as 0.
    """
    if threshold < 1 or not 1 <= rounding <= 2 * (threshold + 1):
        raise ValueError(
            f"threshold {threshold}, rounding {rounding}: need threshold >= 1, rounding 1 to twice as much"
        )
    if "indicator" in rows.column_names:
        return _public_indicators(rows, threshold, rounding, exempt)
    return _public_statistics(rows, threshold, rounding)


def _finished(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of periods that were over at the instant up to which facts are known."""
    if frame.empty:
        return frame
    as_of: datetime = frame["as_of"].max().to_pydatetime()
    times = frame[_TIME].drop_duplicates()
    over = [Period(kind, start).ends_at <= as_of for kind, start in times.itertuples(index=False)]
    return frame.merge(times[over], on=_TIME, validate="many_to_one")


def _frame(rows: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = rows.to_pandas(date_as_object=True, types_mapper=_nullable)
    return frame


def _nullable(kind: pa.DataType) -> pd.Int64Dtype | None:
    """Counts stay whole numbers beside nulls; a float would not hold them all."""
    return pd.Int64Dtype() if kind == pa.int64() else None


# ---- indicators --------------------------------------------------------------------------------------------------


def _public_indicators(rows: pa.Table, threshold: int, rounding: int, exempt: Collection[str]) -> pa.Table:
    frame = _frame(rows)
    if "boundaries" in frame:
        frame = frame[frame["boundaries"] == "then"]
    frame = _finished(frame).assign(sector="").reset_index(drop=True)
    counted = (
        ~frame["version"].isin(list(exempt)) & frame["denominator"].notna() & frame["numerator"].notna()
    ).to_numpy()
    hidden = np.zeros(len(frame), bool)
    for _, part in frame[counted].groupby(["indicator", "version"], sort=True):
        hidden[part.index.to_numpy()] = _hidden_rates(part, threshold)
    for name in ("numerator", "denominator"):
        frame.loc[counted, name] = _rounded(frame.loc[counted, name], rounding)
        frame.loc[hidden, name] = pd.NA
    denominator = frame["denominator"].where(frame["denominator"] > 0)
    rate = (frame["numerator"] / denominator).to_numpy(np.float64, na_value=np.nan)
    frame["rate"] = np.where(counted, rate, frame["rate"])
    frame.loc[hidden, "state"] = "suppressed"
    return _table(frame, PUBLIC_INDICATOR.arrow_schema(), PUBLIC_INDICATOR.key)


def _hidden_rates(part: pd.DataFrame, threshold: int) -> Flags:
    """Which rows of one indicator version are withheld: first by denominators, then by numerators as well.

    Denominators go first and alone, so that two indicators over the same dossiers withhold the same ones: what one
    shows would otherwise be the missing piece of the other.
    """
    grid = _Grid.of(part)
    denominators = grid.spread(part["denominator"])
    numerators = grid.spread(part["numerator"])
    hidden = grid.closed(_small(denominators, threshold), denominators)
    hidden = grid.closed(hidden | _small(numerators, threshold), denominators)
    return grid.gather(hidden)


# ---- statistics --------------------------------------------------------------------------------------------------


def _public_statistics(rows: pa.Table, threshold: int, rounding: int) -> pa.Table:
    frame = _frame(rows)
    frame = _finished(frame[(frame["breakdown"] == "all") | (frame["scope"] == "province")]).reset_index(drop=True)
    frame["received_new"] = frame["received_online"] + frame["received_direct"] + frame["received_post"]
    any_hidden = np.zeros(len(frame), bool)
    for total, parts in PUBLIC_FAMILIES.items():
        hidden_total, hidden_parts = _hidden_family(frame, total, parts, threshold)
        for name, hidden in ((total, hidden_total), *((part, hidden_parts) for part in parts)):
            frame[name] = _rounded(frame[name], rounding)
            frame.loc[hidden, name] = pd.NA
        any_hidden |= hidden_parts
    frame["state"] = np.where(any_hidden, "suppressed", "ok")
    return _table(frame, PUBLIC_STATISTIC.arrow_schema(), PUBLIC_STATISTIC.key)


def _hidden_family(frame: pd.DataFrame, total: str, parts: Sequence[str], threshold: int) -> tuple[Flags, Flags]:
    """Where a total is withheld, and where its parts are: all of them as soon as one is small."""
    if frame.empty:
        return np.zeros(0, bool), np.zeros(0, bool)
    grid = _Grid.of(frame, is_stock=total in STOCKS)
    totals = grid.spread(frame[total])
    hidden_total = grid.closed(_small(totals, threshold), totals)
    small = np.logical_or.reduce([_small(grid.spread(frame[part]), threshold) for part in parts])
    hidden_parts = grid.closed(hidden_total | small, totals)
    return grid.gather(hidden_total), grid.gather(hidden_parts)


def _table(frame: pd.DataFrame, schema: pa.Schema, key: Sequence[str]) -> pa.Table:
    ordered = frame.sort_values(list(key))[schema.names]
    return pa.Table.from_pandas(ordered, schema=schema, preserve_index=False).replace_schema_metadata(schema.metadata)


def _small(counts: Counts, threshold: int) -> Flags:
    return (counts >= 1) & (counts <= threshold)


def _rounded(counts: pd.Series, rounding: int) -> pd.Series:
    return (counts + rounding // 2) // rounding * rounding


# ---- places and times --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Rows of one system of sums as places by times.

    `groups` are sums over places (parent, children), `nests` sums over times, coarse ones first. Of stocks, which do
    not add up over time, `same` lists the times that end on one day and so show one number.
    """

    place: NDArray[np.intp]
    time: NDArray[np.intp]
    exists: Flags
    groups: tuple[tuple[int, NDArray[np.intp]], ...]
    nests: tuple[tuple[int, NDArray[np.intp]], ...]
    same: tuple[NDArray[np.intp], ...]

    @classmethod
    def of(cls, part: pd.DataFrame, *, is_stock: bool = False) -> _Grid:
        """The grid of `part`, whose rows are each one place and time."""
        place, places = _numbered(part[_PLACE])
        time, times = _numbered(part[_TIME])
        exists = np.zeros((len(places), len(times)), bool)
        exists[place, time] = True
        return cls(
            place=place,
            time=time,
            exists=exists,
            groups=tuple(_groups(places)),
            nests=() if is_stock else tuple(_nests(times)),
            same=tuple(_ending_together(times)) if is_stock else (),
        )

    def spread(self, column: pd.Series) -> Counts:
        """A column as places by times, 0 where there is no row."""
        values = np.zeros(self.exists.shape, np.int64)
        values[self.place, self.time] = column.to_numpy(np.int64)
        return values

    def gather(self, flags: Flags) -> Flags:
        """The opposite of `spread`."""
        picked: Flags = flags[self.place, self.time]
        return picked

    def closed(self, hidden: Flags, values: Counts) -> Flags:
        """`hidden` and whatever else must be withheld with it; `values` say which second one is the smallest."""
        hidden = hidden & self.exists
        before = -1
        while before != (before := int(hidden.sum())):
            self._over_time(hidden)
            for time in range(hidden.shape[1]):
                if self._over_places(hidden, values, time):
                    self._over_time(hidden)
        return hidden

    def _over_time(self, hidden: Flags) -> None:
        for times in self.same:
            hidden[:, times] |= hidden[:, times].any(axis=1, keepdims=True) & self.exists[:, times]
        # Up, for periods with a single part, which is the same number; then down.
        for parent, children in (*reversed(self.nests), *self.nests):
            there = self.exists[:, children]
            told = hidden[:, parent] | hidden[:, children].any(axis=1)
            hidden[:, children] |= told[:, None] & there
            hidden[:, parent] |= told & self.exists[:, parent] & (there.sum(axis=1) == 1)

    def _over_places(self, hidden: Flags, values: Counts, time: int) -> bool:
        """Withhold a second member of every sum that withholds one; whether any was."""
        changed = False
        for parent, children in self.groups:
            there = children[self.exists[children, time]]
            if not self.exists[parent, time] or hidden[there, time].sum() + hidden[parent, time] != 1:
                continue
            second = _second(there[~hidden[there, time]], values[:, time], parent)
            hidden[second, time] = changed = True
        return changed


def _second(candidates: NDArray[np.intp], values: Counts, parent: int) -> int:
    """The smallest that is not empty, else an empty one, else the sum itself."""
    if not len(candidates):
        return parent
    order = np.lexsort((candidates, values[candidates], values[candidates] == 0))
    return int(candidates[order[0]])


def _numbered(columns: pd.DataFrame) -> tuple[NDArray[np.intp], list[tuple[object, ...]]]:
    """Each row's number and what the numbers stand for, in order."""
    index = pd.MultiIndex.from_frame(columns)
    codes, found = index.factorize(sort=True)
    return codes, list(found)


def _groups(places: Sequence[tuple[object, ...]]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Province of levels, province of sectors, level of units."""
    by_parent: dict[tuple[object, ...], list[int]] = {}
    for number, (scope, level, _, sector) in enumerate(places):
        if scope == "unit":
            by_parent.setdefault(("level", level), []).append(number)
        elif scope == "level" or sector:
            by_parent.setdefault(("province", "sectors" if sector else "levels"), []).append(number)
    for number, (scope, level, _, sector) in enumerate(places):
        if not sector and scope != "unit":
            sums = [("level", level)] if scope == "level" else [("province", "levels"), ("province", "sectors")]
            yield from ((number, np.array(by_parent[found], np.intp)) for found in sums if found in by_parent)


def _nests(times: Sequence[tuple[object, ...]]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Periods with their parts of the next finer kind that is there, coarse ones first."""
    kinds = [kind for kind in reversed(PERIODS) if any(kind == found for found, _ in times)]
    above: dict[int, list[int]] = {}
    for number, (kind, start) in enumerate(times):
        coarser = reversed(kinds[: kinds.index(str(kind))])
        holding = (_holding(times, each, start) for each in coarser)
        if (parent := next((found for found in holding if found is not None), None)) is not None:
            above.setdefault(parent, []).append(number)
    for parent in sorted(above, key=lambda number: kinds.index(str(times[number][0]))):
        yield parent, np.array(above[parent], np.intp)


def _holding(times: Sequence[tuple[object, ...]], kind: str, day: object) -> int | None:
    for number, (found, start) in enumerate(times):
        if found == kind and start <= day < Period(kind, start).end:  # type: ignore[operator, arg-type]
            return number
    return None


def _ending_together(times: Sequence[tuple[object, ...]]) -> Iterator[NDArray[np.intp]]:
    by_end: dict[date, list[int]] = {}
    for number, (kind, start) in enumerate(times):
        by_end.setdefault(Period(str(kind), start).end, []).append(number)  # type: ignore[arg-type]
    yield from (np.array(numbers, np.intp) for numbers in by_end.values())

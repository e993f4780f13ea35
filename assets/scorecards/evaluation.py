"""The national portal's published evaluation beside ours: theirs, ours, the difference, in dossiers.

Belongs here: laying published rows (`raw_evaluation`) beside scored ones (`out_score`), as one pure
function. Does not belong here: reading the portal (`connectors/evaluation.py`), or giving points.

A difference has two causes, and `their_points_by_rule` tells them apart: the points that the set's rule
gives to their own counts. Where it differs from the points they publish, the rule does; where it differs
from ours, the counts do.

The portal publishes several totals of dossiers for one unit and year that contradict each other. None is
chosen here: each is shown where it is used, with a note that names them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.scorecards.score import COUNTS, Scored, score_counts
from assets.scorecards.sets import Component, ScoreSet
from expectations.wording import count_vi
from warehouse.tables.score import OUT_EVALUATION, TOTAL

_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class _Place:
    """One agency in one period, as the portal names it."""

    department_id: str
    period: str
    start: date


@dataclass(frozen=True)
class _Theirs:
    """What the portal says of one component of one agency."""

    numerator: int | None = None
    denominator: int | None = None
    ratio: float | None = None
    score: float | None = None
    status: str | None = None
    message: str | None = None

    @property
    def is_said(self) -> bool:
        """Whether anything was published; a null is nothing."""
        return any(value is not None for value in (self.denominator, self.ratio, self.score))

    @property
    def rate(self) -> float | None:
        """Of the counts where there are any, else as published."""
        if self.denominator and self.numerator is not None:
            return self.numerator / self.denominator
        return None if self.ratio is None or self.denominator == 0 else self.ratio / 100


@dataclass(frozen=True)
class _Published:
    """All published rows, by agency and period."""

    agencies: Mapping[_Place, Mapping[str, Any]]
    rows: Mapping[tuple[_Place, str, str, str], Mapping[str, Any]]
    codes: Mapping[str, str]

    def theirs(self, place: _Place, endpoint: str, part: Component) -> _Theirs:
        """A component as its metric says it, or as the sums of its fields do."""
        if part.published is None:
            return _Theirs()
        if part.published.code is not None:
            row = self.rows.get((place, endpoint, "metric", part.published.code), _NOTHING)
            return _Theirs(
                numerator=_whole(row.get("numerator")),
                denominator=_whole(row.get("denominator")),
                ratio=row.get("ratio"),
                score=row.get("score"),
                status=row.get("quality_status"),
                message=row.get("quality_message"),
            )
        sums = [self._sum(place, endpoint, names) for names in (part.published.numerator, part.published.denominator)]
        return _Theirs(numerator=sums[0], denominator=sums[1])

    def _sum(self, place: _Place, endpoint: str, names: Iterable[str]) -> int | None:
        """The sum of a tree's fields; unknown when one of them is: null is not 0."""
        values = [self.rows.get((place, endpoint, "field", name), _NOTHING).get("numerator") for name in names]
        known = [value for value in values if value is not None]
        return _whole(sum(known)) if len(known) == len(values) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def compare(
    published: pa.Table,
    scored: Scored,
    scoring: ScoreSet,
    *,
    units: Mapping[str, str],
    province_code: str,
    as_of: datetime,
) -> pa.Table:
    """Rows of `out_evaluation` for every agency and period in `published` (rows of `raw_evaluation`).

    Of several readings of a group and period the newest counts. `units` says which of our units an
    agency's code on the portal is; an agency that nobody named keeps its rows without ours.
    """
    if not published.num_rows:
        return OUT_EVALUATION.arrow_schema().empty_table()
    theirs = _newest(published)
    place_of = {
        place: _subject(place, agency, theirs, units, province_code) for place, agency in theirs.agencies.items()
    }
    ours = _ours(scored)
    sides = _Sides(scoring=scoring, theirs=theirs, ours=ours, ruled=_ruled(theirs, scoring, place_of, ours))
    rows: list[dict[str, Any]] = []
    for place, agency in theirs.agencies.items():
        head = {
            "set_id": scoring.set,
            "department_id": place.department_id,
            "department_code": theirs.codes.get(place.department_id),
            "department_name": agency["department_name"],
            "unit_code": place_of[place].unit_code,
            "period": place.period,
            "period_start": place.start,
            "read_at": agency["read_at"],
            "as_of": as_of,
        }
        found = [*sides.components(place, place_of[place]), *sides.groups(place, place_of[place])]
        rows += [head | row for row in found]
    table = pa.Table.from_pylist(rows, schema=OUT_EVALUATION.arrow_schema())
    return table.sort_by([(name, "ascending") for name in OUT_EVALUATION.sort])


def _newest(published: pa.Table) -> _Published:
    """The newest reading of each group and period."""
    keys = ["endpoint", "period", "period_start"]
    newest = published.group_by(keys).aggregate([("read_at", "max")]).rename_columns([*keys, "newest"])
    joined = published.join(newest, keys)
    table = joined.filter(pc.equal(joined["read_at"], joined["newest"]))
    agencies: dict[_Place, dict[str, Any]] = {}
    rows = {}
    codes: dict[str, str] = {}
    for row in table.to_pylist():
        place = _Place(row["department_id"], row["period"], row["period_start"])
        known = agencies.setdefault(place, row)
        known["read_at"] = max(known["read_at"], row["read_at"])
        rows[place, row["endpoint"], row["kind"], row["code"]] = row
        if row["department_code"]:
            codes[row["department_id"]] = row["department_code"]
    return _Published(agencies, rows, codes)


@dataclass(frozen=True)
class _Subject:
    """Our unit (or the province) in one period; `unit_code` is None where nobody said which unit it is."""

    unit_code: str | None
    is_province: bool
    period: str
    start: date


_Rows = Mapping[tuple[_Subject, str], Mapping[str, Any]]


def _subject(
    place: _Place, agency: Mapping[str, Any], theirs: _Published, units: Mapping[str, str], province_code: str
) -> _Subject:
    """Some answers leave an agency's code out; another one of the same agency has it."""
    is_root = bool(agency["is_root"])
    unit = province_code if is_root else units.get(theirs.codes.get(place.department_id, ""))
    return _Subject(unit, is_root, place.period, place.start)


def _ours(scored: Scored) -> _Rows:
    """Scored rows of units and of the province, on the boundaries of their time, by component or group."""
    return {
        (_Subject(row["unit_code"], row["scope"] == "province", row["period"], row["period_start"]), row[name]): row
        for table, name in ((scored.components, "component"), (scored.totals, "group_id"))
        for row in table.filter((pc.field("scope") != "level") & (pc.field("boundaries") == "then")).to_pylist()
    }


def _ruled(
    theirs: _Published, scoring: ScoreSet, place_of: Mapping[_Place, _Subject], ours: _Rows
) -> Mapping[tuple[_Place, str], Mapping[str, Any]]:
    """The set's points for their counts, by component or group."""
    rows = [
        {
            "scope": "unit",
            # An agency that is none of our units has no level, and so no component that is not asked of it.
            "level": ours.get((place_of[place], TOTAL), _NOTHING).get("level", "all"),
            "unit_code": place.department_id,
            "boundaries": "then",
            "period": place.period,
            "period_start": place.start,
            "component": part.component,
            "numerator": said.numerator,
            "denominator": said.denominator,
            "rate": said.rate if said.denominator is None else None,
        }
        for place in theirs.agencies
        for part, endpoint in _parts(scoring)
        if (said := theirs.theirs(place, endpoint, part)).is_said
    ]
    read_at: datetime = next(iter(theirs.agencies.values()))["read_at"]
    result = score_counts(pa.Table.from_pylist(rows, schema=COUNTS), scoring, as_of=read_at)
    return {
        (_Place(row["unit_code"], row["period"], row["period_start"]), row[name]): row
        for table, name in ((result.components, "component"), (result.totals, "group_id"))
        for row in table.to_pylist()
    }


def _parts(scoring: ScoreSet) -> Iterator[tuple[Component, str]]:
    """Components that carry points, with the address that answers their group."""
    endpoints = {group.group: group.endpoint for group in scoring.groups}
    return ((part, endpoints[part.group]) for part in scoring.scored)


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """Theirs, ours, and the rule's points for theirs."""

    scoring: ScoreSet
    theirs: _Published
    ours: _Rows
    ruled: Mapping[tuple[_Place, str], Mapping[str, Any]]

    def components(self, place: _Place, subject: _Subject) -> Iterator[dict[str, Any]]:
        """Every component that either side speaks of."""
        note = self.contradiction(place)
        for part, endpoint in _parts(self.scoring):
            said = self.theirs.theirs(place, endpoint, part)
            mine = self.ours.get((subject, part.component), _NOTHING)
            if said.is_said or mine.get("points") is not None:
                ruled = self.ruled.get((place, part.component), _NOTHING).get("points")
                is_in_note = part.total is not None and said.denominator is not None
                yield _component(part, said, mine) | {
                    "their_points_by_rule": ruled,
                    "quality_note": note if is_in_note else None,
                }

    def groups(self, place: _Place, subject: _Subject) -> Iterator[dict[str, Any]]:
        """Every group, and the total: the portal has none of its own, the six groups make it if all are there."""
        scores = {
            group.group: self.theirs.rows.get((place, group.endpoint, "group", ""), _NOTHING).get("score")
            for group in self.scoring.groups
        }
        known = [score for score in scores.values() if score is not None]
        scores[TOTAL] = sum(known) if len(known) == len(self.scoring.groups) else None
        for name, score in scores.items():
            mine, by_rule = (
                _whole_points(row) for row in (self.ours.get((subject, name)), self.ruled.get((place, name)))
            )
            if score is not None or mine is not None:
                yield {
                    "measure": name,
                    "kind": "group",
                    "their_points": None if score is None else round(score, 2),
                    "their_points_by_rule": by_rule,
                    "our_points": mine,
                    "points_difference": _less_points(mine, score),
                    "state": _state(is_theirs=score is not None, is_ours=mine is not None),
                }

    def contradiction(self, place: _Place) -> str | None:
        """Totals that should be one and the same, when the portal publishes more than one of them."""
        found: dict[int, list[str]] = {}
        for part, endpoint in _parts(self.scoring):
            denominator = self.theirs.theirs(place, endpoint, part).denominator if part.total else None
            if denominator is not None:
                found.setdefault(denominator, []).append(part.component)
        if len(found) <= 1:
            return None
        named = "; ".join(f"{count_vi(total)} ({', '.join(found[total])})" for total in sorted(found, reverse=True))
        return f"Cổng công bố {len(found)} tổng số hồ sơ khác nhau cho cùng đơn vị và kỳ: {named}"


def _component(part: Component, said: _Theirs, mine: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "measure": part.component,
        "kind": "component",
        "their_numerator": said.numerator,
        "their_denominator": said.denominator,
        "their_rate": said.rate,
        "their_points": said.score,
        **{f"our_{name}": mine.get(name) for name in ("numerator", "denominator", "rate", "points")},
        "rate_difference": _less(mine.get("rate"), said.rate),
        "points_difference": _less_points(mine.get("points"), said.score),
        "numerator_difference": _less(mine.get("numerator"), said.numerator),
        "denominator_difference": _less(mine.get("denominator"), said.denominator),
        "state": _state(is_theirs=said.is_said, is_ours=mine.get("points") is not None),
        "quality_status": said.status,
        "quality_message": said.message,
    }


def _whole_points(row: Mapping[str, Any] | None) -> float | None:
    """A sum is set against another only where it speaks of all its points."""
    return row["points"] if row and row["scored_max"] == row["max_points"] else None


def _less(ours: float | None, theirs: float | None) -> Any:
    return None if ours is None or theirs is None else ours - theirs


def _less_points(ours: float | None, theirs: float | None) -> float | None:
    """The difference of two numbers that are shown with two decimals."""
    return None if ours is None or theirs is None else round(ours - theirs, 2)


def _state(*, is_theirs: bool, is_ours: bool) -> str:
    return "both" if is_theirs and is_ours else "only_theirs" if is_theirs else "only_ours"

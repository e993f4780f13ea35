"""Targets as dated data: one CSV file per decision, one row per target and span of time.

Belongs here: what a target is, and reading and checking the files beside this module. Does not
belong here: how a rate is held against a target (`assets/scorecards/verdicts.py`).

How the dates are read, once for every file:

- `valid_from` is the day the decision took effect (3478: Điều 3, the day it was signed). Periods
  that end before it have no such target.
- `due_on` is the first day on which the target can be judged. "Đến năm 2025" names no path towards
  its end, so it is due on 2025-12-31 and everything before is "not yet due": nothing is
  interpolated. A target with yearly steps (3478, A3) has one row per year instead.
- `valid_to` is the last day a row holds. A target of 2025 does not lapse on 1 January 2026: no
  sentence of the decision ends it, and the programme runs towards 2030. It holds until the target
  that takes its place is due (A2b until B1b, D2 until E2: the day before 2030-12-31), and stays
  open where the decision names no successor (A4c, A7, D1). Until then the 2030 target stands
  beside it as not yet due, so that both distances can be seen. A later decision ends a row by a
  date here, never by code.
- `level` is `all` when the text names no level: every unit, every level and the province.
  Otherwise the target holds for that level only.

A clause column may cite several places, separated by a semicolon, for a target stated twice.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path

from warehouse.tables import LEVELS

FOLDER = Path(__file__).parent
ALL_LEVELS = "all"
COLUMNS = (
    "target",
    "indicator",
    "version",
    "level",
    "operator",
    "threshold",
    "valid_from",
    "valid_to",
    "due_on",
    "document",
    "clause",
    "wording",
    "counted",
    "note",
)
_OPTIONAL = {"indicator", "version", "valid_to", "note"}


class TargetError(ValueError):
    """A target file cannot be used; the text names the file and the row, one problem per line."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One target in one span of time; `threshold` is a share 0..1, exactly as the file writes it.

    `indicator` is None and `version` empty when no source is connected that could answer it.
    `counted` is the Vietnamese noun of what the denominator counts (hồ sơ, giao dịch, kết quả).
    """

    target: str
    indicator: str | None
    version: str
    level: str
    operator: str
    threshold: Decimal
    valid_from: date
    valid_to: date | None
    due_on: date
    document: str
    clauses: tuple[str, ...]
    wording: str
    counted: str
    note: str

    @property
    def clause(self) -> str:
        """All citations in one text."""
        return "; ".join(self.clauses)

    def holds_on(self, day: date) -> bool:
        """Whether this row is the one in force on `day`."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


def load_targets(
    names: Iterable[str],
    *,
    known: Collection[tuple[str, str]] | None = None,
    folder: Path = FOLDER,
) -> tuple[Target, ...]:
    """Read the named target sets, in the order of their files.

    `known` is the set of (indicator, version) pairs that have a definition; a target that names
    another pair is refused. Without it the pairs are not checked. Raises `TargetError` with every
    problem found, each naming file and row.
    """
    problems: list[str] = []
    rows: list[tuple[str, Target]] = []
    for name in names:
        for place, cells in _rows(folder / f"{name}.csv"):
            target = _parse(place, cells, known, problems)
            if target is not None:
                rows.append((place, target))
    problems += _overlaps(rows)
    if problems:
        raise TargetError("\n".join(problems))
    return tuple(target for _, target in rows)


def _rows(path: Path) -> list[tuple[str, dict[str, str]]]:
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.csv"))) or "none"
        raise TargetError(f"{path.name}: no such target set; the key `targets` may name: {known}")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, restkey="+")
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise TargetError(f"{path.name}: row 1: the columns must be {', '.join(COLUMNS)}")
        return [(f"{path.name}: row {number}", row) for number, row in enumerate(reader, start=2)]


def _parse(
    place: str, cells: Mapping[str, str | None], known: Collection[tuple[str, str]] | None, problems: list[str]
) -> Target | None:
    """The row as a target, or None with what is wrong added to `problems`."""
    wrong: list[str] = []
    if "+" in cells or None in cells.values():
        problems.append(f"{place}: has not {len(COLUMNS)} cells; is a comma outside quotes?")
        return None
    text = {name: (cells[name] or "").strip() for name in COLUMNS}
    wrong += [f"{name} is empty" for name in COLUMNS if name not in _OPTIONAL and not text[name]]
    wrong += _wrong_indicator(text["indicator"], text["version"], known)
    if text["level"] not in (ALL_LEVELS, *LEVELS):
        wrong.append(f"level {text['level']!r} must be one of {', '.join((ALL_LEVELS, *LEVELS))}")
    if text["operator"] != ">=":
        wrong.append(f"operator {text['operator']!r} is not known; only >= is")
    threshold = _share(text["threshold"], wrong)
    days = {name: _day(name, text[name], wrong) for name in ("valid_from", "valid_to", "due_on")}
    valid_from, valid_to, due_on = days["valid_from"], days["valid_to"], days["due_on"]
    if valid_from and valid_to and valid_to < valid_from:
        wrong.append(f"valid_to {valid_to} is before valid_from {valid_from}")
    if valid_to and due_on and valid_to < due_on:
        wrong.append(f"valid_to {valid_to} is before due_on {due_on}, so it could never be judged")
    problems += [f"{place}: {problem}" for problem in wrong]
    if wrong or valid_from is None or due_on is None or threshold is None:
        return None
    return Target(
        target=text["target"],
        indicator=text["indicator"] or None,
        version=text["version"],
        level=text["level"],
        operator=text["operator"],
        threshold=threshold,
        valid_from=valid_from,
        valid_to=valid_to,
        due_on=due_on,
        document=text["document"],
        clauses=tuple(clause.strip() for clause in text["clause"].split(";") if clause.strip()),
        wording=text["wording"],
        counted=text["counted"],
        note=text["note"],
    )


def _wrong_indicator(indicator: str, version: str, known: Collection[tuple[str, str]] | None) -> list[str]:
    if bool(indicator) != bool(version):
        return ["indicator and version must both be given, or both be empty when no source answers the target"]
    if not indicator or known is None or (indicator, version) in known:
        return []
    versions = sorted(other for name, other in known if name == indicator)
    if versions:
        return [f"indicator {indicator} has no version {version!r}; it has {', '.join(versions)}"]
    return [f"indicator {indicator!r} has no definition; known are {', '.join(sorted({name for name, _ in known}))}"]


def _share(text: str, wrong: list[str]) -> Decimal | None:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    # Four places are a hundredth of a percent: more is a slip, and would not be shown.
    if value.is_finite() and 0 <= value <= 1 and value == round(value, 4):
        return value
    wrong.append(f"threshold {text!r} must be a share from 0 to 1 with at most four places (0.80 for 80 %)")
    return None


def _day(name: str, text: str, wrong: list[str]) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        wrong.append(f"{name} {text!r} is not a day written yyyy-mm-dd")
        return None


def _overlaps(rows: list[tuple[str, Target]]) -> list[str]:
    """Two rows of one target must not hold on the same day: a verdict would have two thresholds."""
    problems = []
    ordered = sorted(rows, key=lambda row: (row[1].target, row[1].valid_from))
    for (place, earlier), (other, later) in pairwise(ordered):
        if earlier.target == later.target and (earlier.valid_to is None or later.valid_from <= earlier.valid_to):
            problems.append(
                f"{other}: {later.target} from {later.valid_from} overlaps {place}, "
                f"which holds until {earlier.valid_to or 'further notice'}; give that row a valid_to"
            )
    return problems

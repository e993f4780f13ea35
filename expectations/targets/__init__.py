"""Targets as dated data: one CSV file per decision, one row per target and span of time.

Belongs here: what a target is, and reading and checking the files beside this module. Does not
belong here: what a whole set says of itself (`sets.py`), how a rate is held against a target
(`assets/scorecards/verdicts.py`).

How the dates are read, once for every file:

- `valid_from` is the day the decision took effect (3478: Điều 3, the day it was signed). Periods
  that end before it have no such target.
- `due_on` is the first day on which the target can be judged. "Đến năm 2025" names no path towards
  its end, so it is due on 2025-12-31 and everything before is "not yet due": nothing is
  interpolated. A target with yearly steps (3478, A3) has one row per year instead, and its set says
  how the steps grow (`steps` in `sets.yaml`), which the rows must obey.
- `valid_to` is the last day a row holds. A target of 2025 does not lapse on 1 January 2026: no
  sentence of the decision ends it, and the programme runs towards 2030. It holds until the target
  that takes its place is due (A2b until B1b, D2 until E2: the day before 2030-12-31), and stays
  open where the decision names no successor (A4c, A7, D1). Until then the 2030 target stands
  beside it as not yet due, so that both distances can be seen. A later decision ends a row by a
  date here, or the whole set by a date in `sets.yaml`, never by code.
- `level` is `all` when the text names no level: every unit, every level and the province. `whole`
  is the province as one (a rank, the reports of the people's committee). Otherwise the target holds
  for that level only. A target of the districts is not ended by a date: the level ended on
  2025-06-30, and its verdict says so from then on.

What is measured (`measure`) is a share 0..1, a rank (1 is best) or a count. `operator` is >=, or <=
for a rank, or = for 100 % of a share. `source_class` names the systems that could answer, joined by
+ (`SOURCE_CLASSES`). `document` is blank where it is the set's. A clause column may cite several
places, separated by a semicolon, for a target stated twice.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from pathlib import Path

from expectations.targets.sets import FOLDER, TargetError, TargetSet, target_set
from warehouse.tables import LEVELS, OUT_VERDICT

__all__ = ["FOLDER", "Target", "TargetError", "load_targets", "set_sentences"]

ALL_LEVELS = "all"
#: The province as one, neither a unit nor a level of it.
WHOLE = "whole"
SHARE, RANK, COUNT = MEASURES = OUT_VERDICT.column("measure").values
OPERATORS = OUT_VERDICT.column("operator").values
#: Kinds of systems that hold what a target asks for, as a reader is told.
SOURCE_CLASSES = {
    "D": "hồ sơ thủ tục hành chính",
    "C": "danh mục thủ tục hành chính",
    "S": "khảo sát mức độ hài lòng",
    "W": "hệ thống quản lý văn bản và điều hành",
    "E": "hệ thống định danh điện tử",
    "I": "hệ thống thanh tra, kiểm tra",
    "R": "hệ thống thông tin báo cáo",
    "A": "kho kết quả còn hiệu lực",
    "M": "số liệu nhập tay có người chịu trách nhiệm",
}
COLUMNS = (
    "target",
    "indicator",
    "version",
    "level",
    "operator",
    "threshold",
    "measure",
    "source_class",
    "valid_from",
    "valid_to",
    "due_on",
    "document",
    "clause",
    "wording",
    "counted",
    "note",
)
_OPTIONAL = {"indicator", "version", "valid_to", "document", "note"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """One target in one span of time; `threshold` is exactly what the file writes, a share as 0..1.

    `indicator` is None and `version` empty when nothing defined could answer the target. `counted` is
    the Vietnamese noun of what the denominator counts (hồ sơ, giao dịch, kết quả). `territory` is the
    GSO code until 2025-06-30 of the province that the decision was made for, None without such a limit.
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
    measure: str = SHARE
    source_classes: tuple[str, ...] = ()
    territory: str | None = None
    territory_vi: str = ""
    is_verbatim: bool = True

    @property
    def clause(self) -> str:
        """All citations in one text."""
        return "; ".join(self.clauses)

    @property
    def sources_vi(self) -> str:
        """The kinds of systems that could answer the target, as a reader is told."""
        return ", ".join(SOURCE_CLASSES[one] for one in self.source_classes)

    def holds_on(self, day: date) -> bool:
        """Whether this row is the one in force on `day`."""
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


def load_targets(
    names: Iterable[str],
    *,
    known: Collection[tuple[str, str]] | None = None,
    province_code: str | None = None,
    folder: Path = FOLDER,
) -> tuple[Target, ...]:
    """Read the named target sets, in the order of their files.

    `known` is the set of (indicator, version) pairs that some maker of indicators gives; a target
    that names another pair is refused. Without it the pairs are not checked. With `province_code`, a
    set of another province is refused. A set may be empty if it says why. Raises `TargetError` with
    every problem found, each naming file and row.
    """
    problems: list[str] = []
    rows: list[tuple[str, Target]] = []
    for name in names:
        whole = target_set(name, folder=folder, province_code=province_code)
        found = [
            (place, _parse(place, cells, whole, known, problems)) for place, cells in _rows(folder / f"{name}.csv")
        ]
        problems += _wrong_emptiness(name, whole, len(found))
        kept = [(place, target) for place, target in found if target is not None]
        problems += _wrong_steps(whole, kept)
        rows += kept
    problems += _overlaps(rows)
    if problems:
        raise TargetError("\n".join(problems))
    return tuple(target for _, target in rows)


def set_sentences(names: Iterable[str], *, folder: Path = FOLDER) -> tuple[str, ...]:
    """One Vietnamese line per set: its document and how many targets it holds, or why it holds none."""
    lines = []
    for name in names:
        whole = target_set(name, folder=folder)
        count = len({target.target for target in load_targets([name], folder=folder)})
        said = f"{count} chỉ tiêu" if count else whole.no_targets.strip()
        lines.append(f"{name} ({whole.document}): {said}")
    return tuple(lines)


def _rows(path: Path) -> list[tuple[str, dict[str, str]]]:
    if not path.is_file():
        raise TargetError(f"{path.name}: no such file, but sets.yaml names the set")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream, restkey="+")
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise TargetError(f"{path.name}: row 1: the columns must be {', '.join(COLUMNS)}")
        return [(f"{path.name}: row {number}", row) for number, row in enumerate(reader, start=2)]


def _parse(
    place: str,
    cells: Mapping[str, str | None],
    whole: TargetSet,
    known: Collection[tuple[str, str]] | None,
    problems: list[str],
) -> Target | None:
    """The row as a target, or None with what is wrong added to `problems`."""
    if "+" in cells or None in cells.values():
        problems.append(f"{place}: has not {len(COLUMNS)} cells; is a comma outside quotes?")
        return None
    text = {name: (cells[name] or "").strip() for name in COLUMNS}
    wrong = [f"{name} is empty" for name in COLUMNS if name not in _OPTIONAL and not text[name]]
    wrong += _wrong_words(text) + _wrong_indicator(text["indicator"], text["version"], known)
    threshold = _threshold(text, wrong)
    days = {name: _day(name, text[name], wrong) for name in ("valid_from", "valid_to", "due_on")}
    valid_from, due_on = days["valid_from"], days["due_on"]
    valid_to = days["valid_to"] or whole.valid_to
    wrong += _wrong_days(valid_from, valid_to, due_on, whole)
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
        measure=text["measure"],
        source_classes=tuple(text["source_class"].split("+")),
        valid_from=valid_from,
        valid_to=valid_to,
        due_on=due_on,
        document=text["document"] or whole.document,
        clauses=tuple(clause.strip() for clause in text["clause"].split(";") if clause.strip()),
        wording=text["wording"],
        counted=text["counted"],
        note=text["note"],
        territory=whole.territory,
        territory_vi=whole.territory_vi,
        is_verbatim=whole.is_verbatim,
    )


def _wrong_words(text: Mapping[str, str]) -> list[str]:
    """Words that are not of their closed list; an id must be fit to name a check."""
    levels = (ALL_LEVELS, WHOLE, *LEVELS)
    wrong = []
    if not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", text["target"]):
        wrong.append(f"target {text['target']!r} must be letters and digits joined by hyphens")
    if text["level"] not in levels:
        wrong.append(f"level {text['level']!r} must be one of {', '.join(levels)}")
    if text["operator"] not in OPERATORS:
        wrong.append(f"operator {text['operator']!r} is not known; only {', '.join(OPERATORS)} are")
    if text["measure"] not in MEASURES:
        wrong.append(f"measure {text['measure']!r} must be one of {', '.join(MEASURES)}")
    unknown = [one for one in text["source_class"].split("+") if one not in SOURCE_CLASSES]
    if unknown:
        wrong.append(
            f"source_class {'+'.join(unknown)!r} is not known; join with + some of {', '.join(SOURCE_CLASSES)}"
        )
    return wrong


def _wrong_indicator(indicator: str, version: str, known: Collection[tuple[str, str]] | None) -> list[str]:
    if bool(indicator) != bool(version):
        return ["indicator and version must both be given, or both be empty when no source answers the target"]
    if not indicator or known is None or (indicator, version) in known:
        return []
    versions = sorted(other for name, other in known if name == indicator)
    if versions:
        return [f"indicator {indicator} has no version {version!r}; it has {', '.join(versions)}"]
    return [f"indicator {indicator!r} has no definition; known are {', '.join(sorted({name for name, _ in known}))}"]


def _wrong_days(valid_from: date | None, valid_to: date | None, due_on: date | None, whole: TargetSet) -> list[str]:
    wrong = []
    if valid_from and valid_to and valid_to < valid_from:
        wrong.append(f"valid_to {valid_to} is before valid_from {valid_from}")
    if valid_to and due_on and valid_to < due_on:
        wrong.append(f"valid_to {valid_to} is before due_on {due_on}, so it could never be judged")
    if valid_from and valid_from < whole.valid_from:
        wrong.append(f"valid_from {valid_from} is before {whole.valid_from}, when its set takes effect")
    if valid_to and whole.valid_to and valid_to > whole.valid_to:
        wrong.append(f"valid_to {valid_to} is after {whole.valid_to}, when its set ends")
    return wrong


def _threshold(text: Mapping[str, str], wrong: list[str]) -> Decimal | None:
    """The threshold of a row, if it suits what is measured and how it is compared."""
    try:
        value = Decimal(text["threshold"])
    except InvalidOperation:
        value = Decimal("NaN")
    if text["measure"] in (RANK, COUNT):
        return _whole_threshold(value, text, wrong)
    # Four places are a hundredth of a percent: more is a slip, and would not be shown.
    if not (value.is_finite() and 0 <= value <= 1 and value == round(value, 4)):
        wrong.append(
            f"threshold {text['threshold']!r} must be a share from 0 to 1 with at most four places (0.80 for 80 %)"
        )
        return None
    if text["operator"] == "=" and value != 1:
        wrong.append("operator = is for a share of 1 only (100 %); below that a decision asks for at least so much")
    if text["operator"] == "<=":
        wrong.append("operator <= is for a rank only")
    return value


def _whole_threshold(value: Decimal, text: Mapping[str, str], wrong: list[str]) -> Decimal | None:
    if not (value.is_finite() and value >= 1 and value == int(value)):
        wrong.append(f"threshold {text['threshold']!r} must be a whole number from 1 on for a {text['measure']}")
        return None
    asked = "<=" if text["measure"] == RANK else ">="
    if text["operator"] != asked:
        wrong.append(f"operator of a {text['measure']} must be {asked}")
    return value


def _day(name: str, text: str, wrong: list[str]) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        wrong.append(f"{name} {text!r} is not a day written yyyy-mm-dd")
        return None


def _wrong_emptiness(name: str, whole: TargetSet, rows: int) -> list[str]:
    """A set without a row must say why, and one with rows must not say that it has none."""
    if rows and whole.no_targets:
        return [f"sets.yaml: {name}: says no_targets, but {name}.csv has {rows} rows"]
    if not rows and not whole.no_targets:
        return [f"{name}.csv: has no row; sets.yaml must say why under no_targets"]
    return []


def _wrong_steps(whole: TargetSet, rows: Iterable[tuple[str, Target]]) -> list[str]:
    """Rows of a growing target that are not what the set's step_mode makes of the year before."""
    problems = []
    listed = sorted(rows, key=lambda row: (row[1].target, row[1].valid_from))
    modes = {target: steps for steps in whole.steps for target in steps.targets}
    problems += [f"sets.yaml: steps name {name}, of which there is no row" for name in _without_row(modes, listed)]
    for (_, earlier), (place, later) in pairwise(listed):
        steps = modes.get(later.target)
        if steps is None or earlier.target != later.target:
            continue
        wanted = steps.after(earlier.threshold)
        if later.threshold != wanted:
            problems.append(
                f"{place}: threshold {later.threshold} is not {wanted}, which step_mode {steps.step_mode} "
                f"({steps.increase}, cap {steps.cap}) makes of {earlier.threshold}"
            )
    return problems


def _without_row(names: Iterable[str], rows: Iterable[tuple[str, Target]]) -> list[str]:
    return sorted(set(names) - {target.target for _, target in rows})


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

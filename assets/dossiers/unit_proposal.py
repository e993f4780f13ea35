"""Which unit an agency code that nobody mapped may be: proposed where it is beyond doubt, never guessed.

Belongs here: what settles it, and what is in doubt with the candidates. Does not belong here: printing, nor what
the tables of meanings say already (`directory.py`, `meanings.py`).

A code is a unit's when it is that unit's code, or when its name is borne by this unit alone: by no other unit of
any time, for nearly every commune of 2025-07-01 has the name or code of a smaller one before (decision 5), and by
no other code of the directory that waits for a unit. Units that other codes of the source are mapped to are no
longer in question.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from assets.dossiers.directory import Entry, folded

#: Units that are shown where no unit has the name.
_MOST_HINTS = 5


@dataclass(frozen=True)
class Candidate:
    """A unit that a code may be; `taken_by` is what agencies.csv maps to it already, for the same source."""

    unit_code: str
    name: str
    valid_to: date | None
    taken_by: str | None

    def __str__(self) -> str:
        """For an operator."""
        notes = [f"đến {self.valid_to:%d/%m/%Y}"] if self.valid_to else []
        notes += [f"đã gắn với {self.taken_by}"] if self.taken_by else []
        return f"{self.unit_code} {self.name}" + (f" ({', '.join(notes)})" if notes else "")


@dataclass(frozen=True)
class Proposal:
    """A row for agencies.csv (`unit_code` is the unit), or why there is none and what comes into question."""

    source: str
    #: As dossiers of the source name it: the code, or the name.
    agency: str
    code: str
    name: str
    unit_code: str | None
    why: str
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True)
class _Units:
    """Units by what they are called."""

    by_code: Mapping[str, Candidate]
    by_name: Mapping[str, tuple[str, ...]]
    valid: frozenset[str]

    @classmethod
    def of(cls, units: pa.Table, on: date) -> _Units:
        """`units` are rows of `core_unit`; a unit counts under every name that it ever had, with its newest one."""
        newest: dict[str, dict[str, Any]] = {}
        names: dict[str, set[str]] = defaultdict(set)
        valid = set()
        for row in sorted(units.to_pylist(), key=lambda row: row["valid_from"]):
            newest[row["unit_code"]] = row
            names[folded(row["name"])].add(row["unit_code"])
            if row["valid_from"] <= on and (row["valid_to"] is None or row["valid_to"] >= on):
                valid.add(row["unit_code"])
        return cls(
            {code: Candidate(code, row["name"], row["valid_to"], None) for code, row in newest.items()},
            {name: tuple(sorted(codes)) for name, codes in names.items()},
            frozenset(valid),
        )


def propose(
    entries: Sequence[Entry], units: pa.Table, agencies: pa.Table, *, says: Mapping[str, str], on: date
) -> list[Proposal]:
    """What each code that is listed and mapped to no unit may be on the day `on`.

    `units` are rows of `core_unit`, `agencies` those of agencies.csv; `says` is what the dossiers of a source name
    an agency by: code or name.
    """
    known = _Units.of(units, on)
    open_ones = [each for each in entries if each.unit_code is None and each.listed_to is None and each.source in says]
    namesakes = Counter((each.source, folded(each.name)) for each in open_ones)
    taken: dict[tuple[str, str], str] = {}
    for row in agencies.to_pylist():
        taken.setdefault((row["source"], row["unit_code"]), row["agency"])
    found = []
    for each in open_ones:
        agency = each.agency if says[each.source] == "code" else each.name
        own = {unit: by for (source, unit), by in taken.items() if source == each.source}
        unit, why, codes = _settled(each, known, own, is_alone=namesakes[each.source, folded(each.name)] == 1)
        candidates = tuple(_with(known.by_code[code], own.get(code)) for code in codes)
        found.append(Proposal(each.source, agency, each.agency, each.name, unit, why, candidates))
    return found


def _with(candidate: Candidate, taken_by: str | None) -> Candidate:
    return Candidate(candidate.unit_code, candidate.name, candidate.valid_to, taken_by)


def _settled(
    entry: Entry, known: _Units, taken: Mapping[str, str], *, is_alone: bool
) -> tuple[str | None, str, Sequence[str]]:
    """The unit where it is beyond doubt, why or why not, and the units in question."""
    named = known.by_name.get(folded(entry.name), ())
    coded = next((code for code in known.valid if folded(code) == folded(entry.agency)), None)
    if coded is not None:
        if named and coded not in named:
            return None, "mã và tên chỉ hai đơn vị khác nhau", (coded, *named)
        return coded, "trùng mã đơn vị", ()
    if not named:
        return None, "không đơn vị nào mang đúng tên này", tuple(_hints(entry.name, known))
    free = [code for code in named if code not in taken]
    if doubt := _doubt(free, known, is_alone=is_alone):
        return None, doubt, named
    return free[0], "trùng tên một đơn vị duy nhất", ()


def _doubt(free: Sequence[str], known: _Units, *, is_alone: bool) -> str | None:
    """Why units of an equal name that are still `free` do not settle it; None where they do."""
    if not free:
        return "đơn vị mang tên này đã gắn với mã khác của nguồn"
    if not is_alone:
        return "nhiều mã chưa gắn của danh bạ cùng mang tên này"
    if len(free) > 1:
        return "nhiều đơn vị, kể cả đơn vị đã kết thúc, mang tên này"
    return None if free[0] in known.valid else "đơn vị mang tên này đã kết thúc hoặc chưa bắt đầu"


def _hints(name: str, known: _Units) -> Iterator[str]:
    """Units in force whose whole name stands within this one ("UBND xã Ea Kar"): to look at, not to believe."""
    text = folded(name)
    found = [
        code
        for unit, codes in known.by_name.items()
        if re.search(rf"(?<!\w){re.escape(unit)}(?!\w)", text)
        for code in codes
        if code in known.valid
    ]
    yield from sorted(found, key=lambda code: (-len(known.by_code[code].name), code))[:_MOST_HINTS]

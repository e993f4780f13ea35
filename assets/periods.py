"""Months, quarters, half-years and years: how an operator writes one, where it begins and ends.

Belongs here: that one value. Does not belong here: which periods a table holds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
#: Months in each kind of period.
MONTHS = {"month": 1, "quarter": 3, "half": 6, "year": 12}
_WRITTEN = re.compile(r"(?P<year>\d{4})(?:-(?:Q(?P<quarter>[1-4])|H(?P<half>[12])|(?P<month>0[1-9]|1[0-2])))?")


class PeriodError(ValueError):
    """A text is no period; it says how one is written."""


@dataclass(frozen=True, order=True)
class Period:
    """One month, quarter, half-year or year; `start` is its first day.

    Example:
        >>> Period.parse("2026-Q3")
        Period(kind='quarter', start=datetime.date(2026, 7, 1))
        >>> Period.parse("2026-Q3").end
        datetime.date(2026, 10, 1)
    """

    kind: str
    start: date

    @classmethod
    def parse(cls, text: str) -> Period:
        """From 2026, 2026-H1, 2026-Q3 or 2026-10; `PeriodError` for anything else."""
        found = _WRITTEN.fullmatch(text.strip().upper())
        if found is None:
            raise PeriodError(f"“{text}” không phải là kỳ; viết 2026, 2026-H1, 2026-Q3 hoặc 2026-10 (not a period)")
        year = int(found["year"])
        for kind in ("month", "quarter", "half"):
            if found[kind]:
                return cls(kind, date(year, (int(found[kind]) - 1) * MONTHS[kind] + 1, 1))
        return cls("year", date(year, 1, 1))

    @property
    def end(self) -> date:
        """The day after the last."""
        index = self.start.year * 12 + self.start.month - 1 + MONTHS[self.kind]
        return date(index // 12, index % 12 + 1, 1)

    @property
    def ends_at(self) -> datetime:
        """The instant at which it is over in Vietnam."""
        return datetime.combine(self.end, time(), VIETNAM)

    @property
    def code(self) -> str:
        """As `parse` reads it."""
        part = (self.start.month - 1) // MONTHS[self.kind] + 1
        return {
            "month": f"{self.start:%Y-%m}",
            "quarter": f"{self.start.year}-Q{part}",
            "half": f"{self.start.year}-H{part}",
            "year": f"{self.start.year}",
        }[self.kind]

    @property
    def label(self) -> str:
        """For people: "Tháng 9/2026", "Quý 3/2026", "6 tháng đầu năm 2026", "Năm 2026"."""
        part = (self.start.month - 1) // MONTHS[self.kind] + 1
        return {
            "month": f"Tháng {part}/{self.start.year}",
            "quarter": f"Quý {part}/{self.start.year}",
            "half": f"6 tháng {'đầu' if part == 1 else 'cuối'} năm {self.start.year}",
            "year": f"Năm {self.start.year}",
        }[self.kind]

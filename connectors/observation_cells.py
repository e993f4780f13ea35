"""What an office writes into a cell, read as a count, a share, a day or a period.

Belongs here: pure readers of one cell, whatever brought it (CSV text, a typed XLSX cell, a JSON
scalar), and what may be shown of a cell that could not be read. Does not belong here: files, and what
an indicator allows.

Vietnamese spelling is taken for granted: dot or space between thousands, comma before decimals,
day before month. What has two meanings is refused rather than guessed:

- a share is written with its sign (95,5%) or as 0 to 1 (0,955); "95,5" alone is neither;
- a day is yyyy-mm-dd, dd/mm/yyyy or a date cell (or its Excel serial number), years in four digits;
- "10/2026" that Excel turned into a date comes back as the first of that month, and is read as the month.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from connectors.person_fields import has_number
from connectors.person_marks import looks_personal

#: Day 0 of Excel's serial numbers (with its invented 29 February 1900 behind us).
_EXCEL_EPOCH = date(1899, 12, 30)
#: Serial numbers of 2000-01-01 and 2099-12-31: what lies outside is a number, not a day.
_FIRST_SERIAL, _LAST_SERIAL = 36526, 73050
_FIRST_YEAR, _LAST_YEAR = 2000, 2099
#: A count of a province has no more digits; more is a number pasted into the wrong column.
_MOST_DIGITS = 12

#: Digits are those of ASCII: others come from no keyboard here.
_PLAIN = re.compile(r"[0-9]+(?:[.,]0{1,2})?$")
_GROUPED = re.compile(r"[0-9]{1,3}(?:([. ,])[0-9]{3})(?:\1[0-9]{3})*$")
_DECIMAL = re.compile(r"[0-9]+(?:[.,][0-9]+)?$")
_HARMLESS = re.compile(r"[\w.,/%+: -]{1,40}$")

_ISO_DAY = re.compile(r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[t ]\d{2}:\d{2}.*)?$")
_LOCAL_DAY = re.compile(r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(?: \d{1,2}:\d{2}.*)?$")

_ROMAN = {"i": 1, "ii": 2, "iii": 3, "iv": 4}
#: Spellings of a period after `folded`: kind, pattern with the groups number (if any) and year.
_PERIODS = (
    ("month", re.compile(r"(?P<year>\d{4})-(?P<number>\d{1,2})$")),
    ("quarter", re.compile(r"(?P<year>\d{4})-?q(?P<number>[1-4])$")),
    ("half", re.compile(r"(?P<year>\d{4})-?h(?P<number>[12])$")),
    ("year", re.compile(r"(?:nam )?(?P<year>\d{4})$")),
    ("month", re.compile(r"(?:thang )?(?P<number>\d{1,2})(?: ?[/-] ?| nam )(?P<year>\d{4})$")),
    ("quarter", re.compile(r"(?:quy |q)(?P<number>[1-4]|iv|i{1,3})(?: ?[/-] ?| nam | )(?P<year>\d{4})$")),
    ("half", re.compile(r"(?:6|sau) thang (?P<number>dau|cuoi) nam (?P<year>\d{4})$")),
)
_MONTHS = {"month": 1, "quarter": 3, "half": 6, "year": 12}
_KIND_WORDS = {"thang": "month", "quy": "quarter", "6 thang": "half", "nua nam": "half", "nam": "year"}


class UnreadableCellError(ValueError):
    """A cell does not say what its column asks for; the text is for the office that filled it in."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: its value as it came, and whether the sheet shows it as a percentage."""

    value: Any
    is_percent: bool = False

    @property
    def is_blank(self) -> bool:
        """Nothing was written."""
        return self.value is None or (isinstance(self.value, str) and not tidy(self.value))


BLANK = Cell(None)


@dataclass(frozen=True, order=True)
class Period:
    """A month, quarter, half-year or year by its kind and first day."""

    start: date
    kind: str

    @property
    def end(self) -> date:
        """Last day."""
        index = self.start.year * 12 + self.start.month - 1 + _MONTHS[self.kind]
        return date(index // 12, index % 12 + 1, 1) - timedelta(days=1)

    @property
    def vi(self) -> str:
        """As offices write it; Excel leaves this spelling alone, where it would turn 2026-10 into a date."""
        number = (self.start.month - 1) // _MONTHS[self.kind] + 1
        return {
            "month": f"Tháng {self.start.month:02}/{self.start.year}",
            "quarter": f"Quý {number}/{self.start.year}",
            "half": f"6 tháng {'đầu' if number == 1 else 'cuối'} năm {self.start.year}",
            "year": f"Năm {self.start.year}",
        }[self.kind]


def tidy(text: str) -> str:
    """NFC with single spaces."""
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()


def folded(text: str) -> str:
    """Lower case without accents, for headings and names that offices spell in their own way."""
    bare = unicodedata.normalize("NFD", tidy(text).casefold().replace("đ", "d"))
    return "".join(letter for letter in bare if not unicodedata.combining(letter))


def shown(cell: Cell) -> str:
    """A cell as an error may quote it: only what cannot be a person, else its length."""
    text = text_of(cell)
    if _HARMLESS.match(text) and not looks_personal(text) and not _is_wordy(text):
        return f"“{text}”"
    return f"(một chuỗi {len(text)} ký tự)"


def _is_wordy(text: str) -> bool:
    """Two words or more of letters: may be a name in the wrong column."""
    return len(re.findall(r"[^\W\d_]{2,}", text)) > 1


def text_of(cell: Cell) -> str:
    """The cell as text: whole numbers without a decimal point, days as yyyy-mm-dd; "" for a blank one."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.date().isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return tidy(str(value))


def count_of(cell: Cell) -> int | None:
    """A whole number of 0 or more; None for a blank cell."""
    if cell.is_blank:
        return None
    if isinstance(cell.value, (bool, date)) or cell.is_percent:
        raise UnreadableCellError(f"phải là số nguyên, không phải {_what(cell)}")
    text = text_of(cell)
    if has_number(text):
        raise UnreadableCellError(f"{shown(cell)} có vẻ là số định danh hoặc số điện thoại, không phải số đếm")
    if isinstance(cell.value, float) and not cell.value.is_integer():
        raise UnreadableCellError(f"{shown(cell)} không phải số nguyên")
    if text.startswith(("-", "−")) and _count(text[1:].strip()) is not None:
        raise UnreadableCellError(f"{shown(cell)} là số âm")
    number = _count(text)
    if number is None:
        raise UnreadableCellError(f"{shown(cell)} không phải số nguyên (ghi 1234 hoặc 1.234)")
    return number


def _count(text: str) -> int | None:
    if _GROUPED.match(text):
        digits = re.sub(r"\D", "", text)
    elif _PLAIN.match(text):
        digits = re.split(r"[.,]", text)[0]
    else:
        return None
    return int(digits) if len(digits) <= _MOST_DIGITS else None


def _what(cell: Cell) -> str:
    if cell.is_percent:
        return "ô phần trăm"
    return "ngày tháng" if isinstance(cell.value, date) else "giá trị đúng/sai"


def share_of(cell: Cell) -> Decimal | None:
    """A share of 0 to 1, from 95,5% or 0,955 (or a percentage cell); None for a blank cell."""
    if cell.is_blank:
        return None
    if isinstance(cell.value, (bool, date)):
        raise UnreadableCellError(f"phải là tỷ lệ, không phải {_what(cell)}")
    text = str(cell.value) if isinstance(cell.value, float) else text_of(cell)
    number = text.removesuffix("%").rstrip()
    if not _DECIMAL.match(number):
        raise UnreadableCellError(f"{shown(cell)} không phải tỷ lệ từ 0 đến 100% (ghi 95,5% hoặc 0,955)")
    share = Decimal(number.replace(",", ".")) / (100 if text.endswith("%") else 1)
    if share > 1:
        raise UnreadableCellError(
            f"{shown(cell)} lớn hơn 100%; tỷ lệ phải có dấu % (95,5%) hoặc ghi từ 0 đến 1 (0,955)"
        )
    return share


def day_of(cell: Cell) -> date | None:
    """A day; None for a blank cell."""
    if cell.is_blank:
        return None
    if isinstance(cell.value, datetime):
        return cell.value.date()
    if isinstance(cell.value, date):
        return cell.value
    day = None if isinstance(cell.value, bool) else _day(text_of(cell).lower())
    if day is None or not _FIRST_YEAR <= day.year <= _LAST_YEAR:
        raise UnreadableCellError(f"{shown(cell)} không phải ngày (ghi 31/10/2026 hoặc 2026-10-31)")
    return day


def _day(text: str) -> date | None:
    if match := _ISO_DAY.match(text):
        year, month, day = match.groups()
    elif match := _LOCAL_DAY.match(text):
        day, month, year = match.groups()
    else:
        return _serial(text)
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def _serial(text: str) -> date | None:
    """The day of an Excel serial number; a time of day behind the point is left off."""
    if re.fullmatch(r"\d{5}(?:\.\d+)?", text) and _FIRST_SERIAL <= int(text[:5]) <= _LAST_SERIAL:
        return _EXCEL_EPOCH + timedelta(days=int(text[:5]))
    return None


def period_of(cell: Cell, start: Cell = BLANK) -> Period | None:
    """A period from its spelling, or from its kind in `cell` and its first day in `start`; None when both are blank."""
    if cell.is_blank:
        return None
    if not start.is_blank:
        return _of_kind(cell, day_of(start))
    found = _spelled(folded(text_of(cell)))
    if found is None:
        found = _from_day(cell)
    if found is None:
        raise UnreadableCellError(
            f"{shown(cell)} không phải kỳ (ghi Tháng 10/2026, Quý 4/2026, 6 tháng đầu năm 2026 hoặc Năm 2026)"
        )
    return found


def _of_kind(cell: Cell, start: date | None) -> Period:
    word = folded(text_of(cell))
    kind = _KIND_WORDS.get(word, word)
    if start is None or kind not in _MONTHS:
        raise UnreadableCellError(f"{shown(cell)} không phải loại kỳ (tháng, quý, 6 tháng, năm)")
    if start.day != 1 or (start.month - 1) % _MONTHS[kind]:
        raise UnreadableCellError(f"{start:%d/%m/%Y} không phải ngày đầu của kỳ")
    return Period(start, kind)


def _spelled(text: str) -> Period | None:
    for kind, pattern in _PERIODS:
        if match := pattern.match(text):
            parts = match.groupdict()
            number = _number(parts.get("number") or "1")
            year, month = int(parts["year"]), (number - 1) * _MONTHS[kind] + 1
            if _FIRST_YEAR <= year <= _LAST_YEAR and 1 <= month <= 12:  # noqa: PLR2004  months of a year
                return Period(date(year, month, 1), kind)
    return None


def _number(text: str) -> int:
    if text in _ROMAN:
        return _ROMAN[text]
    return {"dau": 1, "cuoi": 2}[text] if text in {"dau", "cuoi"} else int(text)


def _from_day(cell: Cell) -> Period | None:
    try:
        day = day_of(cell)
    except UnreadableCellError:
        return None
    return Period(day, "month") if day is not None and day.day == 1 else None

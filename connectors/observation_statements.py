"""What makes one statement acceptable: the checks of a record against indicators, units and the day.

Belongs here: every reason for which a single record is refused, in Vietnamese, and the statement that an
accepted one becomes. Does not belong here: files, HTTP, or what several records say together
(`observations.py`).
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa

from connectors.observation_cells import (
    BLANK,
    Cell,
    Period,
    UnreadableCellError,
    count_of,
    day_of,
    folded,
    period_of,
    share_of,
    shown,
    text_of,
)
from connectors.observation_files import FORMULA, Record
from connectors.person_fields import tells_person
from connectors.person_marks import looks_personal

#: What a statement is about, and what it says.
SUBJECT = ("indicator", "scope", "level", "unit_code", "period", "period_start")
NUMBERS = ("numerator", "denominator", "value")
#: An observation's period and days are those of Vietnam.
_ZONE = ZoneInfo("Asia/Ho_Chi_Minh")
LEVEL_VI = {"province": "cấp tỉnh", "district": "cấp huyện", "commune": "cấp xã", "all": "toàn tỉnh"}
#: What an office writes under "Phạm vi": scope and level; a blank cell or "đơn vị" is the unit itself.
SCOPES = {
    "toàn tỉnh": ("province", "all"),
    "cấp tỉnh": ("level", "province"),
    "cấp huyện": ("level", "district"),
    "cấp xã": ("level", "commune"),
}
_SCOPE_OF = {folded(word): scope for word, scope in SCOPES.items()} | {
    "province": ("province", "all"),
    **{f"level:{level}": ("level", level) for level in ("province", "district", "commune")},
}
_UNIT_WORDS = frozenset({"", "don vi", "unit"})

#: A role or an office says one of these; a name alone does not. Short words count with their accents only
#: ("tổ" is a group, "Tô" a surname).
_ROLE_WORDS = re.compile(
    r"\b(?:giam doc|chu tich|chanh|truong|van phong|phong|ubnd|uy ban|hdnd|chi cuc|thanh tra|cong chuc|vien chuc|"
    r"chuyen vien|can bo|lanh dao|thu truong|he thong|trung tam|bi thu|thu ky|ke toan|quan tri|phu trach|bo phan|"
    r"dau moi)\b"
)
_SHORT_ROLE_WORDS = re.compile(r"\b(?:sở|ban|cục|tổ|đội|viện|vụ|phó)\b")
_SECRET_IN_URL = re.compile(r"[?&](?:[\w-]*(?:token|key|secret|password|pass|pwd))=|//[^/@\s]+@", re.IGNORECASE)
_LONGEST_TEXT = 300


class Observable(Protocol):
    """What must be known of an indicator to accept a statement about it."""

    @property
    def id(self) -> str:
        """Its id, as files name it."""
        ...

    @property
    def kind(self) -> str:
        """What a statement holds: counts (numerator and denominator), a value or a rank."""
        ...

    @property
    def scale(self) -> str:
        """What a value is: share (0..1) or number (a whole count)."""
        ...

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels for which it may be given; `all` is the whole province in one statement."""
        ...


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One reason why a record is refused; `field` names the column, "" for the record as a whole."""

    reason: str
    field: str
    text: str


@dataclass(frozen=True, kw_only=True)
class _UnitSpan:
    level: str
    name: str
    valid_from: date
    valid_to: date | None

    def lives_in(self, period: Period) -> bool:
        """Whether the unit existed on any day of the period."""
        return self.valid_from <= period.end and (self.valid_to is None or self.valid_to >= period.start)


class Book:
    """What statements are held against: the dictionary of indicators, the dated units, and today."""

    def __init__(self, indicators: Iterable[Observable], units: pa.Table, *, now: datetime) -> None:
        if now.tzinfo is None:
            raise ValueError("now must be an instant with its zone")
        self.now = now
        self.today = now.astimezone(_ZONE).date()
        self.indicators = {each.id: each for each in indicators}
        self.spans: dict[str, list[_UnitSpan]] = defaultdict(list)
        self.province_code = ""
        names = ("level", "name", "valid_from", "valid_to")
        for row in units.to_pylist():
            self.spans[row["unit_code"]].append(_UnitSpan(**{name: row[name] for name in names}))
            self.province_code = row["province_code"]
        longest_first = sorted(set(units["name"].to_pylist()), key=lambda name: (-len(name), name))
        self.personal = lru_cache(maxsize=None)(lambda text: _personal(text, longest_first))

    def unit_in(self, code: str, period: Period) -> _UnitSpan | None:
        """The unit as it stood in the period, the newest span of several."""
        living = [span for span in self.spans.get(code, ()) if span.lives_in(period)]
        return max(living, key=lambda span: span.valid_from, default=None)

    def level_lives_in(self, level: str, period: Period) -> bool:
        """Whether any unit of the level existed in the period."""
        return level == "all" or any(
            span.level == level and span.lives_in(period) for spans in self.spans.values() for span in spans
        )


def _personal(text: str, places: Iterable[str]) -> str | None:
    """What of a person an office's words seem to hold, in Vietnamese, or None; `places` are names of units."""
    if (found := looks_personal(text, names_of_places=places)) or "://" in text:
        return found
    for place in places:
        text = text.replace(place, "—")
    return "số định danh, điện thoại hoặc địa chỉ" if tells_person(text) else None


_Read = TypeVar("_Read")


class _Form:
    """One record while it is being read: values come out, problems gather."""

    def __init__(self, record: Record, book: Book) -> None:
        self.record, self.book = record, book
        self.problems: list[Problem] = []

    def cell(self, field: str) -> Cell:
        """The cell of a field, blank where the record has none."""
        return self.record.cells.get(field, BLANK)

    def refuse(self, reason: str, field: str, text: str) -> None:
        """Note one more reason why the record cannot be used."""
        self.problems.append(Problem(reason=reason, field=field, text=text))

    def read(self, field: str, reader: Callable[[Cell], _Read | None], *, required: bool = True) -> _Read | None:
        """The cell as `reader` reads it; a blank one is a problem when it is required."""
        cell = self.cell(field)
        if cell.value is FORMULA:
            self.refuse("formula_without_result", field, "công thức chưa được tính; hãy mở bằng Excel rồi lưu lại")
            return None
        try:
            value = reader(cell)
        except UnreadableCellError as error:
            self.refuse(f"unreadable_{field}", field, str(error))
            return None
        if value is None and required:
            self.refuse(f"missing_{field}", field, "còn trống")
        return value

    def absent(self, field: str, why: str) -> None:
        """A cell that must stay blank."""
        if not self.cell(field).is_blank:
            self.refuse(f"unwanted_{field}", field, f"phải để trống: {why}")

    def known_indicator(self) -> Observable | None:
        """The indicator that is stated; None, with the reason noted, for a blank or unknown one."""
        name = self.read("indicator", lambda cell: text_of(cell) or None)
        if name is None:
            return None
        indicator = self.book.indicators.get(name)
        if indicator is None:
            self.refuse(
                "unknown_indicator", "indicator", f"{shown(self.cell('indicator'))} không có trong danh mục chỉ số"
            )
        return indicator

    def past_period(self) -> Period | None:
        """The period that is stated; None, with the reason noted, for one that cannot be read or has not begun."""
        period = self.read("period", lambda cell: period_of(cell, self.cell("period_start")))
        if period is not None and period.start > self.book.today:
            self.refuse("future_period", "period", f"{period.vi} chưa bắt đầu")
            return None
        return period

    def free_text(self, field: str) -> str | None:
        """Words of an office, at most `_LONGEST_TEXT` characters and without a person; what breaks that is noted."""
        text = self.read(field, lambda cell: text_of(cell) or None)
        if text is None:
            return None
        if len(text) > _LONGEST_TEXT:
            self.refuse(f"long_{field}", field, f"dài {len(text)} ký tự, nhiều nhất {_LONGEST_TEXT}")
        if found := self.book.personal(text):
            self.refuse(
                f"personal_{field}", field, f"có vẻ chứa {found}; chỉ ghi chức danh và số văn bản, không ghi tên người"
            )
        return text


def statement_of(record: Record, book: Book) -> tuple[dict[str, Any] | None, list[Problem]]:
    """A record as a statement (columns of OBSERVATIONS but source and received_at), or all that is wrong with it."""
    form = _Form(record, book)
    if record.is_shifted:
        form.refuse(
            "shifted_row", "", "có ô nằm ngoài các cột tiêu đề; có thể thừa dấu phân tách hoặc dấu phẩy thập phân"
        )
    indicator, period = form.known_indicator(), form.past_period()
    subject = _subject(form, indicator, period)
    numbers = _numbers(form, indicator) if indicator else {}
    texts = {"evidence": _evidence(form), "vouched_by_role": _role(form)}
    stated_on = _stated_on(form, period)
    if form.problems:
        return None, form.problems
    statement = {**subject, **numbers, **texts, "stated_on": stated_on}
    statement["content_hash"] = hash_of(str(statement[name]) for name in sorted(statement))
    if statement["value"] is not None:
        statement["value"] = float(statement["value"])
    return statement, []


def _subject(form: _Form, indicator: Observable | None, period: Period | None) -> dict[str, Any]:
    code = form.read("unit_code", lambda cell: text_of(cell) or None)
    if code is None or period is None:
        return {}
    unit = form.book.unit_in(code, period)
    if unit is None:
        _refuse_unit(form, code, period)
        return {}
    _refuse_other_name(form, unit)
    scope, level = _scope(form, code, unit, indicator)
    if indicator is not None and level and level not in indicator.levels:
        given = ", ".join(LEVEL_VI[each] for each in indicator.levels)
        form.refuse(
            "level_not_given", "unit_code", f"chỉ số này không nhận số liệu {LEVEL_VI[level]}, chỉ nhận {given}"
        )
    elif level and scope == "level" and not form.book.level_lives_in(level, period):
        form.refuse("level_not_living", "scope", f"{LEVEL_VI[level]} không tồn tại trong {period.vi}")
    return {
        "indicator": indicator.id if indicator else "",
        "scope": scope,
        "level": level,
        "unit_code": code,
        "period": period.kind,
        "period_start": period.start,
    }


def _refuse_unit(form: _Form, code: str, period: Period) -> None:
    if code in form.book.spans:
        text = f"{shown(form.cell('unit_code'))} không tồn tại trong {period.vi}"
        form.refuse("unit_not_living", "unit_code", text)
    else:
        text = (
            f"{shown(form.cell('unit_code'))} không có trong danh mục đơn vị (mã như trong biểu mẫu, thuocdo template)"
        )
        form.refuse("unknown_unit", "unit_code", text)


def _refuse_other_name(form: _Form, unit: _UnitSpan) -> None:
    """A name beside the code that is another unit's: rows were shifted or sorted apart."""
    said = folded(text_of(form.cell("unit_name")))
    if said and not f" {folded(unit.name)}".endswith(f" {said}"):
        form.refuse(
            "other_unit_name", "unit_name", f"mã đơn vị này là của {unit.name}, không phải đơn vị ghi ở cột tên"
        )


def _scope(form: _Form, code: str, unit: _UnitSpan, indicator: Observable | None) -> tuple[str, str]:
    """Scope and level of a statement; ("", "") when it cannot be told."""
    word = folded(text_of(form.cell("scope")))
    if code != form.book.province_code:
        if word not in _UNIT_WORDS:
            form.refuse("scope_of_a_unit", "scope", f"chỉ dùng với mã tỉnh {form.book.province_code}; hãy để trống")
        return "unit", unit.level
    if word in _SCOPE_OF:
        return _SCOPE_OF[word]
    levels = indicator.levels if indicator else ()
    if word in _UNIT_WORDS and "all" in levels:
        return "province", "all"
    if word in _UNIT_WORDS and len(levels) == 1:
        return "level", levels[0]
    form.refuse("unclear_scope", "scope", f"với mã tỉnh phải ghi một trong: {', '.join(SCOPES)}")
    return "", ""


def _numbers(form: _Form, indicator: Observable) -> dict[str, int | Decimal | None]:
    if indicator.kind == "counts":
        form.absent("value", "chỉ số này tính từ tử số và mẫu số")
        numerator, denominator = form.read("numerator", count_of), form.read("denominator", count_of)
        if numerator is not None and denominator is not None and numerator > denominator:
            form.refuse("numerator_above_denominator", "numerator", f"tử số {numerator} lớn hơn mẫu số {denominator}")
        return {"numerator": numerator, "denominator": denominator, "value": None}
    for field in ("numerator", "denominator"):
        form.absent(field, "chỉ số này chỉ có giá trị")
    return {"numerator": None, "denominator": None, "value": _value(form, indicator)}


def _value(form: _Form, indicator: Observable) -> Decimal | None:
    if indicator.kind == "value" and indicator.scale == "share":
        share = form.read("value", share_of)
        return None if share is None else share.normalize()
    whole = form.read("value", count_of)
    if indicator.kind == "rank" and whole == 0:
        form.refuse("rank_of_zero", "value", "thứ hạng bắt đầu từ 1")
    return None if whole is None else Decimal(whole)


def _evidence(form: _Form) -> str | None:
    text = form.free_text("evidence")
    if text is not None and not any(letter.isdigit() for letter in text) and "://" not in text:
        form.refuse("evidence_without_number", "evidence", "phải có số văn bản hoặc đường dẫn")
    if text is not None and _SECRET_IN_URL.search(text):
        form.refuse("secret_in_evidence", "evidence", "đường dẫn có mật khẩu hoặc mã truy cập; hãy bỏ phần đó")
    return text


def _role(form: _Form) -> str | None:
    role = form.free_text("vouched_by_role")
    is_sound = not any(problem.field == "vouched_by_role" for problem in form.problems)
    says_role = role is None or _ROLE_WORDS.search(folded(role)) or _SHORT_ROLE_WORDS.search(role.casefold())
    if is_sound and not says_role:
        text = "phải là chức danh hoặc bộ phận (ví dụ Chánh Văn phòng UBND tỉnh)"
        form.refuse("not_a_role", "vouched_by_role", text)
    return role


def _stated_on(form: _Form, period: Period | None) -> date | None:
    day = form.read("stated_on", day_of)
    if day is not None and day > form.book.today:
        form.refuse("stated_in_future", "stated_on", f"{day:%d/%m/%Y} sau ngày nhận {form.book.today:%d/%m/%Y}")
    elif day is not None and period is not None and day < period.start:
        form.refuse("stated_before_period", "stated_on", f"{day:%d/%m/%Y} trước ngày đầu của {period.vi}")
    return day


def excerpt_of(record: Record, book: Book) -> str:
    """What is recognised of a refused record: codes that exist, and whole numbers."""
    found = {}
    for field, known in (("indicator", book.indicators), ("unit_code", book.spans)):
        if (text := text_of(record.cells.get(field, BLANK))) in known:
            found[field] = text
    for field in ("period", *NUMBERS):
        text = text_of(record.cells.get(field, BLANK))
        if re.fullmatch(r"[\d.,]{1,8}%?|\d{4}-\d{2}(?:-\d{2})?", text):
            found[field] = text
    return msgspec.json.encode(found).decode()


def hash_of(parts: Iterable[str]) -> str:
    """A hash of several texts, whatever they hold."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]

"""A proposal of a profile for a dropped file, for an operator to correct.

Belongs here: guessing whether a row is a dossier or a payment, which heading is which field
(`file_headings.yaml`), the formats of dates and the codes that are to be given a meaning, and writing them down as
YAML. Does not belong here: reading files
(`files_open.py` and what it feeds), the command (`orchestration/commands/propose.py`).

Columns that seem to speak of a person, by their heading or their values, are named under "không lấy" and
never mapped. Of values only codes are written, and none that looks like a person.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from connectors.files import READERS
from connectors.files_objects import field_names
from connectors.files_open import FileProblem, Payload, payloads, shown_name
from connectors.files_profile import AMOUNTS, CODES, FilesProfile, Joined, name_key, names_of
from connectors.files_sheets import csv_head, workbook_heads
from connectors.files_table import FIRST_ROWS, Heading, Merge, Table, text_of, unfolded
from connectors.observation_cells import folded, tidy
from connectors.person_marks import looks_personal
from connectors.profiled import DATES, Profile, Subject, instant_sql

#: So many rows are looked at; more would tell nothing new of formats, and codes that are rarer come by themselves.
_MOST_ROWS = 200_000
_SAMPLE = 5_000
#: More distinct values than this are no codes.
_MOST_CODES = 60
_LONGEST_CODE = 60
_FORMATS = (
    "%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%d/%m/%Y", "%H:%M:%S %d/%m/%Y", "%H:%M %d/%m/%Y",
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%d", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%d %H:%M:%S.%f%z",
    "%Y%m%d%H%M%S", "%d-%m-%Y %H:%M:%S", "%d-%m-%Y", "%d.%m.%Y", "%m/%d/%Y %H:%M:%S", "%m/%d/%Y",
)  # fmt: skip
#: Numbers that are days of a spreadsheet (2000 to 2100), seconds or milliseconds of the same years.
_NUMBERS = (("excel", 36_526, 73_050), ("epoch_s", 946_684_800, 4_102_444_800),
            ("epoch_ms", 946_684_800_000, 4_102_444_800_000))  # fmt: skip
_CODED = {"status": "status", "channel": "channel", "service_level": "service_level",
          "payments.method": "payment_method", "payments.state": "payment_state"}  # fmt: skip
_MEANT = {
    "status": "mã quốc gia 1..10 (1 mới đăng ký, 2 được tiếp nhận, 3 không tiếp nhận, 4 đang xử lý, 5 chờ bổ sung, "
    "6 chờ nghĩa vụ tài chính, 7 công dân rút, 8 dừng xử lý, 9 đã xử lý xong, 10 đã trả kết quả)",
    "channel": "online, direct, post",
    "service_level": "full, partial, information",
    "payment_method": "online, cash, transfer",
    "payment_state": "settled, open, refunded, cancelled",
}
_NEEDED = ("procedure_code", "agency", "status")
_PAYMENT_NEEDED = {
    "record_id": "mã tham chiếu, được nhắc lại khi hoàn phí hay hủy",
    "dossier_code": "mã hồ sơ",
    "payments.amount_vnd": "số tiền",
    "payments.state": "trạng thái",
}
_INSTANTS = frozenset({*DATES, "payments.paid_at"})
_SUBJECTS: tuple[Subject, ...] = ("dossier", "payment")
_MONTH = re.compile(r"(20\d\d)([-_.]?)(0[1-9]|1[0-2])(?:\2(0[1-9]|[12]\d|3[01]))?")


@dataclass
class _Found:
    """What is known of a file before anything is mapped: how to read it, and its headings."""

    keys: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()


@dataclass
class _Seen:
    """What the values of the mapped columns look like."""

    rows: int = 0
    texts: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    numbers: Counter[str] = field(default_factory=Counter)
    again: int = 0
    keys: set[str] = field(default_factory=set)


#: A column, or two that are joined.
_Column = str | Joined
_Fields = dict[str, _Column]


def propose(path: Path, subject: Subject | None = None) -> str:
    """A profile of the file as YAML, with comments where an operator has to decide.

    `subject` is what a row tells of; by the headings when left out. Raises `FileProblem` where the file cannot be
    read at all.
    """
    payload = payloads(path, shown_name(path.name))[0]
    found = _found(payload)
    subject = subject or _subject(found.names)
    fields, personal, unknown = _guessed(found.names, subject)
    seen = _seen(payload, found, fields)
    for at in [at for at in fields if _names_persons(seen, at)]:
        personal.extend(names_of(fields.pop(at)))
    lines = [
        *_lines(path, found, fields, seen, subject),
        *_left_out("Không lấy, có vẻ là thông tin cá nhân (never read: personal)", personal),
        *_left_out("Chưa biết là gì, chưa lấy (unknown, not read)", unknown),
    ]
    return "\n".join(lines) + "\n"


@cache
def _headings() -> Mapping[str, Any]:
    text = resources.files("connectors").joinpath("file_headings.yaml").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = yaml.safe_load(text)
    return loaded


@cache
def _known() -> Mapping[str, str]:
    """Heading without accents → field."""
    known: dict[str, str] = {}
    for name, headings in _headings()["fields"].items():
        known |= {heading.casefold(): name for heading in headings if heading.casefold() not in known}
    for name, items in _headings()["lists"].items():
        for item, headings in items.items():
            known |= {heading: f"{name}.{item}" for heading in headings if heading not in known}
    return known


@cache
def _known_transactions() -> Mapping[str, str]:
    """The same for a file of payments."""
    return {heading: name for name, headings in _headings()["transactions"].items() for heading in headings}


def _known_as(subject: Subject) -> Mapping[str, str]:
    return _known_transactions() if subject == "payment" else _known()


def _subject(names: Sequence[str]) -> Subject:
    """A row is a payment where it has a reference or transaction and an amount, and neither reception nor promise."""
    as_payment = {_field(name.split(" / "), "payment") for name in names if name}
    as_dossier = {_field(name.split(" / "), "dossier") for name in names if name}
    is_transaction = bool(as_payment & {"record_id", "transaction"}) and "payments.amount_vnd" in as_payment
    return "payment" if is_transaction and not as_dossier & {"received_at", "due_at"} else "dossier"


def bare(heading: str) -> str:
    """A heading as the dictionary has it: no accents, lower case, one space for any signs; "(Ngày/Giờ)" is left off."""
    return " ".join(re.sub(r"[\W_]+", " ", folded(re.sub(r"\([^)]*\)", " ", heading))).split())


def is_personal(heading: str) -> bool:
    """Whether a heading speaks of a person."""
    words = f" {bare(heading)} "
    return any(f" {each} " in words for each in _headings()["personal"]) or looks_personal(heading) is not None


# The file.


def _found(payload: Payload) -> _Found:
    if payload.format == "xlsx":
        heads = [(title, _heading(rows, merges)) for title, rows, merges in workbook_heads(payload)]
        title, (_, heading) = max(heads, key=lambda each: each[1][0])
        keys: dict[str, Any] = {"sheets": [title]} if len(heads) > 1 and not looks_personal(title) else {}
        return _Found(keys | _rows_of(heading), heading.names)
    if payload.format == "csv":
        return _found_csv(payload)
    if payload.format == "parquet":
        with payload.seekable() as stream:
            try:
                return _Found(names=tuple(pq.ParquetFile(stream).schema_arrow.names))
            except (pa.ArrowException, OSError):
                raise FileProblem("unreadable_file", "không đọc được Parquet", place=payload.place) from None
    return _Found(names=field_names(payload, limit=100))


def _found_csv(payload: Payload) -> _Found:
    """How a CSV file is read: as UTF-8, or as Windows-1258 where its headings then read as known Vietnamese."""
    try:
        return _as_csv(payload, "utf-8")
    except FileProblem as problem:
        if problem.reason != "not_text":
            raise
        found = _as_csv(payload, "windows-1258")
        if sum(bare(name) in _known() and not name.isascii() for name in found.names) < len(_NEEDED):
            raise
        return found


def _as_csv(payload: Payload, encoding: str) -> _Found:
    heads = {one: _heading(rows, None) for one, rows in csv_head(payload, encoding).items() if rows}
    separator = max(heads, key=lambda one: (heads[one][0], len(heads[one][1].names)))
    heading = heads[separator][1]
    keys = {"delimiter": separator, **_rows_of(heading), **({} if encoding == "utf-8" else {"encoding": encoding})}
    first = next(name for name in heading.names if name)
    with _read(payload, keys, {"record_id": f"{first}#1" if heading.names.count(first) > 1 else first}):
        return _Found(keys, heading.names)  # the whole file is text, or this line is not reached


def _heading(rows: Sequence[Sequence[Any]], merges: Sequence[Merge] | None) -> tuple[int, Heading]:
    """How many known headings the row of headings has, and that row; the fullest of the first where none is known."""
    best: tuple[tuple[int, int], Heading] = ((-1, 0), Heading(0, 1, ()))
    for height in (1, 2, 3):
        for first in range(min(FIRST_ROWS, len(rows) - height + 1)):
            levels = [[cell for cell in dict.fromkeys(column) if cell]
                      for column in zip(*unfolded(rows, first, height, merges), strict=True)]  # fmt: skip
            score = max(
                sum(bool(column) and _field(column, subject) is not None for column in levels) for subject in _SUBJECTS
            )
            full = sum(map(bool, levels)) if height == 1 and not any(map(_has_digit, levels)) else 0
            if (score, full) > best[0]:
                best = (score, full), Heading(first, height, tuple(" / ".join(column) for column in levels))
    return best[0][0], best[1]


def _has_digit(column: Sequence[str]) -> bool:
    return any(cell.isdigit() for cell in column)


def _field(levels: Sequence[str], subject: Subject) -> str | None:
    """The field of a heading, by all its rows or by its lowest."""
    known = _known_as(subject)
    return known.get(bare(" ".join(levels))) or known.get(bare(levels[-1]))


def _rows_of(heading: Heading) -> dict[str, Any]:
    return {"header_row": heading.first + 1, "header_rows": heading.height} if heading.height > 1 else {}


def _guessed(names: Sequence[str], subject: Subject) -> tuple[_Fields, list[str], list[str]]:
    """Field → heading, headings of persons, headings that nothing is known of."""
    fields: dict[str, str] = {}
    personal: list[str] = []
    unknown: list[str] = []
    for name in names:
        at = _field(name.split(" / "), subject) if name else None
        if at == "agency_name" and "agency" not in fields:
            at = "agency"
        if name and is_personal(name):
            personal.append(name)
        elif at and at not in fields and names.count(name) == 1:
            fields[at] = name
        elif name:
            unknown.append(name)
    return (_as_payment(fields, unknown) if subject == "payment" else {**fields}), personal, unknown


def _as_payment(fields: dict[str, str], unknown: list[str]) -> _Fields:
    """The reference names a row, else the transaction; a code of success stands beside the state, or for it."""
    transaction, result = fields.pop("transaction", None), fields.pop("result", None)
    if transaction and fields.setdefault("record_id", transaction) != transaction:
        unknown.append(transaction)
    guessed: _Fields = {**fields}
    if result:
        state = fields.get("payments.state")
        guessed["payments.state"] = Joined(columns=(state, result), joined="/") if state else result
    return guessed


@contextmanager
def _read(payload: Payload, keys: Mapping[str, Any], fields: Mapping[str, str]) -> Iterator[list[Table]]:
    profile = FilesProfile.model_validate({"system": "?", "dates": ["%Y"], "fields": dict(fields), **keys})
    with READERS[payload.format](payload, profile) as tables:
        yield tables


# The values.


def _seen(payload: Payload, found: _Found, fields: Mapping[str, _Column]) -> _Seen:
    """Look at the mapped columns; nothing else is taken out of a row."""
    seen = _Seen()
    if not fields:
        return seen
    # Any field does for reading; which column is which is told by its name.
    named = [name for column in fields.values() for name in names_of(column)]
    wanted = {"record_id": (named[0], *named)}
    with _read(payload, found.keys, wanted) as tables:  # type: ignore[arg-type]
        for table in tables:
            columns = {at: _places(column, table) for at, column in fields.items()}
            for row in islice(table.rows, _MOST_ROWS):
                _look(seen, {at: _cell(row.cells, each, fields[at]) for at, each in columns.items()})
    return seen


def _places(column: _Column, table: Table) -> list[int]:
    return [table.columns[name_key(name)] for name in names_of(column) if name_key(name) in table.columns]


def _cell(cells: Sequence[Any], places: Sequence[int], column: _Column) -> Any:
    """What a row says in a column; of joined ones the texts that say something."""
    said = [cells[place] for place in places if place < len(cells)]
    if not isinstance(column, Joined):
        return said[0] if said else None
    texts = (tidy(text_of(value) or "") for value in said if not isinstance(value, list | dict))
    return column.joined.join(filter(None, texts))


def _look(seen: _Seen, cells: Mapping[str, Any]) -> None:
    seen.rows += 1
    for at, value in cells.items():
        text = tidy(text_of(value) or "") if not isinstance(value, list | dict) else ""
        if not text:
            continue
        if len(held := seen.texts.setdefault(at, [])) < _SAMPLE:
            held.append(text)
        if at in _CODED and len(counts := seen.counts.setdefault(at, Counter())) <= _MOST_CODES:
            counts[text] += 1
        if at in CODES and isinstance(value, int | float) and not isinstance(value, bool):
            seen.numbers[at] += 1
    key = text_of(cells.get("record_id", cells.get("dossier_code")))
    if key:
        seen.again += key in seen.keys
        seen.keys.add(key)


def _names_persons(seen: _Seen, at: str) -> bool:
    """Whether the values of a column that is words look like people: one in twenty is no accident."""
    is_words = at not in _INSTANTS | AMOUNTS | (CODES - {"agency"})
    texts = seen.texts.get(at, [])[:200] if is_words else []
    return bool(texts) and sum(looks_personal(text) is not None for text in texts) * 20 > len(texts)


def date_formats(texts: Sequence[str]) -> tuple[list[str], int]:
    """The formats that read most of the texts, and how many are left over; day before month where both would do."""
    left = pa.table({"t": pa.array(sorted(set(texts)), pa.string())})
    connection = duckdb.connect()
    chosen: list[str] = []
    while left.num_rows:
        connection.register("remaining", left)
        tries = {one: f"coalesce({_reads(one)}, false)" for one in (*_FORMATS, *(name for name, _, _ in _NUMBERS))}
        if any("%d/%m" in one for one in chosen):
            tries = {one: test for one, test in tries.items() if "%m/%d" not in one}
        sums = ", ".join(f"count(*) FILTER (WHERE {test})" for test in tries.values())
        counts = dict(zip(tries, connection.sql(f"SELECT {sums} FROM remaining").fetchall()[0], strict=True))
        best = max(counts, key=lambda one: counts[one])
        if not counts[best]:
            break
        chosen.append(best)
        left = connection.sql(f"SELECT t FROM remaining WHERE NOT {tries[best]}").to_arrow_table()
    return chosen, left.num_rows


def _reads(form: str) -> str:
    for name, low, high in _NUMBERS:
        if form == name:
            return f"try_cast(t AS DOUBLE) BETWEEN {low} AND {high}"
    return f"{instant_sql('t', Profile(system='?', dates=(form,)))} IS NOT NULL"


# The text.


def _lines(path: Path, found: _Found, fields: Mapping[str, _Column], seen: _Seen, subject: Subject) -> Iterator[str]:
    yield f"# Hồ sơ nguồn đề xuất từ tệp {shown_name(path.name)} ({seen.rows} dòng đã xem). Máy đoán, người quyết:"
    yield "# hãy đọc từng dòng, sửa chỗ sai, điền codes, rồi ghi tên tệp này vào khóa profile của nguồn (kind: files)."
    yield "# A proposal: read every line, correct it, fill in codes, then name this file as the source's profile."
    if subject == "payment":
        yield "# Mỗi dòng là một giao dịch (role: payments). Nếu mỗi dòng là một hồ sơ: thuocdo propose --role onestop"
    yield "system: " + _said("tên hệ thống")
    if subject == "payment":
        yield "subject: payment"
    yield "zone: Asia/Ho_Chi_Minh"
    yield from _dates(fields, seen)
    for key, value in found.keys.items():
        yield f"{key}: {_said(value)}"
    yield from _fields(fields, seen, _needs(fields, subject))
    yield from _lists(fields)
    if seen.again and subject == "payment":
        yield f"# {seen.again} dòng lặp lại mã tham chiếu: trong một tệp, dòng sau thay dòng trước"
    elif seen.again:
        yield f"# {seen.again} dòng lặp lại mã: nếu mỗi dòng là một thành phần hay khoản tiền, dùng rows: grouped"
    yield from _patterns(fields, seen)
    yield from _order(path.name)
    yield from _codes(fields, seen, subject)


def _said(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _dates(fields: Mapping[str, _Column], seen: _Seen) -> Iterator[str]:
    texts = [text for at in fields if at.rpartition(".")[2] in {*DATES, "paid_at"} for text in seen.texts.get(at, [])]
    formats, left = date_formats(texts)
    yield f"dates: {_said(formats or ['%d/%m/%Y %H:%M:%S', '%d/%m/%Y'])}" + (
        "" if formats else "   # CHƯA THẤY ngày nào"
    )
    if left:
        yield f"# {left} giá trị ngày khác nhau không đọc được theo các dạng trên: kiểm tra lại"
    if any("%m/%d" in one for one in formats):
        yield "# CHÚ Ý: tháng đứng trước ngày, hãy kiểm tra"


def _fields(fields: Mapping[str, _Column], seen: _Seen, needs: Iterable[str]) -> Iterator[str]:
    yield "fields:"
    for at, column in fields.items():
        if "." not in at:
            note = f"   # CHÚ Ý: {seen.numbers[at]} ô là số, có thể đã mất số 0" if seen.numbers[at] else ""
            yield f"  {at}: {_source(column)}{note}"
    yield from needs
    if numeric := [at for at in fields if seen.numbers[at]]:
        yield f"# Nếu các mã này vốn là số thường (không có số 0 ở đầu): numeric: {_said(numeric)}"


def _needs(fields: Mapping[str, _Column], subject: Subject) -> Iterator[str]:
    """What has to be there and was not found."""
    if subject == "payment":
        for at, what in _PAYMENT_NEEDED.items():
            if at not in fields:
                yield f'  # {at}: ""   # CHƯA THẤY cột {what}: bắt buộc' + ("; dưới lists" if "." in at else "")
        return
    if not {"record_id", "dossier_code"} & set(fields):
        yield '  # dossier_code: ""   # CHƯA THẤY cột mã hồ sơ: bắt buộc'
    for at in _NEEDED:
        if at not in fields:
            yield f'  # {at}: ""   # CHƯA THẤY: bắt buộc; nếu cả tệp chỉ có một giá trị: {{const: "…"}}'


def _source(column: _Column) -> str:
    return _said(column.model_dump() if isinstance(column, Joined) else column)


def _lists(fields: Mapping[str, _Column]) -> Iterator[str]:
    names = list(dict.fromkeys(at.partition(".")[0] for at in fields if "." in at))
    if names:
        yield "lists:"
    for name in names:
        items = [
            f"{_said(at.partition('.')[2])}: {_source(column)}"
            for at, column in fields.items()
            if at.startswith(f"{name}.")
        ]
        yield f"  {name}: {{fields: {{{', '.join(items)}}}}}"


def _patterns(fields: Mapping[str, _Column], seen: _Seen) -> Iterator[str]:
    """A shape that all values of a code have and that a lost zero would break."""
    found: dict[str, str] = {}
    for at in (at for at in fields if at in CODES and seen.texts.get(at)):
        texts = seen.texts[at]
        if all(re.fullmatch(r"\d\.\d{6}", text) for text in texts):
            found[at] = r"\d\.\d{6}"
        elif _has_zeros(texts):
            found[at] = rf"\d{{{len(texts[0])}}}"
    if found:
        yield "# Mã khác mẫu này bị từ chối (a code of another shape has lost something)"
        yield f"patterns: {_said(found)}"


def _has_zeros(texts: Sequence[str]) -> bool:
    """Digits of one length, some with zeros in front."""
    digits = all(text.isdigit() for text in texts) and any(text.startswith("0") for text in texts)
    return digits and len({len(text) for text in texts}) == 1


def _order(name: str) -> Iterator[str]:
    if found := _MONTH.search(name):
        day = r"(?P<day>\d{2})" if found[4] else ""
        between = re.escape(found[2])
        moment = rf"(?P<year>20\d\d){between}(?P<month>\d{{2}}){between if day else ''}{day}"
        yield f"# Nếu ngày trong tên tệp là ngày xuất: order: {{name: {_said(moment)}}}"
        whole = rf"(20\d\d{between}\d{{2}})"
        yield f"# Nếu tệp sau thay cả tháng của tệp trước: replaces: {{name: {_said(whole)}}}"


def _codes(fields: Mapping[str, _Column], seen: _Seen, subject: Subject) -> Iterator[str]:
    wanted = [at for at in _CODED if at in fields]
    is_without_method = subject == "payment" and "payments.method" not in fields
    if wanted or is_without_method:
        yield "codes:"
    if is_without_method:
        yield f"  payment_method:   # {_MEANT['payment_method']}"
        yield '    "":   # mọi dòng, vì không thấy cột hình thức: online nếu cả tệp là giao dịch qua mạng'
    for at in wanted:
        counts = seen.counts.get(at, Counter())
        if len(counts) > _MOST_CODES or any(len(text) > _LONGEST_CODE for text in counts):
            told = " + ".join(names_of(fields[at]))
            yield f"  # {_CODED[at]}: cột “{told}” có quá nhiều giá trị khác nhau, có lẽ không phải cột mã"
            continue
        yield f"  {_CODED[at]}:   # {_MEANT[_CODED[at]]}"
        hidden = 0
        for text, count in counts.most_common():
            hidden += looks_personal(text) is not None
            if looks_personal(text) is None:
                yield f"    {_said(text)}:   # {count} dòng"
        if hidden:
            yield f"    # {hidden} giá trị có vẻ là thông tin cá nhân, không ghi ra đây"


def _left_out(title: str, names: Sequence[str]) -> Iterator[str]:
    """Headings only; one that itself names a person goes unnamed."""
    if names:
        yield f"# {title}:"
    for name in names:
        shown = "(một tiêu đề có tên người)" if looks_personal(name) else name
        yield f"#   - {_said(shown)}"

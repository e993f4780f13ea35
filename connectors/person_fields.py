"""Persons where no person belongs: a name typed where a code should stand, an identity number as a dossier's code.

Belongs here: which fields of the contracts hold what (an identifier, a date, a number, words), what a value of
each may not look like, and putting its length in its place. Does not belong here: what a person looks like in
free text (`person_marks.py`), nor what becomes of such a record (`assets/raw`).

Fields outside the contracts are never built; this is for those inside. Columns are judged by their distinct
values, and most of those by one regular expression, so that a page costs about a millisecond. What cannot be
told apart is said in docs/decisions/0028-no-person.md.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from connectors.person_marks import accentless, looks_personal

#: Longer than any code that a system gives.
MOST_CODE = 200
# fmt: off
#: Codes of one record, of which there are as many as records. They have no two words; their digits may be any
#: but those of a citizen's number (province, century and sex, year, six digits) or of a phone.
IDENTIFIERS = frozenset({
    "groupId", "referenceUid", "dossierNo", "id", "code", "nationCode", "formId", "agencyId", "MaHoSo", "MaHoSoKhac",
    "record_id", "dossier_code", "national_code", "reference_uid", "dossierPartNo", "MaThanhPhanHoSo",
    "MaGiayToKetQua", "component_code", "reuse_code", "position", "slice", "MaPhiLePhi",
})
#: Names beside a code, for messages alone: a record is not lost for one, only the name is.
NAMES = frozenset({"govAgencyName", "agencyName", "agency_name", "dossierStatusName", "applyMethodName"})
#: Codes that may well have nine digits.
UNITS = frozenset({"govAgencyCode", "agencyCode", "agency", "DonViXuLy"})
DATES = frozenset({
    "modified_at", "created_at", "submitted_at", "received_at", "due_at", "completed_at", "returned_at", "denied_at",
    "paid_at", "requested_at", "answered_at", "due_before_at", "due_after_at", "confirmDatetime", "paidDate",
    "NgayBoSung", "NgayTiepNhanBoSung", "NgayHenTraTruoc", "NgayHenTraMoi", "NgayNopHoSo", "NgayTiepNhan",
    "NgayHenTra", "NgayTuChoi", "NgayKetThucXuLy", "NgayTra", "ThoiDiemXuLy", "NgayBatDau", "NgayKetThucTheoQuyDinh",
    "createDate", "modifiedDate", "submitDate", "receiveDate", "dueDate", "extendDate", "releaseDate", "finishDate",
    "cancellingDate", "appliedDate", "acceptedDate", "appointmentDate", "completedDate", "returnedDate", "updatedDate",
})
#: Texts that hold an amount.
AMOUNTS = frozenset({"amount_vnd", "Gia"})
#: Whole numbers that are codes of a list, never a million; of the others only keys are held to anything.
SMALL = frozenset({
    "systemId", "serviceLevel", "dossierStatusId", "applyMethodId", "dossierPartType", "signCheck", "paymentStatus",
})
KEYS = frozenset({"dossierId", "originDossierId", "dossierFileId", "paymentFileId"})
# fmt: on
_MOST_SMALL, _MOST_KEY = 1_000_000, 10_000_000_000

_CITIZEN = r"0(?:0[1-9]|[1-9]\d)[0-3]\d{8}"
_MOBILE = r"(?:0|\+?84)[35789]\d{8}"
#: Not inside hexadecimal ids, of which one in some thousands would match by chance.
_NUMBERS = re.compile(rf"(?<![0-9A-Fa-f])(?:{_CITIZEN}|{_MOBILE})(?![0-9A-Fa-f])")
#: A phone as people write it, and nothing beside it.
_SPACED = re.compile(r"(?:0|\+?84)[ .-]?[35789](?:[ .-]?\d){8}")
_UUID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_TWO_WORDS = re.compile(r"[^\W\d_]\s+[^\W\d_]")
#: Letters that dates are written with.
_DATE_WORDS = re.compile(
    r"(?<![^\W\d_])(?:T|Z|AM|PM|SA|CH|UTC|GMT|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
    r"|(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*|ngày|tháng|thg|năm|giờ|phút|lúc)(?![^\W\d_])",
    re.IGNORECASE,
)
_NINE = re.compile(r"\d{9}")
_ADDRESS = re.compile(r"\b(?:so|so nha) \d+\w*(?:/\d+\w*)*,? (?:duong|pho|ngo|hem|kiet|thon|buon|to)\b")

#: RE2, for a whole column: what no harmless value has. What it finds is judged one by one.
_LONG_DIGITS = r"(?:^|[^0-9])(?:0|84)[0-9]{9,11}(?:[^0-9]|$)"
_ODD_IDENTIFIER = rf"[^0-9A-Za-zĐđ._/:#|+-]|{_LONG_DIGITS}"
_ODD_DATE = r"^\s*\+?[0-9]{9,12}\s*$|[^0-9/:TZ .,+-]"
_ODD_WORDS = r"@|[^\x00-\x7F]|[A-Za-z]\s+[A-Za-z]|[0-9](?:[ .-]?[0-9]){8}"


#: What a text that was replaced begins with.
MASK = "«"
_MASKED = re.compile(r"«\d+ ký tự»")


def masked(text: str) -> str:
    """What is told of a text that may hold a person: how long it is. What was masked before stays as it is."""
    return text if _MASKED.fullmatch(text) else f"{MASK}{len(text)} ký tự»"


def has_number(text: str) -> bool:
    """Whether a text holds a citizen's number or a mobile phone, told by their structure."""
    return _NUMBERS.search(_UUID.sub("", text)) is not None or _SPACED.fullmatch(text.strip()) is not None


def tells_person(place: str) -> bool:
    """Whether a place (file, row, key) that is told to an operator names somebody; counters in it are none."""
    return has_number(place) or _speaks(place.replace("_", " "))


def _speaks(text: str) -> bool:
    """Whether words name somebody; digits are judged by `has_number`, for codes are full of them."""
    return looks_personal(re.sub(r"\d", "", text)) is not None or _ADDRESS.search(accentless(text)) is not None


def shown(place: str) -> str:
    """`place`, or its length where it names somebody."""
    return masked(place) if tells_person(place) else place


def _identifier(text: str) -> bool:
    text = unicodedata.normalize("NFC", text.strip())
    return len(text) > MOST_CODE or "@" in text or has_number(text) or _TWO_WORDS.search(text) is not None


def _date(text: str) -> bool:
    rest = _DATE_WORDS.sub("", unicodedata.normalize("NFC", text.strip()))
    has_words = "@" in rest or re.search(r"[^\W\d_]{2}", rest) is not None
    return has_words or _NINE.fullmatch(rest) is not None or has_number(rest)


def _amount(text: str) -> bool:
    return has_number(text) or _speaks(text)


def _unit(text: str) -> bool:
    return len(text) > MOST_CODE or has_number(text) or _speaks(text)


def _word(text: str) -> bool:
    # "Lưu hồ sơ" (filed) begins like a name.
    said = re.sub(r"(?i)^lưu (?=hồ|kho|trữ)", "", unicodedata.normalize("NFC", text.strip()))
    return len(said) > MOST_CODE or _NINE.fullmatch(said) is not None or has_number(said) or _speaks(said)


def _rule(name: str) -> tuple[str, Callable[[str], bool]]:
    """The coarse expression for a column, and the judge of what it finds."""
    if name in IDENTIFIERS:
        return _ODD_IDENTIFIER, _identifier
    if name in DATES:
        return _ODD_DATE, _date
    if name in AMOUNTS:
        return _ODD_WORDS, _amount
    return _ODD_WORDS, _unit if name in UNITS else _word


@lru_cache(maxsize=65_536)
def is_personal(name: str, text: str) -> bool:
    """Whether `text`, standing in field `name` of a contract, looks like a person or like what only a person has."""
    judge = _rule(name)[1]
    return _MASKED.fullmatch(text) is not None or judge(text)


def without_persons(records: pa.Table) -> tuple[pa.Table, pa.ChunkedArray]:
    """`records` with lengths in place of what looks personal, and per row the first field that spoils the record.

    Text stays text («12 ký tự»); whole numbers that are none of a list become null. The second is null where the
    record may be kept: nothing was found, or in a name alone.
    """
    spoilt = pa.nulls(records.num_rows, pa.string())
    for index, item in enumerate(records.schema):
        column = records.column(index)
        if not column.null_count < len(column) or not _may_speak(item.type):
            continue
        cleaned, found = _cleaned(item.name, _one(column))
        if found is None:
            continue
        records = records.set_column(index, item, cleaned)
        # A date is held to its format by a clause of its own.
        if item.name not in NAMES | DATES:
            spoilt = pc.coalesce(spoilt, pc.if_else(found, item.name, None))
    return records, pa.chunked_array([spoilt])


def _may_speak(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_nested(kind))


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _cleaned(name: str, array: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """The array cleaned, and which rows it was cleaned in; None where it was in none."""
    if pa.types.is_string(array.type):
        return _cleaned_texts(name, array)
    if pa.types.is_integer(array.type):
        return _cleaned_numbers(name, array)
    if pa.types.is_list(array.type):
        return _cleaned_lists(name, array)
    if pa.types.is_struct(array.type):
        return _cleaned_structs(array)
    return array, None


def _cleaned_texts(name: str, array: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    # Codes and words repeat, identifiers and dates do not.
    values = array if name in IDENTIFIERS or name in DATES else pc.unique(array)
    is_long = pc.greater(pc.binary_length(values), MOST_CODE)
    odd = values.filter(pc.fill_null(pc.or_(pc.match_substring_regex(values, _rule(name)[0]), is_long), False))
    personal = [text for text in pc.unique(odd).to_pylist() if is_personal(name, text)] if len(odd) else []
    if not personal:
        return array, None
    found = pc.is_in(array, value_set=pa.array(personal, pa.string()))
    lengths = dict(zip(personal, map(masked, personal), strict=True))
    return pa.array([lengths.get(text, text) for text in array.to_pylist()], pa.string()), found


def _cleaned_numbers(name: str, array: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    most = _MOST_SMALL if name in SMALL else _MOST_KEY if name in KEYS else None
    if most is None:
        return array, None
    found = pc.fill_null(pc.greater_equal(pc.abs(array), most), False)
    return (pc.if_else(found, None, array), found) if pc.any(found).as_py() else (array, None)


def _cleaned_structs(array: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    fields = list(array.type)
    parts = [_cleaned(item.name, pc.struct_field(array, item.name)) for item in fields]
    marks = [found for _, found in parts if found is not None]
    if not marks:
        return array, None
    found = marks[0]
    for other in marks[1:]:
        found = pc.or_(found, other)
    cleaned = pa.StructArray.from_arrays([part for part, _ in parts], fields=fields, mask=array.is_null())
    return cleaned, found


def _cleaned_lists(name: str, array: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    values, found = _cleaned(name, array.flatten())
    if found is None:
        return array, None
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_pylist()
    offsets = list(_offsets(lengths))
    rows = set(pc.list_parent_indices(array).filter(found).to_pylist())
    mask = array.is_null() if array.null_count else None
    cleaned = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=array.type, mask=mask)
    return cleaned, pa.array([row in rows for row in range(len(array))], pa.bool_())


def _offsets(lengths: list[int]) -> Iterator[int]:
    total = 0
    yield total
    for length in lengths:
        total += length
        yield total

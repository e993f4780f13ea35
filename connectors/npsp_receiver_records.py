"""What is kept of one received record: the fields that the nightly reader of the message log reads, nothing else.

Belongs here: taking a record apart and together again without a person. Does not belong here: what a
field means, or whether its dates can be read (the night's contract check says that, and quarantines).

A field outside the contract is never built. Of a path to a file only that there is one is kept, since a
path names people; the reader asks for no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple, Optional, Union

import msgspec
import pyarrow as pa

from connectors.npsp_log import DOSSIER_SERVICE, MESSAGES, PROGRESS, PROGRESS_SERVICE, WITH_FILES, as_read
from connectors.person_fields import is_personal, masked
from connectors.records import text_of

CONTRACTS = {DOSSIER_SERVICE: MESSAGES, PROGRESS_SERVICE: PROGRESS}

#: Stands for a path that said something.
FILE_MARK = "1"
#: Real codes have some thirty characters.
MAX_CODE_LENGTH = 200


class Kept(NamedTuple):
    """One record as it goes into the journal: its MaHoSo without outer blanks, and its JSON on one line."""

    code: str
    body: bytes


@dataclass(frozen=True)
class Refused:
    """Why a record cannot be kept, for the sender; says nothing that stood in it."""

    reason: str


def kept(service: str, record: bytes) -> Kept | Refused:
    """The contract's part of `record` (JSON) as sent to `service`, one of `CONTRACTS`."""
    contract = CONTRACTS[service]
    try:
        found = _decoder(contract.kind).decode(record)
    except msgspec.ValidationError:
        return Refused(_why_invalid(record))
    except (msgspec.DecodeError, RecursionError):
        return Refused("JSON hỏng")
    code = "" if found.MaHoSo is None else text_of(found.MaHoSo).strip()
    if wrong := _wrong_code(code):
        return Refused(wrong)
    if not _only_lists(found, contract.kind):
        return Refused("sai kiểu dữ liệu: chữ ở chỗ phải là danh sách")
    _mask(found)
    return Kept(code, msgspec.json.encode(found))


def _mask(found: Any) -> None:
    """Put its length in place of whatever looks like a person; the night then sets the record aside and says why."""
    for name in found.__struct_fields__:
        value = getattr(found, name)
        if value is None:
            continue
        if isinstance(value, list | msgspec.Struct):
            for item in value if isinstance(value, list) else [value]:
                if item is not None:
                    _mask(item)
        elif is_personal(name, text := text_of(value)):
            setattr(found, name, masked(text))


def _wrong_code(code: str) -> str | None:
    if not code:
        return "thiếu MaHoSo"
    if len(code) > MAX_CODE_LENGTH:
        return f"MaHoSo dài hơn {MAX_CODE_LENGTH} ký tự"
    return "MaHoSo có vẻ chứa thông tin của một người" if is_personal("MaHoSo", code) else None


def _why_invalid(record: bytes) -> str:
    is_object = record.lstrip()[:1] == b"{"
    return "sai kiểu dữ liệu trong bản ghi" if is_object else "bản ghi không phải đối tượng JSON"


def _only_lists(found: Any, kind: str) -> bool:
    """Reduce what stands where lists belong; False when one holds text that says something."""
    for name, path in _list_columns(kind):
        value = getattr(found, name)
        if not value:  # nothing said, an empty list, blank text: the same to the reader, but for the list
            if value is not None and not isinstance(value, list):
                setattr(found, name, None)
        elif isinstance(value, str):
            if value.strip():
                return False
            setattr(found, name, None)
        elif path:
            _mark(value if isinstance(value, list) else [value], path)
    return True


def _mark(items: list[Any], path: str) -> None:
    for item in items:
        value = None if item is None else getattr(item, path)
        if value is not None:
            setattr(item, path, FILE_MARK if not isinstance(value, str) or value.strip() else None)


_BY_KIND = {contract.kind: contract for contract in CONTRACTS.values()}


@cache
def _decoder(kind: str) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_struct(pa.struct(list(as_read(_BY_KIND[kind])))))


@cache
def _list_columns(kind: str) -> tuple[tuple[str, str], ...]:
    """Columns that hold lists, each with its field that is a path, if it has one."""
    lists = (field.name for field in as_read(_BY_KIND[kind]) if pa.types.is_list(field.type))
    return tuple((name, WITH_FILES[name][1] if name in WITH_FILES else "") for name in lists)


@cache
def _struct(kind: pa.DataType) -> Any:
    """A msgspec type that decodes the fields of `kind` in any spelling, and encodes those that said something.

    The same spellings as the reader's (`records.struct_of`), so that what is kept here can be read there.
    """
    if pa.types.is_struct(kind):
        fields = [(child.name, Optional[_struct(child.type)], None) for child in kind]  # noqa: UP045
        return msgspec.defstruct("Kept", fields, omit_defaults=True, gc=False)
    if pa.types.is_list(kind):
        inner: Any = _struct(kind.value_type)
        return Union[list[Optional[inner]], inner, str]  # noqa: UP007, UP045
    return Union[str, int, float, bool]  # noqa: UP007

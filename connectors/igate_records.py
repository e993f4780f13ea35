"""What the one-stop system's search says of a dossier, from JSON to the contract's columns.

Belongs here: the wire contract of VNPT iGate v2, the many spellings of one thing, typing a page. Does
not belong here: the walk over the search (`igate.py`), and what a code means.
"""

# ruff: noqa: N815  fields are named as the source names them
from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import compress
from operator import attrgetter
from typing import Any, TypeVar

import msgspec
import pyarrow as pa

from connectors.contract import SEEN, Broken, Clause, RecordContract, any_said, present, readable_date, wire_field
from connectors.protocol import Step
from connectors.records import Typed, int_of, text_of, untyped
from connectors.shape import shape_of

FORMATS = ("%Y-%m-%dT%H:%M:%S.%g%z", "%Y-%m-%dT%H:%M:%S%z")
_TEXT = pa.string()
_WHOLE = pa.int64()
_FORM_FILE = pa.struct([("formId", _TEXT), ("fileCount", _WHOLE)])
FEE = pa.struct([("id", _TEXT), ("amount", pa.float64()), ("paid", pa.float64())])

_DATE_FIELDS = {
    "appliedDate": "Ngày nộp",
    "acceptedDate": "Ngày tiếp nhận",
    "appointmentDate": "Ngày hẹn trả",
    "completedDate": "Ngày xử lý xong",
    "returnedDate": "Ngày trả kết quả",
    "updatedDate": "Ngày cập nhật",
    "paidDate": "Ngày thanh toán",
}

DOSSIERS = RecordContract(
    kind="onestop",
    schema=pa.schema(
        [
            wire_field("id", _TEXT, "Mã trong hệ thống", "Mongo id"),
            wire_field("code", _TEXT, "Mã hồ sơ", "Public code"),
            wire_field("nationCode", _TEXT, "Mã quốc gia", "Code on the national portal"),
            wire_field("dossierStatusId", _WHOLE, "Mã trạng thái", "dossierStatus, an object or a number"),
            wire_field("dossierStatusName", _TEXT, "Tên trạng thái", "Name of the status, null with the number"),
            wire_field("procedureCode", _TEXT, "Mã thủ tục", "procedure.code"),
            wire_field("procedureLevel", _TEXT, "Mức độ dịch vụ công", "Level of the procedure"),
            wire_field("agencyId", _TEXT, "Mã đơn vị trong hệ thống", "agency.id"),
            wire_field("agencyCode", _TEXT, "Mã đơn vị", "agency.code"),
            wire_field("agencyName", _TEXT, "Tên đơn vị", "agency.name"),
            wire_field("applyMethodId", _WHOLE, "Mã hình thức nộp", "applyMethod, an object or a number"),
            wire_field("applyMethodName", _TEXT, "Hình thức nộp", "Name of the way of submission"),
            *(
                wire_field(name, _TEXT, label, "ISO with +0700 or +0000")
                for name, label in _DATE_FIELDS.items()
                if name != "paidDate"
            ),
            wire_field("paymentMethodName", _TEXT, "Hình thức thanh toán", "paymentMethod.name"),
            wire_field("paidDate", _TEXT, "Ngày thanh toán", "paymentRequestData.paidDate"),
            wire_field("formFiles", pa.list_(_FORM_FILE), "Thành phần và số tệp", "Form papers and number of files"),
            wire_field("fees", pa.list_(FEE), "Phí, lệ phí", "Fee lines: asked and paid"),
        ]
    ),
    details=("fees",),
    key='"id"',
    newest=f"""try_strptime("updatedDate", ['{"', '".join(FORMATS)}']) DESC NULLS LAST, "{SEEN}" DESC""",
    clauses=(
        present("id", "mã bản ghi"),
        any_said("some_date_present", ("appliedDate", "acceptedDate"), "Không có ngày nộp hay ngày tiếp nhận"),
        *(readable_date(name, FORMATS, label) for name, label in _DATE_FIELDS.items()),
        Clause("dossierStatusId_present", '"dossierStatusId" IS NOT NULL', ("dossierStatusId",), "Thiếu trạng thái"),
        present("procedureCode", "mã thủ tục"),
        present("agencyCode", "mã đơn vị"),
    ),
)

Scalar = str | int | float | bool


class Named(msgspec.Struct, gc=False):
    """An object with an id, a code and a name; the same thing may come as its bare id, or in a list of one."""

    id: Scalar | None = None
    code: Scalar | None = None
    name: str | None = None


Reference = Named | list[Named] | Scalar | None


class _File(msgspec.Struct, gc=False):
    """A file is counted, nothing of it is read."""


class _Form(msgspec.Struct, gc=False):
    id: Scalar | None = None
    file: list[_File] | _File | None = None
    procedureForm: Reference = None


class _Paid(msgspec.Struct, gc=False):
    paidDate: Scalar | None = None


class Item(msgspec.Struct, gc=False):
    """A dossier's contract fields; everything else, the applicant first of all, is skipped unread."""

    id: Scalar | None = None
    code: Scalar | None = None
    nationCode: Scalar | None = None
    dossierStatus: Reference = None
    procedure: Reference = None
    procedureLevel: Reference = None
    agency: Reference = None
    applyMethod: Reference = None
    appliedDate: Scalar | None = None
    acceptedDate: Scalar | None = None
    appointmentDate: Scalar | None = None
    completedDate: Scalar | None = None
    returnedDate: Scalar | None = None
    updatedDate: Scalar | None = None
    paymentMethod: Reference = None
    paymentRequestData: _Paid | list[_Paid] | None = None
    dossierFormFile: list[_Form] | _Form | None = None


_items = msgspec.json.Decoder(Item)
_WHOLE_OR_NOTHING = {int, type(None)}
#: How bytes say that they are no dossier, or a number that it is none.
_UNTYPED = (msgspec.DecodeError, ValueError, OverflowError, UnicodeDecodeError)
T = TypeVar("T")
_NOTHING = Named()


def reference(value: Any) -> Named:
    """Any spelling of a reference as an object; a bare scalar is its id."""
    if isinstance(value, Named):
        return value
    if isinstance(value, list):
        return value[0] if value else _NOTHING
    return _NOTHING if value is None else Named(id=value)


def text(value: Any) -> str | None:
    """A scalar as text; null stays null."""
    return value if value is None or isinstance(value, str) else text_of(value)


def _texts(values: list[Any]) -> pa.Array:
    """A text column; numbers are written as the source would inside quotes."""
    try:
        return pa.array(values, _TEXT)
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return pa.array([text(value) for value in values], _TEXT)


def _wholes(values: list[Any]) -> pa.Array:
    """A column of whole numbers, however they are spelled; `ValueError` or `OverflowError` when one is none."""
    # Arrow would cut the fraction off a number that is none.
    if not set(map(type, values)) <= _WHOLE_OR_NOTHING:
        values = [None if value is None else int_of(value) for value in values]
    return pa.array(values, _WHOLE)


def _each(items: Sequence[Any], name: str) -> list[Any]:
    return list(map(attrgetter(name), items))


def _named(items: Sequence[Item], name: str) -> list[Named]:
    """A field of references, each as an object."""
    return [value if type(value) is Named else reference(value) for value in map(attrgetter(name), items)]


def _level(item: Item) -> Any:
    if isinstance(item.procedureLevel, str):
        return item.procedureLevel
    level = reference(item.procedureLevel)
    return next((said for said in (level.code, level.name, level.id) if said is not None), None)


def _paid_date(item: Item) -> Any:
    paid = item.paymentRequestData
    if paid is None:
        return None
    paid = (paid[0] if paid else None) if isinstance(paid, list) else paid
    return paid.paidDate if paid else None


def _form_files(items: Sequence[Item]) -> pa.Array:
    """Form papers, each with its number of files; null where the source says nothing of papers."""
    offsets: list[int | None] = []
    ids: list[Any] = []
    counts: list[int] = []
    for item in items:
        forms = item.dossierFormFile
        offsets.append(None if forms is None else len(ids))
        for form in forms if isinstance(forms, list) else () if forms is None else (forms,):
            ids.append(reference(form.procedureForm).id if form.procedureForm is not None else form.id)
            counts.append(len(form.file) if isinstance(form.file, list) else int(form.file is not None))
    offsets.append(len(ids))
    structs = pa.StructArray.from_arrays([_texts(ids), pa.array(counts, _WHOLE)], fields=list(_FORM_FILE))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs, type=pa.list_(_FORM_FILE))


def _columns(items: Sequence[Item]) -> pa.Table:
    """Dossiers in the contract's columns, column by column; fees come later."""
    statuses, agencies, methods = (_named(items, name) for name in ("dossierStatus", "agency", "applyMethod"))
    columns = {
        "dossierStatusId": _wholes(_each(statuses, "id")),
        "dossierStatusName": _texts(_each(statuses, "name")),
        "procedureCode": _texts(_each(_named(items, "procedure"), "code")),
        "procedureLevel": _texts([_level(item) for item in items]),
        "agencyId": _texts(_each(agencies, "id")),
        "agencyCode": _texts(_each(agencies, "code")),
        "agencyName": _texts(_each(agencies, "name")),
        "applyMethodId": _wholes(_each(methods, "id")),
        "applyMethodName": _texts(_each(methods, "name")),
        "paymentMethodName": _texts(_each(_named(items, "paymentMethod"), "name")),
        "paidDate": _texts([_paid_date(item) for item in items]),
        "formFiles": _form_files(items),
        "fees": pa.nulls(len(items), pa.list_(FEE)),
    }
    plain = set(DOSSIERS.schema.names) - set(columns)
    columns |= {name: _texts(_each(items, name)) for name in plain}
    return pa.table([columns[name] for name in DOSSIERS.schema.names], schema=DOSSIERS.schema)


class Head(msgspec.Struct, gc=False):
    """What a walk needs of a record; the rest is skipped."""

    id: Scalar | None = None
    code: Scalar | None = None
    updatedDate: Scalar | None = None


class Page(msgspec.Struct):
    """What a walk needs of a page."""

    content: list[Head]
    totalElements: int | None = None
    totalPages: int | None = None
    last: bool | None = None


class _Split(msgspec.Struct):
    content: list[msgspec.Raw]
    totalElements: int | None = None
    totalPages: int | None = None
    last: bool | None = None


class _Whole(msgspec.Struct):
    content: list[Item]


_pages = msgspec.json.Decoder(Page)
_head = msgspec.json.Decoder(Head)
_splits = msgspec.json.Decoder(_Split)
_wholes_of_pages = msgspec.json.Decoder(_Whole)


def decoded(body: bytes) -> Page:
    """The page in `body`, so fast that the next one can be asked for: its records are typed meanwhile.

    Raises msgspec's errors when the body is no page at all. A record that has no readable head stands for itself.
    """
    try:
        return _pages.decode(body)
    except msgspec.ValidationError:
        split = _splits.decode(body)
        heads = [_head_of(piece) for piece in split.content]
        return Page(heads, split.totalElements, split.totalPages, split.last)


def _head_of(piece: msgspec.Raw) -> Head:
    try:
        return _head.decode(piece)
    except msgspec.ValidationError:
        return Head(id=hash(bytes(piece)))


class Pieces(Sequence[bytes]):
    """The raw records of a page of `count`, or those of them that `wanted` marks; taken apart when somebody asks."""

    def __init__(self, body: bytes, count: int, wanted: Sequence[bool] | None = None) -> None:
        self._body = body
        self._wanted = wanted
        self._count = count if wanted is None else sum(wanted)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        found = self._all[index]
        return [bytes(piece) for piece in found] if isinstance(index, slice) else bytes(found)

    @cached_property
    def _all(self) -> list[msgspec.Raw]:
        return self._chosen(_splits.decode(self._body).content)

    def items(self) -> list[Item]:
        """All of them decoded at once. Raises msgspec's errors when one cannot be."""
        return self._chosen(_wholes_of_pages.decode(self._body).content)

    def _chosen(self, found: list[T]) -> list[T]:
        return found if self._wanted is None else list(compress(found, self._wanted))


def read_items(step: Step) -> Typed:
    """Typed columns of a page: at once where all its dossiers can be decoded, or else record by record.

    A dossier that cannot be typed becomes `Broken`.
    """
    if not step.records:
        return Typed(_columns(()))
    shape = shape_of(step.records)
    if isinstance(step.records, Pieces):
        try:
            return Typed(_columns(step.records.items()), shape=shape)
        except _UNTYPED:
            pass  # found below
    items: list[Item] = []
    broken: list[Broken] = []
    for index, record in enumerate(step.records):
        try:
            item = _items.decode(record)
            _columns([item])
            items.append(item)
        except _UNTYPED:
            broken.append(untyped(record, f"{step.where}#{index}"))
    return Typed(_columns(items), tuple(broken), shape=shape)

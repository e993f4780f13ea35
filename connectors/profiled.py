"""Records of a system that is connected by a profile: one contract for REST, database replica and files.

Belongs here: the fields that a profile can fill, what its records tell of (a dossier, or one payment), what else
a profile says (zone, date formats, codes), and the record contract made of it. Does not belong here: where a field
stands in a reply, a table or a file (`rest.py`, `database.py`, `files.py`), nor what a code means to the house
(conforming).

A native connector keeps its source's own field names, since an auditor compares with what that source
shows. A profiled one has no fields of its own: the profile is the translation, and it is kept beside
the numbers it made. Values stay text as the source wrote them; only whether a file is there is reduced
to yes or no, because a path or a file name may carry a person.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from zoneinfo import ZoneInfo

import pyarrow as pa
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from connectors.contract import Clause, RecordContract, any_said, present, said, wire_field
from connectors.settings import Strict

KIND = "profiled"
#: Whose place in the order of belief a profiled system takes.
Role = Literal["portal", "onestop", "payments"]
#: What one record tells of.
Subject = Literal["dossier", "payment"]

_TEXT = pa.string()
_FLAG = pa.bool_()

#: Field that holds an instant → what it is called in messages.
DATES = {
    "modified_at": "Ngày sửa",
    "created_at": "Ngày tạo",
    "submitted_at": "Ngày nộp",
    "received_at": "Ngày tiếp nhận",
    "due_at": "Ngày hẹn trả",
    "completed_at": "Ngày xử lý xong",
    "returned_at": "Ngày trả kết quả",
    "denied_at": "Ngày từ chối",
}
#: List field → its kept fields. `has_file` becomes yes or no.
LISTS: dict[str, tuple[str, ...]] = {
    "components": ("component_code", "has_file", "is_digitised", "reuse_code", "is_from_personal_store"),
    "payments": ("amount_vnd", "method", "state", "paid_at"),
    "fees": ("amount_vnd",),
    "databases": ("code",),
    "supplements": ("requested_at", "answered_at", "due_before_at", "due_after_at"),
}
#: Fields that say only whether something is there.
PRESENCES = frozenset({"has_file", "has_result"})
#: What the codes of each kind may be turned into; the values are those of the province's table of codes.
CODE_KINDS = frozenset({"status", "channel", "service_level", "payment_method", "payment_state", "database"})
PAYMENT_STATES = frozenset({"settled", "open", "refunded", "cancelled"})


def _list_type(name: str) -> pa.DataType:
    return pa.list_(pa.struct([(item, _FLAG if item in PRESENCES else _TEXT) for item in LISTS[name]]))


SCHEMA = pa.schema(
    [
        wire_field("record_id", _TEXT, "Mã bản ghi", "Key of the record in its system"),
        wire_field("dossier_code", _TEXT, "Mã hồ sơ", "Public code"),
        wire_field("national_code", _TEXT, "Mã quốc gia", "Code on the national portal, or another one it is known by"),
        wire_field("reference_uid", _TEXT, "Mã tham chiếu", "Shared between installations of one product"),
        wire_field("procedure_code", _TEXT, "Mã thủ tục", "Procedure, may carry a local suffix"),
        wire_field("agency", _TEXT, "Mã đơn vị", "Code (or name) of the handling unit"),
        wire_field("agency_name", _TEXT, "Tên đơn vị", "Its name, for messages"),
        wire_field("status", _TEXT, "Trạng thái", "Code of the system"),
        wire_field("channel", _TEXT, "Kênh thực hiện", "Code of the system"),
        wire_field("service_level", _TEXT, "Mức độ dịch vụ công", "Code of the system"),
        *(wire_field(name, _TEXT, label, "In one of the profile's formats") for name, label in DATES.items()),
        wire_field("has_result", _FLAG, "Có kết quả điện tử", "Whether a result file or link is there"),
        wire_field("paid_online_code", _TEXT, "Được thanh toán trực tuyến", "0, 1, 2 or 3, as DuocThanhToanTrucTuyen"),
        wire_field("is_vneid_verified", _TEXT, "Tài khoản xác thực VNeID", "As reported"),
        wire_field("is_deleted", _TEXT, "Đã xóa", "Anything but blank, 0 and false: the system deleted the record"),
        wire_field("components", _list_type("components"), "Thành phần hồ sơ", "Papers, without names"),
        wire_field("payments", _list_type("payments"), "Thanh toán", "Payments"),
        wire_field("fees", _list_type("fees"), "Phí, lệ phí", "Fee lines"),
        wire_field("databases", _list_type("databases"), "CSDL đã kết nối", "Databases that were asked"),
        wire_field("supplements", _list_type("supplements"), "Yêu cầu bổ sung", "Requests for supplements"),
    ]
)


def _bounded(most: int) -> str:
    number = "try_cast({text} AS DOUBLE)"
    return f"CASE WHEN abs({number}) < {most} THEN {number} END"


FIELDS = frozenset(name for name in SCHEMA.names if name not in LISTS)
#: What a record of a payment can say, and what it must: the payment is the one item of its list `payments`.
PAYMENT_SCHEMA = pa.schema(
    [SCHEMA.field(name) for name in ("record_id", "dossier_code", "modified_at", "is_deleted", "payments")]
)
_PAYMENT_MUST = ("record_id", "dossier_code", "payments.amount_vnd", "payments.state")
#: Whole đồng. Decimals are zeros, and never three: 50.000 may be meant as thousands.
_WHOLE_VND = r"[0-9]{1,15}([.](0{1,2}|0{4,}))?"

#: Formats that are no strptime pattern: numbers since 1970, and days of a spreadsheet (1 = 1900-01-01). A number
#: beyond any calendar (an identity number in the wrong column) is unreadable; else it would overflow and stop a night.
NUMERIC_FORMATS = {
    "epoch_ms": f"to_timestamp({_bounded(10**14)} / 1000)",
    "epoch_s": f"to_timestamp({_bounded(10**11)})",
    "excel": (
        "timezone('{zone}', TIMESTAMP '1899-12-30' "
        f"+ to_microseconds(CAST(round({_bounded(3 * 10**6)} * 86400) AS BIGINT) * 1000000))"
    ),
}


class Profile(BaseModel):
    """What a profile says whatever the protocol; each protocol adds where the fields stand.

    `dates` are strptime formats (DuckDB's, `%z` for an offset that is written out) or one of
    `epoch_ms`, `epoch_s`, `excel`; they are tried in order, and where none has an offset the text is
    local time of `zone`. `codes` turns the system's codes into the house's, kind by kind. `subject` is what
    one record tells of: a dossier, or one payment (role `payments`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: Annotated[str, Field(min_length=1, description="name of the system, for messages")]
    subject: Subject = "dossier"
    zone: str = "Asia/Ho_Chi_Minh"
    dates: Annotated[tuple[str, ...], Field(min_length=1)]
    codes: dict[str, dict[str, str]] = Field(default_factory=dict)

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"{value!r} is not a time zone (e.g. Asia/Ho_Chi_Minh)") from None
        return value

    @field_validator("dates")
    @classmethod
    def _known_formats(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for item in value:
            if item not in NUMERIC_FORMATS and ("%" not in item or "'" in item):
                raise ValueError(f"{item!r} is neither a date format nor one of {', '.join(NUMERIC_FORMATS)}")
        return value

    @model_validator(mode="after")
    def _known_codes(self) -> Self:
        for kind, codes in self.codes.items():
            if kind not in CODE_KINDS:
                raise ValueError(f"codes.{kind}: not one of {', '.join(sorted(CODE_KINDS))}")
            wrong = sorted(set(codes.values()) - PAYMENT_STATES) if kind == "payment_state" else []
            if wrong:
                raise ValueError(f"codes.payment_state: {wrong[0]!r} is not one of {', '.join(sorted(PAYMENT_STATES))}")
        return self

    def refuse_unfit(self, mapped: Collection[str]) -> None:
        """`ValueError` that names the field when a profile of payments maps too much, or not all that it needs.

        `mapped` are the fields that the profile fills, those of lists as `payments.state`.
        """
        if self.subject != "payment":
            return
        known = {*PAYMENT_SCHEMA.names, *(f"payments.{item}" for item in LISTS["payments"])}
        if unknown := sorted(set(mapped) - known):
            raise ValueError(f"{unknown[0]}: a payment has no such field (subject: payment); it has {_listed(known)}")
        if missing := [name for name in _PAYMENT_MUST if name not in mapped]:
            raise ValueError(f"{missing[0]}: is missing; without it no payment can be used (subject: payment)")
        if "payments.method" not in mapped and "" not in self.codes.get("payment_method", {}):
            said = 'codes.payment_method: {"": online}'
            raise ValueError(f"payments.method: is missing; map it, or say what a payment without one is: {said}")


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(set(names) - {"payments"}))


class ProfileError(ValueError):
    """A profile cannot be used; the text names the file and the key, one problem per line."""


class ProfiledSettings(Strict):
    """What every source connected by a profile says in the province's file.

    A subclass names its protocol's `profile_model`.
    """

    profile_model: ClassVar[type[Profile]] = Profile

    role: Role
    #: A shipped profile by name (`igate-v2`), or a file; a relative path is beside the province's file.
    profile: str
    lag_minutes: Annotated[int, Field(ge=0)] = 10

    def beside(self, folder: Path) -> Self:
        """The same settings with the profile's file resolved below `folder`, unless it is a shipped one."""
        return self if self._shipped() else self.model_copy(update={"profile": str((folder / self.profile).resolve())})

    def _shipped(self) -> Traversable | None:
        file = resources.files("connectors").joinpath(f"profiles/{self.profile}.yaml")
        return file if re.fullmatch(r"[a-z0-9-]+", self.profile) and file.is_file() else None

    def loaded(self) -> Profile:
        """The profile, of the class `profile_model`.

        Raises `ProfileError` that names the file and every wrong key.
        """
        file = self._shipped() or Path(self.profile)
        if not file.is_file():
            raise ProfileError(f"profile {self.profile!r}: neither a shipped profile nor a file")
        try:
            profile = self.profile_model.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
        except yaml.YAMLError as error:
            raise ProfileError(f"{file}: not valid YAML: {error}") from None
        except ValidationError as error:
            lines = (f"{file}: {'.'.join(map(str, item['loc'])) or '(top)'}: {item['msg']}" for item in error.errors())
            raise ProfileError("\n".join(lines)) from None
        wanted = "payment" if self.role == "payments" else "dossier"
        if profile.subject != wanted:
            raise ProfileError(
                f"{file}: subject: records tell of a {profile.subject}, but role {self.role} needs `subject: {wanted}`"
            )
        return profile


def instant_sql(text: str, profile: Profile) -> str:
    """SQL: the text column or expression `text` as an instant by the profile's formats; null where none fits."""
    trimmed = f"nullif(trim({text}), '')"
    tries = []
    for item in profile.dates:
        if item in NUMERIC_FORMATS:
            tries.append(NUMERIC_FORMATS[item].format(text=trimmed, zone=profile.zone))
        elif "%z" in item:
            tries.append(f"CAST(try_strptime({trimmed}, '{item}') AS TIMESTAMPTZ)")
        else:
            tries.append(f"timezone('{profile.zone}', try_strptime({trimmed}, '{item}'))")
    return f"coalesce({', '.join(tries)})"


def record_key(system: str) -> str:
    """SQL: the key of a record, told apart from those of other systems of the same role."""
    return f"'{system}:' || \"record_id\""


def contract(system: str, profile: Profile) -> RecordContract:
    """The record contract of the source named `system` in the province's file."""
    return RecordContract(
        kind=KIND,
        schema=SCHEMA,
        key=record_key(system),
        newest=f'{instant_sql(chr(34) + "modified_at" + chr(34), profile)} DESC NULLS LAST, "_seq" DESC',
        clauses=tuple(_clauses(profile)),
    )


def _clauses(profile: Profile) -> Iterable[Clause]:
    yield present("record_id", "mã bản ghi")
    yield from _payment_clauses(profile) if profile.subject == "payment" else _dossier_clauses(profile)


def _readable(name: str, label: str, profile: Profile, said_so: str, text: str) -> Clause:
    predicate = f"NOT ({said_so}) OR {instant_sql(text, profile)} IS NOT NULL"
    told = f"{label} ({name}) không đúng định dạng ngày của hồ sơ nguồn"
    return Clause(f"{name.rpartition('.')[2]}_readable", predicate, (name,), told)


def _payment_clauses(profile: Profile) -> Iterable[Clause]:
    yield present("dossier_code", "mã hồ sơ")
    yield Clause("one_payment", "len(payments) = 1", ("payments",), "Không nói đúng một khoản thanh toán (payments)")
    amount, state = "payments[1].amount_vnd", "payments[1].state"
    readable = f"regexp_full_match(trim({amount}), '{_WHOLE_VND}')"
    told = "Số tiền (payments.amount_vnd) thiếu hoặc không phải số đồng nguyên"
    yield Clause("amount_vnd_readable", readable, ("payments.amount_vnd",), told)
    told = "Thiếu tình trạng thanh toán (payments.state)"
    yield Clause("state_present", f"coalesce(trim({state}), '') <> ''", ("payments.state",), told)
    paid_at = "payments[1].paid_at"
    yield _readable("payments.paid_at", "Ngày thanh toán", profile, f"coalesce(trim({paid_at}), '') <> ''", paid_at)
    yield _readable("modified_at", DATES["modified_at"], profile, said("modified_at"), '"modified_at"')


def _dossier_clauses(profile: Profile) -> Iterable[Clause]:
    yield any_said(
        "some_date_present",
        ("submitted_at", "received_at", "created_at"),
        "Không có ngày nộp, ngày tiếp nhận hay ngày tạo",
    )
    for name, label in DATES.items():
        yield _readable(name, label, profile, said(name), f'"{name}"')
    yield present("procedure_code", "mã thủ tục")
    yield present("agency", "mã đơn vị")
    yield present("status", "trạng thái")
    for name, label in {"payments": "Số tiền thanh toán", "fees": "Phí, lệ phí"}.items():
        yield _amounts(name, label)


def _amounts(name: str, label: str) -> Clause:
    """Every amount of a list is blank or a number that can be one of đồng."""
    number = "abs(try_cast(trim(one.amount_vnd) AS DOUBLE)) < 1e15"
    odd = f"[one FOR one IN {name} IF coalesce(trim(one.amount_vnd), '') <> '' AND NOT coalesce({number}, false)]"
    told = f"{label} ({name}.amount_vnd) không phải số tiền"
    return Clause(f"{name}_readable", f"coalesce(len({odd}), 0) = 0", (f"{name}.amount_vnd",), told)


def is_there(value: Any) -> bool:
    """Whether a value that may be a path, a link, a count or a flag says that something is there."""
    if value is None or value is False:
        return False
    if isinstance(value, list | dict):
        return bool(value)
    return str(value).strip().lower() not in ("", "0", "false", "null", "none")

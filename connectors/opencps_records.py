"""The provincial portal's records, from JSON to the contract's columns (OpenCPS REST v2).

Belongs here: the wire contract of its dossiers, what every call must carry, which refusals it words as
answers, and how it says that a dossier is deleted. Does not belong here: the walks (`opencps_list.py`,
`opencps_details.py`), what is read when (`opencps.py`), and what a code means.
"""

from __future__ import annotations

from http import HTTPStatus

import pyarrow as pa

from connectors.contract import (
    SEEN,
    Clause,
    RecordContract,
    any_said,
    present,
    readable_date,
    wire_field,
)
from connectors.protocol import Call, Permanent, Reply, Transient, ensure_usable

#: How the portal words an instant, in local time.
DATES = ("%d/%m/%Y %H:%M:%S",)
_TEXT = pa.string()
_WHOLE = pa.int64()

FILE = pa.struct(
    [
        ("dossierFileId", _WHOLE),
        ("dossierPartNo", _TEXT),
        ("dossierPartType", _WHOLE),
        ("fileSize", _WHOLE),
        ("removed", pa.bool_()),
        ("eForm", pa.bool_()),
        ("signCheck", _WHOLE),
    ]
)
PAYMENT = pa.struct(
    [
        ("paymentFileId", _WHOLE),
        ("feeAmount", _WHOLE),
        ("paymentAmount", _WHOLE),
        ("paymentStatus", _WHOLE),
        ("paymentMethod", _TEXT),
        ("confirmDatetime", _TEXT),
    ]
)

_LIST = (
    wire_field("groupId", _TEXT, "Mã trang (site) của cơ quan", "Site of the agency"),
    wire_field("dossierId", _WHOLE, "Mã hồ sơ trong hệ thống", "Database id, per installation"),
    wire_field("referenceUid", _TEXT, "Mã tham chiếu", "Shared between installations"),
    wire_field("dossierNo", _TEXT, "Mã hồ sơ", "Public code, blank until received"),
    wire_field("originality", _TEXT, "Nguồn gốc hồ sơ", "1 online, 2 inter-agency, 3 one-stop; negative: deleted"),
    wire_field("originDossierId", _WHOLE, "Hồ sơ gốc", "Parent of an inter-agency copy, 0 for none"),
    wire_field("systemId", _WHOLE, "Hệ thống tạo", "5: created from the national portal"),
    wire_field("serviceCode", _TEXT, "Mã thủ tục", "Procedure, may carry a local suffix"),
    wire_field("serviceLevel", _WHOLE, "Mức độ dịch vụ công", "0: not indexed"),
    wire_field("govAgencyCode", _TEXT, "Mã cơ quan", "Agency"),
    wire_field("govAgencyName", _TEXT, "Tên cơ quan", "Name of the agency"),
    wire_field("createDate", _TEXT, "Ngày tạo", "Created, dd/MM/yyyy HH:mm:ss"),
    wire_field("modifiedDate", _TEXT, "Ngày sửa", "Changed"),
    wire_field("submitDate", _TEXT, "Ngày nộp", "Submitted by the applicant"),
    wire_field("receiveDate", _TEXT, "Ngày tiếp nhận", "Accepted by the one-stop desk"),
    wire_field("dueDate", _TEXT, "Ngày hẹn trả", "Promised return"),
    wire_field("extendDate", _TEXT, "Ngày gia hạn", "Extended"),
    wire_field("releaseDate", _TEXT, "Ngày có kết quả", "Result ready"),
    wire_field("finishDate", _TEXT, "Ngày trả kết quả", "Result handed over"),
    wire_field("cancellingDate", _TEXT, "Ngày yêu cầu rút", "Withdrawal asked"),
    wire_field("dossierStatus", _TEXT, "Trạng thái", "Status"),
    wire_field("dossierSubStatus", _TEXT, "Trạng thái con", "Sub-status of the site's dictionary"),
    wire_field("lockState", _TEXT, "Tình trạng khóa", "PAUSE, PAUSE_OVERDUE, LOCK"),
    wire_field("online", _TEXT, "Nộp trực tuyến", "Submitted online (true/false as text)"),
    wire_field("viaPostal", _TEXT, "Trả qua bưu chính", "Return by post, 2: used"),
    wire_field("fromViaPostal", _TEXT, "Nộp qua bưu chính", "Above 0: submitted by post"),
)
_DATE_FIELDS = {
    "createDate": "Ngày tạo",
    "modifiedDate": "Ngày sửa",
    "submitDate": "Ngày nộp",
    "receiveDate": "Ngày tiếp nhận",
    "dueDate": "Ngày hẹn trả",
    "extendDate": "Ngày gia hạn",
    "releaseDate": "Ngày có kết quả",
    "finishDate": "Ngày trả kết quả",
    "cancellingDate": "Ngày yêu cầu rút",
}

DOSSIERS = RecordContract(
    kind="portal",
    schema=pa.schema(
        [
            *_LIST,
            wire_field("files", pa.list_(FILE), "Tệp của hồ sơ (không có tên tệp)", "Files, without names"),
            wire_field("payment", PAYMENT, "Thanh toán", "Payment, at most one by this API"),
        ]
    ),
    details=("files", "payment"),
    key='"groupId" || \':\' || CAST("dossierId" AS VARCHAR)',
    newest=f'try_strptime("modifiedDate", \'{DATES[0]}\') DESC NULLS LAST, "{SEEN}" DESC',
    clauses=(
        Clause(
            "key_present",
            "coalesce(\"groupId\", '') <> '' AND coalesce(\"dossierId\", 0) <> 0",
            ("groupId", "dossierId"),
            "Thiếu mã trang hoặc mã hồ sơ (groupId, dossierId)",
        ),
        any_said(
            "some_date_present",
            ("submitDate", "receiveDate", "createDate"),
            "Không có ngày nộp, ngày tiếp nhận hay ngày tạo",
        ),
        *(readable_date(name, DATES, label) for name, label in _DATE_FIELDS.items()),
        present("serviceCode", "mã thủ tục"),
        present("govAgencyCode", "mã cơ quan"),
        # Blank is a status of its own: a draft.
        Clause("dossierStatus_present", '"dossierStatus" IS NOT NULL', ("dossierStatus",), "Thiếu trạng thái"),
    ),
)
LIST_SCHEMA = pa.schema([item for item in _LIST if item.name != "groupId"])


def site_headers(site: int | str) -> tuple[tuple[str, str], ...]:
    """Headers of every call: the site is a mandatory filter, and without Accept the portal may answer XML."""
    return ("groupId", str(site)), ("Accept", "application/json")


def ensure_logged_in(call: Call, reply: Reply) -> None:
    """Raise for what OpenCPS says instead of an answer: 203 is "not logged in", 403 is everything else."""
    if reply.status in (HTTPStatus.NON_AUTHORITATIVE_INFORMATION, HTTPStatus.UNAUTHORIZED):
        raise Permanent(
            f"{call}: the portal says that nobody is logged in (HTTP {reply.status})",
            hint="Check what username_env and password_env name, and that the account may use the REST API",
            key="username_env, password_env",
        )
    if reply.status == HTTPStatus.FORBIDDEN:
        raise Transient(
            f"{call}: the portal refused with HTTP 403, its answer to every inner error",
            hint="If it stays: check that `sites` lists the right groupId and that the account has rights there",
            key="sites",
        )
    ensure_usable(call, reply)


#: The search index keeps no negative numbers: there, -1 reads 98 (99 and the number, systems fact 1.4).
_INDEX_DELETED = range(90, 99)
#: What the default list holds: published, online, inter-agency, one-stop, other; a group of dossiers is none of them.
_LISTED = range(5)


def is_deleted(originality: int | None) -> bool:
    """Whether a dossier's originality says that it was deleted: negative in the database, 90 to 98 in the index."""
    return originality is not None and (originality < 0 or originality in _INDEX_DELETED)


def is_listed(originality: int | None, origin: int | None) -> bool:
    """Whether the default list holds a dossier of this originality and originDossierId: no copies, no groups."""
    return (originality is None or originality in _LISTED) and not origin

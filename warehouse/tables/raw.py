"""What sources said (raw_): the bookkeeping of every raw table, and the quarantine.

Belongs here: how a raw table is declared from a connector's wire contract. Does not belong here: any
connector's fields.
"""

from __future__ import annotations

import pyarrow as pa

from warehouse.schema import FLAG, INSTANT, TEXT, Column, Table
from warehouse.tables.common import SOURCE

RAW_QUARANTINE = Table(
    name="raw_quarantine",
    vi="Bản ghi bị cách ly: lý do, nguồn và trích đoạn không có dữ liệu cá nhân",
    en="Records kept out, each with its reason; excerpts hold contract fields only, never a person",
    key=("stage", "source", "record_key", "reason", "content_hash"),
    sort=("source", "record_key"),
    columns=(
        Column(
            name="stage",
            type=TEXT,
            nullable=False,
            values=("extract", "conform"),
            vi="Khâu",
            en="Where it was stopped: extract (the record breaks the contract) or conform (a code has no meaning)",
        ),
        SOURCE,
        Column(name="record_key", type=TEXT, nullable=False, vi="Khóa bản ghi", en="Source key, or where it stood"),
        Column(name="content_hash", type=TEXT, nullable=False, vi="Vân tay nội dung", en="Hash of the record"),
        Column(name="reason", type=TEXT, nullable=False, vi="Mã lý do", en="Machine reason, e.g. unmapped_status"),
        Column(name="clause", type=TEXT, nullable=False, vi="Điều khoản hợp đồng", en="Field or clause that broke"),
        Column(name="detail", type=TEXT, nullable=False, vi="Giải thích", en="For an operator, in Vietnamese"),
        Column(name="excerpt", type=TEXT, vi="Trích đoạn", en="Contract fields as JSON, masked"),
        Column(name="quarantined_at", type=INSTANT, nullable=False, vi="Lúc", en="When"),
        Column(
            name="window_start",
            type=INSTANT,
            vi="Đầu khoảng đọc",
            en="Start of the span that was read when extraction set it aside; reading it again brings it back",
        ),
        Column(name="window_end", type=INSTANT, vi="Cuối khoảng đọc", en="End of that span"),
        Column(
            name="contract",
            type=TEXT,
            vi="Phiên bản hợp đồng dữ liệu",
            en="Fingerprint of the contract that it broke; under another one its span is read again",
        ),
        Column(
            name="settled_at",
            type=INSTANT,
            vi="Đã xử lý lúc",
            en="When the record was stored after all, or was no longer there when its span was read again",
        ),
    ),
)

RAW_SHAPE = Table(
    name="raw_shape",
    vi="Trường dữ liệu mà mỗi nguồn trả về: thêm, mất, đổi kiểu",
    en="Fields that records of each source carry, by kind of value: how drift of a source's schema shows",
    key=("source", "kind", "field", "value_kind"),
    sort=("source", "kind", "field"),
    columns=(
        SOURCE,
        Column(name="kind", type=TEXT, nullable=False, vi="Loại bản ghi", en="Kind of record, as its contract says"),
        Column(name="field", type=TEXT, nullable=False, vi="Trường", en="Name of the field at the source"),
        Column(
            name="value_kind",
            type=TEXT,
            nullable=False,
            values=("text", "number", "flag", "list", "object", "null"),
            vi="Kiểu giá trị",
            en="What stood in it",
        ),
        Column(
            name="is_kept",
            type=FLAG,
            nullable=False,
            vi="Có trong hợp đồng dữ liệu",
            en="Whether the contract keeps the field; any other is never stored",
        ),
        Column(name="first_seen_at", type=INSTANT, nullable=False, vi="Thấy lần đầu", en="First seen"),
        Column(
            name="missing_since",
            type=INSTANT,
            vi="Không còn thấy từ",
            en="First night on which no record of the sample had the field; null while it is there",
        ),
    ),
)

#: Bookkeeping that every raw table carries beside the fields its source said.
RAW_BOOKKEEPING = (
    Column(name="record_key", type=TEXT, nullable=False, vi="Khóa bản ghi nguồn", en="Key of the record at its source"),
    Column(name="content_hash", type=TEXT, nullable=False, vi="Vân tay nội dung", en="Hash of the contract's fields"),
    Column(
        name="extracted_at",
        type=INSTANT,
        nullable=False,
        vi="Lúc trích xuất",
        en="When this version of the record was stored; the newest version of a key is the current one",
    ),
    Column(name="night", type=TEXT, nullable=False, vi="Mã lần chạy", en="Night (run) that stored it"),
    Column(
        name="is_gone",
        type=FLAG,
        vi="Không còn ở nguồn",
        en="A tombstone: a full comparison no longer found the record; the fields are those of its last version",
    ),
)


def raw_table(name: str, *, vi: str, en: str, fields: pa.Schema) -> Table:
    """Declare `raw_<source>`: the bookkeeping columns, then the wire fields under their own names.

    `fields` is the connector's wire schema; the names a source uses are kept so that an auditor can
    compare with what the source shows. Versions of a record are appended, never overwritten: what
    was known on a date is the newest version stored up to it.
    """
    wire = tuple(
        Column(
            name=field.name,
            type=field.type,
            vi=(field.metadata or {}).get(b"vi", field.name.encode()).decode(),
            en=(field.metadata or {}).get(b"en", b"as said by the source").decode(),
        )
        for field in fields
    )
    return Table(name=name, vi=vi, en=en, key=("record_key", "extracted_at"), columns=(*RAW_BOOKKEEPING, *wire))

"""The tables of the house, each declared once.

Belongs here: columns, types, keys and meaning of every core_ and out_ table. Does not belong here:
the shape of what a source says (each connector declares its own wire contract, see `connectors`),
nor any query.

Layers read raw_ → core_ → out_. Instants are UTC; columns that end in `_on` are days in
Asia/Ho_Chi_Minh. Codes are text so that leading zeros stay. A rate is never stored without the two
counts that make it.
"""

from __future__ import annotations

import pyarrow as pa

from warehouse.schema import CODE, COUNT, DAY, FLAG, INSTANT, RATE, TEXT, VND, Column, Table

LEVELS = ("province", "district", "commune")
CHANNELS = ("direct", "online", "post")
SERVICE_LEVELS = ("full", "partial", "information")
SOURCES = ("portal", "onestop", "messages")
STATES = ("ok", "no_denominator")
VERDICTS = ("met", "missed", "not_yet_due", "no_source", "not_applicable", "too_few")

_LAKE_MONTH = Column(
    name="lake_month",
    type=TEXT,
    nullable=False,
    vi="Tháng lưu trữ (yyyy-MM), chỉ để chia tệp",
    en="Storage month (yyyy-MM) of the dossier: divides files, carries no meaning",
)
_DOSSIER_KEY = Column(
    name="dossier_key",
    type=TEXT,
    nullable=False,
    vi="Khóa hồ sơ trong kho",
    en="Key of the dossier: its public code, or source:record for a draft without a code",
)
_SOURCE = Column(name="source", type=TEXT, nullable=False, vi="Nguồn", en="Source that said it")
_DIMENSIONS = (
    Column(
        name="unit_code",
        type=TEXT,
        nullable=False,
        vi="Mã đơn vị xử lý",
        en="Code of the handling unit (the national rule counts by it, not by the place of reception)",
    ),
    Column(
        name="unit_level",
        type=TEXT,
        nullable=False,
        values=LEVELS,
        vi="Cấp của đơn vị xử lý",
        en="Level of the handling unit; provincial departments carry level province",
    ),
    Column(
        name="procedure_code",
        type=TEXT,
        nullable=False,
        vi="Mã thủ tục hành chính",
        en="National procedure code, d.dddddd, without local suffix",
    ),
    Column(
        name="channel",
        type=TEXT,
        nullable=False,
        values=CHANNELS,
        vi="Kênh thực hiện",
        en="Channel of submission (KenhThucHien 1, 2, 3); empty counts as direct, formula 3.3",
    ),
    Column(
        name="has_fee",
        type=FLAG,
        nullable=False,
        vi="Thủ tục có phí, lệ phí",
        en="The procedure has fee information in the catalogue (formula 3.6)",
    ),
)

CORE_CROSSWALK = Table(
    name="core_crosswalk",
    vi="Đối chiếu mã: bản ghi nguồn nào thuộc hồ sơ nào, và vì sao",
    en="Which source record belongs to which dossier, and on what evidence",
    key=("source", "record_key"),
    partition="lake_month",
    sort=("dossier_key", "source", "record_key"),
    columns=(
        _SOURCE,
        Column(name="record_key", type=TEXT, nullable=False, vi="Khóa bản ghi nguồn", en="Key of the source record"),
        _DOSSIER_KEY,
        _LAKE_MONTH,
        Column(
            name="rule",
            type=TEXT,
            nullable=False,
            values=("code", "national_code", "reference_uid", "alone"),
            vi="Quy tắc ghép",
            en="Strongest rule that ties this record to another one of the dossier",
        ),
        Column(name="evidence", type=TEXT, vi="Giá trị đã trùng", en="The identifier that was equal"),
    ),
)

CORE_DOSSIER = Table(
    name="core_dossier",
    vi="Hồ sơ thủ tục hành chính đã hợp nhất từ các nguồn, mỗi hồ sơ một dòng",
    en="One conformed row per dossier, without personal data",
    key=("dossier_key",),
    partition="lake_month",
    sort=("unit_code", "received_on", "dossier_key"),
    columns=(
        _DOSSIER_KEY,
        Column(name="dossier_code", type=TEXT, vi="Mã hồ sơ", en="Public dossier code, null before reception"),
        _LAKE_MONTH,
        *_DIMENSIONS,
        Column(
            name="service_level",
            type=TEXT,
            values=SERVICE_LEVELS,
            vi="Mức độ dịch vụ công",
            en="Service level of the procedure at the unit: full (toàn trình, old level 4), partial (một phần, "
            "old level 3), information; null when no source says",
        ),
        Column(
            name="is_result_required",
            type=FLAG,
            nullable=False,
            vi="Thủ tục phải trả kết quả là giấy tờ",
            en="The procedure returns a document (formula 3.3, 4.1, 4.2)",
        ),
        Column(
            name="status_code",
            type=CODE,
            nullable=False,
            vi="Trạng thái (1..10 của Cổng DVCQG)",
            en="National status code 1..10",
        ),
        Column(name="submitted_at", type=INSTANT, vi="Thời điểm nộp", en="Submitted"),
        Column(name="received_at", type=INSTANT, vi="Thời điểm tiếp nhận", en="Received"),
        Column(name="due_at", type=INSTANT, vi="Thời điểm hẹn trả", en="Promised return"),
        Column(name="completed_at", type=INSTANT, vi="Kết thúc xử lý", en="End of processing (NgayKetThucXuLy)"),
        Column(name="returned_at", type=INSTANT, vi="Trả kết quả", en="Result handed over (NgayTra)"),
        Column(
            name="resolved_at",
            type=INSTANT,
            vi="Thời điểm giải quyết xong",
            en="Resolved: end of processing, else the hand-over, of a dossier in state 9 or 10",
        ),
        Column(name="submitted_on", type=DAY, vi="Ngày nộp", en="Day of submission, Asia/Ho_Chi_Minh"),
        Column(name="received_on", type=DAY, vi="Ngày tiếp nhận", en="Day of reception, Asia/Ho_Chi_Minh"),
        Column(name="due_on", type=DAY, vi="Ngày hẹn trả", en="Day of promised return, Asia/Ho_Chi_Minh"),
        Column(name="resolved_on", type=DAY, vi="Ngày giải quyết xong", en="Day resolved, Asia/Ho_Chi_Minh"),
        Column(
            name="paid_on",
            type=DAY,
            vi="Ngày thu phí đầu tiên",
            en="Day of the first settled payment, Asia/Ho_Chi_Minh",
        ),
        Column(
            name="is_received",
            type=FLAG,
            nullable=False,
            vi="Đã được tiếp nhận",
            en="Has a reception date and is not in state 1 or 3",
        ),
        Column(name="is_resolved", type=FLAG, nullable=False, vi="Đã giải quyết", en="State 9 or 10 with an end"),
        Column(
            name="is_processed_online",
            type=FLAG,
            nullable=False,
            vi="Xử lý trên môi trường điện tử",
            en="At least one processing step was recorded electronically (progress message)",
        ),
        Column(
            name="is_fee_waived",
            type=FLAG,
            nullable=False,
            vi="Miễn toàn bộ phí",
            en="Fee lines are known and every one is 0 (formula 3.6)",
        ),
        Column(
            name="is_paid_online",
            type=FLAG,
            nullable=False,
            vi="Thanh toán trực tuyến",
            en="DuocThanhToanTrucTuyen is 1 or 2; where no message says it: a settled online payment",
        ),
        Column(
            name="transaction_count",
            type=COUNT,
            nullable=False,
            unit="transactions",
            vi="Số giao dịch đã thu",
            en="Settled payments with an amount",
        ),
        Column(
            name="online_transaction_count",
            type=COUNT,
            nullable=False,
            unit="transactions",
            vi="Số giao dịch trực tuyến đã thu",
            en="Settled payments with an amount, made online",
        ),
        Column(
            name="component_count",
            type=COUNT,
            nullable=False,
            unit="components",
            vi="Số thành phần hồ sơ",
            en="Components (thành phần hồ sơ) known",
        ),
        Column(
            name="has_component_attachment",
            type=FLAG,
            nullable=False,
            vi="Thành phần có tệp đính kèm",
            en="At least one component has an attached file (formula 4.2, part 1)",
        ),
        Column(
            name="has_digitised_component",
            type=FLAG,
            nullable=False,
            vi="Có thành phần được số hóa (theo báo cáo)",
            en="At least one component is reported digitised (DuocSoHoa)",
        ),
        Column(
            name="has_electronic_result",
            type=FLAG,
            nullable=False,
            vi="Có kết quả điện tử",
            en="A result file is attached or linked (formula 3.3, 4.1, 4.2 part 2)",
        ),
        Column(
            name="is_reused",
            type=FLAG,
            nullable=False,
            vi="Có thành phần được tái sử dụng",
            en="At least one component is marked reused (DuocTaiSuDung 1 or 2, formula 4.3)",
        ),
        Column(
            name="is_vneid_verified",
            type=FLAG,
            nullable=False,
            vi="Tài khoản xác thực VNeID",
            en="The account was verified by VNeID",
        ),
        Column(
            name="supplement_count",
            type=COUNT,
            nullable=False,
            unit="requests",
            vi="Số lần yêu cầu bổ sung",
            en="Requests for supplements",
        ),
        Column(name="in_portal", type=FLAG, nullable=False, vi="Có ở cổng tỉnh", en="Seen in the portal"),
        Column(name="in_onestop", type=FLAG, nullable=False, vi="Có ở một cửa", en="Seen in the one-stop system"),
        Column(name="in_messages", type=FLAG, nullable=False, vi="Có ở nhật ký đồng bộ", en="Seen in the message log"),
    ),
)

CORE_COMPONENT = Table(
    name="core_component",
    vi="Thành phần hồ sơ",
    en="Components (papers) of a dossier; never a file name or a path",
    key=("dossier_key", "component_no"),
    partition="lake_month",
    sort=("dossier_key", "component_no"),
    columns=(
        _DOSSIER_KEY,
        Column(name="component_no", type=COUNT, nullable=False, vi="Số thứ tự", en="Position in the source's list"),
        _LAKE_MONTH,
        _SOURCE,
        Column(name="component_code", type=TEXT, vi="Mã thành phần hồ sơ", en="Code of the component, as said"),
        Column(name="has_file", type=FLAG, nullable=False, vi="Có tệp", en="A file is attached"),
        Column(name="is_digitised", type=FLAG, vi="Được số hóa", en="Reported digitised; null: the source cannot say"),
        Column(
            name="reuse_code",
            type=CODE,
            vi="Tái sử dụng (0 không, 1 thành phần, 2 kết quả)",
            en="0 none, 1 reused component, 2 reused result; null: the source cannot say",
        ),
        Column(
            name="is_from_personal_store",
            type=FLAG,
            vi="Lấy từ kho quốc gia",
            en="Taken from the national personal store; null: the source cannot say",
        ),
    ),
)

CORE_PAYMENT = Table(
    name="core_payment",
    vi="Giao dịch thanh toán phí, lệ phí",
    en="Payments of fees, one row per fee line or payment of a dossier",
    key=("dossier_key", "payment_no"),
    partition="lake_month",
    sort=("dossier_key", "payment_no"),
    columns=(
        _DOSSIER_KEY,
        Column(name="payment_no", type=COUNT, nullable=False, vi="Số thứ tự", en="Position in the source's list"),
        _LAKE_MONTH,
        _SOURCE,
        *_DIMENSIONS,
        Column(name="amount_vnd", type=VND, nullable=False, unit="VND", vi="Số tiền", en="Amount asked"),
        Column(
            name="method",
            type=TEXT,
            values=("online", "cash", "transfer"),
            vi="Hình thức thanh toán",
            en="How it was paid; a bank transfer at the counter is not online; null while unpaid",
        ),
        Column(
            name="is_settled",
            type=FLAG,
            nullable=False,
            vi="Đã thu",
            en="Paid in full and not refunded, with an amount above 0",
        ),
        Column(name="is_online", type=FLAG, nullable=False, vi="Trực tuyến", en="Settled online"),
        Column(name="paid_at", type=INSTANT, vi="Thời điểm thu", en="When it was paid"),
        Column(name="paid_on", type=DAY, vi="Ngày thu", en="Day it was paid, Asia/Ho_Chi_Minh"),
    ),
)

CORE_STEP = Table(
    name="core_step",
    vi="Bước xử lý",
    en="Processing steps from progress messages; never the person who acted",
    key=("dossier_key", "step_no"),
    partition="lake_month",
    sort=("dossier_key", "step_no"),
    columns=(
        _DOSSIER_KEY,
        Column(name="step_no", type=COUNT, nullable=False, vi="Số thứ tự", en="Position by time"),
        _LAKE_MONTH,
        _SOURCE,
        Column(name="acted_at", type=INSTANT, nullable=False, vi="Thời điểm xử lý", en="When it was done"),
        Column(name="status_code", type=CODE, nullable=False, vi="Trạng thái", en="National status code after it"),
        Column(name="started_at", type=INSTANT, vi="Bắt đầu", en="When the step began"),
        Column(name="step_due_at", type=INSTANT, vi="Hạn của bước", en="When the step was due"),
    ),
)

CORE_SUPPLEMENT = Table(
    name="core_supplement",
    vi="Yêu cầu bổ sung hồ sơ",
    en="Requests for supplements and their answers",
    key=("dossier_key", "supplement_no"),
    partition="lake_month",
    sort=("dossier_key", "supplement_no"),
    columns=(
        _DOSSIER_KEY,
        Column(name="supplement_no", type=COUNT, nullable=False, vi="Lần thứ", en="Ordinal by time"),
        _LAKE_MONTH,
        _SOURCE,
        Column(name="requested_at", type=INSTANT, vi="Yêu cầu lúc", en="Requested"),
        Column(name="answered_at", type=INSTANT, vi="Nhận bổ sung lúc", en="Answered"),
        Column(name="due_before_at", type=INSTANT, vi="Hẹn trả trước", en="Promised return before"),
        Column(name="due_after_at", type=INSTANT, vi="Hẹn trả mới", en="Promised return after"),
    ),
)

CORE_UNIT = Table(
    name="core_unit",
    vi="Đơn vị hành chính theo thời gian",
    en="Units, dated: the same GSO code can mean another territory after 2025-07-01, this code cannot",
    key=("unit_code", "valid_from"),
    sort=("unit_code", "valid_from"),
    columns=(
        Column(
            name="unit_code",
            type=TEXT,
            nullable=False,
            vi="Mã đơn vị",
            en="Province portal code, then the GSO codes of district and commune as they stood, or the department: "
            "H15, H15.643, H15.643.24118 (until 2025-06-30), H15.24133 (from 2025-07-01), H15.SNV",
        ),
        Column(name="valid_from", type=DAY, nullable=False, vi="Hiệu lực từ", en="First day"),
        Column(name="valid_to", type=DAY, vi="Hiệu lực đến", en="Last day, null while in force"),
        Column(name="name", type=TEXT, nullable=False, vi="Tên", en="Name in this span of time (NFC)"),
        Column(name="level", type=TEXT, nullable=False, values=LEVELS, vi="Cấp", en="Level"),
        Column(name="parent_code", type=TEXT, vi="Đơn vị cấp trên", en="Unit above"),
        Column(name="province_code", type=TEXT, nullable=False, vi="Mã tỉnh trên Cổng", en="Portal code, H15"),
        Column(name="gso_code", type=TEXT, vi="Mã của Tổng cục Thống kê", en="GSO code, null for departments"),
    ),
)

CORE_PROCEDURE = Table(
    name="core_procedure",
    vi="Thủ tục hành chính theo thời gian",
    en="Procedures, dated",
    key=("procedure_code", "valid_from"),
    sort=("procedure_code", "valid_from"),
    columns=(
        Column(name="procedure_code", type=TEXT, nullable=False, vi="Mã thủ tục", en="National code d.dddddd"),
        Column(name="valid_from", type=DAY, nullable=False, vi="Hiệu lực từ", en="First day"),
        Column(name="valid_to", type=DAY, vi="Hiệu lực đến", en="Last day, null while in force"),
        Column(name="name", type=TEXT, nullable=False, vi="Tên", en="Name (NFC)"),
        Column(name="sector", type=TEXT, vi="Lĩnh vực", en="Sector"),
        Column(name="levels", type=TEXT, vi="Cấp thực hiện", en="Levels that carry it out, as published"),
        Column(name="has_fee", type=FLAG, nullable=False, vi="Có phí, lệ phí", en="A fee amount is published"),
        Column(
            name="is_result_required",
            type=FLAG,
            nullable=False,
            vi="Có kết quả là giấy tờ",
            en="A result document is published",
        ),
        Column(name="offers_online", type=FLAG, nullable=False, vi="Nhận trực tuyến", en="Online is offered"),
        Column(name="limit_value", type=RATE, vi="Thời hạn", en="Time limit, in limit_unit"),
        Column(name="limit_unit", type=TEXT, vi="Đơn vị thời hạn", en="Unit of the time limit, as published"),
    ),
)

OUT_INDICATOR = Table(
    name="out_indicator",
    vi="Chỉ số theo đơn vị, cấp, tỉnh và theo tháng, quý, năm",
    en="Indicators by unit, level and province, by month, quarter and year",
    key=("indicator", "version", "scope", "level", "unit_code", "period", "period_start"),
    sort=("indicator", "version", "scope", "level", "unit_code", "period", "period_start"),
    columns=(
        Column(name="indicator", type=TEXT, nullable=False, vi="Chỉ số", en="Indicator id"),
        Column(name="version", type=TEXT, nullable=False, vi="Phiên bản định nghĩa", en="Definition version"),
        Column(
            name="scope",
            type=TEXT,
            nullable=False,
            values=("unit", "level", "province"),
            vi="Phạm vi",
            en="unit: one unit; level: all units of a level; province: everything",
        ),
        Column(
            name="level",
            type=TEXT,
            nullable=False,
            values=(*LEVELS, "all"),
            vi="Cấp",
            en="Level of the unit or of the sum; all for the province",
        ),
        Column(name="unit_code", type=TEXT, nullable=False, vi="Mã đơn vị", en="Unit, or the province for sums"),
        Column(
            name="period",
            type=TEXT,
            nullable=False,
            values=("month", "quarter", "year"),
            vi="Kỳ",
            en="Kind of period",
        ),
        Column(name="period_start", type=DAY, nullable=False, vi="Ngày đầu kỳ", en="First day of the period"),
        Column(name="numerator", type=COUNT, nullable=False, vi="Tử số", en="Numerator"),
        Column(name="denominator", type=COUNT, nullable=False, vi="Mẫu số", en="Denominator"),
        Column(name="rate", type=RATE, vi="Tỷ lệ (0..1)", en="numerator / denominator; null without denominator"),
        Column(
            name="state",
            type=TEXT,
            nullable=False,
            values=STATES,
            vi="Tình trạng",
            en="ok, or no_denominator: nothing to measure, which is not 0 %",
        ),
        Column(name="as_of", type=INSTANT, nullable=False, vi="Tính đến", en="Facts known up to this instant"),
    ),
)

OUT_VERDICT = Table(
    name="out_verdict",
    vi="Kết luận so với chỉ tiêu",
    en="Verdicts: indicators held against dated targets",
    key=("target", "version", "scope", "level", "unit_code", "period", "period_start"),
    sort=("target", "version", "scope", "level", "unit_code", "period", "period_start"),
    columns=(
        Column(name="target", type=TEXT, nullable=False, vi="Chỉ tiêu", en="Target id, as in the decision's table"),
        Column(name="indicator", type=TEXT, vi="Chỉ số", en="Indicator that answers it; null without source"),
        Column(name="version", type=TEXT, nullable=False, vi="Phiên bản", en="Definition version; '' without source"),
        *(OUT_INDICATOR.column(name) for name in ("level", "scope", "unit_code", "period", "period_start")),
        Column(name="threshold", type=RATE, nullable=False, vi="Ngưỡng (0..1)", en="Threshold, a share"),
        Column(name="rate", type=RATE, vi="Tỷ lệ (0..1)", en="Rate, null without denominator or source"),
        Column(name="numerator", type=COUNT, vi="Tử số", en="Numerator, null without source"),
        Column(name="denominator", type=COUNT, vi="Mẫu số", en="Denominator, null without source"),
        Column(
            name="gap_dossiers",
            type=COUNT,
            vi="Còn thiếu (hồ sơ)",
            en="How many more of the denominator must join the numerator to meet the threshold; 0 when met",
        ),
        Column(name="verdict", type=TEXT, nullable=False, values=VERDICTS, vi="Kết luận", en="Verdict"),
        Column(name="document", type=TEXT, nullable=False, vi="Văn bản", en="Decision"),
        Column(name="clause", type=TEXT, nullable=False, vi="Điều khoản", en="Clause(s)"),
    ),
)

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
        _SOURCE,
        Column(name="record_key", type=TEXT, nullable=False, vi="Khóa bản ghi", en="Source key, or where it stood"),
        Column(name="content_hash", type=TEXT, nullable=False, vi="Vân tay nội dung", en="Hash of the record"),
        Column(name="reason", type=TEXT, nullable=False, vi="Mã lý do", en="Machine reason, e.g. unmapped_status"),
        Column(name="clause", type=TEXT, nullable=False, vi="Điều khoản hợp đồng", en="Field or clause that broke"),
        Column(name="detail", type=TEXT, nullable=False, vi="Giải thích", en="For an operator, in Vietnamese"),
        Column(name="excerpt", type=TEXT, vi="Trích đoạn", en="Contract fields as JSON, masked"),
        Column(name="quarantined_at", type=INSTANT, nullable=False, vi="Lúc", en="When"),
    ),
)

CORE_TABLES = (
    CORE_CROSSWALK,
    CORE_DOSSIER,
    CORE_COMPONENT,
    CORE_PAYMENT,
    CORE_STEP,
    CORE_SUPPLEMENT,
    CORE_UNIT,
    CORE_PROCEDURE,
)
OUT_TABLES = (OUT_INDICATOR, OUT_VERDICT)
TABLES = {table.name: table for table in (*CORE_TABLES, *OUT_TABLES, RAW_QUARANTINE)}

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

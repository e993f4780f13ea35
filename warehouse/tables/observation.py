"""What other systems and offices stated (core_observation): rates that dossiers cannot give.

Belongs here: the declaration of that one table. Does not belong here: which indicators may be stated
(`assets/indicators/observed.csv`), nor what is computed from statements (`out.py`).
"""

from __future__ import annotations

from warehouse.schema import COUNT, DAY, INSTANT, RATE, TEXT, Column, Table
from warehouse.tables.common import LEVELS, PERIODS

CORE_OBSERVATION = Table(
    name="core_observation",
    vi="Số liệu do đơn vị hoặc hệ thống khác cung cấp, từng lần xác nhận một dòng",
    en="Statements of offices and other systems, one row each; a later one takes the place of an earlier one for the "
    "present, and both are kept",
    key=("indicator", "scope", "level", "unit_code", "period", "period_start", "stated_on", "content_hash"),
    sort=("indicator", "scope", "level", "unit_code", "period", "period_start", "stated_on", "received_at"),
    columns=(
        Column(name="indicator", type=TEXT, nullable=False, vi="Mã chỉ số", en="Indicator of the observed dictionary"),
        Column(
            name="scope",
            type=TEXT,
            nullable=False,
            values=("unit", "level", "province"),
            vi="Phạm vi",
            en="unit: one unit; level: a whole level in one statement; province: the whole province in one",
        ),
        Column(
            name="level",
            type=TEXT,
            nullable=False,
            values=(*LEVELS, "all"),
            vi="Cấp",
            en="Level of the unit in the period, or of the whole; all for the province",
        ),
        Column(name="unit_code", type=TEXT, nullable=False, vi="Mã đơn vị", en="Unit, or the province for a whole"),
        Column(name="period", type=TEXT, nullable=False, values=PERIODS, vi="Kỳ", en="Kind of period"),
        Column(name="period_start", type=DAY, nullable=False, vi="Ngày đầu kỳ", en="First day of the period"),
        Column(
            name="stated_on",
            type=DAY,
            nullable=False,
            vi="Ngày xác nhận",
            en="Day on which the statement was made; the latest one counts",
        ),
        Column(
            name="content_hash",
            type=TEXT,
            nullable=False,
            vi="Vân tay nội dung",
            en="Hash of everything that was stated; the same statement sent twice is one row",
        ),
        Column(name="numerator", type=COUNT, vi="Tử số", en="Numerator; null where only a value is stated"),
        Column(name="denominator", type=COUNT, vi="Mẫu số", en="Denominator; null where only a value is stated"),
        Column(
            name="value",
            type=RATE,
            vi="Giá trị",
            en="Value of an indicator without counts: a share 0..1, a rank, or a whole number; null with counts",
        ),
        Column(
            name="evidence",
            type=TEXT,
            nullable=False,
            vi="Văn bản chứng minh",
            en="Document number or URL that proves the statement",
        ),
        Column(
            name="vouched_by_role",
            type=TEXT,
            nullable=False,
            vi="Chức danh xác nhận",
            en="Role of whoever vouches, never a person's name",
        ),
        Column(name="source", type=TEXT, nullable=False, vi="Nguồn", en="File name, or name of the endpoint"),
        Column(
            name="received_at",
            type=INSTANT,
            nullable=False,
            vi="Lúc nhận",
            en="When the statement was first read; what was known on a date is what had been received by it",
        ),
    ),
)

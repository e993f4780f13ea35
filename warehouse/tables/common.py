"""What several tables share: closed lists of values, and columns that mean the same everywhere.

Belongs here: a list or column that at least two declarations use. Does not belong here: any table.
"""

from __future__ import annotations

from warehouse.schema import FLAG, TEXT, Column

LEVELS = ("province", "district", "commune")
CHANNELS = ("direct", "online", "post")
SERVICE_LEVELS = ("full", "partial", "information")
SOURCES = ("portal", "onestop", "messages")
STATES = ("ok", "no_denominator")
#: How the processing of a dossier ended (indicators 2.2), or what it waits for.
END_KINDS = ("processed", "returned", "stopped", "denied", "withdrawn", "waiting")
#: What a dossier's deadline rests on: the promised return, or the procedure's time limit.
DEADLINE_BASES = ("promise", "limit", "none")
PERIODS = ("month", "quarter", "half", "year")
#: What of an indicator may be summed: always (units and months), units (judged at each period's end: units
#: only), no (distinct procedures, or a figure of another system).
ADDS_UP = ("always", "units", "no")
BOUNDARIES = ("then", "now")
VERDICTS = ("met", "missed", "not_yet_due", "no_source", "not_applicable", "too_few")


LAKE_MONTH = Column(
    name="lake_month",
    type=TEXT,
    nullable=False,
    vi="Tháng lưu trữ (yyyy-MM), chỉ để chia tệp",
    en="Storage month (yyyy-MM) of the dossier: divides files, carries no meaning",
)
DOSSIER_KEY = Column(
    name="dossier_key",
    type=TEXT,
    nullable=False,
    vi="Khóa hồ sơ trong kho",
    en="Key of the dossier: its public code, or source:record for a draft without a code",
)
SOURCE = Column(name="source", type=TEXT, nullable=False, vi="Nguồn", en="Source that said it")
#: What a row of sums speaks of: one unit, all units of a level, or the whole province.
SCOPE = Column(
    name="scope",
    type=TEXT,
    nullable=False,
    values=("unit", "level", "province"),
    vi="Phạm vi",
    en="unit: one unit; level: all units of a level; province: everything",
)
LEVEL = Column(
    name="level",
    type=TEXT,
    nullable=False,
    values=(*LEVELS, "all"),
    vi="Cấp",
    en="Level of the unit or of the sum; all for the province",
)
DIMENSIONS = (
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

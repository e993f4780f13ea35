"""The tables of the house, each declared once.

Belongs here: columns, types, keys and meaning of every core_ and out_ table. Does not belong here:
the shape of what a source says (each connector declares its own wire contract, see `connectors`),
nor any query.

Layers read raw_ → core_ → out_. Instants are UTC; columns that end in `_on` are days in
Asia/Ho_Chi_Minh. Codes are text so that leading zeros stay. A rate is never stored without the two
counts that make it.
"""

from __future__ import annotations

from warehouse.tables.agency import CORE_AGENCY
from warehouse.tables.common import (
    ADDS_UP,
    BOUNDARIES,
    CHANNELS,
    LEVELS,
    PERIODS,
    SERVICE_LEVELS,
    SOURCES,
    STATES,
    VERDICTS,
)
from warehouse.tables.core import (
    CORE_CALENDAR,
    CORE_CLAIM,
    CORE_COMPONENT,
    CORE_CROSSWALK,
    CORE_DOSSIER,
    CORE_PAYMENT,
    CORE_PROCEDURE,
    CORE_STEP,
    CORE_SUCCESSION,
    CORE_SUPPLEMENT,
    CORE_UNIT,
)
from warehouse.tables.observation import CORE_OBSERVATION
from warehouse.tables.out import OUT_INDICATOR, OUT_VERDICT
from warehouse.tables.outlook import OUT_OUTLOOK
from warehouse.tables.raw import RAW_BOOKKEEPING, RAW_QUARANTINE, RAW_SHAPE, raw_table
from warehouse.tables.reconciliation import OUT_RECONCILIATION, OUT_WORKLIST
from warehouse.tables.score import OUT_EVALUATION, OUT_SCORE, OUT_SCORE_TOTAL, RAW_EVALUATION
from warehouse.tables.statistic import OUT_STATISTIC

CORE_TABLES = (
    CORE_CROSSWALK,
    CORE_CLAIM,
    CORE_DOSSIER,
    CORE_COMPONENT,
    CORE_PAYMENT,
    CORE_STEP,
    CORE_SUPPLEMENT,
    CORE_UNIT,
    CORE_SUCCESSION,
    CORE_PROCEDURE,
    CORE_CALENDAR,
    CORE_OBSERVATION,
    CORE_AGENCY,
)
OUT_TABLES = (
    OUT_INDICATOR,
    OUT_VERDICT,
    OUT_OUTLOOK,
    OUT_SCORE,
    OUT_SCORE_TOTAL,
    OUT_EVALUATION,
    OUT_STATISTIC,
    OUT_RECONCILIATION,
    OUT_WORKLIST,
)
TABLES = {table.name: table for table in (*CORE_TABLES, *OUT_TABLES, RAW_EVALUATION, RAW_QUARANTINE)}

__all__ = [
    "ADDS_UP",
    "BOUNDARIES",
    "CHANNELS",
    "CORE_AGENCY",
    "CORE_CALENDAR",
    "CORE_CLAIM",
    "CORE_COMPONENT",
    "CORE_CROSSWALK",
    "CORE_DOSSIER",
    "CORE_OBSERVATION",
    "CORE_PAYMENT",
    "CORE_PROCEDURE",
    "CORE_STEP",
    "CORE_SUCCESSION",
    "CORE_SUPPLEMENT",
    "CORE_TABLES",
    "CORE_UNIT",
    "LEVELS",
    "OUT_EVALUATION",
    "OUT_INDICATOR",
    "OUT_OUTLOOK",
    "OUT_RECONCILIATION",
    "OUT_SCORE",
    "OUT_SCORE_TOTAL",
    "OUT_STATISTIC",
    "OUT_TABLES",
    "OUT_VERDICT",
    "OUT_WORKLIST",
    "PERIODS",
    "RAW_BOOKKEEPING",
    "RAW_EVALUATION",
    "RAW_QUARANTINE",
    "RAW_SHAPE",
    "SERVICE_LEVELS",
    "SOURCES",
    "STATES",
    "TABLES",
    "VERDICTS",
    "raw_table",
]

"""Which tables are published, and under which names.

Belongs here: what each published table is made of. Does not belong here: columns and their meaning
(`warehouse.tables` declares them once), nor writing anything.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from warehouse.schema import Table
from warehouse.tables import (
    CORE_CALENDAR,
    CORE_DOSSIER,
    CORE_PAYMENT,
    CORE_PROCEDURE,
    CORE_SUCCESSION,
    CORE_SUPPLEMENT,
    CORE_UNIT,
    OUT_INDICATOR,
    OUT_VERDICT,
)
from warehouse.tables.observation import CORE_OBSERVATION
from warehouse.tables.outlook import OUT_OUTLOOK
from warehouse.tables.reconciliation import OUT_RECONCILIATION, OUT_WORKLIST
from warehouse.tables.score import OUT_EVALUATION, OUT_SCORE, OUT_SCORE_TOTAL
from warehouse.tables.statistic import OUT_STATISTIC


@dataclass(frozen=True)
class Published:
    """One published table: where its rows come from and the declaration that its readers see."""

    source: Table
    table: Table

    @property
    def file_name(self) -> str:
        """Name of its file within a publication."""
        return f"{self.table.name}.parquet"


def _published(name: str, source: Table, *, without: Collection[str] = ()) -> Published:
    columns = tuple(column for column in source.columns if column.name not in without)
    return Published(source=source, table=replace(source, name=name, columns=columns, partition=None))


#: Every published table, in the order of datapackage.json. The storage month of the lake is left out:
#: it divides files and carries no meaning for a reader.
PUBLISHED = (
    _published("indicator", OUT_INDICATOR),
    _published("verdict", OUT_VERDICT),
    _published("outlook", OUT_OUTLOOK),
    _published("score", OUT_SCORE),
    _published("score_total", OUT_SCORE_TOTAL),
    _published("evaluation", OUT_EVALUATION),
    _published("statistic", OUT_STATISTIC),
    _published("worklist", OUT_WORKLIST),
    _published("reconciliation", OUT_RECONCILIATION),
    _published("observation", CORE_OBSERVATION),
    _published("dossier", CORE_DOSSIER, without={"lake_month"}),
    _published("payment", CORE_PAYMENT, without={"lake_month"}),
    _published("supplement", CORE_SUPPLEMENT, without={"lake_month"}),
    _published("unit", CORE_UNIT),
    _published("succession", CORE_SUCCESSION),
    _published("procedure", CORE_PROCEDURE),
    _published("calendar", CORE_CALENDAR),
)

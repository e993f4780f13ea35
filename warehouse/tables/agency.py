"""What sources call their units (core_agency).

Belongs here: the table of the unit directories. Does not belong here: the units themselves (`core.py`), nor how a
directory is read (`connectors/units.py`) and laid over what is known (`assets/dossiers/directory.py`).
"""

from __future__ import annotations

from warehouse.schema import DAY, TEXT, Column, Table
from warehouse.tables.common import SOURCE

CORE_AGENCY = Table(
    name="core_agency",
    vi="Danh bạ đơn vị của từng nguồn theo thời gian: mã, tên, và đơn vị của ta",
    en="What each source's directory calls its units, dated: a new name closes a row and opens the next one",
    key=("source", "agency", "first_listed_on"),
    sort=("source", "agency", "first_listed_on"),
    columns=(
        SOURCE,
        Column(name="agency", type=TEXT, nullable=False, vi="Mã đơn vị ở nguồn", en="Code that the directory lists"),
        Column(
            name="first_listed_on",
            type=DAY,
            nullable=False,
            vi="Liệt kê từ ngày",
            en="Day from which the code was found listed under this name; never earlier than the first reading",
        ),
        Column(
            name="last_listed_on",
            type=DAY,
            vi="Liệt kê đến ngày",
            en="The day before it was found to be gone, or to have another name; null while listed",
        ),
        Column(name="name", type=TEXT, nullable=False, vi="Tên trong danh bạ", en="Name in the directory (NFC)"),
        Column(
            name="unit_code",
            type=TEXT,
            vi="Đơn vị của ta",
            en="The unit that agencies.csv says it is; null while it says none",
        ),
        Column(
            name="mapped_by",
            type=TEXT,
            values=("code", "name"),
            vi="Gắn theo",
            en="What agencies.csv names it by, as dossiers of the source do: code or name; null while not mapped",
        ),
    ),
)

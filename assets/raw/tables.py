"""The raw tables: what each source said, as extracted, every version kept.

Belongs here: one declaration per kind of record, derived from the connectors' wire contracts. Does
not belong here: how they are filled (`extraction.py`).
"""

from __future__ import annotations

from connectors.igate import DOSSIERS as ONESTOP_CONTRACT
from connectors.npsp_log import MESSAGES, PROGRESS
from connectors.opencps import DOSSIERS as PORTAL_CONTRACT
from warehouse.tables import raw_table

RAW_PORTAL = raw_table(
    "raw_portal",
    vi="Hồ sơ như cổng dịch vụ công của tỉnh trả về",
    en="Dossiers as the provincial portal says them (OpenCPS REST v2)",
    fields=PORTAL_CONTRACT.schema,
)
RAW_ONESTOP = raw_table(
    "raw_onestop",
    vi="Hồ sơ như hệ thống một cửa điện tử trả về",
    en="Dossiers as the one-stop system says them (iGate v2)",
    fields=ONESTOP_CONTRACT.schema,
)
RAW_MESSAGES = raw_table(
    "raw_messages",
    vi="Bản tin hồ sơ một cửa đã gửi Cổng Dịch vụ công quốc gia",
    en="Dossier messages sent to the national portal (DongBoHoSoMC)",
    fields=MESSAGES.schema,
)
RAW_PROGRESS = raw_table(
    "raw_progress",
    vi="Bản tin tiến độ xử lý đã gửi Cổng Dịch vụ công quốc gia",
    en="Progress messages sent to the national portal (CapNhatTienDoHoSoMC)",
    fields=PROGRESS.schema,
)
#: Contract kind → table.
RAW_TABLES = {"portal": RAW_PORTAL, "onestop": RAW_ONESTOP, "messages": RAW_MESSAGES, "progress": RAW_PROGRESS}

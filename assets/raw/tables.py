"""The raw tables: what each source said, as extracted, every version kept.

Belongs here: one declaration per kind of record, derived from the connectors' wire contracts. Does
not belong here: how they are filled (`extraction.py`).
"""

from __future__ import annotations

import pyarrow as pa

from connectors.files_map import SCHEMA_OF_FILES
from connectors.igate_records import DOSSIERS as ONESTOP_CONTRACT
from connectors.npsp_log import MESSAGES, PROGRESS
from connectors.opencps import DOSSIERS as PORTAL_CONTRACT
from connectors.profiled import PAYMENT_SCHEMA, Role
from connectors.profiled import SCHEMA as PROFILED_SCHEMA
from warehouse.schema import Table
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


def table_of(name: str, role: Role, *, is_dropped: bool = False) -> Table:
    """The raw table of the profiled system `name`, by its role; of a source of files where `is_dropped`."""
    if role == "payments":
        return payments_table(name, is_dropped=is_dropped)
    return dropped_table(name) if is_dropped else profiled_table(name)


def payments_table(name: str | None = None, *, is_dropped: bool = False) -> Table:
    """`raw_payments_<name>`: one row per version of a transaction; without a name the shape that all share."""
    beside = [SCHEMA_OF_FILES.field("slice"), SCHEMA_OF_FILES.field("position")] if is_dropped else []
    return raw_table(
        "raw_payments" if name is None else f"raw_payments_{name}",
        vi="Giao dịch như nền tảng thanh toán ghi" + (f" ({name})" if name else ""),
        en="Transactions as a payment platform says them" + (f" ({name})" if name else ""),
        fields=pa.schema([*PAYMENT_SCHEMA, *beside]),
    )


def profiled_table(name: str | None = None) -> Table:
    """`raw_profiled_<name>`, what the profiled system `name` says; without a name the shape that all share."""
    return raw_table(
        "raw_profiled" if name is None else f"raw_profiled_{name}",
        vi="Hồ sơ như hệ thống kết nối bằng hồ sơ nguồn trả về" + (f" ({name})" if name else ""),
        en="Dossiers as a system connected by a profile says them" + (f" ({name})" if name else ""),
        fields=PROFILED_SCHEMA,
    )


def dropped_table(name: str) -> Table:
    """The same of a source of files: what file and row a record stood in, and which slice it belongs to, beside it."""
    return raw_table(
        f"raw_profiled_{name}",
        vi=f"Hồ sơ như các tệp được thả vào thư mục ghi ({name})",
        en=f"Dossiers as dropped files say them ({name})",
        fields=SCHEMA_OF_FILES,
    )

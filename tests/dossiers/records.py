"""Source records made by hand, in the raw tables' shape: each names only what a test is about.

Belongs here: neutral records of the three sources and a small world (lake, database, tables of
meanings) to conform them in. Does not belong here: anything a test reasons about.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import md5
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from assets.dossiers.conform import RAW_BY_SOURCE, ConformResult, conform
from tests.rows import table_rows
from warehouse.calendar import Calendar
from warehouse.database import Database
from warehouse.lake import Lake
from warehouse.reference import reference_tables
from warehouse.schema import Table
from warehouse.tables import CORE_DOSSIER, RAW_QUARANTINE

PROCEDURE = "1.001193"
AGENCIES = """source,agency,unit_code
portal,000.00.07.H15,H15.SNV
onestop,H15.07,H15.SNV
messages,Sở Nội vụ,H15.SNV
portal,H15.133,H15.24133
onestop,H15.50.33,H15.24133
messages,UBND Phường Buôn Ma Thuột,H15.24133
"""
CODES = """source,kind,code,value
portal,status,,1
portal,status,processing,4
portal,status,done,10
portal,channel,online,online
portal,channel,direct,direct
portal,channel,post,post
portal,payment_method,KeyPayDVCQG,online
portal,payment_method,Tiền mặt,cash
portal,service_level,4,full
onestop,status,2,4
onestop,status,9,10
onestop,status,5,9
onestop,channel,0,direct
onestop,channel,1,online
onestop,payment_method,VNPT Pay,online
onestop,payment_method,Tiền mặt,cash
messages,status,2,2
messages,status,4,4
messages,status,9,9
messages,status,10,10
messages,channel,1,direct
messages,channel,2,online
messages,channel,,direct
"""


def portal(dossier_id: int, **said: Any) -> dict[str, Any]:
    """A dossier as the portal lists it: direct, in process, handled by the department."""
    return {
        "record_key": f"10101:{dossier_id}",
        "groupId": "10101",
        "dossierId": dossier_id,
        "systemId": 0,
        "referenceUid": f"uid-{dossier_id}",
        "dossierNo": "",
        "serviceCode": f"{PROCEDURE}.000.00.00.H15",
        "serviceLevel": 4,
        "govAgencyCode": "000.00.07.H15",
        "dossierStatus": "processing",
        "online": "false",
        "fromViaPostal": "0",
        "createDate": "01/10/2026 08:00:00",
        "modifiedDate": "01/10/2026 08:00:00",
    } | said


def onestop(key: str, **said: Any) -> dict[str, Any]:
    """A dossier as the one-stop system lists it: direct, in process, received on 1 October 2026."""
    return {
        "record_key": key,
        "id": key,
        "code": key,
        "dossierStatusId": 2,
        "procedureCode": PROCEDURE,
        "agencyCode": "H15.07",
        "agencyName": "Sở Nội vụ",
        "applyMethodId": 0,
        "acceptedDate": "2026-10-01T08:00:00.000+0700",
        "updatedDate": "2026-10-01T08:00:00.000+0700",
    } | said


def message(code: str, **said: Any) -> dict[str, Any]:
    """A DongBoHoSoMC record: direct, in process, received on 1 October 2026."""
    return {
        "record_key": code,
        "MaHoSo": code,
        "MaTTHC": PROCEDURE,
        "KenhThucHien": "1",
        "TrangThaiHoSo": "4",
        "NgayTiepNhan": "20261001080000",
        "DonViXuLy": "Sở Nội vụ",
    } | said


def progress(code: str, at: str, status: str = "4") -> dict[str, Any]:
    """A CapNhatTienDoHoSoMC record."""
    return {"record_key": f"{code}|{at}|{status}", "MaHoSo": code, "ThoiDiemXuLy": at, "TrangThai": status}


@cache
def _reference() -> tuple[tuple[Table, pa.Table], ...]:
    """The official reference data with one department; the same for every world."""
    with TemporaryDirectory() as folder:
        departments = Path(folder) / "departments.csv"
        departments.write_text("code,name,valid_from,valid_to\nH15.SNV,Sở Nội vụ,,\n", encoding="utf-8")
        return tuple(reference_tables("H15", departments, Calendar.load()))


@dataclass
class World:
    """A home to conform in; `night` stores records as a night's extraction would and conforms them."""

    folder: Path
    agencies: str = AGENCIES
    codes: str = CODES
    nights: int = 0
    lake: Lake = field(init=False)
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        self.lake = Lake(str(self.folder / "lake"))
        self.database = Database.open(f"sqlite:///{self.folder / 'thuocdo.db'}")
        for table, rows in _reference():
            self.lake.replace(table, rows)

    def store(self, **records: list[dict[str, Any]]) -> None:
        """Append records to their raw tables, one instant per night."""
        self.nights += 1
        stored_at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=self.nights)
        for source, said in records.items():
            rows = [
                {
                    "content_hash": md5(repr(sorted(row.items())).encode(), usedforsecurity=False).hexdigest(),
                    "extracted_at": stored_at,
                    "night": str(self.nights),
                    **row,
                }
                for row in said
            ]
            self.lake.append(RAW_BY_SOURCE[source], table_rows(RAW_BY_SOURCE[source], *rows))

    def conform(self) -> ConformResult:
        """Conform what is stored, with the tables of meanings as they stand."""
        agencies, codes = self.folder / "agencies.csv", self.folder / "codes.csv"
        agencies.write_text(self.agencies, encoding="utf-8")
        codes.write_text(self.codes, encoding="utf-8")
        return conform(self.lake, self.database, night=str(self.nights), agencies=agencies, codes=codes)

    def night(self, **records: list[dict[str, Any]]) -> ConformResult:
        """Store and conform."""
        self.store(**records)
        return self.conform()

    def dossiers(self) -> dict[str, dict[str, Any]]:
        """core_dossier by key."""
        return {row["dossier_key"]: row for row in self.lake.read(CORE_DOSSIER).to_pylist()}

    def quarantine(self) -> list[tuple[str, str, str, str]]:
        """(source, record_key, reason, detail) of what is kept out."""
        rows = self.lake.read(RAW_QUARANTINE).to_pylist()
        return sorted((row["source"], row["record_key"], row["reason"], row["detail"]) for row in rows)

"""A world with a payment platform beside it: transactions come as files, dossiers as records made by hand.

Belongs here: dropping what a platform would write and reading it by the shipped profile, nights, reading back. Does
not belong here: any expectation.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from assets.dossiers.conform import ConformResult, conform
from assets.dossiers.profiled import Profiled, profiled_systems
from assets.raw.extraction import SourceCount, extract
from connectors.files import FilesSettings
from connectors.sources import SourceSettings
from tests.dossiers.records import World
from warehouse.tables import CORE_PAYMENT

SOURCE = "nen_tang"
COLUMNS = ("MaThamChieu", "MaGiaoDich", "MaHoSo", "SoTien", "ThoiGianGD", "MaLoi", "TrangThai")


def transaction(reference: str, code: str, **said: str) -> dict[str, str]:
    """A row of the platform's file: 50.000 đồng, paid on 2 October 2026."""
    return {
        "MaThamChieu": reference,
        "MaGiaoDich": f"GD-{reference}",
        "MaHoSo": code,
        "SoTien": "50000",
        "ThoiGianGD": "20261002091500",
        "MaLoi": "00",
        "TrangThai": "Đã thanh toán",
    } | said


@dataclass
class Platform(World):
    """The world of `records.py`, and a folder into which the platform's files are dropped."""

    profile: str = "payment-platform-file"
    #: Further sources by name; the platform's folder is always one.
    others: dict[str, SourceSettings] = field(default_factory=dict)

    @property
    def inbox(self) -> Path:
        """Where files are dropped."""
        folder = self.folder / "in"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def sources(self) -> dict[str, SourceSettings]:
        """What the province's file would say."""
        said = {"kind": "files", "role": "payments", "profile": self.profile, "folder": str(self.inbox)}
        return {SOURCE: FilesSettings.model_validate(said | {"settle_seconds": 0}), **self.others}

    def systems(self) -> tuple[Profiled, ...]:
        """The same, as conforming sees them."""
        return profiled_systems(self.sources)

    def drop(self, name: str, rows: Sequence[dict[str, str]]) -> None:
        """Put a file there, written a day after the one before."""
        lines = [COLUMNS, *([row[column] for column in COLUMNS] for row in rows)]
        file = self.inbox / name
        file.write_text("".join(";".join(line) + "\n" for line in lines), encoding="utf-8")
        moment = (datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=len(list(self.inbox.iterdir())))).timestamp()
        os.utime(file, (moment, moment))

    def read(self) -> list[SourceCount]:
        """Extract every source as a night would."""
        end = datetime(2026, 11, 10, tzinfo=UTC) + timedelta(days=self.nights)
        window = (end - timedelta(days=90), end)
        return [
            count
            for name, settings in self.sources.items()
            for count in extract(
                name,
                settings,
                window=window,
                lake=self.lake,
                database=self.database,
                night=str(self.nights),
                now=end + timedelta(hours=1),
            )
        ]

    def conform(self) -> ConformResult:
        """Read what the platform says, then conform everything."""
        self.counts = self.read()
        agencies, codes = self.folder / "agencies.csv", self.folder / "codes.csv"
        agencies.write_text(self.agencies, encoding="utf-8")
        codes.write_text(self.codes, encoding="utf-8")
        return conform(
            self.lake,
            self.database,
            night=str(self.nights),
            agencies=agencies,
            codes=codes,
            profiled=self.systems(),
        )

    def payments(self, code: str) -> list[dict[str, Any]]:
        """The dossier's rows of core_payment, in order."""
        rows = self.lake.read(CORE_PAYMENT).to_pylist()
        return sorted((row for row in rows if row["dossier_key"] == code), key=lambda row: row["payment_no"])

"""A folder that files are dropped into, and a home that reads it through the real extraction and conforming.

Belongs here: writing small files of every kind, nights, reading back. Does not belong here: any expectation.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import yaml

from assets.raw.extraction import SourceCount
from assets.raw.tables import dropped_table
from connectors.files import FilesSettings
from tests.connectors.rest.homes import OneSource, vietnam

SOURCE = "drop"
FIRST_NIGHT = vietnam(2026, 11, 1)
#: Columns of the files of most tests, as an office would name them.
COLUMNS = ("Mã hồ sơ", "Mã TTHC", "Đơn vị", "Trạng thái", "Hình thức nộp", "Ngày nộp", "Ngày tiếp nhận", "Ngày hẹn trả")
PROFILE: Mapping[str, Any] = {
    "system": "Một cửa cũ",
    "dates": ["%d/%m/%Y %H:%M", "%d/%m/%Y", "excel"],
    "fields": {
        "dossier_code": "Mã hồ sơ",
        "procedure_code": "Mã TTHC",
        "agency": "Đơn vị",
        "status": "Trạng thái",
        "channel": "Hình thức nộp",
        "submitted_at": "Ngày nộp",
        "received_at": "Ngày tiếp nhận",
        "due_at": "Ngày hẹn trả",
    },
    "codes": {
        "status": {"Đang xử lý": "4", "Đã trả kết quả": "10"},
        "channel": {"Trực tuyến": "online", "Trực tiếp": "direct"},
    },
}
#: One dossier per row, in the order of COLUMNS.
ROWS = (
    ("000.01.H15-261015-0001", "1.000016", "Sở Tài chính", "Đang xử lý", "Trực tuyến", "14/10/2026 09:00",
     "15/10/2026 07:30", "30/10/2026"),
    ("000.01.H15-261016-0002", "1.000016", "Sở Tài chính", "Đã trả kết quả", "Trực tiếp", "16/10/2026 08:00",
     "16/10/2026 08:00", "26/10/2026"),
)  # fmt: skip


def row(number: int, **changes: str) -> tuple[str, ...]:
    """A dossier of its own; `changes` are columns by their place: c3="Đã trả kết quả"."""
    cells = [f"000.01.H15-261017-{number:04d}", *ROWS[0][1:]]
    for place, value in changes.items():
        cells[int(place[1:])] = value
    return tuple(cells)


def csv_text(rows: Sequence[Sequence[str]], columns: Sequence[str] = COLUMNS, separator: str = ";") -> str:
    """Rows below their headings, every line ended."""
    return "".join(separator.join(cells) + "\n" for cells in [columns, *rows])


def workbook(rows: Sequence[Sequence[Any]], *, title: str = "Dữ liệu", merges: Sequence[str] = ()) -> bytes:
    """A workbook of one sheet, cell by cell as given."""
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = title
    for cells in rows:
        sheet.append(list(cells))
    for area in merges:
        sheet.merge_cells(area)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


class Drops:
    """A folder and its home; `more` are keys of the source, `profile` those of the profile that differ."""

    def __init__(self, root: Path, profile: Mapping[str, Any] | None = None, **more: Any) -> None:
        self.folder = root / "in"
        self.folder.mkdir(parents=True)
        self._profile = root / "profile.yaml"
        self.say(profile or {})
        settings = {"kind": "files", "role": "onestop", "profile": str(self._profile), "folder": str(self.folder)}
        self.home = OneSource(
            root / "home",
            SOURCE,
            FilesSettings.model_validate(settings | {"settle_seconds": 0} | more),
            agencies=(f"{SOURCE},Sở Tài chính,H15.STC",),
        )
        self.nights = 0

    def say(self, profile: Mapping[str, Any]) -> None:
        """Write the profile anew: PROFILE with these keys."""
        self._profile.write_text(yaml.safe_dump({**PROFILE, **profile}, allow_unicode=True), encoding="utf-8")

    def put(self, name: str, content: str | bytes, *, at: datetime | None = None) -> Path:
        """Drop a file, last written at an instant."""
        file = self.folder / name
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        moment = (at or FIRST_NIGHT - timedelta(hours=12)).timestamp()
        os.utime(file, (moment, moment))
        return file

    def night(self) -> SourceCount:
        """The next night's extraction."""
        end = FIRST_NIGHT + timedelta(days=self.nights)
        self.nights += 1
        return self.home.read(f"n{self.nights}", end - timedelta(days=1), end)

    def stored(self) -> dict[str, dict[str, Any]]:
        """The newest version of every record that is there, by its code."""
        rows = self.home.lake.read(dropped_table(SOURCE)).sort_by("extracted_at").to_pylist()
        newest = {each["dossier_code"]: each for each in rows}
        return {code: each for code, each in newest.items() if not each["is_gone"]}

    def told(self) -> list[tuple[str, str]]:
        """Reason and words of what is in quarantine, in order of the words."""
        rows = self.home.quarantined()
        return sorted(((each["reason"], each["detail"]) for each in rows), key=lambda pair: pair[1])

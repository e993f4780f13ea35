"""What a cell becomes, or why its row is refused: `golden.csv`, written for a clerk to read and check."""

from __future__ import annotations

import csv
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.connectors.files.drops import COLUMNS, ROWS, csv_text, workbook
from tests.connectors.files.reading import read

_FIELDS = {"Mã hồ sơ": "dossier_code", "Mã TTHC": "procedure_code", "Trạng thái": "status",
           "Ngày tiếp nhận": "received_at"}  # fmt: skip
_NAMES = (*COLUMNS, "Lệ phí")
GOLDEN = list(
    csv.reader((Path(__file__).parent / "golden.csv").read_text(encoding="utf-8").splitlines(), delimiter=";")
)


def _cell(said: str) -> Any:
    kind, _, text = said.partition(":")
    if kind == "số":
        return float(text) if "." in text else int(text)
    return datetime.fromisoformat(text) if kind == "ngày" else text


def _file(kind: str, cells: list[Any]) -> bytes:
    if kind == "xlsx":
        return workbook([_NAMES, cells])
    if kind == "json":
        return json.dumps([dict(zip(_NAMES, cells, strict=True))]).encode()
    return csv_text([cells], _NAMES).encode()


@pytest.mark.parametrize("line", GOLDEN[1:], ids=lambda line: " ".join(line[:3]))
def test_a_cell_is_read_as_the_table_says(line: list[str], tmp_path: Path) -> None:
    kind, column, written, wanted, reason = line[:5]
    cells: list[Any] = [*ROWS[0], "0"]
    cells[_NAMES.index(column)] = _cell(written)
    done = read(tmp_path, {f"a.{kind}": _file(kind, cells)}, lists={"fees": {"fields": {"amount_vnd": "Lệ phí"}}})
    if reason:
        assert [each.reason for each in done.broken] == [reason]
        assert done.records == []
        told = done.broken[0].detail
        assert "a." + kind in told
        assert (
            f"{'ABCDEFGHI'[_NAMES.index(column)]}2" if kind == "xlsx" else column if kind == "json" else "dòng 2"
        ) in told
        assert written.partition(":")[2] not in told, "a cell is told by its address, not by what it says"
    else:
        (record,) = done.records
        found = record["fees"][0]["amount_vnd"] if column == "Lệ phí" else record[_FIELDS[column]]
        assert found == wanted

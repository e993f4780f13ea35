"""The data dictionary: the published tables in words, rendered from their declarations.

Belongs here: Markdown made from `PUBLISHED`, in Vietnamese and English. Does not belong here: any
description of a column (declarations carry them). Renew docs/data-dictionary.md with:

    python -m assets.publications.dictionary docs/data-dictionary.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from assets.publications.tables import PUBLISHED, Published
from warehouse.schema import INSTANT, Column

_INTRODUCTION = """\
# Từ điển dữ liệu · Data dictionary

Tệp này được sinh từ khai báo bảng (`python -m assets.publications.dictionary docs/data-dictionary.md`); không sửa tay.

This file is generated from the table declarations; do not edit it by hand.

Thư mục `published/` có mỗi bảng một tệp Parquet (nén zstd) và `datapackage.json` (Frictionless Data Package).
`published` là liên kết tới bản công bố mới nhất. Phần mềm đọc nhiều tệp, hoặc mở một tệp nhiều lần (pandas, pyarrow,
DuckDB, Spark đều mở tệp theo đường dẫn hơn một lần), cần đọc liên kết một lần rồi đọc trong thư mục mà nó trỏ tới:
thư mục đó không bao giờ thay đổi, và các bản công bố gần nhất được giữ lại.

The folder `published/` holds one Parquet file per table (zstd) and `datapackage.json` (Frictionless Data Package).
`published` is a link to the newest publication. Whoever reads several files, or opens one file several times (pandas,
pyarrow, DuckDB and Spark all open a path more than once), resolves the link once and reads in the folder behind it:
that folder never changes, and the newest publications are kept.

```python
folder = Path("published").resolve()
received = pd.read_parquet(folder / "dossier.parquet", columns=["unit_code", "is_received"])
```

- Thời điểm lưu theo UTC; cột kết thúc bằng `_on` là ngày theo giờ Việt Nam (Asia/Ho_Chi_Minh).
  Instants are UTC; columns that end in `_on` are days in Asia/Ho_Chi_Minh.
- Mã luôn là chuỗi, giữ số 0 ở đầu. Codes are text; leading zeros stay.
- Không cộng và không lấy trung bình tỷ lệ: cộng tử số và mẫu số rồi chia.
  Rates are never added or averaged: add numerators and denominators, then divide.
- Không có dữ liệu cá nhân. There is no personal data.

`datapackage.json`, ngoài các trường chuẩn · beyond the standard fields:

| Trường · Field | Ý nghĩa | Meaning |
|---|---|---|
| `x-folder` | Thư mục cố định của bản công bố này, tính từ thư mục lưu trữ | Where this publication stays, \
relative to the storage folder |
| `x-as-of` | Số liệu tính đến thời điểm | Facts known up to this instant |
| `x-night` | Mã lần chạy đã công bố | Night (run) that published |
| `x-definitions` | Định nghĩa đã dùng, theo chỉ số/phiên bản | Definitions used, by indicator/version |
| `x-cursors` | Vị trí đã đọc đến của từng nguồn | How far each source was read |
| `x-lake-versions` | Phiên bản bảng trong kho đã đọc | Versions of the lake tables that were read |
| `x-fingerprint` | Vân tay nội dung của mọi bảng | Hash over the content of all tables |
| `x-thuocdo-version` | Phiên bản phần mềm | Version of the program |
"""


def render(published: Iterable[Published] = PUBLISHED) -> str:
    """The whole dictionary as Markdown, one section per published table."""
    return "\n".join([_INTRODUCTION, *(_section(one) for one in published)])


def _section(one: Published) -> str:
    table = one.table
    lines = [
        f"## {table.name}",
        "",
        f"{_sentence(table.vi)} {_sentence(table.en)}",
        "",
        f"- Tệp · File: `{one.file_name}`",
        f"- Khóa · Key: {_names(table.key)}",
        f"- Thứ tự dòng · Sorted by: {_names(table.sort)}",
        "",
        "| Cột · Column | Kiểu · Type | Trống · Null | Ý nghĩa | Meaning |",
        "|---|---|---|---|---|",
        *(_row(column) for column in table.columns),
        "",
    ]
    return "\n".join(lines)


def _row(column: Column) -> str:
    meaning = column.en + (f" [{column.unit}]" if column.unit else "")
    if column.values:
        meaning += f". Values: {_names(column.values)}"
    cells = (f"`{column.name}`", _type(column.type), "có · yes" if column.nullable else "", column.vi, meaning)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def _type(kind: pa.DataType) -> str:
    if kind == INSTANT:
        return "timestamp (µs, UTC)"
    return {"double": "float64", "date32[day]": "date", "bool": "boolean"}.get(str(kind), str(kind))


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render(), encoding="utf-8")

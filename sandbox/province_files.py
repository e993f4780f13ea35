"""`python -m sandbox.province_files`: write provinces/dak-lak/*.csv anew.

Belongs here: which file holds what. Does not belong here: the content (see `territory.py`, `codes.py`,
`catalogue.py`).
"""

from __future__ import annotations

from pathlib import Path

from sandbox.catalogue import sectors_csv
from sandbox.codes import codes_csv
from sandbox.territory import PROVINCE_FOLDER, agencies_csv, departments_csv


def province_files() -> dict[str, str]:
    """Name and content of each file of the sandbox's province; calendar.csv is kept by hand."""
    return {
        "departments.csv": departments_csv(),
        "agencies.csv": agencies_csv(),
        "codes.csv": codes_csv(),
        "sectors.csv": sectors_csv(),
    }


def write(folder: Path = PROVINCE_FOLDER) -> None:
    """Write the files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in province_files().items():
        (folder / name).write_text(content, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    write()

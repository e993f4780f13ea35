"""The directory of units that the national portal's adapter gives: the one-stop's codes and names.

Belongs here: which codes are listed on a day under which name, and how the adapter words them. Does not belong
here: log-in and session (`catalogue.py`, which answers at the same address), nor the units (`territory.py`).

Departments and communes are those in force, under the codes that the one-stop's dossiers carry. The other agencies
are inventions, as are their changes: none has a dossier, and none is a unit of ours.
"""

from __future__ import annotations

import unicodedata
from datetime import date
from functools import cache

from sandbox.territory import PROVINCE, territory

SERVICE = "LayDanhMucCoQuan"
#: Whose codes these are.
SOURCE = "onestop"
#: From this day on the directory is another one: a new agency, one with another name, one that is gone.
CHANGED_ON = date(2026, 11, 2)
_DESK, _TEAM, _BRANCH = (f"{PROVINCE}.10.{number}" for number in (99, 98, 97))
_BEFORE = {_DESK: "Trung tâm Phục vụ hành chính công", _TEAM: "Tổ hỗ trợ dịch vụ công lưu động"}
_AFTER = {_DESK: "Trung tâm Phục vụ hành chính công tỉnh", _BRANCH: "Trung tâm Phục vụ hành chính công (cơ sở 2)"}


@cache
def _units() -> dict[str, str]:
    place = territory()
    return {place.units[at].onestop: place.units[at].name for at in (*place.department, *place.new_commune)}


def truth(on: date) -> dict[str, str]:
    """Every code that is listed on a day, with its name."""
    return _units() | (_AFTER if on >= CHANGED_ON else _BEFORE)


def listed(on: date) -> list[dict[str, str]]:
    """`LayDanhMucCoQuan.result`: every other name comes in NFD, as some databases keep it, or with a space too many."""
    return [
        {"MADONVI": code, "TENDONVI": unicodedata.normalize("NFD", name) if at % 2 else name.replace(" ", "  ", 1)}
        for at, (code, name) in enumerate(truth(on).items())
    ]

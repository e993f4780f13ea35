"""What the renderers of the three formats share: texts of instants, escaped names.

Belongs here: turning columns into the small pieces of text that records are made of. Does not
belong here: the shape of any one format.
"""

from __future__ import annotations

import json

import numpy as np

from sandbox.calendar import VIETNAM_SECONDS, Integers
from sandbox.population import NEVER


def escaped(text: str) -> str:
    """Text as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def iso_texts(instants: Integers, *, offset: int = VIETNAM_SECONDS) -> list[str]:
    """`2026-10-31T07:30:00` of each instant at an offset from UTC in seconds; "" for `NEVER`."""
    known = instants < NEVER
    stamps = np.where(known, instants + offset, 0).astype("datetime64[s]")
    return [text if there else "" for text, there in zip(np.datetime_as_string(stamps).tolist(), known, strict=True)]


def day_first_texts(instants: Integers) -> list[str]:
    """`31/10/2026 07:30:00` in Vietnam; "" for `NEVER`."""
    return [f"{t[8:10]}/{t[5:7]}/{t[:4]} {t[11:]}" if t else "" for t in iso_texts(instants)]


def packed_texts(instants: Integers) -> list[str]:
    """`20261031073000` in Vietnam; "" for `NEVER`."""
    return [t.translate(_UNPUNCTUATED) for t in iso_texts(instants)]


_UNPUNCTUATED = str.maketrans("", "", "-T:")


def index_days(instants: Integers, *, offset: int) -> Integers:
    """Days as numbers yyyymmdd at an offset from UTC; 0 for `NEVER`."""
    known = instants < NEVER
    days = np.where(known, instants + offset, 0).astype("datetime64[s]").astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    years = months.astype("datetime64[Y]").astype(np.int64) + 1970
    month = months.astype(np.int64) % 12 + 1
    day = (days - months.astype("datetime64[D]")).astype(np.int64) + 1
    return np.where(known, years * 10_000 + month * 100 + day, 0)

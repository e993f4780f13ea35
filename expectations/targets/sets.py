"""Target sets: which decision, for which territory and days, read how (`sets.yaml` beside this module).

Belongs here: what a set says about itself, reading and checking that file, and whether a set's yearly
steps agree with how it says they grow. Does not belong here: the targets (`__init__.py` reads them).

A province's file names as many sets as bind it, its own and the national one. After a merger it names
the sets of all the provinces that went into it: each keeps its own territory and days (law-units 4.2)
until a new decision replaces them.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

FOLDER = Path(__file__).parent
_FILE = "sets.yaml"


class TargetError(ValueError):
    """A target file cannot be used; the text names the file and the row, one problem per line."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LeftOut(_Frozen):
    """Something that the decision or its source says and no row holds, with the reason (Vietnamese)."""

    what: str
    why: str


class Steps(_Frozen):
    """How the rows of some targets grow from year to year; `increase` and `cap` are shares 0..1."""

    targets: tuple[str, ...]
    step_mode: Literal["points", "relative"]
    increase: Annotated[Decimal, Field(gt=0, le=1)]
    cap: Annotated[Decimal, Field(gt=0, le=1)]
    why: str

    def after(self, threshold: Decimal) -> Decimal:
        """The threshold of the year after one with `threshold`."""
        grown = threshold + self.increase if self.step_mode == "points" else threshold * (1 + self.increase)
        return min(self.cap, grown)


class TargetSet(_Frozen):
    """One decision's targets as a whole; texts are Vietnamese. See the head of `sets.yaml` for the keys."""

    document: str
    valid_from: date
    valid_to: date | None = None
    province_code: Annotated[str, Field(pattern=r"^H\d{2}$")] | None = None
    territory: Annotated[str, Field(pattern=r"^\d{2}$")] | None = None
    territory_vi: str
    #: Whether the wording of its rows is the decision's own, letter by letter.
    is_verbatim: bool = True
    no_targets: str = ""
    steps: tuple[Steps, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


@cache
def target_sets(folder: Path = FOLDER) -> dict[str, TargetSet]:
    """Every set of the folder by its id, which is also the name of its CSV file.

    Raises `TargetError` naming the file and every wrong key.
    """
    path = folder / _FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        return TypeAdapter(dict[str, TargetSet]).validate_python(content)
    except FileNotFoundError:
        raise TargetError(f"{path}: no such file; it says which decision each target set is") from None
    except yaml.YAMLError as error:
        raise TargetError(f"{_FILE}: not valid YAML: {error}") from error
    except ValidationError as error:
        problems = (f"{_FILE}: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise TargetError("\n".join(problems)) from None


def target_set(name: str, *, folder: Path = FOLDER, province_code: str | None = None) -> TargetSet:
    """The set called `name`; with `province_code`, a set of another province is refused."""
    known = target_sets(folder)
    if name not in known:
        raise TargetError(
            f"{name}.csv: no such target set; the key `targets` may name: {', '.join(sorted(known)) or 'none'}"
        )
    found = known[name]
    if province_code and found.province_code not in (None, province_code):
        raise TargetError(f"{name}: the set is of province {found.province_code}, not of {province_code}")
    return found

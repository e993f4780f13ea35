"""Score sets as versioned data: one YAML file per set, read and refused by name of file and key.

Belongs here: what a set is, and reading and checking the files beside this module. Does not belong
here: how points are given to counts (`assets/scorecards/score.py`).

A file that names another as `based_on` holds only what differs: its components replace the same
components key by key. Two readings of one decision stand side by side that way, and the difference
between them can be read in one small file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FOLDER = Path(__file__).parent
#: The sets that a night scores, the one that reproduces published scores first.
SETS = ("766", "766-text")

Level = Literal["province", "district", "commune"]
Zero = Literal["full", "none", "last_year", "unsaid"]


class ScoreSetError(ValueError):
    """A score set cannot be used; the text names file and key, one problem per line."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Counts(_Strict):
    """An (indicator, version) of `out_indicator`."""

    indicator: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]*$")]
    version: Annotated[str, Field(min_length=1)]

    @property
    def label(self) -> str:
        """As an auditor finds it: "reuse 766-4.3"."""
        return f"{self.indicator} {self.version}"


class Source(Counts):
    """Where a component's counts come from.

    `larger_of`: the denominator is the larger of the own one and these counts, as far as they are
    known. `minus`: these numerators are taken off; without them the source says nothing.
    """

    larger_of: tuple[Counts, ...] = ()
    minus: tuple[Counts, ...] = ()


class Published(_Strict):
    """Where the portal's reporting API shows a component: a metric's code, or sums of a tree's fields."""

    code: str | None = None
    numerator: tuple[str, ...] = ()
    denominator: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one_way(self) -> Published:
        has_fields, is_whole = self.numerator or self.denominator, self.numerator and self.denominator
        if (self.code and has_fields) or not (self.code or is_whole):
            raise ValueError("say either code, or numerator and denominator")
        return self


class Component(_Strict):
    """One component: its maximum, its points rule, and the cases that the rule leaves open."""

    component: Annotated[str, Field(pattern=r"^[1-9]\.[1-9][a-z]?$")]
    group: str
    vi: str
    en: str
    max: Annotated[int, Field(ge=0, le=100)]
    points: Annotated[str, Field(pattern=r"^(lin|information|thr ([1-9][0-9]?|100))$")]
    zero: Zero
    #: Vietnamese noun of what the denominator counts.
    counted: str
    full_for: tuple[Level, ...] = ()
    #: Units and levels without counts of their own carry the province's.
    inherits: bool = False
    sources: tuple[Source, ...] = ()
    published: Published | None = None
    total: str | None = None
    note_vi: str = ""

    @model_validator(mode="after")
    def _scored_or_shown(self) -> Component:
        if self.is_scored != (self.max > 0):
            raise ValueError("points: information and max: 0 belong together")
        return self

    @property
    def is_scored(self) -> bool:
        """Whether points can be won."""
        return self.points != "information"

    @property
    def threshold(self) -> int:
        """The rate in percent that wins all points; linear is a threshold of 100."""
        return int(self.points.removeprefix("thr ")) if self.points.startswith("thr") else 100


class Group(_Strict):
    """A group as the portal shows it; `chapter` is the group of the decision (online and payment are one there)."""

    group: str
    chapter: int
    max: Annotated[int, Field(gt=0)]
    vi: str
    en: str
    endpoint: str


class ScoreSet(_Strict):
    """One set with its dates, standing, groups and components."""

    set: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    based_on: str | None = None
    document: str
    standing_vi: str
    standing_en: str
    valid_from: date
    valid_to: date | None = None
    max: Annotated[int, Field(gt=0)]
    groups: tuple[Group, ...]
    components: tuple[Component, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> ScoreSet:
        problems = [
            *_twice("groups", (group.group for group in self.groups)),
            *_twice("components", (component.component for component in self.components)),
            *self._sums(),
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _sums(self) -> Iterable[str]:
        sums: Counter[str] = Counter()
        for component in self.components:
            sums[component.group] += component.max
        known = {group.group: group.max for group in self.groups}
        for name in sorted(sums.keys() | known.keys()):
            if name not in known:
                yield f"components: group {name!r} is not in groups"
            elif sums[name] != known[name]:
                yield f"groups: {name} has max {known[name]}, but its components make {sums[name]}"
        if sum(known.values()) != self.max:
            yield f"groups: the groups make {sum(known.values())} points, not {self.max}"

    @property
    def scored(self) -> tuple[Component, ...]:
        """Components that points can be won with, in the order of the file."""
        return tuple(component for component in self.components if component.is_scored)

    def component(self, name: str) -> Component | None:
        """The component with that number or portal code, whatever case it is written in."""
        wanted = name.strip().casefold()
        for component in self.components:
            code = component.published.code if component.published else None
            if wanted in (component.component, (code or "").casefold()):
                return component
        return None


def _twice(where: str, names: Iterable[str]) -> Iterable[str]:
    return (f"{where}: {name} is there {count} times" for name, count in Counter(names).items() if count > 1)


def load_set(name: str, *, folder: Path = FOLDER) -> ScoreSet:
    """Read one set by the name of its file. Raises `ScoreSetError` that names file and key."""
    path = folder / f"{name}.yaml"
    content = _content(path)
    try:
        found = ScoreSet.model_validate(content)
    except ValidationError as error:
        raise ScoreSetError("\n".join(_problem(path, content, item) for item in error.errors())) from None
    if found.set != name:
        raise ScoreSetError(f"{path.name}: set: says {found.set!r}, but the file is called {name!r}")
    return found


def load_sets(names: Iterable[str] = SETS, *, folder: Path = FOLDER) -> tuple[ScoreSet, ...]:
    """Read the named sets, in that order."""
    return tuple(load_set(name, folder=folder) for name in names)


def _content(path: Path) -> dict[str, Any]:
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.yaml"))) or "none"
        raise ScoreSetError(f"{path.name}: không có bộ chỉ số này · no such score set; there are: {known}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ScoreSetError(f"{path.name}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise ScoreSetError(f"{path.name}: expected a mapping of keys at the top")
    base = content.get("based_on")
    if base is None:
        return content
    if base == path.stem:
        raise ScoreSetError(f"{path.name}: based_on: a set cannot be based on itself")
    return _laid_over(path, _content(path.with_name(f"{base}.yaml")), content)


def _laid_over(path: Path, base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `change`; components are replaced key by key, in the order of the base."""
    changes = {str(part.get("component")): part for part in change.get("components", ())}
    names = {str(part.get("component")) for part in base["components"]}
    if unknown := sorted(changes.keys() - names):
        raise ScoreSetError(f"{path.name}: components: {', '.join(unknown)} not in {change['based_on']}.yaml")
    components = [{**part, **changes.get(str(part["component"]), {})} for part in base["components"]]
    return {**base, **change, "components": components}


def _problem(path: Path, content: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """`766.yaml: components 4.2: points: …`: a component by its number, not by its place in the list."""
    parts = list(item["loc"])
    if len(parts) > 1 and parts[0] == "components" and isinstance(parts[1], int):
        parts[:2] = [f"components {content['components'][parts[1]].get('component', parts[1])}"]
    place = ": ".join(str(part) for part in parts) or "(set)"
    return f"{path.name}: {place}: {item['msg']}"

"""Indicator definitions: reading them, and refusing what cannot be computed.

Belongs here: the shape of a definition, its checks, and the reading of definition files of any kind. Does not
belong here: any particular indicator (they are files under `definitions/`), what is special to rates of
procedures (`procedures.py`), nor how counts are made (`evaluate.py`).

A definition is checked when it is loaded: an unknown column, a predicate that is not true or false,
or a function the compiler does not know is an error that names file and line, long before a night
runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Protocol, TypeVar

import sqlglot
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.schema import MappingSchema

from warehouse.lake import duckdb_type
from warehouse.schema import DAY, Table
from warehouse.tables import CORE_DOSSIER, CORE_PAYMENT

FOLDER = Path(__file__).parent / "definitions"

#: What one unit of count is, by the word a definition uses.
FACTS: Mapping[str, Table] = {"dossier": CORE_DOSSIER, "payment": CORE_PAYMENT}

#: Values a predicate may refer to beside columns, with their type.
#: as_of: facts are known up to here; period_end: the end of the month, quarter, half-year or year that is
#: counted, at most as_of (indicators 2.2: without an ending state, the period's last day is the end).
PARAMETERS: Mapping[str, str] = {"as_of": "TIMESTAMPTZ", "period_end": "TIMESTAMPTZ"}


class DefinitionError(ValueError):
    """A definition cannot be used; the text names file, line and what is wrong."""


class DefinitionFile(BaseModel):
    """What every definition file says, whatever it counts; `valid_to` None: still the rule."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    version: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    name_vi: str
    name_en: str
    document: str
    clause: str
    valid_from: date
    valid_to: date | None = None
    population: str
    note_vi: str


class _File(DefinitionFile):
    fact: str
    event: str
    numerator: str


class _Keyed(Protocol):
    @property
    def key(self) -> tuple[str, str]:
        """(id, version)."""


_Loaded = TypeVar("_Loaded", bound=_Keyed)
_Shape = TypeVar("_Shape", bound=DefinitionFile)


@dataclass(frozen=True, kw_only=True)
class Definition:
    """One version of one indicator.

    numerator ÷ denominator, where the denominator counts the rows of `fact` whose `population` holds
    and whose `event` day lies in the period, and the numerator those of them for which `numerator`
    holds too. A predicate that is null counts as not holding. `valid_from`/`valid_to` bound the
    event days for which this version is the rule.
    """

    id: str
    version: str
    name_vi: str
    name_en: str
    document: str
    clause: str
    valid_from: date
    valid_to: date | None
    fact: str
    event: str
    population: exp.Expr
    numerator: exp.Expr
    note_vi: str
    #: Hash of everything that decides the counts.
    fingerprint: str

    @property
    def key(self) -> tuple[str, str]:
        """(id, version), unique among definitions."""
        return self.id, self.version

    @property
    def is_judged_at_period_end(self) -> bool:
        """Whether the counts depend on the kind of period, so that months do not add up to a quarter."""
        predicates = (self.population, self.numerator)
        return any(
            node.name == "period_end" for one in predicates for node in one.find_all(exp.Parameter, exp.Placeholder)
        )

    @property
    def table(self) -> Table:
        """The declared table whose rows are counted."""
        return FACTS[self.fact]


def load_definitions(folder: Path = FOLDER) -> tuple[Definition, ...]:
    """Read every definition file of `folder`, ordered by id and version.

    Raises `DefinitionError` that names file and line for whatever cannot be computed, and for an
    (id, version) defined twice.
    """
    return load_folder(folder, load_definition)


def load_folder(folder: Path, load: Callable[[Path], _Loaded]) -> tuple[_Loaded, ...]:
    """Every definition file of `folder` as `load` reads it, ordered by key.

    Raises `DefinitionError` for a key defined twice and for a folder without files, beside what `load` raises.
    """
    definitions: dict[tuple[str, str], _Loaded] = {}
    for path in sorted(folder.glob("*.yaml")):
        definition = load(path)
        if definition.key in definitions:
            raise DefinitionError(f"{path}: {' '.join(definition.key)} is defined twice")
        definitions[definition.key] = definition
    if not definitions:
        raise DefinitionError(f"{folder}: no definition files (*.yaml)")
    return tuple(definitions[key] for key in sorted(definitions))


@dataclass(frozen=True)
class Place:
    """Where the keys of one definition file stand, so that an error can name file and line."""

    path: Path
    lines: Mapping[str, int]

    def wrong(self, key: str, why: str) -> DefinitionError:
        """The error that says why the value of `key` cannot be used."""
        return DefinitionError(f"{self.path}, line {self.lines.get(key, 1)}: {key}: {why}")


def read_definition_file(path: Path, shape: type[_Shape]) -> tuple[Place, _Shape]:
    """One YAML mapping in the given shape, valid for at least a day, and where its keys stand.

    Raises `DefinitionError` with every key that does not fit the shape.
    """
    text = path.read_text(encoding="utf-8")
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DefinitionError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(node, yaml.MappingNode):
        raise DefinitionError(f"{path}: expected a mapping of keys")
    place = Place(path, {key.value: key.start_mark.line + 1 for key, _ in node.value})
    try:
        file = shape.model_validate(content)
    except ValidationError as error:
        told = [(str(item["loc"][0]) if item["loc"] else "(top)", item["msg"]) for item in error.errors()]
        raise DefinitionError("\n".join(str(place.wrong(key, message)) for key, message in told)) from None
    if file.valid_to is not None and file.valid_to < file.valid_from:
        raise place.wrong("valid_to", "ends before it begins")
    return place, file


def load_definition(path: Path) -> Definition:
    """Read and check one definition file."""
    place, file = read_definition_file(path, _File)
    if file.fact not in FACTS:
        raise place.wrong("fact", f"{file.fact!r} is not one of {', '.join(FACTS)}")
    table = FACTS[file.fact]
    days = [column.name for column in table.columns if column.type == DAY]
    if file.event not in days:
        raise place.wrong("event", f"{file.event!r} is not a day of {table.name}; it has {', '.join(days)}")
    predicates = {}
    for key in ("population", "numerator"):
        try:
            predicates[key] = parse_predicate(getattr(file, key), table)
        except ValueError as error:
            raise place.wrong(key, str(error)) from None
    decides = [file.fact, file.event, *(predicates[key].sql("duckdb") for key in sorted(predicates))]
    span = [file.valid_from.isoformat(), str(file.valid_to)]
    fingerprint = hashlib.sha256("\n".join([file.id, file.version, *decides, *span]).encode()).hexdigest()[:16]
    return Definition(**(file.model_dump() | predicates), fingerprint=fingerprint)


def parse_predicate(text: str, table: Table) -> exp.Expr:
    """Parse a SQL predicate over the columns of `table` and check that it is true or false.

    Allowed: columns, literals, parameters ($as_of, $period_end), comparisons, AND, OR, NOT, IN, IS NULL, BETWEEN,
    CASE and functions the compiler knows. `ValueError` says what is wrong.
    """
    try:
        parsed = sqlglot.parse_one(text, dialect="duckdb")
    except sqlglot.ParseError as error:
        raise ValueError(f"cannot be read as SQL: {error.errors[0]['description']}") from None
    _refuse_foreign(parsed, table)
    typed = _typed(parsed, table)
    for connector in typed.find_all(exp.And, exp.Or, exp.Not):
        for operand in connector.iter_expressions():
            _demand_truth(operand)
    for comparison in typed.find_all(*_COMPARISONS):
        _demand_like_with_like(comparison)
        _demand_known_values(comparison, table)
    _demand_truth(typed)
    return parsed


def _refuse_foreign(parsed: exp.Expr, table: Table) -> None:
    for column in parsed.find_all(exp.Column):
        if column.table or column.name not in table.column_names:
            raise ValueError(f"unknown column {column.sql()!r}; {table.name} has {', '.join(table.column_names)}")
    for parameter in parsed.find_all(exp.Parameter, exp.Placeholder):
        if parameter.name not in PARAMETERS:
            raise ValueError(f"unknown parameter ${parameter.name}; known: {', '.join(PARAMETERS)}")
    for forbidden in parsed.find_all(exp.Query, exp.AggFunc, exp.Window, exp.Anonymous):
        raise ValueError(f"may not use {forbidden.sql('duckdb')!r}: only columns, literals and row functions")


def _typed(parsed: exp.Expr, table: Table) -> exp.Expr:
    """The predicate with every node's type found out from the table's declaration."""
    columns = {column.name: duckdb_type(column.type) for column in table.columns}
    schema = MappingSchema({table.name: columns}, dialect="duckdb")
    bound = bind(parsed, {name: exp.cast(exp.null(), kind) for name, kind in PARAMETERS.items()})
    query = qualify(exp.select(exp.alias_(bound, "predicate")).from_(table.name), schema=schema, dialect="duckdb")
    return annotate_types(query, schema=schema, dialect="duckdb").selects[0].unalias()


_COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.In, exp.Between)
_FAMILIES: tuple[tuple[str, frozenset[exp.DType]], ...] = (
    ("text", frozenset(exp.DataType.TEXT_TYPES)),
    ("number", frozenset(exp.DataType.NUMERIC_TYPES)),
    ("day", frozenset({exp.DataType.Type.DATE})),
    ("instant", frozenset({exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPTZ})),
    ("true or false", frozenset({exp.DataType.Type.BOOLEAN})),
)


def _family(node: exp.Expr) -> str:
    kind = node.type.this if node.type is not None else None
    return next((name for name, members in _FAMILIES if kind in members), "unknown")


def _words(node: exp.Expr) -> str:
    """The piece as its author wrote it: without the table name that typing put in front."""
    bare = node.copy().transform(lambda part: exp.column(part.this.this) if isinstance(part, exp.Column) else part)
    return bare.sql("duckdb")


def _demand_truth(node: exp.Expr) -> None:
    if _family(node) != "true or false":
        raise ValueError(f"{_words(node)} must be true or false, but is a {_family(node)}")


def _demand_like_with_like(comparison: exp.Expr) -> None:
    sides = [node for node in comparison.iter_expressions() if not isinstance(node, exp.Null)]
    if len({_family(side) for side in sides}) > 1:
        told = ", ".join(f"{_words(side)} is a {_family(side)}" for side in sides)
        raise ValueError(f"{_words(comparison)} compares unlike things: {told}")


def _demand_known_values(comparison: exp.Expr, table: Table) -> None:
    """A text compared with a column of a closed list must be in that list: a misspelt one counts nobody."""
    sides = list(comparison.iter_expressions())
    known = {value for side in sides if isinstance(side, exp.Column) for value in table.column(side.name).values}
    for side in sides:
        if known and side.is_string and side.name not in known:
            raise ValueError(f"{_words(comparison)}: {side.name!r} is not one of {', '.join(sorted(known))}")


def bind(parsed: exp.Expr, values: Mapping[str, exp.Expr]) -> exp.Expr:
    """A copy of `parsed` in which every parameter stands for its value."""

    def replace(node: exp.Expr) -> exp.Expr:
        """The value of a parameter, everything else as it is."""
        if isinstance(node, (exp.Parameter, exp.Placeholder)):
            return values[node.name].copy()
        return node

    return parsed.copy().transform(replace)


def find(definitions: Iterable[Definition], indicator: str, version: str) -> Definition:
    """The definition (indicator, version); `KeyError` names one that there is not."""
    for definition in definitions:
        if definition.key == (indicator, version):
            return definition
    raise KeyError(f"no definition {indicator} {version}")

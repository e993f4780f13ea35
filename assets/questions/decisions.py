"""Why a dossier counts or does not: which part of a predicate decided, with the values that decided it.

Belongs here: taking a definition's predicates apart at AND and OR, asking DuckDB each part, and finding the
parts that made the whole come out as it did. Does not belong here: which dossiers are asked about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import duckdb
from sqlglot import exp

from assets.indicators.definitions import Definition, bind
from assets.indicators.evaluate import parameter_values
from assets.periods import VIETNAM
from assets.questions.memberships import within_rule


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a predicate as its author wrote it, what came of it (None: null), and the values it looked at."""

    text: str
    outcome: bool | None
    values: tuple[tuple[str, str], ...]

    @property
    def vi(self) -> str:
        """In words: the part, and each column = value."""
        held = {True: "đúng", False: "sai", None: "không rõ"}[self.outcome]
        looked = ", ".join(f"{name} = {value}" for name, value in self.values)
        return f"{self.text} → {held}" + (f" ({looked})" if looked else "")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What came of a predicate for one row (null counts as not holding), and the parts that decided."""

    holds: bool
    parts: tuple[Part, ...]


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One row of a definition's fact: does it count, on which day, for whom, and why.

    `counted_for` is the kind of period it is judged for, None where all are sums of months. `numerator`
    is decided for members of the denominator only.
    """

    dossier_key: str
    payment_no: int | None
    unit_code: str
    event_on: date | None
    counted_for: str | None
    population: Decision
    numerator: Decision | None

    @property
    def in_denominator(self) -> bool:
        """Whether it is counted at all."""
        return self.population.holds

    @property
    def in_numerator(self) -> bool:
        """Whether it counts in favour."""
        return self.numerator is not None and self.numerator.holds

    @property
    def against(self) -> tuple[Part, ...]:
        """The parts that keep it out of the numerator, or out of the denominator; none when it is in both."""
        if not self.population.holds:
            return self.population.parts
        return () if self.numerator is None or self.numerator.holds else self.numerator.parts


@dataclass(frozen=True)
class _Branch:
    kind: Literal["all", "any"]
    children: tuple[_Node, ...]


#: The position of a part, or a branch over several.
_Node = int | _Branch


@dataclass(frozen=True)
class _Tree:
    """A predicate taken apart; `parts` are its leaves in reading order."""

    root: _Node
    parts: tuple[exp.Expr, ...]

    def decide(self, outcomes: Sequence[bool | None]) -> tuple[bool, tuple[int, ...]]:
        """Whether the whole holds, and the positions of the parts that made it so."""
        return _outcome(self.root, outcomes) is True, tuple(dict.fromkeys(_deciding(self.root, outcomes)))


def _taken_apart(conditions: Sequence[exp.Expr]) -> _Tree:
    parts: list[exp.Expr] = []
    children = tuple(_node(condition, parts, negated=False) for condition in conditions)
    return _Tree(_flat("all", children), tuple(parts))


def _node(node: exp.Expr, parts: list[exp.Expr], *, negated: bool) -> _Node:
    """NOT is moved inwards (De Morgan, which holds with nulls too), so that branches are AND and OR alone."""
    if isinstance(node, exp.Paren):
        return _node(node.this, parts, negated=negated)
    if isinstance(node, exp.Not):
        return _node(node.this, parts, negated=not negated)
    if isinstance(node, (exp.And, exp.Or)):
        kind: Literal["all", "any"] = "all" if isinstance(node, exp.And) != negated else "any"
        sides = (node.this, node.expression)
        return _flat(kind, tuple(_node(side, parts, negated=negated) for side in sides))
    parts.append(exp.Not(this=exp.paren(node)) if negated and _is_compound(node) else _maybe_not(node, negated=negated))
    return len(parts) - 1


def _is_compound(node: exp.Expr) -> bool:
    return not isinstance(node, (exp.Column, exp.Is, exp.In))


def _maybe_not(node: exp.Expr, *, negated: bool) -> exp.Expr:
    return exp.Not(this=node.copy()) if negated else node.copy()


def _flat(kind: Literal["all", "any"], children: tuple[_Node, ...]) -> _Node:
    if len(children) == 1:
        return children[0]
    flat: list[_Node] = []
    for child in children:
        flat += child.children if isinstance(child, _Branch) and child.kind == kind else (child,)
    return _Branch(kind, tuple(flat))


def _outcome(node: _Node, outcomes: Sequence[bool | None]) -> bool | None:
    if isinstance(node, int):
        return outcomes[node]
    found = [_outcome(child, outcomes) for child in node.children]
    ends_it = node.kind == "any"
    if ends_it in found:
        return ends_it
    return None if None in found else not ends_it


def _deciding(node: _Node, outcomes: Sequence[bool | None]) -> list[int]:
    if isinstance(node, int):
        return [node]
    whole = _outcome(node, outcomes)
    same = [child for child in node.children if _outcome(child, outcomes) is whole]
    # One part that holds is enough for OR; every part that fails is a reason for AND.
    chosen = same[:1] if node.kind == "any" and whole is True else same
    return [position for child in chosen for position in _deciding(child, outcomes)]


@dataclass(frozen=True)
class Question:
    """One definition asked as known up to `as_of`, for one kind of period where that matters."""

    definition: Definition
    as_of: datetime
    counted_for: str | None

    def judgements(
        self, connection: duckdb.DuckDBPyConnection, *, schema: str | None = None, among: str | None = None
    ) -> list[Judgement]:
        """Ask every row of the fact's table in `schema`, or only dossiers of the table `among` (dossier_key)."""
        population, numerator = self._trees()
        names = self._names(population, numerator)
        query = self._query(population, numerator, names, schema, among)
        rows = connection.sql(query).to_arrow_table().to_pylist()
        return [self._judgement(row, population, numerator, names) for row in rows]

    def _trees(self) -> tuple[_Tree, _Tree]:
        definition = self.definition
        return (
            _taken_apart((*within_rule(definition), definition.population)),
            _taken_apart((definition.numerator,)),
        )

    def _values(self) -> dict[str, exp.Expr]:
        return parameter_values(self.as_of, self.definition.event, self.counted_for)

    @staticmethod
    def _names(*trees: _Tree) -> tuple[str, ...]:
        """Columns and parameters that the parts look at."""
        return tuple(dict.fromkeys(name for tree in trees for part in tree.parts for name in _looked_at(part)))

    def _query(
        self, population: _Tree, numerator: _Tree, names: Sequence[str], schema: str | None, among: str | None
    ) -> str:
        values, table = self._values(), self.definition.table
        number = exp.column("payment_no") if "payment_no" in table.key else exp.null()
        selected: list[exp.Expr] = [
            exp.column("dossier_key"),
            exp.alias_(number, "payment_no"),
            exp.column("unit_code"),
            exp.alias_(exp.column(self.definition.event), "event_on"),
        ]
        for letter, tree in (("p", population), ("n", numerator)):
            selected += [exp.alias_(bind(part, values), f"{letter}_{i}") for i, part in enumerate(tree.parts)]
        for i, name in enumerate(names):
            value = values[name[1:]].copy() if name.startswith("$") else exp.column(name)
            selected.append(exp.alias_(value, f"v_{i}"))
        query = exp.select(*selected).from_(exp.table_(table.name, db=schema)).sql(dialect="duckdb")
        within = f" WHERE dossier_key IN (SELECT dossier_key FROM {among})" if among else ""
        return f"{query}{within} ORDER BY dossier_key, payment_no"

    def _judgement(
        self, row: Mapping[str, Any], population: _Tree, numerator: _Tree, names: Sequence[str]
    ) -> Judgement:
        values = {name: said(row[f"v_{i}"]) for i, name in enumerate(names)}
        counted = _decision(population, [row[f"p_{i}"] for i in range(len(population.parts))], values)
        favoured = _decision(numerator, [row[f"n_{i}"] for i in range(len(numerator.parts))], values)
        return Judgement(
            dossier_key=row["dossier_key"],
            payment_no=row["payment_no"],
            unit_code=row["unit_code"],
            event_on=row["event_on"],
            counted_for=self.counted_for,
            population=counted,
            numerator=favoured if counted.holds else None,
        )


def _decision(tree: _Tree, outcomes: Sequence[bool | None], values: Mapping[str, str]) -> Decision:
    holds, positions = tree.decide(outcomes)
    parts = tuple(
        Part(
            text=_written(tree.parts[i]),
            outcome=outcomes[i],
            values=tuple((name, values[name]) for name in _looked_at(tree.parts[i])),
        )
        for i in positions
    )
    return Decision(holds=holds, parts=parts)


def _written(part: exp.Expr) -> str:
    """The part as its author would write it."""
    if isinstance(part, exp.Not) and isinstance(part.this, exp.Is):
        return f"{part.this.this.sql(dialect='duckdb')} IS NOT {part.this.expression.sql(dialect='duckdb')}"
    return part.sql(dialect="duckdb")


def _looked_at(part: exp.Expr) -> tuple[str, ...]:
    found = part.find_all(exp.Column, exp.Parameter, exp.Placeholder)
    names = (node.name if isinstance(node, exp.Column) else f"${node.name}" for node in found)
    return tuple(sorted(set(names)))


def said(value: Any) -> str:
    """A value as an operator reads it; instants in Vietnam's time."""
    if value is None:
        return "trống"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        local = value.astimezone(VIETNAM)
        return f"{local:%d/%m/%Y %H:%M:%S}" + (f".{local:%f}" if local.microsecond else "")
    if isinstance(value, date):
        return f"{value:%d/%m/%Y}"
    return str(value)

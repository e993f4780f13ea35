"""Which source is believed for which fact, as data.

Belongs here: the order of belief and how it is written into SQL. Does not belong here: how a source
says the fact (see the claims_*.sql files).

Why these orders: the one-stop system is where officers work, so it knows handling first; the portal
saw the submission itself, while some senders copy the reception date into NgayNopHoSo (systems 3.2);
a message may carry a random substitute for the dossier's code (systems fact 10), so its code comes last;
digitised, reused and VNeID flags exist in the message log (systems fact 8) and where a profile gives them.

A payment platform (role `payments`) is believed before them all, yet for payments alone and line by line, since it
sees no counter: it decides about online payments and about any other method that it tells of, and the other
methods' settled lines of the source that this table believes stay (merged.sql, decision 29).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["portal", "onestop", "messages"]
#: The source that payments of a payment platform carry.
PLATFORM = "payments"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One fact of a dossier and the order in which sources are believed.

    `rule` says what counts as having said something:
    - value: the first source with a value that is not null;
    - block: the first source that has the dossier at all, null or not, so that a date which was
      cleared there (a reopened dossier) is not brought back from a staler source;
    - list: the first source with a list that is not empty, kept whole.
    """

    name: str
    claim: str
    order: tuple[Source, ...]
    rule: Literal["value", "block", "list"] = "value"
    #: Also give `<name>_source`: which source was believed.
    names_source: bool = False


_HANDLING: tuple[Source, ...] = ("onestop", "portal", "messages")
#: Of the native sources only the message log says these; a profiled system may, in the place of its role.
_FLAGS: tuple[Source, ...] = ("messages", "onestop", "portal")

PRECEDENCE = (
    Fact(name="dossier_code", claim="code", order=_HANDLING),
    Fact(name="unit_code", claim="unit_code", order=_HANDLING),
    Fact(name="procedure_code", claim="procedure_code", order=_HANDLING),
    Fact(name="channel", claim="channel_value", order=_HANDLING),
    Fact(name="service_level", claim="service_level_value", order=("portal", "onestop", "messages")),
    Fact(name="status_code", claim="status_code", order=_HANDLING, rule="block"),
    Fact(name="completed_at", claim="completed_at", order=_HANDLING, rule="block"),
    Fact(name="returned_at", claim="returned_at", order=_HANDLING, rule="block"),
    Fact(name="denied_at", claim="denied_at", order=_FLAGS),
    Fact(name="created_at", claim="created_at", order=("portal", "onestop", "messages")),
    Fact(name="submitted_at", claim="submitted_at", order=("portal", "onestop", "messages")),
    Fact(name="received_at", claim="received_at", order=_HANDLING),
    Fact(name="due_at", claim="due_at", order=_HANDLING),
    Fact(
        name="components",
        claim="components",
        order=("messages", "portal", "onestop"),
        rule="list",
        names_source=True,
    ),
    Fact(name="payments", claim="payments", order=("onestop", "portal"), rule="list", names_source=True),
    Fact(name="fees", claim="fees", order=("messages", "onestop", "portal"), rule="list"),
    Fact(name="has_result", claim="has_result", order=("messages", "portal", "onestop")),
    Fact(name="paid_online_code", claim="paid_online_code", order=_FLAGS),
    Fact(name="is_vneid_verified", claim="is_vneid_verified", order=_FLAGS),
    Fact(name="is_population_data_used", claim="is_population_data_used", order=_FLAGS),
    Fact(name="supplements", claim="supplements", order=_FLAGS, rule="list", names_source=True),
)


def _said(fact: Fact, source: Source) -> str:
    condition = f"source = '{source}'"
    if fact.rule == "list":
        condition += f" AND len({fact.claim}) > 0"
    return f"any_value({fact.claim}) FILTER (WHERE {condition})"


def _who(fact: Fact) -> str:
    extra = f" AND len({fact.claim}) > 0" if fact.rule == "list" else ""
    branches = " ".join(f"WHEN bool_or(source = '{source}'{extra}) THEN '{source}'" for source in fact.order)
    return f"CASE {branches} END AS {fact.name}_source"


def fact_sql(fact: Fact) -> str:
    """The aggregate over one dossier's claims (one row per source) that yields the believed value."""
    if fact.rule == "block":
        branches = " ".join(f"WHEN bool_or(source = '{source}') THEN {_said(fact, source)}" for source in fact.order)
        value = f"CASE {branches} END"
    else:
        value = "coalesce(" + ", ".join(_said(fact, source) for source in fact.order) + ")"
    return f"{value} AS {fact.name}" + (f",\n    {_who(fact)}" if fact.names_source else "")


def facts_sql() -> str:
    """Every believed fact, ready to stand in a GROUP BY dossier_key."""
    return ",\n    ".join(fact_sql(fact) for fact in PRECEDENCE)

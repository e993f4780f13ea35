"""Published and true rows side by side, and what differs, as a table that a person can read.

Belongs here: the outer joins. Does not belong here: what is true (`independent.py`).
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from tests.truth.independent import KEY, Truth, is_received, resolved_at, vietnam_day

SHOWN = 20
_COUNTS = ("numerator", "denominator")
#: Facts that stand in both tables under one name.
_SAME = (
    "unit_code",
    "unit_level",
    "procedure_code",
    "channel",
    "has_fee",
    "service_level",
    "is_result_required",
    "status_code",
    "submitted_at",
    "received_at",
    "due_at",
    "completed_at",
    "returned_at",
    "transaction_count",
    "online_transaction_count",
    "component_count",
    "supplement_count",
    "denied_at",
    "ended_at",
    "end_kind",
    "deadline_at",
    "deadline_basis",
    "supplement_wait_seconds",
    "reception_due_at",
    "is_from_personal_store",
    "is_population_data_used",
    "is_citizen_subject",
    "reception_unit_code",
    "previous_unit_code",
    "in_portal",
    "in_onestop",
    "in_messages",
)


def indicator_differences(published: pd.DataFrame, expected: pd.DataFrame) -> pd.DataFrame:
    """Rows whose counts differ, or that only one side has: KEY, ours and truth of both counts."""
    ours = published.assign(period_start=pd.to_datetime(published.period_start).astype("datetime64[us]"))
    joined = ours[[*KEY, *_COUNTS]].merge(
        expected[[*KEY, *_COUNTS]], on=KEY, how="outer", suffixes=("_ours", "_truth"), validate="one_to_one"
    )
    equal = pd.Series(data=True, index=joined.index)
    for name in _COUNTS:
        equal &= joined[f"{name}_ours"] == joined[f"{name}_truth"]
    return joined[~equal]


def dossier_differences(published: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    """Facts that differ, dossier by dossier: name, fact, ours, truth; a missing dossier differs in every fact."""
    ours, true = _named(published), _named(true_facts(truth.dossier))
    names = true.index.union(ours.index)
    ours, true = ours.reindex(names), true.reindex(names)
    return pd.concat([_differences(ours[fact], true[fact], fact) for fact in true.columns], ignore_index=True)


def payment_differences(published: pd.DataFrame, dossier: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    """The same for settled transactions, told apart within a dossier by amount."""
    codes = dossier.set_index("dossier_key").dossier_code
    settled = published[published.is_settled].assign(dossier_code=lambda rows: rows.dossier_key.map(codes))
    ours, true = _numbered(settled), _numbered(truth.payment)
    names = true.index.union(ours.index)
    ours, true = ours.reindex(names), true.reindex(names)
    facts = ("amount_vnd", "method", "paid_at", "unit_code", "unit_level", "has_fee")
    return pd.concat([_differences(ours[fact], true[fact], fact) for fact in facts], ignore_index=True)


def true_facts(dossier: pd.DataFrame) -> pd.DataFrame:
    """The truth in the columns of the published table, every one that both have."""
    resolved = resolved_at(dossier)
    derived = {
        "dossier_code": dossier.dossier_code,
        "resolved_at": resolved,
        "submitted_on": vietnam_day(dossier.submitted_at),
        "received_on": vietnam_day(dossier.received_at),
        "due_on": vietnam_day(dossier.due_at),
        "resolved_on": vietnam_day(resolved),
        "ended_on": vietnam_day(dossier.ended_at),
        "paid_on": vietnam_day(dossier.paid_at),
        "is_received": is_received(dossier),
        "is_resolved": resolved.notna(),
        "is_processed_online": dossier.step_count > 0,
        "is_fee_waived": (dossier.fee_line_count > 0) & dossier.fee_waived,
        "is_paid_online": dossier.paid_online,
        "has_component_attachment": dossier.component_attached > 0,
        "has_digitised_component": dossier.component_digitised > 0,
        "has_electronic_result": dossier.electronic_result,
        "is_reused": dossier.component_reused > 0,
        "is_vneid_verified": dossier.vneid_verified,
    }
    return dossier[list(_SAME)].assign(**derived)


def _named(facts: pd.DataFrame) -> pd.DataFrame:
    """Facts by the dossier's public code; a draft has none and goes by when, where and what it asks for."""
    draft = "draft " + facts.submitted_at.astype("str") + " " + facts.unit_code + " " + facts.procedure_code
    name = facts.dossier_code.fillna(draft)
    return facts.set_index(name + "#" + facts.groupby(name).cumcount().astype("str"))


def _numbered(payments: pd.DataFrame) -> pd.DataFrame:
    ordered = payments.sort_values(["dossier_code", "amount_vnd"], ascending=[True, False])
    number = ordered.groupby("dossier_code").cumcount()
    return ordered.set_index(ordered.dossier_code + "#" + number.astype("str"))


def _differences(ours: pd.Series[Any], true: pd.Series[Any], fact: str) -> pd.DataFrame:
    said = pd.to_datetime(ours).astype("datetime64[us]") if fact.endswith("_on") else ours
    differ = ~((said == true) | (said.isna() & true.isna()))
    return pd.DataFrame({"dossier": said.index[differ], "fact": fact, "ours": said[differ], "truth": true[differ]})


def report(what: str, differences: pd.DataFrame, by: list[str]) -> str:
    """How many differ by kind, and the first ones, for the message of a failed test."""
    kinds = differences.groupby(by).size().to_string()
    return f"{len(differences)} {what} differ from the truth\n{kinds}\n{differences.head(SHOWN).to_string(index=False)}"

"""Every expectation of every suite, proven by mutation: the good world passes, and a world with one
defect fails exactly where it should. Run through Great Expectations itself, because what is being
tested is whether a rule as written in YAML catches what it says it catches.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from expectations.gx import check
from expectations.suites import Expectation, Suite, SuiteError, load_suite
from tests.expectations.conftest import checked_tables, good_world, source_of
from warehouse.schema import Table
from warehouse.tables import CORE_DOSSIER

SUITES = {name: load_suite(table) for name, table in checked_tables().items()}

#: The province's row of the year in the table of statistics.
_YEAR = "WHERE scope = 'province' AND breakdown = 'all' AND period = 'year'"

# What breaks each query, and nothing but SQL that a reader can check by eye.
SPOILT = {
    ("raw_portal", "record_key_agrees"): "UPDATE raw_portal SET record_key = '10101:70'",
    ("raw_onestop", "record_key_agrees"): "UPDATE raw_onestop SET record_key = '64c'",
    ("raw_messages", "record_key_agrees"): "UPDATE raw_messages SET record_key = 'x'",
    ("raw_progress", "record_key_agrees"): "UPDATE raw_progress SET TrangThai = '5'",
    ("core_crosswalk", "belongs_to_a_dossier"): "UPDATE core_crosswalk SET dossier_key = 'x' WHERE source = 'onestop'",
    (
        "core_dossier",
        "submitted_on_is_local_day",
    ): "UPDATE core_dossier SET submitted_on = '2026-01-05' WHERE is_received",
    # The day in UTC, which is the day before in Vietnam.
    (
        "core_dossier",
        "received_on_is_local_day",
    ): "UPDATE core_dossier SET received_on = '2026-01-05' WHERE is_received",
    ("core_dossier", "due_on_is_local_day"): "UPDATE core_dossier SET due_at = '2026-01-05 20:00:00Z', "
    "due_on = '2026-01-05' WHERE is_received",
    ("core_dossier", "resolved_on_is_local_day"): "UPDATE core_dossier SET resolved_on = NULL WHERE is_received",
    ("core_dossier", "seen_in_a_source"): "UPDATE core_dossier SET in_portal = false WHERE is_received",
    ("core_dossier", "has_a_source_record"): "DELETE FROM core_crosswalk WHERE rule = 'alone'",
    ("core_dossier", "unit_known"): "UPDATE core_dossier SET unit_level = 'province' WHERE is_received",
    ("core_dossier", "procedure_known"): "UPDATE core_dossier SET procedure_code = '9.999999' WHERE is_received",
    ("core_component", "belongs_to_a_dossier"): "UPDATE core_component SET dossier_key = 'x'",
    ("core_component", "counted_in_dossier"): "DELETE FROM core_component",
    ("core_payment", "belongs_to_a_dossier"): "UPDATE core_payment SET dossier_key = 'x' WHERE payment_no = 1",
    ("core_payment", "settled_counted_in_dossier"): "UPDATE core_payment SET is_online = false",
    ("core_payment", "dimensions_of_dossier"): "UPDATE core_payment SET channel = 'post' WHERE payment_no = 1",
    ("core_step", "belongs_to_a_dossier"): "UPDATE core_step SET dossier_key = 'x'",
    ("core_supplement", "belongs_to_a_dossier"): "UPDATE core_supplement SET dossier_key = 'x'",
    ("core_supplement", "counted_in_dossier"): "DELETE FROM core_supplement",
    ("core_unit", "spans_apart"): "INSERT INTO core_unit SELECT * REPLACE (DATE '2026-01-01' AS valid_from) "
    "FROM core_unit WHERE level = 'commune' AND valid_to IS NULL",
    ("core_unit", "parent_known"): "UPDATE core_unit SET parent_code = 'H16' WHERE unit_code = 'H15.24133'",
    ("core_unit", "only_the_province_has_no_parent"): "UPDATE core_unit SET parent_code = NULL "
    "WHERE unit_code = 'H15.24133'",
    ("core_unit", "one_province"): "DELETE FROM core_unit WHERE unit_code = 'H15'",
    ("core_unit", "no_district_after_2025_06_30"): "UPDATE core_unit SET valid_to = NULL WHERE level = 'district'",
    ("core_procedure", "spans_apart"): "INSERT INTO core_procedure "
    "SELECT * REPLACE (DATE '2025-12-31' AS valid_from, NULL AS valid_to) FROM core_procedure",
    ("out_indicator", "rate_is_the_quotient"): "UPDATE out_indicator SET rate = 0.51 "
    "WHERE scope = 'unit' AND level = 'commune' AND period = 'year'",
    ("out_indicator", "all_levels_is_the_province"): "UPDATE out_indicator SET level = 'commune' "
    "WHERE scope = 'province' AND period = 'quarter'",
    ("out_indicator", "period_start_is_a_first_day"): "UPDATE out_indicator SET period_start = '2026-02-01' "
    "WHERE scope = 'province' AND period = 'quarter'",
    (
        "out_indicator",
        "units_sum_to_level",
    ): "DELETE FROM out_indicator WHERE unit_code = 'H15.SNV' AND period = 'year'",
    ("out_indicator", "levels_sum_to_province"): "UPDATE out_indicator SET numerator = 2 "
    "WHERE scope = 'province' AND period = 'month'",
    ("out_indicator", "months_sum_to_quarter"): "UPDATE out_indicator SET denominator = 4 "
    "WHERE scope = 'province' AND period = 'quarter'",
    ("out_indicator", "months_sum_to_year"): "DELETE FROM out_indicator WHERE scope = 'province' AND period = 'year'",
    ("out_indicator", "unit_known"): "UPDATE out_indicator SET unit_code = 'H15.99999' WHERE unit_code = 'H15.SNV'",
    ("out_verdict", "counts_when_judged"): "UPDATE out_verdict SET numerator = NULL WHERE verdict = 'missed'",
    ("out_verdict", "value_bears_the_verdict"): "UPDATE out_verdict SET rate = 21 WHERE measure = 'rank'",
    ("out_verdict", "gap_closes_the_distance"): "UPDATE out_verdict SET gap_dossiers = 2 WHERE verdict = 'missed'",
    ("out_verdict", "numbers_of_the_indicator"): "UPDATE out_verdict SET denominator = 3 WHERE verdict = 'missed'",
    ("core_dossier", "ended_on_is_local_day"): "UPDATE core_dossier SET ended_on = '2026-01-11' WHERE is_received",
    ("core_dossier", "end_has_a_kind"): "UPDATE core_dossier SET end_kind = NULL WHERE is_received",
    ("core_dossier", "deadline_has_a_basis"): "UPDATE core_dossier SET deadline_at = NULL WHERE is_received",
    ("core_dossier", "resolved_has_ended"): "UPDATE core_dossier SET end_kind = 'stopped' WHERE is_received",
    ("core_dossier", "unit_not_ended"): "UPDATE core_dossier SET ended_at = NULL, unit_code = 'H15.643' "
    "WHERE is_received",
    ("core_claim", "belongs_to_a_dossier"): "UPDATE core_claim SET dossier_key = 'x' WHERE source = 'onestop'",
    ("core_claim", "one_per_matched_record"): "DELETE FROM core_claim WHERE source = 'onestop'",
    ("core_claim", "unit_known"): "UPDATE core_claim SET unit_code = 'H15.99999' WHERE source = 'onestop'",
    ("core_succession", "old_unit_known"): "UPDATE core_succession SET unit_code = 'H15.24133'",
    ("core_succession", "successor_known"): "UPDATE core_succession SET successor_code = 'H15.99999'",
    ("core_succession", "several_successors_are_a_split"): "INSERT INTO core_succession "
    "SELECT * REPLACE ('H15.SNV' AS successor_code, true AS is_split) FROM core_succession",
    ("core_succession", "every_old_commune_has_one"): "UPDATE core_succession SET unit_code = 'H15.643'",
    ("core_calendar", "days_without_gap"): "DELETE FROM core_calendar WHERE day = '2026-01-03'",
    ("core_calendar", "working_ordinal_counts"): "UPDATE core_calendar SET working_ordinal = 4 "
    "WHERE day = '2026-01-06'",
    ("core_calendar", "office_seconds_add_up"): "UPDATE core_calendar SET office_seconds_before = 57601 "
    "WHERE day = '2026-01-06'",
    ("core_calendar", "difference_from_weekday_explained"): "UPDATE core_calendar SET reason = NULL "
    "WHERE day = '2026-01-01'",
    ("core_calendar", "working_days_of_a_year"): "INSERT INTO core_calendar SELECT day::DATE, false, 0, 0, NULL, "
    "'weekday' FROM range(TIMESTAMP '2025-01-01', TIMESTAMP '2026-01-01', INTERVAL 1 DAY) AS year(day)",
    ("core_observation", "counts_or_value"): "UPDATE core_observation SET value = 1 WHERE scope = 'unit'",
    ("core_observation", "first_day_of_its_period"): "UPDATE core_observation SET period_start = '2026-02-01' "
    "WHERE period = 'year'",
    ("core_observation", "stated_within_its_time"): "UPDATE core_observation SET stated_on = '2025-12-31' "
    "WHERE scope = 'unit'",
    ("core_observation", "scope_of_its_unit"): "UPDATE core_observation SET unit_code = 'H15' WHERE scope = 'unit'",
    ("core_observation", "unit_living_in_the_period"): "UPDATE core_observation SET unit_code = 'H15.643' "
    "WHERE scope = 'unit'",
    ("out_indicator", "rate_is_a_share"): "UPDATE out_indicator SET rate = 1.5 "
    "WHERE scope = 'province' AND period = 'quarter'",
    ("out_indicator", "counts_stand_together"): "UPDATE out_indicator SET numerator = NULL "
    "WHERE scope = 'province' AND period = 'quarter'",
    ("out_indicator", "state_ok"): "UPDATE out_indicator SET state = 'no_denominator' "
    "WHERE scope = 'province' AND period = 'quarter'",
    ("out_indicator", "state_no_denominator"): "UPDATE out_indicator SET state = 'ok' WHERE denominator = 0",
    ("out_indicator", "months_sum_to_half"): "UPDATE out_indicator SET numerator = 0 "
    "WHERE scope = 'province' AND period = 'half'",
    ("out_outlook", "counts_not_negative"): "UPDATE out_outlook SET numerator = 3",
    ("out_outlook", "expected_within_range"): "UPDATE out_outlook SET rate_low = 0.55",
    ("out_outlook", "counts_are_the_year_to_date"): "UPDATE out_outlook SET denominator = 3",
    ("out_outlook", "needed_is_to_come"): "UPDATE out_outlook SET needed = 11",
    ("out_score", "points_within_maximum"): "UPDATE out_score SET points = 50.01 WHERE state = 'scored'",
    ("out_score", "points_have_two_decimals"): "UPDATE out_score SET points = 25.001 WHERE state = 'scored'",
    ("out_score", "lost_is_what_is_left"): "UPDATE out_score SET lost = 24 WHERE state = 'scored'",
    ("out_score", "unscored_has_no_points"): "UPDATE out_score SET state = 'no_source' WHERE state = 'scored'",
    ("out_score", "out_of_scope_has_all_points"): "UPDATE out_score SET points = 39 WHERE state = 'out_of_scope'",
    ("out_score", "next_point_of_counts_only"): "UPDATE out_score SET next_point = 2 WHERE state = 'scored'",
    ("out_score", "unit_known"): "UPDATE out_score SET unit_code = 'H15.99999'",
    ("out_score_total", "group_is_the_sum_of_its_components"): "UPDATE out_score_total SET points = 26 "
    "WHERE group_id = '1'",
    ("out_score_total", "total_is_the_sum_of_the_groups"): "UPDATE out_score_total SET scored_max = 100 "
    "WHERE group_id = 'total'",
    ("out_score_total", "nothing_lost_but_of_what_was_scored"): "UPDATE out_score_total SET lost = 35 "
    "WHERE group_id = 'total'",
    ("out_score_total", "rank_among_the_ranked"): "UPDATE out_score_total SET rank = 2 WHERE group_id = 'total'",
    ("out_evaluation", "counts_not_negative"): "UPDATE out_evaluation SET their_numerator = -1",
    ("out_evaluation", "differences_are_ours_less_theirs"): "UPDATE out_evaluation SET numerator_difference = 1",
    ("out_evaluation", "published_with_contradictions"): "UPDATE out_evaluation SET quality_note = 'x'",
    ("out_evaluation", "unit_known"): "UPDATE out_evaluation SET unit_code = 'H15.99999'",
    ("out_statistic", "counts_not_negative"): f"UPDATE out_statistic SET denied = -1 {_YEAR}",
    ("out_statistic", "received_is_new_and_carried"): f"UPDATE out_statistic SET received_post = 1 {_YEAR}",
    ("out_statistic", "received_is_accounted_for"): f"UPDATE out_statistic SET stopped = 1 {_YEAR}",
    ("out_statistic", "parts_of_resolved"): f"UPDATE out_statistic SET resolved_early = 1 {_YEAR}",
    ("out_statistic", "parts_of_in_process"): f"UPDATE out_statistic SET in_process_overdue = 1 {_YEAR}",
    ("out_statistic", "sector_with_its_breakdown"): f"UPDATE out_statistic SET sector = 'Hộ tịch' {_YEAR}",
    ("out_statistic", "sectors_sum_to_all"): f"UPDATE out_statistic SET waiting_supplement = 1 {_YEAR}",
    ("out_statistic", "units_sum_to_level"): "UPDATE out_statistic SET resolved_total = 2 "
    "WHERE scope = 'level' AND breakdown = 'all' AND period = 'year'",
    ("out_statistic", "levels_sum_to_province"): f"UPDATE out_statistic SET resolved_total = 2 {_YEAR}",
    ("out_statistic", "months_sum_to_year"): f"UPDATE out_statistic SET received_online = 3 {_YEAR}",
    ("out_statistic", "open_is_carried_over"): "UPDATE out_statistic SET carried_over = 2 "
    "WHERE scope = 'province' AND breakdown = 'all' AND period_start = '2026-02-01'",
    ("out_statistic", "undated_end"): "UPDATE out_statistic SET in_process_undated_end = 1 "
    "WHERE scope = 'unit' AND breakdown = 'all' AND period_start = '2026-02-01'",
    ("out_statistic", "unit_known"): "UPDATE out_statistic SET unit_code = 'H15.99999' WHERE scope = 'unit'",
    ("out_reconciliation", "belongs_to_a_dossier"): "UPDATE out_reconciliation SET dossier_key = 'x' "
    "WHERE kind = 'status'",
    ("out_reconciliation", "late_by_the_national_rule"): "DELETE FROM out_reconciliation WHERE kind = 'late'",
    ("out_worklist", "deadline_when_days_left"): "UPDATE out_worklist SET days_left = NULL WHERE loss = 'at_risk'",
    ("out_worklist", "loss_count_is_the_count"): "UPDATE out_worklist SET loss_count = 2",
    ("out_worklist", "places_without_gaps"): "UPDATE out_worklist SET priority = 3 WHERE loss = 'at_risk'",
    ("out_worklist", "belongs_to_a_dossier"): "UPDATE out_worklist SET dossier_key = 'x' WHERE loss = 'lost'",
    ("core_agency", "agency_said"): "UPDATE core_agency SET agency = ' ' WHERE name = 'Trung tâm'",
    ("core_agency", "spans_apart"): "UPDATE core_agency SET last_listed_on = '2026-02-01' WHERE name = 'Sở Nội vụ'",
    ("core_agency", "mapped_by_something"): "UPDATE core_agency SET mapped_by = 'code' WHERE name = 'Trung tâm'",
    ("core_agency", "unit_known"): "UPDATE core_agency SET unit_code = 'H15.SKH' WHERE name = 'Sở Nội vụ tỉnh'",
    # Messages name the agency; the name in another case and with another space is the same one.
    ("core_agency", "wanted_has_unit"): """UPDATE raw_quarantine SET excerpt = '{"code":"TRUNG  TÂM"}'""",
    ("raw_evaluation", "one_province_per_answer"): "UPDATE raw_evaluation SET is_root = true",
}
# These two count distinct things, so that one defect is more than one offence.
SEVERAL = {
    ("out_indicator", "one_instant"): (
        "UPDATE out_indicator SET as_of = '2026-03-02 00:00:00Z' WHERE scope = 'province' AND period = 'year'",
        2,
    ),
}


def _cases() -> list[tuple[str, str]]:
    return [(name, each.id) for name, suite in SUITES.items() for each in suite.expectations]


def _first(table: str, condition: str | None) -> str:
    return f'rowid = (SELECT min(rowid) FROM "{table}" WHERE {condition or "true"})'


def _sql(when: tuple[str, str, Any]) -> str:
    column, operator, value = when
    return f'"{column}" {operator} {tuple(value) if operator == "IN" else repr(value)}'


def _bad_value(kind: str, of_type: str, kwargs: Mapping[str, Any]) -> str:
    match kind:
        case "values_to_not_be_null":
            return "NULL"
        case "values_to_be_null":
            return "'2026-01-01'" if of_type == "date32[day]" else "'1'"
        case "values_to_be_between":
            return str(kwargs["max_value"] + 1 if "max_value" in kwargs else kwargs["min_value"] - 1)
        case "values_to_be_in_set":
            return {"bool": "false", "int16": "7"}.get(of_type, "'x'")
        case "values_to_not_be_in_set":
            return str(kwargs["value_set"][0])
        case "values_to_match_regex" | "values_to_not_match_regex":
            return "'12-31@1'"
    raise AssertionError(f"no defect is known for {kind}")


def _defect(table: Table, expectation: Expectation) -> str:
    """One SQL statement that breaks a row-wise expectation in one row."""
    kwargs = expectation.kwargs
    kind = (expectation.type or "").removeprefix("expect_column_")
    where = _first(table.name, _sql(expectation.when) if expectation.when else None)
    if kind == "pair_values_a_to_be_greater_than_b":
        a, b = kwargs["column_A"], kwargs["column_B"]
        less = "1" if str(table.column(a).type) == "int64" else "INTERVAL 1 DAY"
        where = _first(table.name, f'"{a}" IS NOT NULL AND "{b}" IS NOT NULL') if "INTERVAL" in less else where
        # A span still open has no end to compare: give it one.
        filler = f'UPDATE "{table.name}" SET "{a}" = coalesce("{a}", "{b}"); '
        return filler + f'UPDATE "{table.name}" SET "{a}" = "{b}" - {less} WHERE {where}'
    column = kwargs["column"]
    value = _bad_value(kind, str(table.column(column).type), kwargs)
    return f'UPDATE "{table.name}" SET "{column}" = {value} WHERE {where}'


def _spoil(connection: duckdb.DuckDBPyConnection, table: Table, expectation: Expectation) -> int:
    """Put one defect into the world; returns how many offences it is."""
    place = (table.name, expectation.id)
    if place in SEVERAL:
        connection.execute(SEVERAL[place][0])
        return SEVERAL[place][1]
    if expectation.id == "key_unique":
        connection.execute(f'INSERT INTO "{table.name}" SELECT * FROM "{table.name}" WHERE {_first(table.name, None)}')
    elif expectation.id == "versions_differ":
        connection.execute(
            f'INSERT INTO "{table.name}" '
            f'SELECT * REPLACE (extracted_at + INTERVAL 1 DAY AS extracted_at) FROM "{table.name}"'
        )
    else:
        connection.execute(SPOILT[place] if expectation.query else _defect(table, expectation))
    return 1


@pytest.mark.parametrize("name", SUITES)
def test_the_good_world_passes(name: str) -> None:
    suite = SUITES[name]
    result = check(source_of(good_world(suite), suite.table), suite)
    assert [each.expectation.id for each in result.failed] == []
    assert all(each.evaluated > 0 for each in result.results), "an expectation that judged nothing proves nothing"


@pytest.mark.parametrize(("name", "expectation_id"), _cases())
def test_one_defect_fails(name: str, expectation_id: str) -> None:
    suite = SUITES[name]
    (expectation,) = [each for each in suite.expectations if each.id == expectation_id]
    world = good_world(suite)
    offences = _spoil(world, suite.table, expectation)
    result = check(source_of(world, suite.table), Suite(table=suite.table, expectations=(expectation,)))
    assert [each.unexpected for each in result.failed] == [offences]


_WRONG = "id: a, group: domains, severity: warning, vi: a, en: a, type: expect_column"


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ("{id: a, group: domains, severity: critical, vi: a, en: a}", "needs either a type or a query"),
        ("{id: a, group: domains, severity: loud, vi: a, en: a, query: SELECT 1}", "severity must be"),
        ("{id: a, group: targets, severity: warning, vi: a, en: a, query: SELECT 1}", "group must be"),
        ("{id: a, group: domains, severity: warning, vi: a, query: SELECT 1}", "en is missing"),
        (
            f"{{{_WRONG}_mean_to_be_between, kwargs: {{column: status_code}}}}",
            "does not judge row by row",
        ),
        (
            f"{{{_WRONG}_values_to_not_be_null, kwargs: {{column: due_on, mostly: 0.9}}}}",
            "mostly is not allowed",
        ),
        (
            f"{{{_WRONG}_values_to_be_between, kwargs: {{column: due_on, min_value: 0}}}}",
            "nulls of due_on would pass unseen",
        ),
        (
            f"{{{_WRONG}_values_to_not_be_null, kwargs: {{column: duedate}}}}",
            "core_dossier has no column 'duedate'",
        ),
        (
            f"{{{_WRONG}_values_to_not_be_null, kwargs: {{column: due_on}}, when: [is_received, is, true]}}",
            "when must be",
        ),
        ("{id: key_unique, group: keys, severity: critical, vi: a, en: a, query: SELECT 1}", "used twice"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, entry: str, complaint: str) -> None:
    (tmp_path / "core_dossier.yaml").write_text(f"expectations:\n  - {entry}\n", encoding="utf-8")
    with pytest.raises(SuiteError, match=complaint) as error:
        load_suite(CORE_DOSSIER, folder=tmp_path)
    assert "core_dossier.yaml" in str(error.value)


def test_every_message_is_in_both_languages() -> None:
    entries = [each for suite in SUITES.values() for each in suite.expectations]
    assert all(each.vi and each.en and each.vi != each.en for each in entries)

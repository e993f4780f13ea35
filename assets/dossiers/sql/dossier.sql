-- Who handles each dossier, and the dossier's row.
-- A unit that ended (2025-06-30) hands its open dossiers to the one that took it over; where the crosswalk
-- leaves a doubt (a split commune, a district) nobody is guessed and the old unit stays.
CREATE OR REPLACE TEMP TABLE handled AS
WITH unit AS (
    SELECT unit_code, any_value(level) AS level, CASE WHEN count(valid_to) = count(*) THEN max(valid_to) END AS last_day
    FROM core_unit GROUP BY unit_code
),
successor AS (
    SELECT unit_code, any_value(successor_code) AS successor_code FROM core_succession
    GROUP BY unit_code HAVING count(*) = 1 AND NOT bool_or(is_split)
),
-- The agency in a dossier's public code is the one that registered it: the place of reception.
agency AS (
    SELECT agency, any_value(unit_code) AS unit_code FROM agency_map
    GROUP BY agency HAVING count(DISTINCT unit_code) = 1
),
open_until AS (
    SELECT s.dossier_key, s.unit_code AS claimed_code, s.dossier_code,
        -- Still open: in process or waiting. Refused, withdrawn or stopped on a day that nobody told is not.
        CASE
            WHEN t.ended_at IS NOT NULL AND t.end_kind <> 'waiting' THEN vietnam_day(t.ended_at)
            WHEN s.status_code IN (3, 7, 8) THEN vietnam_day(coalesce(t.denied_at, t.completed_at, t.received_at,
                t.submitted_at, s.created_at))
            WHEN s.status_code IN (9, 10) THEN vietnam_day(coalesce(t.completed_at, t.returned_at))
        END AS last_day
    FROM sides AS s JOIN timed AS t USING (dossier_key)
),
carried AS (
    SELECT o.*, n.successor_code
    FROM open_until AS o
    JOIN unit AS u ON u.unit_code = o.claimed_code
    LEFT JOIN successor AS n ON n.unit_code = o.claimed_code AND (o.last_day IS NULL OR o.last_day > u.last_day)
)
SELECT
    c.dossier_key,
    coalesce(c.successor_code, c.claimed_code) AS unit_code,
    a.unit_code AS reception_unit_code,
    CASE
        WHEN c.successor_code IS NOT NULL THEN c.claimed_code
        WHEN received_by.last_day IS NOT NULL AND handler.last_day IS NULL THEN a.unit_code
    END AS previous_unit_code,
    handler.level AS unit_level
FROM carried AS c
JOIN unit AS handler ON handler.unit_code = coalesce(c.successor_code, c.claimed_code)
LEFT JOIN agency AS a ON a.agency = agency_key(regexp_extract(c.dossier_code, '^(.+)-[0-9]{6,8}-[0-9]{4,7}$', 1))
LEFT JOIN unit AS received_by ON received_by.unit_code = a.unit_code;

CREATE OR REPLACE TEMP TABLE new_dossier AS
WITH component AS (
    SELECT dossier_key, count(*) AS component_count, bool_or(has_file) AS has_component_attachment,
        coalesce(bool_or(is_digitised), false) AS has_digitised_component,
        coalesce(bool_or(reuse_code IN (1, 2)), false) AS is_reused,
        coalesce(bool_or(is_from_personal_store), false) AS is_from_personal_store
    FROM new_component GROUP BY dossier_key
),
payment AS (
    SELECT dossier_key, count(*) FILTER (WHERE is_settled) AS transaction_count,
        count(*) FILTER (WHERE is_online) AS online_transaction_count,
        min(paid_at) FILTER (WHERE is_settled) AS paid_at,
        bool_or(source = 'payments') AS is_known_to_platform
    FROM new_payment GROUP BY dossier_key
),
step AS (SELECT dossier_key, count(*) AS step_count FROM new_step GROUP BY dossier_key),
finished AS (
    SELECT s.dossier_key,
        CASE WHEN s.status_code IN (9, 10) THEN coalesce(s.completed_at, s.returned_at) END AS resolved_at
    FROM sides AS s
)
SELECT
    s.dossier_key,
    s.dossier_code,
    coalesce(strftime(t.reference_day, '%Y-%m'), '0000-00') AS lake_month,
    h.unit_code,
    h.unit_level,
    s.procedure_code,
    s.channel,
    t.has_fee,
    s.service_level,
    t.is_result_required,
    s.status_code,
    s.submitted_at,
    s.received_at,
    s.due_at,
    s.completed_at,
    s.returned_at,
    f.resolved_at,
    t.denied_at,
    t.ended_at,
    t.end_kind,
    CASE t.deadline_basis
        WHEN 'promise' THEN t.promise_at + to_seconds(t.promise_wait_seconds)
        WHEN 'limit' THEN l.deadline_at
    END AS deadline_at,
    CASE WHEN t.deadline_basis = 'limit' AND l.deadline_at IS NULL THEN 'none' ELSE t.deadline_basis END
        AS deadline_basis,
    t.wait_seconds AS supplement_wait_seconds,
    r.deadline_at AS reception_due_at,
    vietnam_day(s.submitted_at) AS submitted_on,
    vietnam_day(s.received_at) AS received_on,
    vietnam_day(s.due_at) AS due_on,
    vietnam_day(f.resolved_at) AS resolved_on,
    vietnam_day(t.ended_at) AS ended_on,
    vietnam_day(pay.paid_at) AS paid_on,
    s.received_at IS NOT NULL AND s.status_code NOT IN (1, 3) AS is_received,
    f.resolved_at IS NOT NULL AS is_resolved,
    coalesce(step.step_count, 0) > 0 AS is_processed_online,
    len(coalesce(s.fees, [])) > 0 AND coalesce(list_sum(s.fees), 0) = 0 AS is_fee_waived,
    coalesce(list_max(s.fees), 0) > 0 AS has_fee_amount,
    -- Who saw the money decides: a payment platform that knows the dossier. Else the message's flag where a message
    -- carries it (formula 3.6); without one, the payments do.
    CASE WHEN s.paid_online_code IS NOT NULL AND NOT coalesce(pay.is_known_to_platform, false)
        THEN s.paid_online_code IN (1, 2)
        ELSE coalesce(pay.online_transaction_count, 0) > 0 END AS is_paid_online,
    coalesce(pay.transaction_count, 0) AS transaction_count,
    coalesce(pay.online_transaction_count, 0) AS online_transaction_count,
    coalesce(c.component_count, 0) AS component_count,
    coalesce(c.has_component_attachment, false) AS has_component_attachment,
    coalesce(c.has_digitised_component, false) AS has_digitised_component,
    coalesce(s.has_result, false) AS has_electronic_result,
    coalesce(c.is_reused, false) AS is_reused,
    coalesce(s.is_vneid_verified, false) AS is_vneid_verified,
    coalesce(c.is_from_personal_store, false) AS is_from_personal_store,
    coalesce(s.is_population_data_used, false) AS is_population_data_used,
    t.is_citizen_subject,
    len(coalesce(s.supplements, [])) AS supplement_count,
    h.reception_unit_code,
    h.previous_unit_code,
    s.in_portal,
    s.in_onestop,
    s.in_messages
FROM sides AS s
JOIN timed AS t USING (dossier_key)
JOIN handled AS h USING (dossier_key)
JOIN finished AS f USING (dossier_key)
LEFT JOIN limit_deadline AS l USING (dossier_key)
LEFT JOIN reception_deadline AS r USING (dossier_key)
LEFT JOIN component AS c USING (dossier_key)
LEFT JOIN payment AS pay USING (dossier_key)
LEFT JOIN step USING (dossier_key);

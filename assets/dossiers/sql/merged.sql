-- One row per dossier from what its sources claim.
-- The facts are written from the table of precedence in precedence.py.
CREATE OR REPLACE TEMP TABLE best AS
SELECT m.dossier_key, c.*
FROM claims AS c
JOIN membership AS m USING (source, record_key)
-- Two records of one source for one dossier (published copies, double posts): the newer one speaks.
QUALIFY row_number() OVER (
    PARTITION BY m.dossier_key, c.source ORDER BY c.modified_at DESC NULLS LAST, c.record_key DESC
) = 1;

CREATE OR REPLACE TEMP TABLE sides AS
SELECT
    dossier_key,
    bool_or(source = 'portal') AS in_portal,
    bool_or(source = 'onestop') AS in_onestop,
    bool_or(source = 'messages') AS in_messages,
    {facts}
FROM best
GROUP BY dossier_key;

CREATE OR REPLACE TEMP TABLE new_component AS
SELECT s.dossier_key, u.component_no, s.components_source AS source, u.c.component_code, u.c.has_file,
    u.c.is_digitised, u.c.reuse_code, u.c.is_from_personal_store
FROM sides AS s, LATERAL (
    SELECT unnest(s.components) AS c, unnest(range(1, len(s.components) + 1)) AS component_no
) AS u;

CREATE OR REPLACE TEMP TABLE new_payment AS
SELECT s.dossier_key, u.payment_no, s.payments_source AS source, u.p.amount_vnd,
    CASE WHEN u.p.is_settled THEN m.value END AS method,
    u.p.is_settled AND u.p.amount_vnd > 0 AS is_settled,
    u.p.is_settled AND u.p.amount_vnd > 0 AND m.value = 'online' AS is_online,
    CASE WHEN u.p.is_settled THEN u.p.paid_at END AS paid_at
FROM sides AS s, LATERAL (
    SELECT unnest(s.payments) AS p, unnest(range(1, len(s.payments) + 1)) AS payment_no
) AS u
LEFT JOIN code_map AS m ON m.source = s.payments_source AND m.kind = 'payment_method' AND m.code = u.p.method;

CREATE OR REPLACE TEMP TABLE new_supplement AS
SELECT s.dossier_key, row_number() OVER (PARTITION BY s.dossier_key ORDER BY u.x.requested_at, u.x.answered_at)
    AS supplement_no, s.supplements_source AS source, u.x.requested_at, u.x.answered_at, u.x.due_before_at, u.x.due_after_at
FROM sides AS s, LATERAL (SELECT unnest(s.supplements) AS x) AS u;

CREATE OR REPLACE TEMP TABLE new_step AS
SELECT i.dossier_key, row_number() OVER (
        PARTITION BY i.dossier_key ORDER BY n.acted_at, n.status_code, n.record_key
    ) AS step_no, 'messages' AS source, n.acted_at, n.status_code, n.started_at, n.step_due_at
FROM (
    SELECT record_key, dossier_code(MaHoSo) AS code,
        local_time(ThoiDiemXuLy, '%Y%m%d%H%M%S', $zone_messages) AS acted_at,
        CAST(s.value AS SMALLINT) AS status_code,
        local_time(NgayBatDau, '%Y%m%d%H%M%S', $zone_messages) AS started_at,
        local_time(NgayKetThucTheoQuyDinh, '%Y%m%d%H%M%S', $zone_messages) AS step_due_at
    FROM newest_progress AS p
    JOIN code_map AS s ON s.source = 'messages' AND s.kind = 'status' AND s.code = coalesce(trim(p.TrangThai), '')
) AS n
JOIN (
    SELECT DISTINCT m.dossier_key, i.identifier AS code
    FROM identifiers AS i JOIN membership AS m USING (source, record_key)
    WHERE i.rule IN ('code', 'national_code')
) AS i USING (code);

CREATE OR REPLACE TEMP TABLE new_dossier AS
WITH component AS (
    SELECT dossier_key, count(*) AS component_count, bool_or(has_file) AS has_component_attachment,
        coalesce(bool_or(is_digitised), false) AS has_digitised_component,
        coalesce(bool_or(reuse_code IN (1, 2)), false) AS is_reused
    FROM new_component GROUP BY dossier_key
),
payment AS (
    SELECT dossier_key, count(*) FILTER (WHERE is_settled) AS transaction_count,
        count(*) FILTER (WHERE is_online) AS online_transaction_count,
        min(paid_at) FILTER (WHERE is_settled) AS paid_at
    FROM new_payment GROUP BY dossier_key
),
step AS (SELECT dossier_key, count(*) AS step_count FROM new_step GROUP BY dossier_key),
unit AS (SELECT DISTINCT unit_code, level FROM core_unit),
said_so AS (
    SELECT s.*,
        vietnam_day(coalesce(s.received_at, s.submitted_at, s.created_at)) AS reference_day,
        s.received_at IS NOT NULL AND s.status_code NOT IN (1, 3) AS is_received,
        CASE WHEN s.status_code IN (9, 10) THEN coalesce(s.completed_at, s.returned_at) END AS resolved_at
    FROM sides AS s
)
SELECT
    s.dossier_key,
    s.dossier_code,
    coalesce(strftime(s.reference_day, '%Y-%m'), '0000-00') AS lake_month,
    s.unit_code,
    u.level AS unit_level,
    s.procedure_code,
    s.channel,
    p.has_fee,
    s.service_level,
    p.is_result_required,
    s.status_code,
    s.submitted_at,
    s.received_at,
    s.due_at,
    s.completed_at,
    s.returned_at,
    s.resolved_at,
    vietnam_day(s.submitted_at) AS submitted_on,
    vietnam_day(s.received_at) AS received_on,
    vietnam_day(s.due_at) AS due_on,
    vietnam_day(s.resolved_at) AS resolved_on,
    vietnam_day(pay.paid_at) AS paid_on,
    s.is_received,
    s.resolved_at IS NOT NULL AS is_resolved,
    coalesce(step.step_count, 0) > 0 AS is_processed_online,
    len(coalesce(s.fees, [])) > 0 AND coalesce(list_sum(s.fees), 0) = 0 AS is_fee_waived,
    -- The message's flag decides where a message carries it (formula 3.6); without one, the payments do.
    CASE WHEN s.paid_online_code IS NOT NULL THEN s.paid_online_code IN (1, 2)
        ELSE coalesce(pay.online_transaction_count, 0) > 0 END AS is_paid_online,
    coalesce(pay.transaction_count, 0) AS transaction_count,
    coalesce(pay.online_transaction_count, 0) AS online_transaction_count,
    coalesce(c.component_count, 0) AS component_count,
    coalesce(c.has_component_attachment, false) AS has_component_attachment,
    coalesce(c.has_digitised_component, false) AS has_digitised_component,
    coalesce(s.has_result, false) AS has_electronic_result,
    coalesce(c.is_reused, false) AS is_reused,
    coalesce(s.is_vneid_verified, false) AS is_vneid_verified,
    len(coalesce(s.supplements, [])) AS supplement_count,
    s.in_portal,
    s.in_onestop,
    s.in_messages
FROM said_so AS s
JOIN unit AS u USING (unit_code)
-- The procedure as it stood on the day of reception.
ASOF LEFT JOIN core_procedure AS p ON p.procedure_code = s.procedure_code AND s.reference_day >= p.valid_from
LEFT JOIN component AS c USING (dossier_key)
LEFT JOIN payment AS pay USING (dossier_key)
LEFT JOIN step USING (dossier_key);

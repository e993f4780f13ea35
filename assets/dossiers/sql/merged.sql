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

-- A payment platform decides about online payments, and about any other method that it tells of, for the dossiers
-- that it knows. What it cannot see (cash, a transfer at the counter) stays as the believed source settled it.
CREATE OR REPLACE TEMP TABLE new_payment AS
WITH line AS (
    SELECT s.dossier_key, u.payment_no, s.payments_source AS source, u.p.amount_vnd, m.value AS method,
        u.p.is_settled, u.p.paid_at
    FROM sides AS s, LATERAL (
        SELECT unnest(s.payments) AS p, unnest(range(1, len(s.payments) + 1)) AS payment_no
    ) AS u
    LEFT JOIN code_map AS m ON m.source = s.payments_source AND m.kind = 'payment_method' AND m.code = u.p.method
),
known AS (
    SELECT dossier_key, 'payments' AS source, amount_vnd, method, is_settled, paid_at, NULL AS place, reference
    FROM platform_payment
    UNION ALL
    SELECT l.dossier_key, l.source, l.amount_vnd, l.method, l.is_settled, l.paid_at, l.payment_no, NULL
    FROM line AS l SEMI JOIN platform_payment USING (dossier_key)
    WHERE l.is_settled AND l.method <> 'online' AND NOT EXISTS (
        SELECT 1 FROM platform_payment AS p WHERE p.dossier_key = l.dossier_key AND p.method = l.method
    )
),
told AS (
    SELECT * FROM line ANTI JOIN platform_payment USING (dossier_key)
    UNION ALL BY NAME
    SELECT * EXCLUDE (place, reference), row_number() OVER (
        PARTITION BY dossier_key ORDER BY place NULLS FIRST, paid_at NULLS LAST, reference
    ) AS payment_no
    FROM known
)
SELECT dossier_key, payment_no, source, amount_vnd,
    CASE WHEN is_settled THEN method END AS method,
    is_settled AND amount_vnd > 0 AS is_settled,
    is_settled AND amount_vnd > 0 AND method = 'online' AS is_online,
    CASE WHEN is_settled THEN paid_at END AS paid_at
FROM told;

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

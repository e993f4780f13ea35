-- Dossiers whose membership of one definition changed between two nights, within one period and unit.
-- Tables: member_past, member_present (rows of MEMBERSHIP with item = payment_no, 0 for a dossier), in_period:
-- whether the row is of the period and unit asked for.
CREATE OR REPLACE TEMP TABLE change AS
SELECT
    dossier_key,
    coalesce(p.payment_no, n.payment_no) AS payment_no,
    p.unit_code AS unit_then,
    n.unit_code AS unit_now,
    p.event_on AS day_then,
    n.event_on AS day_now,
    coalesce(p.in_period, false) AS denominator_then,
    coalesce(n.in_period, false) AS denominator_now,
    coalesce(p.in_period AND p.in_numerator, false) AS numerator_then,
    coalesce(n.in_period AND n.in_numerator, false) AS numerator_now,
    concat_ws(' + ',
        CASE WHEN p.dossier_key IS NULL THEN 'joined' WHEN n.dossier_key IS NULL THEN 'left' END,
        CASE WHEN p.unit_code <> n.unit_code THEN 'moved_unit' END,
        CASE WHEN p.month <> n.month THEN 'moved_month' END,
        CASE WHEN p.in_numerator AND NOT n.in_numerator THEN 'lost' WHEN n.in_numerator AND NOT p.in_numerator THEN 'gained' END
    ) AS change
FROM member_past AS p FULL JOIN member_present AS n USING (dossier_key, item)
WHERE (coalesce(p.in_period, false) OR coalesce(n.in_period, false))
    AND (p.dossier_key IS NULL OR n.dossier_key IS NULL OR p.unit_code <> n.unit_code OR p.month <> n.month
        OR p.in_numerator <> n.in_numerator);

-- A record that belonged to another dossier on the other night: a draft that got its code, copies that were
-- found to be one, or were told apart.
CREATE OR REPLACE TEMP TABLE renamed AS
SELECT dossier_key, string_agg(DISTINCT other_key, '; ' ORDER BY other_key) AS other_key
FROM (
    SELECT n.dossier_key, p.dossier_key AS other_key
    FROM present.core_crosswalk AS n SEMI JOIN change ON change.dossier_key = n.dossier_key
    JOIN past.core_crosswalk AS p ON p.source = n.source AND p.record_key = n.record_key
    UNION ALL
    SELECT p.dossier_key, n.dossier_key
    FROM past.core_crosswalk AS p SEMI JOIN change ON change.dossier_key = p.dossier_key
    JOIN present.core_crosswalk AS n ON n.source = p.source AND n.record_key = p.record_key
)
WHERE dossier_key <> other_key
GROUP BY dossier_key;

SELECT c.*, r.other_key, {known}, {fields} AS fields
FROM change AS c
LEFT JOIN renamed AS r USING (dossier_key)
{rows}
ORDER BY c.dossier_key, c.payment_no;

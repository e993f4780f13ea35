-- Rows of out_verdict, by the rules that verdicts.py lists. `measured` are rows of out_indicator or,
-- without an indicator, subjects that a target has no figure for; `target` the targets; `unit` rows
-- of core_unit; `origin` the province that a commune of today belonged to until 2025-06-30.
-- $own is the GSO code of the province that carries its name on, null when not known.
WITH life AS (
    SELECT 'unit' AS scope, unit_code AS subject, valid_from, coalesce(valid_to, DATE '9999-12-31') AS valid_to
    FROM unit
    UNION ALL
    SELECT 'level', level, valid_from, coalesce(valid_to, DATE '9999-12-31') FROM unit
), last_day AS (
    SELECT scope, subject, max(valid_to) AS last_day FROM life GROUP BY ALL
), span AS (
    SELECT *,
        CASE scope WHEN 'unit' THEN unit_code WHEN 'level' THEN level END AS subject,
        -- What another system gave as a bare value is compared as the decimal that it wrote.
        CAST(CAST(rate AS VARCHAR) AS DECIMAL(38, 18)) AS value,
        least(
            CAST(period_start + CASE period WHEN 'month' THEN INTERVAL 1 MONTH
                                            WHEN 'quarter' THEN INTERVAL 3 MONTH
                                            WHEN 'half' THEN INTERVAL 6 MONTH
                                            ELSE INTERVAL 1 YEAR END - INTERVAL 1 DAY AS DATE),
            -- A period that lies ahead (a source's clock runs fast) is judged on its first day.
            greatest($today, period_start)) AS day
    FROM measured
), held AS (
    SELECT t.* EXCLUDE (indicator, version), t.indicator AS awaited, t.version AS awaited_version, m.*,
        t.measure = 'share' AND m.denominator IS NOT NULL AS has_counts,
        o.former
    FROM span m
    JOIN target t ON {answers}
        AND (t.target_level IN ('all', m.level) OR (t.target_level = 'whole' AND m.scope = 'province'))
        AND t.valid_from <= m.day AND (t.valid_to IS NULL OR m.day <= t.valid_to)
    LEFT JOIN origin o ON m.scope = 'unit' AND o.unit_code = m.unit_code
), judged AS (
    SELECT h.*, l.last_day,
        h.scope = 'province' OR EXISTS (
            SELECT 1 FROM life f WHERE f.scope = h.scope AND f.subject = h.subject
                AND h.day BETWEEN f.valid_from AND f.valid_to) AS exists_then,
        h.territory IS NOT NULL AND coalesce(h.former, $own, h.territory) <> h.territory AS is_outside,
        h.territory IS NOT NULL AND h.scope <> 'unit' AND h.level <> 'district' AND h.day >= $merged_on
            AND EXISTS (SELECT 1 FROM origin x WHERE x.former <> h.territory) AS is_wider,
        CASE WHEN has_counts
            THEN greatest(0, (h.p::HUGEINT * h.denominator + h.q - 1) // h.q - h.numerator)::BIGINT END AS gap,
        CASE h.operator WHEN '>=' THEN value >= exact WHEN '<=' THEN value <= exact ELSE value = exact END
            AS value_reaches
    FROM held h LEFT JOIN last_day l USING (scope, subject)
), caused AS (
    SELECT *, CASE
        WHEN NOT exists_then AND last_day < day THEN 'ended'
        WHEN NOT exists_then THEN 'not_begun'
        WHEN is_outside THEN 'outside'
        WHEN indicator IS NULL AND awaited IS NULL THEN 'unconnected'
        WHEN indicator IS NULL THEN 'awaited'
        WHEN day < due_on THEN 'due_later'
        WHEN denominator = 0 OR rate IS NULL THEN 'nothing'
        WHEN denominator < $minimum THEN 'too_few'
        WHEN is_wider THEN 'wider' END AS cause
    FROM judged
), verdict AS (
    SELECT *,
        CASE
            WHEN cause IN ('ended', 'not_begun', 'outside', 'nothing') THEN 'not_applicable'
            WHEN cause IN ('unconnected', 'awaited') THEN 'no_source'
            WHEN cause = 'due_later' THEN 'not_yet_due'
            WHEN cause = 'too_few' THEN 'too_few'
            WHEN CASE WHEN has_counts THEN gap = 0 ELSE value_reaches END THEN 'met'
            ELSE 'missed' END AS verdict,
        CASE cause
            WHEN 'ended' THEN format($ended, strftime(last_day, '%d/%m/%Y'))
            WHEN 'not_begun' THEN format($not_begun, strftime(day, '%d/%m/%Y'))
            WHEN 'outside' THEN format($outside, territory_vi)
            WHEN 'unconnected' THEN format($unconnected, sources_vi)
            WHEN 'awaited' THEN format($awaited, awaited, awaited_version, year(period_start)::VARCHAR, sources_vi)
            WHEN 'due_later' THEN format($due_later, strftime(due_on, '%d/%m/%Y'))
            WHEN 'nothing' THEN format($nothing, counted)
            WHEN 'too_few' THEN format($too_few, denominator, counted, $minimum)
            WHEN 'wider' THEN format($wider, territory_vi) END AS reason
    FROM caused
)
SELECT target, indicator, version, level, scope, unit_code, period, period_start, operator, measure, threshold,
    rate, numerator, denominator,
    CASE WHEN verdict <> 'not_applicable' AND denominator > 0 THEN gap END AS gap_dossiers,
    verdict, reason, document, clause
FROM verdict

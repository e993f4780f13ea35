-- From out_indicator to one pair of counts per subject and component: the first source that knows.
WITH base AS (
    SELECT s.component, s.position, s.extras, s.label,
        i.scope, i.level, i.unit_code, i.boundaries, i.period, i.period_start, i.numerator, i.denominator, i.rate
    FROM source AS s JOIN indicator AS i USING (indicator, version)
),
-- What a source is put together with: a larger denominator, or numerators to take off.
extra AS (
    SELECT e.component, e.position, e.kind, e.label,
        i.scope, i.level, i.unit_code, i.boundaries, i.period, i.period_start,
        -- A count that another system gave as a value alone stands in the rate.
        greatest(i.numerator, i.denominator, CAST(round(i.rate) AS BIGINT)) AS largest,
        i.numerator
    FROM source_extra AS e JOIN indicator AS i USING (indicator, version)
),
extras AS (
    SELECT component, position, scope, level, unit_code, boundaries, period, period_start,
        max(largest) FILTER (WHERE kind = 'larger_of') AS larger,
        sum(numerator) FILTER (WHERE kind = 'minus') AS minus,
        count(numerator) FILTER (WHERE kind = 'minus') AS minus_known,
        list(label ORDER BY label) AS labels
    FROM extra GROUP BY ALL
),
put_together AS (
    SELECT b.*,
        CASE WHEN b.extras > 0 THEN list_filter(wanted.labels, lambda x: NOT list_contains(coalesce(e.labels, []), x)) END
            AS missing,
        coalesce(e.minus_known, 0) = wanted.minus_count AS is_whole,
        e.minus, e.larger
    FROM base AS b
    LEFT JOIN extras AS e USING (component, position, scope, level, unit_code, boundaries, period, period_start)
    LEFT JOIN (
        SELECT component, position, list(label) AS labels, count(*) FILTER (WHERE kind = 'minus') AS minus_count
        FROM source_extra GROUP BY ALL
    ) AS wanted USING (component, position)
),
found AS (
    SELECT component, position, scope, level, unit_code, boundaries, period, period_start,
        CASE WHEN numerator IS NOT NULL THEN greatest(numerator - coalesce(minus, 0), 0) END AS numerator,
        CASE WHEN denominator IS NOT NULL THEN greatest(denominator, larger) END AS denominator,
        CASE WHEN denominator IS NULL THEN rate END AS rate,
        label || CASE WHEN len(missing) > 0 THEN ' (thiếu ' || array_to_string(missing, ', ') || ')' ELSE '' END AS basis
    FROM put_together
    WHERE (extras = 0 OR is_whole) AND ((numerator IS NOT NULL AND denominator IS NOT NULL) OR
        (denominator IS NULL AND rate IS NOT NULL AND extras = 0))
),
subject AS (
    SELECT DISTINCT scope, level, unit_code, boundaries, period, period_start FROM base
    WHERE CAST(period_start + CASE period WHEN 'month' THEN INTERVAL 1 MONTH WHEN 'quarter' THEN INTERVAL 3 MONTH
        WHEN 'half' THEN INTERVAL 6 MONTH ELSE INTERVAL 1 YEAR END AS DATE) > $valid_from
        AND ($valid_to IS NULL OR period_start <= $valid_to)
),
candidate AS (
    SELECT f.*, 0 AS distance FROM found AS f SEMI JOIN subject USING (scope, level, unit_code, boundaries, period, period_start)
    UNION ALL
    -- Carried from the province, where the set says so and nothing nearer is known.
    SELECT f.component, f.position, s.scope, s.level, s.unit_code, s.boundaries, s.period, s.period_start,
        f.numerator, f.denominator, f.rate, f.basis || ' (số của tỉnh)', 1
    FROM found AS f JOIN component AS c USING (component) JOIN subject AS s USING (period, period_start)
    WHERE c.inherits AND f.scope = 'province' AND s.scope <> 'province'
)
SELECT s.scope, s.level, s.unit_code, s.boundaries, s.period, s.period_start,
    c.component, c.numerator, c.denominator, c.rate, c.basis
FROM subject AS s
LEFT JOIN (
    SELECT * FROM candidate
    QUALIFY row_number() OVER (
        PARTITION BY component, scope, level, unit_code, boundaries, period, period_start ORDER BY distance, position
    ) = 1
) AS c USING (scope, level, unit_code, boundaries, period, period_start)

-- From counts by unit and month to every scope and period. Sums of counts only.
WITH bounds AS (
    SELECT date_trunc('month', $start_on::DATE)::DATE AS first_month,
        date_trunc('month', timezone('Asia/Ho_Chi_Minh', $as_of::TIMESTAMPTZ - INTERVAL 1 MICROSECOND))::DATE AS last_month
),
month AS (SELECT unnest(range(first_month, last_month + INTERVAL 1 MONTH, INTERVAL 1 MONTH))::DATE AS month FROM bounds),
period AS (
    SELECT month, 'month' AS period, month AS period_start FROM month
    UNION ALL SELECT month, 'quarter', date_trunc('quarter', month)::DATE FROM month
    UNION ALL SELECT month, 'year', date_trunc('year', month)::DATE FROM month
),
-- Who can have a number in a period: units while they exist, levels while they have units.
existing AS (
    SELECT DISTINCT u.unit_code, u.level, p.period, p.period_start
    FROM unit AS u JOIN period AS p
        ON u.valid_from <= last_day(p.month) AND (u.valid_to IS NULL OR u.valid_to >= p.month)
    WHERE u.parent_code IS NOT NULL
),
subject AS (
    SELECT 'unit' AS scope, level, unit_code, period, period_start FROM existing
    UNION ALL SELECT DISTINCT 'level', level, $province_code, period, period_start FROM existing
    UNION ALL SELECT DISTINCT 'province', 'all', $province_code, period, period_start FROM period
),
-- A version speaks of the periods that it is valid in.
expected AS (
    SELECT s.*, d.definition
    FROM subject AS s CROSS JOIN definition AS d
    WHERE d.valid_from < CASE s.period
            WHEN 'month' THEN s.period_start + INTERVAL 1 MONTH
            WHEN 'quarter' THEN s.period_start + INTERVAL 3 MONTH
            ELSE s.period_start + INTERVAL 1 YEAR
        END
        AND (d.valid_to IS NULL OR d.valid_to >= s.period_start)
),
counted AS (
    SELECT c.unit_code, c.unit_level AS level, p.period, p.period_start, c.definition, c.numerator, c.denominator
    FROM long_count AS c JOIN period AS p USING (month)
),
summed AS (
    SELECT 'unit' AS scope, level, unit_code, period, period_start, definition, sum(numerator) AS numerator,
        sum(denominator) AS denominator
    FROM counted GROUP BY ALL
    UNION ALL
    SELECT 'level', level, $province_code, period, period_start, definition, sum(numerator), sum(denominator)
    FROM counted GROUP BY ALL
    UNION ALL
    SELECT 'province', 'all', $province_code, period, period_start, definition, sum(numerator), sum(denominator)
    FROM counted GROUP BY ALL
)
SELECT
    d.indicator,
    d.version,
    scope,
    level,
    unit_code,
    period,
    period_start,
    coalesce(s.numerator, 0)::BIGINT AS numerator,
    coalesce(s.denominator, 0)::BIGINT AS denominator,
    CASE WHEN s.denominator > 0 THEN s.numerator / s.denominator END AS rate,
    CASE WHEN s.denominator > 0 THEN 'ok' ELSE 'no_denominator' END AS state,
    $as_of::TIMESTAMPTZ AS as_of
FROM expected AS e
FULL JOIN summed AS s USING (scope, level, unit_code, period, period_start, definition)
JOIN definition AS d USING (definition)
ORDER BY ALL;

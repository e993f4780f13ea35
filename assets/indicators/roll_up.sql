-- From counts by unit and month to every scope and period. Sums of counts only.
WITH bounds AS (
    SELECT timezone('Asia/Ho_Chi_Minh', $as_of::TIMESTAMPTZ - INTERVAL 1 MICROSECOND)::DATE AS last_day,
        date_trunc('month', $start_on::DATE)::DATE AS first_month
),
month AS (
    SELECT unnest(range(first_month, date_trunc('month', last_day)::DATE + INTERVAL 1 MONTH, INTERVAL 1 MONTH))::DATE AS month
    FROM bounds
),
period AS (
    SELECT month, 'month' AS period, month AS period_start, 1 AS months FROM month
    UNION ALL SELECT month, 'quarter', date_trunc('quarter', month)::DATE, 3 FROM month
    UNION ALL SELECT month, 'half', make_date(year(month), CASE WHEN month(month) < 7 THEN 1 ELSE 7 END, 1), 6 FROM month
    UNION ALL SELECT month, 'year', date_trunc('year', month)::DATE, 12 FROM month
),
-- The commune of today on whose territory a unit's dossiers were: itself, or the one successor of an old
-- commune. A split commune and a district have none; nobody is guessed.
today AS (
    SELECT DISTINCT unit_code, unit_code AS now_code FROM unit, bounds
    WHERE level = 'commune' AND valid_from <= last_day AND (valid_to IS NULL OR valid_to >= last_day)
),
now_code AS (
    FROM today
    UNION ALL
    SELECT s.unit_code, any_value(s.successor_code) FROM succession AS s
    WHERE s.unit_code NOT IN (SELECT unit_code FROM today)
    GROUP BY s.unit_code HAVING count(*) = 1 AND NOT bool_or(s.is_split)
        AND any_value(s.successor_code) IN (SELECT unit_code FROM today)
),
-- Who can have a number in a period: units while they exist, levels while they have units.
existing AS (
    SELECT DISTINCT u.unit_code, u.level, p.period, p.period_start, p.months
    FROM unit AS u JOIN period AS p
        ON u.valid_from <= last_day(p.month) AND (u.valid_to IS NULL OR u.valid_to >= p.month)
    WHERE u.parent_code IS NOT NULL
),
subject AS (
    SELECT 'unit' AS scope, level, unit_code, 'then' AS boundaries, period, period_start, months FROM existing
    UNION ALL SELECT DISTINCT 'level', level, $province_code, 'then', period, period_start, months FROM existing
    UNION ALL SELECT DISTINCT 'province', 'all', $province_code, 'then', period, period_start, months FROM period
    UNION ALL SELECT DISTINCT 'unit', 'commune', today.unit_code, 'now', period, period_start, months FROM today, period
),
-- A version speaks of the periods that it is valid in.
expected AS (
    SELECT s.* EXCLUDE (months), d.definition
    FROM subject AS s CROSS JOIN definition AS d
    WHERE d.valid_from < s.period_start + to_months(s.months) AND (d.valid_to IS NULL OR d.valid_to >= s.period_start)
),
-- Counts that are judged at the end of a period are there once for each kind of period (`counted_for`).
counted AS (
    SELECT c.unit_code, c.unit_level AS level, p.period, p.period_start, c.definition, sum(c.numerator) AS numerator,
        sum(c.denominator) AS denominator
    FROM long_count AS c JOIN period AS p ON p.month = c.month AND (c.counted_for IS NULL OR c.counted_for = p.period)
    GROUP BY ALL
),
summed AS (
    SELECT 'unit' AS scope, level, unit_code, 'then' AS boundaries, period, period_start, definition, numerator,
        denominator
    FROM counted
    UNION ALL
    SELECT 'level', level, $province_code, 'then', period, period_start, definition, sum(numerator), sum(denominator)
    FROM counted GROUP BY ALL
    UNION ALL
    SELECT 'province', 'all', $province_code, 'then', period, period_start, definition, sum(numerator), sum(denominator)
    FROM counted GROUP BY ALL
    UNION ALL
    SELECT 'unit', 'commune', n.now_code, 'now', period, period_start, definition, sum(numerator), sum(denominator)
    FROM counted JOIN now_code AS n USING (unit_code) WHERE counted.level = 'commune' GROUP BY ALL
)
SELECT
    d.indicator,
    d.version,
    scope,
    level,
    unit_code,
    boundaries,
    period,
    period_start,
    coalesce(s.numerator, 0)::BIGINT AS numerator,
    coalesce(s.denominator, 0)::BIGINT AS denominator,
    CASE WHEN s.denominator > 0 THEN s.numerator / s.denominator END AS rate,
    CASE WHEN s.denominator > 0 THEN 'ok' ELSE 'no_denominator' END AS state,
    CASE WHEN d.is_judged_at_period_end THEN 'units' ELSE 'always' END AS adds_up,
    $as_of::TIMESTAMPTZ AS as_of
FROM expected AS e
FULL JOIN summed AS s USING (scope, level, unit_code, boundaries, period, period_start, definition)
JOIN definition AS d USING (definition)
ORDER BY ALL;

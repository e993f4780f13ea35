-- Points of every subject and component, in whole numbers: hundredths of a point, rounded half up.
WITH subject AS (SELECT DISTINCT scope, level, unit_code, boundaries, period, period_start FROM counts),
asked AS (
    SELECT s.*, c.component, c.group_id, c.max_points, c.threshold, c.zero, list_contains(c.full_for, s.level) AS is_full,
        k.numerator, k.denominator, k.rate, k.basis
    FROM subject AS s CROSS JOIN component AS c
    LEFT JOIN counts AS k USING (scope, level, unit_code, boundaries, period, period_start, component)
),
-- The zero rule of 1.4: the total of last year, by the months of the period.
aged AS (
    SELECT a.*, CASE WHEN a.zero = 'last_year' AND a.denominator = 0 THEN y.denominator END AS last_year,
        CASE a.period WHEN 'month' THEN 12 WHEN 'quarter' THEN 4 END AS divisor
    FROM asked AS a LEFT JOIN counts AS y
        ON y.component = a.component AND y.scope = a.scope AND y.level = a.level AND y.unit_code = a.unit_code
        AND y.boundaries = a.boundaries AND y.period = 'year'
        AND y.period_start = CAST(date_trunc('year', a.period_start) - INTERVAL 1 YEAR AS DATE)
),
stated AS (
    SELECT *, CASE
        WHEN is_full THEN 'out_of_scope'
        WHEN denominator IS NULL AND rate IS NULL THEN 'no_source'
        WHEN denominator > 0 OR denominator IS NULL THEN 'scored'
        WHEN zero IN ('full', 'none') OR (last_year > 0 AND divisor IS NOT NULL) THEN 'zero_rule'
        ELSE 'no_denominator'
    END AS state
    FROM aged
),
-- n / d is the rate in whole numbers; a rate given alone is taken to nine places.
exact AS (
    SELECT *, CASE
            WHEN state = 'scored' AND denominator IS NULL THEN CAST(round(rate * 1000000000) AS HUGEINT)
            WHEN state = 'scored' THEN CAST(numerator AS HUGEINT)
            WHEN state = 'zero_rule' AND zero = 'last_year' THEN CAST(numerator AS HUGEINT) * divisor
        END AS n,
        CASE
            WHEN state = 'scored' AND denominator IS NULL THEN 1000000000::HUGEINT
            WHEN state = 'scored' THEN CAST(denominator AS HUGEINT)
            WHEN state = 'zero_rule' AND zero = 'last_year' THEN CAST(last_year AS HUGEINT)
        END AS d
    FROM stated
)
SELECT scope, level, unit_code, boundaries, period, period_start, component, group_id,
    -- 'out_of_scope' keeps what was counted in view, though it decides nothing.
    numerator, CASE WHEN state = 'zero_rule' AND zero = 'last_year' THEN last_year ELSE denominator END AS denominator,
    CASE WHEN state = 'zero_rule' AND zero = 'last_year' THEN divisor ELSE 1 END AS divisor,
    CASE WHEN d IS NOT NULL THEN n / d WHEN denominator > 0 THEN numerator / denominator ELSE rate END AS rate,
    CASE
        WHEN state = 'out_of_scope' OR (state = 'zero_rule' AND zero = 'full') THEN max_points * 100
        WHEN state = 'zero_rule' AND zero = 'none' THEN 0
        -- 100 × max × 100 n / (threshold × d), halves up: (2 a + b) // 2 b.
        WHEN d IS NOT NULL
            THEN least(max_points * 100, (20000 * max_points * n + threshold * d) // (2 * threshold * d))
    END AS hundredths,
    max_points,
    CASE
        WHEN state <> 'scored' OR denominator IS NULL OR 100 * n >= threshold * d THEN NULL
        -- Less than a point is left: what reaches the threshold. Else what adds one point.
        WHEN 100 * max_points * n + threshold * d >= max_points * threshold * d THEN (threshold * d + 99) // 100 - n
        ELSE (threshold * d + 100 * max_points - 1) // (100 * max_points)
    END AS next_point,
    state, basis
FROM exact

-- What was stated and counts, which units lived when, and the empty tables that observed_step.sql fills.
-- Variables: as_of, known_at (null: everything received). Tables: observation, unit, dictionary.
SET VARIABLE today = CAST(
    timezone('Asia/Ho_Chi_Minh', getvariable('as_of')::TIMESTAMPTZ) - INTERVAL 1 MICROSECOND AS DATE
);

CREATE TEMP TABLE stated AS
SELECT o.indicator, o.scope, o.level, o.unit_code, o.period, o.period_start, o.numerator, o.denominator, o.value
FROM observation AS o SEMI JOIN dictionary USING (indicator)
WHERE o.stated_on <= getvariable('today') AND o.period_start <= getvariable('today')
    AND (getvariable('known_at') IS NULL OR o.received_at <= getvariable('known_at'))
QUALIFY row_number() OVER (
    PARTITION BY o.indicator, o.scope, o.level, o.unit_code, o.period, o.period_start
    ORDER BY o.stated_on DESC, o.received_at DESC, o.content_hash DESC
) = 1;

CREATE TEMP TABLE province AS SELECT DISTINCT province_code FROM unit;

CREATE MACRO longer_start(kind, day) AS CAST(CASE kind
    WHEN 'quarter' THEN date_trunc('quarter', day)
    WHEN 'half' THEN make_date(year(day), CASE WHEN month(day) <= 6 THEN 1 ELSE 7 END, 1)
    WHEN 'year' THEN date_trunc('year', day)
    ELSE date_trunc('month', day) END AS DATE);

CREATE TEMP TABLE span AS
WITH bounds AS (
    SELECT date_trunc('year', min(period_start))::DATE AS first, date_trunc('year', max(period_start))::DATE AS last FROM stated
), month AS (
    SELECT unnest(range(first, last + INTERVAL 12 MONTH, INTERVAL 1 MONTH))::DATE AS month FROM bounds
)
SELECT period, longer_start(period, month) AS period_start, max(last_day(month)) AS period_end
FROM month, unnest(['month', 'quarter', 'half', 'year']) AS kind (period)
GROUP BY ALL;

-- Units while they live in a period; `stands`: also at its end, or today while it runs.
CREATE TEMP TABLE life AS
SELECT u.unit_code, u.level, s.period, s.period_start,
    bool_or(
        u.valid_from <= least(s.period_end, getvariable('today'))
        AND coalesce(u.valid_to >= least(s.period_end, getvariable('today')), true)
    ) AS stands
FROM unit AS u
JOIN span AS s ON u.valid_from <= s.period_end AND (u.valid_to IS NULL OR u.valid_to >= s.period_start)
WHERE u.parent_code IS NOT NULL
GROUP BY ALL;

CREATE TEMP TABLE figure AS SELECT * FROM stated WHERE false;
CREATE TEMP TABLE gap (
    indicator VARCHAR, level VARCHAR, period VARCHAR, period_start DATE, unit_count BIGINT, stated_count BIGINT,
    missing_count BIGINT, missing_units VARCHAR[]
);
CREATE TEMP TABLE contradiction (
    indicator VARCHAR, scope VARCHAR, level VARCHAR, unit_code VARCHAR, period VARCHAR, period_start DATE, against VARCHAR,
    numerator BIGINT, denominator BIGINT, value DOUBLE,
    summed_numerator BIGINT, summed_denominator BIGINT, summed_value DOUBLE
);

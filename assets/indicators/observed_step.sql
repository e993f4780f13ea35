-- Figures of one kind of period ($period), those of the next shorter kind ($shorter) being there already.
-- Priority: stated, then the sum over units (levels), then what the shorter periods give.
CREATE OR REPLACE TEMP TABLE stated_now AS SELECT * FROM stated WHERE period = getvariable('period');

-- The shorter periods inside: a flow needs every one in which the subject lived, a stock takes the last.
CREATE OR REPLACE TEMP TABLE folded AS
WITH needed AS (
    SELECT 'unit' AS scope, level, unit_code, longer_start(getvariable('period'), period_start) AS start, count(*) AS parts
    FROM life WHERE period = getvariable('shorter') GROUP BY ALL
    UNION ALL
    SELECT 'level', level, province_code, longer_start(getvariable('period'), period_start), count(DISTINCT period_start)
    FROM life, province WHERE period = getvariable('shorter') GROUP BY ALL
    UNION ALL
    SELECT 'province', 'all', province_code, longer_start(getvariable('period'), period_start), count(*)
    FROM span, province WHERE period = getvariable('shorter') GROUP BY ALL
), inside AS (
    SELECT f.*, d.nature, d.is_additive, longer_start(getvariable('period'), f.period_start) AS start
    FROM figure AS f JOIN dictionary AS d USING (indicator)
    WHERE f.period = getvariable('shorter')
), flow AS (
    SELECT indicator, scope, level, unit_code, start, sum(numerator)::BIGINT AS numerator,
        sum(denominator)::BIGINT AS denominator, sum(value) AS value
    FROM inside JOIN needed USING (scope, level, unit_code, start)
    WHERE nature = 'flow' AND is_additive
    GROUP BY indicator, scope, level, unit_code, start, parts
    HAVING count(*) = parts
), stock AS (
    SELECT indicator, scope, level, unit_code, start, numerator, denominator, value
    FROM inside WHERE nature = 'stock'
    QUALIFY row_number() OVER (PARTITION BY indicator, scope, level, unit_code, start ORDER BY period_start DESC) = 1
)
SELECT indicator, scope, level, unit_code, getvariable('period') AS period, start AS period_start, numerator, denominator, value
FROM (FROM flow UNION ALL FROM stock);

INSERT INTO figure BY NAME
SELECT * FROM stated_now WHERE scope = 'unit'
UNION ALL BY NAME
SELECT * FROM folded ANTI JOIN stated_now USING (indicator, scope, level, unit_code, period_start) WHERE scope = 'unit';

-- Every level in which a unit has a figure: how many of its units have one, and their sum.
CREATE OR REPLACE TEMP TABLE level_sum AS
SELECT d.indicator, l.level, l.period_start, sum(f.numerator)::BIGINT AS numerator, sum(f.denominator)::BIGINT AS denominator,
    sum(f.value) AS value, count(*) AS unit_count, count(f.unit_code) AS stated_count,
    list(l.unit_code ORDER BY l.unit_code) FILTER (WHERE f.unit_code IS NULL) AS missing_units
FROM dictionary AS d
JOIN life AS l ON l.period = getvariable('period') AND list_contains(d.levels, l.level)
    -- What stood before a reorganisation must not be added to what took it over.
    AND (d.nature <> 'stock' OR l.stands)
LEFT JOIN figure AS f ON f.indicator = d.indicator AND f.scope = 'unit' AND f.unit_code = l.unit_code AND f.level = l.level
    AND f.period = l.period AND f.period_start = l.period_start
WHERE d.is_additive
GROUP BY ALL
HAVING count(f.unit_code) > 0;

CREATE OR REPLACE TEMP TABLE summed AS
SELECT indicator, 'level' AS scope, level, province_code AS unit_code, getvariable('period') AS period, period_start,
    numerator, denominator, value
FROM level_sum, province WHERE stated_count = unit_count;

INSERT INTO figure BY NAME
SELECT * FROM stated_now WHERE scope = 'level'
UNION ALL BY NAME
SELECT * FROM summed ANTI JOIN stated_now USING (indicator, scope, level, unit_code, period_start)
UNION ALL BY NAME
SELECT * FROM folded
ANTI JOIN stated_now USING (indicator, scope, level, unit_code, period_start)
ANTI JOIN summed USING (indicator, scope, level, unit_code, period_start)
WHERE scope = 'level';

INSERT INTO gap BY NAME
SELECT indicator, level, getvariable('period') AS period, period_start, unit_count, stated_count,
    unit_count - stated_count AS missing_count, missing_units
FROM level_sum AS s
WHERE stated_count < unit_count AND NOT EXISTS (
    SELECT 1 FROM figure AS f WHERE f.indicator = s.indicator AND f.scope = 'level' AND f.level = s.level
        AND f.period = getvariable('period') AND f.period_start = s.period_start
);

-- The province: every level that the indicator is given for and that lives in the period.
INSERT INTO summed BY NAME
WITH wanted AS (
    SELECT DISTINCT d.indicator, l.level, l.period_start
    FROM dictionary AS d
    JOIN life AS l ON l.period = getvariable('period') AND list_contains(d.levels, l.level)
        AND (d.nature <> 'stock' OR l.stands)
    WHERE d.is_additive
)
SELECT w.indicator, 'province' AS scope, 'all' AS level, province_code AS unit_code, getvariable('period') AS period,
    w.period_start, sum(f.numerator)::BIGINT AS numerator, sum(f.denominator)::BIGINT AS denominator, sum(f.value) AS value
FROM wanted AS w CROSS JOIN province
LEFT JOIN figure AS f ON f.indicator = w.indicator AND f.scope = 'level' AND f.level = w.level
    AND f.period = getvariable('period') AND f.period_start = w.period_start
GROUP BY ALL
HAVING count(*) = count(f.level);

INSERT INTO figure BY NAME
SELECT * FROM stated_now WHERE scope = 'province'
UNION ALL BY NAME
SELECT * FROM summed ANTI JOIN stated_now USING (indicator, scope, level, unit_code, period_start) WHERE scope = 'province'
UNION ALL BY NAME
SELECT * FROM folded
ANTI JOIN stated_now USING (indicator, scope, level, unit_code, period_start)
ANTI JOIN summed USING (indicator, scope, level, unit_code, period_start)
WHERE scope = 'province';

INSERT INTO contradiction BY NAME
WITH below AS (
    SELECT *, 'units' AS against FROM summed
    UNION ALL BY NAME
    -- A stock is stated for the end of its period; an earlier one inside may well differ.
    SELECT folded.*, 'periods' AS against FROM folded JOIN dictionary AS d USING (indicator) WHERE d.nature = 'flow'
)
SELECT s.*, b.against, b.numerator AS summed_numerator, b.denominator AS summed_denominator, b.value AS summed_value
FROM stated_now AS s JOIN below AS b USING (indicator, scope, level, unit_code, period_start)
WHERE s.numerator IS DISTINCT FROM b.numerator OR s.denominator IS DISTINCT FROM b.denominator
    OR s.value IS DISTINCT FROM b.value;

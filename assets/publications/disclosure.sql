-- Every sum that must hold between cells of a public copy, and what each cell shows.
-- A cell is one count of one place and period. Sums are taken from the true rows, so that a sum that does not hold
-- (a number of distinct procedures is no sum) is not used against the copy.
CREATE OR REPLACE TEMP TABLE span AS
SELECT DISTINCT period, period_start,
    CAST(period_start + CASE period WHEN 'month' THEN INTERVAL 1 MONTH WHEN 'quarter' THEN INTERVAL 3 MONTH
        WHEN 'half' THEN INTERVAL 6 MONTH ELSE INTERVAL 1 YEAR END - INTERVAL 1 DAY AS DATE) AS period_end,
    CASE period WHEN 'month' THEN 1 WHEN 'quarter' THEN 3 WHEN 'half' THEN 6 ELSE 12 END AS months
FROM truth;

CREATE OR REPLACE TEMP TABLE cell AS
SELECT row_number() OVER () AS cell, t.*, s.period_end, s.months, p.shown, p.subject IS NOT NULL AS is_listed,
    t.true_count BETWEEN 1 AND $threshold AS is_small
FROM truth AS t
JOIN span AS s USING (period, period_start)
LEFT JOIN public AS p USING (subject, measure, scope, level, unit_code, sector, period, period_start);

CREATE OR REPLACE TEMP TABLE summand AS
-- levels of the province, sectors of the province, units of a level, units of the province
SELECT p.cell AS parent, c.cell, p.scope || ' = ' || c.scope || CASE WHEN c.sector <> '' THEN ' sectors' ELSE 's' END AS kind
FROM cell AS p JOIN cell AS c
    ON (p.subject, p.measure, p.period, p.period_start) = (c.subject, c.measure, c.period, c.period_start)
    AND p.sector = '' AND p.cell <> c.cell
    AND ((p.scope = 'province' AND c.scope = 'province' AND c.sector <> '')
        OR (p.scope = 'province' AND c.scope IN ('level', 'unit') AND c.sector = '')
        OR (p.scope = 'level' AND c.scope = 'unit' AND c.sector = '' AND p.level = c.level))
UNION ALL
-- every finer kind of period within a coarser one; what stands at the end of both is one number
SELECT p.cell, c.cell, CASE WHEN p.is_stock THEN 'end of ' ELSE '' END || p.period || ' = ' || c.period || 's'
FROM cell AS p JOIN cell AS c
    ON (p.subject, p.measure, p.scope, p.level, p.unit_code, p.sector)
        = (c.subject, c.measure, c.scope, c.level, c.unit_code, c.sector)
    AND c.months < p.months
    AND CASE WHEN p.is_stock THEN c.period_end = p.period_end
        ELSE c.period_start BETWEEN p.period_start AND p.period_end END
UNION ALL
SELECT p.cell, c.cell, 'total = parts'
FROM cell AS p JOIN cell AS c
    ON (p.subject, p.scope, p.level, p.unit_code, p.sector, p.period, p.period_start)
        = (c.subject, c.scope, c.level, c.unit_code, c.sector, c.period, c.period_start)
    AND c.part_of = p.measure;

-- The cells of each true sum that are not shown.
CREATE OR REPLACE TEMP TABLE missing AS
WITH held AS (
    SELECT s.parent, s.kind FROM summand AS s
    JOIN cell AS p ON p.cell = s.parent JOIN cell AS c ON c.cell = s.cell
    GROUP BY s.parent, s.kind
    HAVING sum(c.true_count) = any_value(p.true_count)
)
SELECT h.parent, h.kind, c.cell FROM held AS h JOIN summand AS s USING (parent, kind)
JOIN cell AS c ON c.cell = s.cell WHERE c.shown IS NULL
UNION ALL
SELECT h.parent, h.kind, c.cell FROM held AS h JOIN cell AS c ON c.cell = h.parent WHERE c.shown IS NULL;

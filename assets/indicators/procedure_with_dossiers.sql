-- How many procedures had their dossiers, as the subjects ask: at a unit, at a level, anywhere. In `mask`, bit i
-- speaks of definition i. A procedure seen twice is one: masks are joined with OR, never counted before.
WITH at_unit AS (
    SELECT p.period_id, p.day, h.unit_level, h.unit_code, h.procedure_code, bit_or(h.mask) AS mask
    FROM procedure_hit AS h JOIN procedure_period AS p USING (month)
    WHERE h.mask <> 0
    GROUP BY ALL
),
at_level AS (
    SELECT period_id, day, unit_level, procedure_code, bit_or(mask) AS mask FROM at_unit GROUP BY ALL
),
anywhere AS (
    SELECT period_id, day, procedure_code, bit_or(mask) AS mask FROM at_level GROUP BY ALL
),
seen AS (
    SELECT 'unit' AS scope, unit_code AS place,
        CASE unit_level WHEN 'province' THEN unit_code ELSE unit_level END AS class, period_id, day, procedure_code, mask
    FROM at_unit
    UNION ALL SELECT 'level', unit_level, unit_level, period_id, day, procedure_code, mask FROM at_level
    UNION ALL SELECT 'province', 'all', 'all', period_id, day, procedure_code, mask FROM anywhere
),
eligible AS (SELECT class, day, procedure_code, /*eligible*/ AS mask FROM procedure_judged),
counted AS (
    SELECT s.scope, s.place, s.period_id, s.mask & e.mask AS mask
    FROM seen AS s JOIN eligible AS e USING (class, day, procedure_code)
)
SELECT scope, place, period_id, unnest(/*counts*/, recursive := true) FROM counted GROUP BY scope, place, period_id;

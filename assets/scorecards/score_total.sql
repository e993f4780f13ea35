-- Group sums and totals, in hundredths of a point, with ranks among the units of a level.
WITH part AS (
    SELECT group_id, scope, level, unit_code, boundaries, period, period_start, hundredths, max_points FROM scored
    UNION ALL
    SELECT $total, scope, level, unit_code, boundaries, period, period_start, hundredths, max_points FROM scored
),
summed AS (
    SELECT group_id, scope, level, unit_code, boundaries, period, period_start,
        sum(hundredths) AS hundredths, sum(max_points) AS max_points,
        coalesce(sum(max_points) FILTER (WHERE hundredths IS NOT NULL), 0) AS scored_max
    FROM part GROUP BY ALL
)
SELECT *,
    -- Equal quotients of such small whole numbers are equal doubles, and different ones differ.
    CASE WHEN scope = 'unit' AND scored_max > 0
        THEN rank() OVER (race ORDER BY hundredths / scored_max DESC NULLS LAST) END AS rank,
    CASE WHEN scope = 'unit' AND scored_max > 0 THEN count(*) FILTER (WHERE scored_max > 0) OVER race END AS ranked
FROM summed
WINDOW race AS (PARTITION BY group_id, scope, level, boundaries, period, period_start)

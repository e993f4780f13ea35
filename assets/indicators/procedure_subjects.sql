-- Who is counted for, in which period, on which day the procedures are judged, and whose they are.
-- `procedure_setting` has one row: province_code, as_of, start_on, last_district_day.
CREATE OR REPLACE TEMP TABLE procedure_period AS
WITH bounds AS (
    SELECT timezone('Asia/Ho_Chi_Minh', as_of - INTERVAL 1 MICROSECOND)::DATE AS last_day,
        date_trunc('month', start_on)::DATE AS first_month
    FROM procedure_setting
),
month AS (
    SELECT unnest(range(first_month, date_trunc('month', last_day) + INTERVAL 1 MONTH, INTERVAL 1 MONTH))::DATE AS month
    FROM bounds
),
named AS (
    SELECT month, 'month' AS period, month AS period_start, 1 AS months FROM month
    UNION ALL SELECT month, 'quarter', date_trunc('quarter', month)::DATE, 3 FROM month
    UNION ALL
    SELECT month, 'half', make_date(year(month), CASE WHEN month(month) < 7 THEN 1 ELSE 7 END, 1), 6 FROM month
    UNION ALL SELECT month, 'year', date_trunc('year', month)::DATE, 12 FROM month
)
SELECT month, period, period_start, dense_rank() OVER (ORDER BY period, period_start) AS period_id,
    (period_start + to_months(months))::DATE AS next_start,
    -- A period that still runs is judged on the last day known.
    least((period_start + to_months(months))::DATE - 1, last_day) AS day
FROM named, bounds;

-- A class has the same procedures: all communes are one class, each department is one of its own.
CREATE OR REPLACE TEMP TABLE procedure_subject AS
WITH existing AS (
    SELECT DISTINCT u.unit_code, u.level, p.period, p.period_start, p.period_id, p.next_start, p.day
    FROM core_unit AS u JOIN procedure_period AS p
        ON u.valid_from <= last_day(p.month) AND (u.valid_to IS NULL OR u.valid_to >= p.month)
    WHERE u.parent_code IS NOT NULL
)
SELECT 'unit' AS scope, level, unit_code, CASE level WHEN 'province' THEN unit_code ELSE level END AS class,
    period, period_start, period_id, next_start, day
FROM existing
WHERE level <> 'province' OR unit_code IN (SELECT unit_code FROM procedure_sector)
UNION ALL
SELECT DISTINCT 'level', level, province_code, level, period, period_start, period_id, next_start, day
FROM existing, procedure_setting
UNION ALL
SELECT DISTINCT 'province', 'all', province_code, 'all', period, period_start, period_id, next_start, day
FROM procedure_period, procedure_setting;

CREATE OR REPLACE TEMP TABLE procedure_member AS
WITH in_force AS (
    SELECT d.day, p.*, contains(p.levels, 'Cấp tỉnh') AS of_province, contains(p.levels, 'Cấp huyện') AS of_district,
        contains(p.levels, 'Cấp xã') AS of_commune
    FROM (SELECT DISTINCT day FROM procedure_period) AS d
    JOIN core_procedure AS p ON p.valid_from <= d.day AND (p.valid_to IS NULL OR p.valid_to >= d.day)
)
SELECT 'all' AS class, i.* FROM in_force AS i, procedure_setting
WHERE of_province OR of_commune OR (of_district AND day <= last_district_day)
UNION ALL SELECT 'province', * FROM in_force WHERE of_province
UNION ALL SELECT 'district', * FROM in_force WHERE of_district
UNION ALL SELECT 'commune', * FROM in_force WHERE of_commune
UNION ALL SELECT s.unit_code, i.* FROM in_force AS i JOIN procedure_sector AS s USING (sector) WHERE of_province;

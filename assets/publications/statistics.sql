-- The dossier statistics table: flows and stocks of every unit, sector and month, then sums.
-- Dossiers are read once. Months are whole numbers (12 * year + month - 1), so that a dossier becomes at most
-- a handful of events; what is open at the end of a month is the running sum of what began less what ended.
CREATE OR REPLACE TEMP MACRO month_of(day) AS CAST(12 * year(day) + month(day) - 1 AS INTEGER);
CREATE OR REPLACE TEMP MACRO first_day(number) AS make_date(CAST(number // 12 AS INTEGER), CAST(number % 12 + 1 AS INTEGER), 1);
CREATE OR REPLACE TEMP MACRO vietnam_day(instant) AS CAST(timezone('Asia/Ho_Chi_Minh', instant) AS DATE);

CREATE OR REPLACE TEMP TABLE bound AS
SELECT month_of($start_on::DATE) AS first_month,
    month_of(vietnam_day($as_of::TIMESTAMPTZ - INTERVAL 1 MICROSECOND)) AS last_month,
    $as_of::TIMESTAMPTZ AS as_of;

CREATE OR REPLACE TEMP TABLE unit_span AS
SELECT unit_code, any_value(level) AS level, min(valid_from) AS valid_from,
    CASE WHEN bool_or(valid_to IS NULL) THEN NULL ELSE max(valid_to) END AS valid_to
FROM core_unit GROUP BY unit_code;

-- A procedure holds until its next row; an open end is a day after every other (measured: half the time of ASOF).
CREATE OR REPLACE TEMP TABLE sector_span AS
SELECT procedure_code, sector, valid_from,
    lead(valid_from, 1, DATE '9999-12-31') OVER (PARTITION BY procedure_code ORDER BY valid_from) AS next_from
FROM core_procedure;

-- One row per dossier that was received: when it began, when and how it left, when it fell overdue.
CREATE OR REPLACE TEMP TABLE received AS
WITH said AS (
    SELECT d.dossier_key, d.unit_code, d.unit_level, d.procedure_code, d.channel, d.status_code, d.received_on,
        d.supplement_count, d.deadline_at, d.ended_at, d.end_kind,
        -- A final end only: one who waits for the citizen has not left.
        CASE WHEN d.end_kind <> 'waiting' AND d.ended_on IS NOT NULL THEN greatest(d.ended_on, d.received_on) END AS left_on,
        d.previous_unit_code,
        -- The day on which the reorganisation gave it to another unit.
        CASE WHEN d.previous_unit_code IS NOT NULL THEN coalesce(was.valid_to + 1, becomes.valid_from) END AS handover_on,
        was.level AS previous_level
    FROM core_dossier AS d
    LEFT JOIN unit_span AS was ON was.unit_code = d.previous_unit_code
    LEFT JOIN unit_span AS becomes ON becomes.unit_code = d.unit_code
    WHERE d.received_on IS NOT NULL AND d.status_code <> 1
)
SELECT s.* EXCLUDE (handover_on, procedure_code),
    CASE WHEN s.handover_on > s.received_on THEN s.handover_on END AS handover_on,
    coalesce(p.sector, $unknown_sector) AS sector,
    month_of(s.received_on) AS began,
    month_of(s.left_on) AS ended,
    CASE WHEN s.deadline_at < b.as_of THEN month_of(vietnam_day(s.deadline_at)) END AS overdue_from,
    s.left_on IS NULL AND s.status_code IN (3, 7, 8, 9, 10) AS is_undated,
    CASE
        WHEN s.end_kind IN ('processed', 'returned') THEN
            CASE WHEN s.deadline_at IS NULL THEN 'resolved_on_time'
                WHEN vietnam_day(s.ended_at) < vietnam_day(s.deadline_at) THEN 'resolved_early'
                WHEN s.ended_at <= s.deadline_at THEN 'resolved_on_time'
                ELSE 'resolved_late' END
        ELSE s.end_kind
    END AS outcome
FROM said AS s
CROSS JOIN bound AS b
-- The procedure as it stood on the day of reception.
LEFT JOIN sector_span AS p ON p.procedure_code = s.procedure_code AND s.received_on >= p.valid_from AND s.received_on < p.next_from;

-- One row per dossier and unit that had it. A dossier handed over has two, cut on the day of the handover.
CREATE OR REPLACE TEMP TABLE stay AS
WITH divided AS (
    SELECT r.*, r.handover_on IS NOT NULL AND (r.left_on IS NULL OR r.left_on >= r.handover_on) AS is_moved,
        month_of(r.handover_on) AS moved, day(r.handover_on) = 1 AS is_moved_first
    FROM received AS r
),
cut AS (
    SELECT dossier_key, sector, channel, status_code, overdue_from, is_undated, supplement_count,
        CASE WHEN handover_on IS NULL THEN unit_code ELSE previous_unit_code END AS unit_code,
        CASE WHEN handover_on IS NULL THEN unit_level ELSE previous_level END AS level,
        began, 'new' AS entry,
        CASE WHEN is_moved THEN moved ELSE ended END AS ended,
        CASE WHEN NOT is_moved THEN outcome WHEN is_moved_first THEN 'moved_first' ELSE 'moved' END AS outcome
    FROM divided
    UNION ALL
    SELECT dossier_key, sector, channel, status_code, overdue_from, is_undated, supplement_count, unit_code, unit_level,
        moved, CASE WHEN is_moved_first THEN 'moved_first' ELSE 'moved' END, ended, outcome
    FROM divided WHERE is_moved
)
SELECT c.* EXCLUDE (began, ended), c.began AS entered,
    -- Whatever was there before the first month is there from the month before it.
    greatest(c.began, b.first_month - 1) AS began,
    CASE WHEN c.ended <= b.last_month THEN c.ended END AS ended,
    CASE WHEN c.overdue_from IS NOT NULL THEN greatest(c.began, b.first_month - 1, c.overdue_from) END AS overdue_since
FROM cut AS c CROSS JOIN bound AS b
WHERE c.began <= b.last_month AND (c.ended IS NULL OR c.ended >= b.first_month);

-- Who waited for the citizen at the end of a month. In a past month the instants of request and answer tell it; now
-- the state does. A request that was never answered in a dossier that no longer waits ended at an unknown time:
-- it does not count as waiting.
CREATE OR REPLACE TEMP TABLE waiting AS
WITH asked AS (
    SELECT dossier_key, month_of(vietnam_day(requested_at)) AS since, month_of(vietnam_day(answered_at)) AS until
    FROM core_supplement WHERE requested_at IS NOT NULL AND answered_at IS NOT NULL
    UNION ALL
    SELECT dossier_key, month_of(vietnam_day(ended_at)), NULL FROM received WHERE end_kind = 'waiting'
),
at_month AS (
    SELECT DISTINCT a.dossier_key,
        unnest(range(greatest(a.since, b.first_month - 1), least(coalesce(a.until, b.last_month), b.last_month))) AS month
    FROM asked AS a CROSS JOIN bound AS b
),
at_end AS (
    SELECT s.unit_code, s.level, s.sector, m.month, s.overdue_since <= m.month AS is_overdue, s.is_undated,
        false AS is_payment
    FROM at_month AS m JOIN stay AS s USING (dossier_key)
    WHERE s.began <= m.month AND (s.ended IS NULL OR s.ended > m.month)
    UNION ALL
    SELECT s.unit_code, s.level, s.sector, b.last_month, s.overdue_since <= b.last_month, s.is_undated, s.status_code = 6
    FROM stay AS s CROSS JOIN bound AS b
    WHERE s.status_code IN (5, 6) AND s.ended IS NULL
)
SELECT unit_code, level, sector, month,
    count(*) FILTER (WHERE NOT is_payment) AS waiting_supplement,
    count(*) FILTER (WHERE is_payment) AS waiting_payment,
    count(*) FILTER (WHERE is_overdue) AS waiting_overdue,
    count(*) FILTER (WHERE is_undated) AS waiting_undated
FROM at_end GROUP BY ALL;

-- Events of a month: what came, what left, what fell overdue.
CREATE OR REPLACE TEMP TABLE event AS
WITH came AS (
    SELECT unit_code, level, sector, began AS month,
        count(*) FILTER (WHERE entry = 'new' AND channel = 'online' AND entered = began) AS received_online,
        count(*) FILTER (WHERE entry = 'new' AND channel = 'direct' AND entered = began) AS received_direct,
        count(*) FILTER (WHERE entry = 'new' AND channel = 'post' AND entered = began) AS received_post,
        count(*) FILTER (WHERE entry = 'moved_first') AS in_first,
        count(*) FILTER (WHERE entry = 'moved') AS in_later,
        count(*) AS opened,
        count(*) FILTER (WHERE is_undated) AS undated
    FROM stay GROUP BY ALL
),
gone AS (
    SELECT unit_code, level, sector, ended AS month,
        count(*) FILTER (WHERE outcome = 'resolved_early') AS resolved_early,
        count(*) FILTER (WHERE outcome = 'resolved_on_time') AS resolved_on_time,
        count(*) FILTER (WHERE outcome = 'resolved_late') AS resolved_late,
        count(*) FILTER (WHERE outcome IN ('resolved_early', 'resolved_on_time') AND supplement_count > 1)
            AS resolved_supplemented_again,
        count(*) FILTER (WHERE outcome = 'stopped') AS stopped,
        count(*) FILTER (WHERE outcome = 'denied') AS denied,
        count(*) FILTER (WHERE outcome = 'withdrawn') AS withdrawn,
        count(*) FILTER (WHERE outcome = 'moved_first') AS out_first,
        count(*) FILTER (WHERE outcome = 'moved') AS out_later,
        -count(*) AS opened,
        -count(*) FILTER (WHERE is_undated) AS undated,
        -count(*) FILTER (WHERE overdue_since < ended) AS overdue
    FROM stay WHERE ended IS NOT NULL GROUP BY ALL
),
lapsed AS (
    SELECT unit_code, level, sector, overdue_since AS month, count(*) AS overdue
    FROM stay CROSS JOIN bound AS b
    WHERE overdue_since <= b.last_month AND (ended IS NULL OR overdue_since < ended)
    GROUP BY ALL
)
FROM came UNION ALL BY NAME FROM gone UNION ALL BY NAME FROM lapsed UNION ALL BY NAME FROM waiting;

-- Every unit and sector in every month from the one before the first: running sums need no gaps.
CREATE OR REPLACE TEMP TABLE monthly AS
WITH place AS (SELECT DISTINCT unit_code, level, sector FROM event),
dense AS (
    SELECT p.*, unnest(range(b.first_month - 1, b.last_month + 1)) AS month FROM place AS p CROSS JOIN bound AS b
),
summed AS (
    SELECT unit_code, level, sector, month, {event_sums}
    FROM event GROUP BY ALL
)
SELECT d.*, {event_columns},
    coalesce(sum(s.opened) OVER ran, 0) AS open_end,
    coalesce(sum(s.overdue) OVER ran, 0) AS overdue_end,
    coalesce(sum(s.undated) OVER ran, 0) AS undated_end
FROM dense AS d LEFT JOIN summed AS s USING (unit_code, level, sector, month)
WINDOW ran AS (PARTITION BY d.unit_code, d.level, d.sector ORDER BY d.month);

CREATE OR REPLACE TEMP TABLE period AS
WITH month AS (SELECT unnest(range(first_month, last_month + 1)) AS month FROM bound),
spread AS (
    SELECT month, 'month' AS period, month AS start FROM month
    UNION ALL SELECT month, 'quarter', month - month % 3 FROM month
    UNION ALL SELECT month, 'half', month - month % 6 FROM month
    UNION ALL SELECT month, 'year', month - month % 12 FROM month
)
-- opens, closes: the first and last month of the period that is counted.
SELECT *, min(month) OVER (PARTITION BY period, start) AS opens, max(month) OVER (PARTITION BY period, start) AS closes
FROM spread;

-- Who has a row in a period even without a dossier: units while they exist, levels while they have units.
CREATE OR REPLACE TEMP TABLE subject AS
WITH existing AS (
    SELECT DISTINCT u.unit_code, u.level, p.period, p.start
    FROM core_unit AS u JOIN period AS p
        ON u.valid_from <= last_day(first_day(p.month)) AND (u.valid_to IS NULL OR u.valid_to >= first_day(p.month))
    WHERE u.parent_code IS NOT NULL
)
SELECT 'unit' AS scope, level, unit_code, period, start FROM existing
UNION ALL SELECT DISTINCT 'level', level, $province_code, period, start FROM existing
UNION ALL SELECT DISTINCT 'province', 'all', $province_code, period, start FROM period;

-- Counts of unit, sector and period; rows in which nothing is counted are left out.
CREATE OR REPLACE TEMP TABLE counted AS
WITH flow AS (
    SELECT m.unit_code, m.level, m.sector, p.period, p.start, {flow_sums},
        sum(CASE WHEN m.month = p.opens THEN earlier.open_end + m.in_first - m.out_first END) AS carried_over,
        sum(m.in_later) + coalesce(sum(m.in_first) FILTER (WHERE m.month > p.opens), 0) AS transferred_in,
        sum(m.out_later) + coalesce(sum(m.out_first) FILTER (WHERE m.month > p.opens), 0) AS transferred_out,
        sum(m.open_end - m.waiting_supplement - m.waiting_payment) FILTER (WHERE m.month = p.closes) AS in_process_total,
        sum(m.overdue_end - m.waiting_overdue) FILTER (WHERE m.month = p.closes) AS in_process_overdue,
        sum(m.undated_end - m.waiting_undated) FILTER (WHERE m.month = p.closes) AS in_process_undated_end,
        sum(m.waiting_supplement) FILTER (WHERE m.month = p.closes) AS waiting_supplement,
        sum(m.waiting_payment) FILTER (WHERE m.month = p.closes) AS waiting_payment
    FROM monthly AS m
    JOIN period AS p USING (month)
    JOIN (SELECT unit_code, level, sector, month + 1 AS month, open_end FROM monthly) AS earlier
        USING (unit_code, level, sector, month)
    GROUP BY ALL
)
SELECT *,
    received_online + received_direct + received_post + carried_over AS received_total,
    resolved_early + resolved_on_time + resolved_late AS resolved_total,
    in_process_total - in_process_overdue AS in_process_in_time
FROM flow
WHERE received_online + received_direct + received_post + carried_over + transferred_in > 0;

CREATE OR REPLACE TEMP TABLE statistic AS
WITH by_sector AS (
    SELECT 'unit' AS scope, level, unit_code, sector, period, start, {sums} FROM counted GROUP BY ALL
    UNION ALL SELECT 'level', level, $province_code, sector, period, start, {sums} FROM counted GROUP BY ALL
    UNION ALL SELECT 'province', 'all', $province_code, sector, period, start, {sums} FROM counted GROUP BY ALL
),
everything AS (
    SELECT scope, level, unit_code, period, start, {sums} FROM by_sector GROUP BY ALL
)
SELECT scope, level, unit_code, 'sector' AS breakdown, sector, period, first_day(start) AS period_start, {counts}
FROM by_sector
UNION ALL
SELECT scope, level, unit_code, 'all', '', period, first_day(start), {filled}
FROM subject FULL JOIN everything USING (scope, level, unit_code, period, start);

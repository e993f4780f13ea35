-- Deadlines that need the working calendar: of dossiers without a promised date, by the procedure's published
-- limit, and of reception. The time that the citizen was waited for moves a limit in its own unit.
-- The arguments are columns of a table, so that the arithmetic is written into the plan once.
CREATE OR REPLACE TEMP TABLE limited AS
SELECT
    dossier_key,
    received_at,
    limit_value + CASE WHEN limit_unit = 'Ngày làm việc' THEN wait_working_days ELSE 0 END AS value,
    limit_unit AS unit,
    CASE limit_unit WHEN 'Giờ' THEN to_seconds(wait_seconds) WHEN 'Ngày làm việc' THEN INTERVAL 0 DAY
        ELSE to_days(wait_days::INTEGER) END AS waited
FROM timed WHERE deadline_basis = 'limit';

CREATE OR REPLACE TEMP TABLE limit_deadline AS
SELECT dossier_key, working_deadline(received_at, value, unit) + waited AS deadline_at FROM limited;

CREATE OR REPLACE TEMP TABLE reception_deadline AS
SELECT dossier_key, add_office_seconds(submitted_at, $reception_seconds::BIGINT) AS deadline_at
FROM timed WHERE submitted_at IS NOT NULL;

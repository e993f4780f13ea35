-- When each dossier ended and when it was due, by the national rule (domain: indicators 2.2).
-- Priority of ends: processed, returned, then stopped, refused or withdrawn; only of received dossiers.
-- While the citizen is waited for, the request for the supplement is the end.
CREATE OR REPLACE TEMP TABLE waited AS
SELECT
    s.dossier_key,
    coalesce(sum(date_diff('second', s.requested_at, s.answered_at)) FILTER (WHERE s.answered_at > s.requested_at), 0)
        AS wait_seconds,
    coalesce(sum(answered.working_ordinal - requested.working_ordinal) FILTER (WHERE s.answered_at > s.requested_at), 0)
        AS wait_working_days,
    coalesce(sum(answered.day - requested.day) FILTER (WHERE s.answered_at > s.requested_at), 0) AS wait_days,
    max(s.requested_at) FILTER (WHERE s.answered_at IS NULL) AS open_request_at,
    any_value(s.due_before_at) FILTER (WHERE s.supplement_no = 1) AS first_promise_at,
    list(s.due_after_at) AS later_promises
FROM new_supplement AS s
LEFT JOIN core_calendar AS requested ON requested.day = vietnam_day(s.requested_at)
LEFT JOIN core_calendar AS answered ON answered.day = vietnam_day(s.answered_at)
GROUP BY s.dossier_key;

CREATE OR REPLACE TEMP TABLE refused AS
SELECT dossier_key, max(acted_at) AS denied_at FROM new_step WHERE status_code = 3 GROUP BY dossier_key;

CREATE OR REPLACE TEMP TABLE timed AS
WITH said_so AS (
    SELECT
        s.dossier_key,
        s.procedure_code,
        vietnam_day(coalesce(s.received_at, s.submitted_at, s.created_at)) AS reference_day,
        s.submitted_at,
        s.received_at,
        s.completed_at,
        s.returned_at,
        coalesce(s.denied_at, r.denied_at) AS denied_at,
        -- The promise before the first request counts where the waiting is known, or goes on; where a request has no
        -- known answer and the office works on, the promise in force is all there is.
        CASE WHEN w.wait_seconds > 0 OR s.status_code = 5 THEN coalesce(w.first_promise_at, s.due_at)
            ELSE s.due_at END AS promise_at,
        coalesce(w.wait_seconds, 0) AS wait_seconds,
        -- Where only the promise made after the waiting is known, it holds the waiting already.
        CASE WHEN w.first_promise_at IS NULL AND list_contains(w.later_promises, s.due_at) THEN 0
            ELSE coalesce(w.wait_seconds, 0) END AS promise_wait_seconds,
        coalesce(w.wait_working_days, 0) AS wait_working_days,
        coalesce(w.wait_days, 0) AS wait_days,
        w.open_request_at,
        CASE WHEN s.received_at IS NOT NULL THEN s.status_code END AS status_code
    FROM sides AS s
    LEFT JOIN waited AS w USING (dossier_key)
    LEFT JOIN refused AS r USING (dossier_key)
),
ended AS (
    SELECT
        *,
        CASE
            WHEN status_code IN (9, 10) AND completed_at IS NOT NULL THEN 'processed'
            WHEN status_code IN (9, 10) AND returned_at IS NOT NULL THEN 'returned'
            WHEN status_code = 8 AND completed_at IS NOT NULL THEN 'stopped'
            WHEN status_code = 3 AND coalesce(denied_at, completed_at) IS NOT NULL THEN 'denied'
            WHEN status_code = 7 AND completed_at IS NOT NULL THEN 'withdrawn'
            WHEN status_code = 5 AND open_request_at IS NOT NULL THEN 'waiting'
        END AS end_kind
    FROM said_so
)
SELECT
    e.*,
    CASE
        WHEN e.end_kind IN ('processed', 'stopped', 'withdrawn') THEN e.completed_at
        WHEN e.end_kind = 'returned' THEN e.returned_at
        WHEN e.end_kind = 'denied' THEN coalesce(e.denied_at, e.completed_at)
        WHEN e.end_kind = 'waiting' THEN e.open_request_at
    END AS ended_at,
    p.has_fee,
    p.is_result_required,
    p.is_citizen_subject,
    p.limit_value,
    p.limit_unit,
    CASE
        WHEN e.promise_at IS NOT NULL THEN 'promise'
        WHEN e.received_at IS NOT NULL AND p.limit_value IS NOT NULL THEN 'limit'
        ELSE 'none'
    END AS deadline_basis
FROM ended AS e
-- The procedure as it stood on the day of reception.
ASOF LEFT JOIN core_procedure AS p ON p.procedure_code = e.procedure_code AND e.reference_day >= p.valid_from;

-- Which dossiers lose points, in one pass over core_dossier: each definition says for each dossier which
-- advice fits, or nothing. Pieces in braces are compiled by worklist.py from the definitions and the rules.
-- Numbers stand for the advice until the end: sentences would be carried through every step.
WITH judged AS (
    SELECT
        dossier_key, dossier_code, unit_code, unit_level, procedure_code, received_on, status_code,
        CASE WHEN ended_at IS NULL AND received_at IS NOT NULL AND status_code NOT IN (3, 7, 8, 9, 10)
            THEN CAST(timezone('Asia/Ho_Chi_Minh', deadline_at) AS DATE) END AS deadline_on,
        list_filter([{judgements}], lambda each: each IS NOT NULL) AS found
    FROM (SELECT d.*, l.lateness FROM core_dossier AS d {lateness} WHERE {within}) AS core_dossier
),
told AS (
    SELECT * EXCLUDE (found),
        deadline_on - CAST(timezone('Asia/Ho_Chi_Minh', $as_of::TIMESTAMPTZ) AS DATE) AS days_left,
        len(list_filter(found, lambda each: each.is_lost)) AS loss_count,
        unnest(found) AS found
    FROM judged WHERE len(found) > 0
),
placed AS (
    SELECT t.* EXCLUDE (found), t.found.advice AS advice, t.found.event_on AS event_on,
        row_number() OVER (
            PARTITION BY t.unit_code
            ORDER BY a.urgency, t.days_left NULLS LAST, t.loss_count DESC, t.received_on NULLS LAST, t.dossier_key,
                t.found.advice
        ) AS priority
    FROM told AS t JOIN advice AS a ON a.advice = t.found.advice
)
SELECT p.* EXCLUDE (advice), a.* EXCLUDE (advice, urgency), $as_of::TIMESTAMPTZ AS as_of
FROM placed AS p JOIN advice AS a USING (advice)

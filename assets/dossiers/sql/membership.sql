-- Which record belongs to which dossier, by what rule and on what evidence.
CREATE OR REPLACE TEMP TABLE membership AS
WITH named AS (
    SELECT l.label,
        -- The public code, in the order of belief of precedence.py.
        coalesce(
            min(c.code) FILTER (WHERE c.source = 'onestop'),
            min(c.code) FILTER (WHERE c.source = 'portal'),
            min(c.code) FILTER (WHERE c.source = 'messages'),
            min(c.other_code),
            min(c.source || ':' || c.record_key)
        ) AS dossier_key
    FROM label AS l JOIN claims AS c USING (source, record_key)
    GROUP BY l.label
),
shared AS (
    SELECT identifier FROM edge GROUP BY identifier HAVING count(DISTINCT source || '|' || record_key) > 1
),
evidence AS (
    SELECT e.source, e.record_key, e.rule, e.identifier
    FROM edge AS e SEMI JOIN shared USING (identifier)
    QUALIFY row_number() OVER (
        PARTITION BY e.source, e.record_key
        ORDER BY list_position(['code', 'national_code', 'reference_uid'], e.rule), e.identifier
    ) = 1
)
SELECT l.source, l.record_key, n.dossier_key, coalesce(e.rule, 'alone') AS rule, e.identifier AS evidence
FROM label AS l
JOIN named AS n USING (label)
LEFT JOIN evidence AS e USING (source, record_key);

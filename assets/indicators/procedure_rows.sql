-- From counts to rows. Every count is one of distinct procedures, made for its own subject and period.
WITH expected AS (
    -- A version speaks of the periods that it is valid in.
    SELECT s.*, d.definition, d.indicator, d.version, d.by_dossiers, d.least_known_pct
    FROM procedure_subject AS s JOIN procedure_definition AS d
        ON d.valid_from < s.next_start AND (d.valid_to IS NULL OR d.valid_to >= s.period_start)
),
counted AS (
    SELECT e.*,
        coalesce(k.denominator, 0) > 0 AND k.denominator * 100 >= k.candidates * e.least_known_pct AS is_known,
        k.denominator,
        CASE WHEN e.by_dossiers THEN coalesce(w.numerator, 0) ELSE k.numerator END AS numerator
    FROM expected AS e
    LEFT JOIN procedure_known AS k USING (definition, class, day)
    LEFT JOIN procedure_with_dossiers AS w ON w.definition = e.definition AND w.scope = e.scope
        AND w.period_id = e.period_id AND w.place = CASE e.scope WHEN 'unit' THEN e.unit_code ELSE e.level END
)
SELECT
    indicator,
    version,
    scope,
    level,
    unit_code,
    'then' AS boundaries,
    period,
    period_start,
    CASE WHEN is_known THEN numerator ELSE 0 END::BIGINT AS numerator,
    CASE WHEN is_known THEN denominator ELSE 0 END::BIGINT AS denominator,
    CASE WHEN is_known THEN numerator / denominator END AS rate,
    CASE WHEN is_known THEN 'ok' ELSE 'no_denominator' END AS state,
    'no' AS adds_up,
    as_of
FROM counted, procedure_setting
ORDER BY ALL;

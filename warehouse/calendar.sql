-- The arithmetic of warehouse/calendar.py for tables of any size, over core_calendar. Its first day, office hours and
-- the cut-off hour (microseconds of the day) are written in by `define_macros`. Look-ups are elements of lists that
-- are read once per query, so a million rows need no join.
--
-- A day is its number since 1970-01-01 in Vietnam, which has had UTC+7 and no summer time since 1975. A position is
-- the office time, in microseconds, from the calendar's first day to an instant. What lies outside the calendar, or
-- cannot be counted (no limit, a limit of 0, an unknown unit), is null, never a guess.

CREATE OR REPLACE TEMP TABLE calendar_lookup AS
SELECT
    list(working_ordinal ORDER BY day) AS ordinals,
    list(is_working ORDER BY day) AS working,
    list(day - DATE '1970-01-01' ORDER BY day) FILTER (WHERE is_working) AS working_days
FROM core_calendar;

-- Place of a day in the lists; below 1 a list would be read from its end.
CREATE OR REPLACE TEMP MACRO calendar_place(number) AS
    CASE WHEN number >= $first_day THEN number - $first_day + 1 END;
CREATE OR REPLACE TEMP MACRO calendar_ordinal(number) AS (SELECT ordinals FROM calendar_lookup)[calendar_place(number)];
CREATE OR REPLACE TEMP MACRO calendar_works(number) AS (SELECT working FROM calendar_lookup)[calendar_place(number)];
-- The n-th working day of the calendar.
CREATE OR REPLACE TEMP MACRO calendar_working_day(ordinal) AS
    CASE WHEN ordinal >= 1 THEN (SELECT working_days FROM calendar_lookup)[ordinal] END;
-- A day, or the next working day when it is off (Civil Code 2015, Article 148.5).
CREATE OR REPLACE TEMP MACRO calendar_on_or_after(number) AS
    calendar_working_day(calendar_ordinal(number) + CASE WHEN calendar_works(number) THEN 0 ELSE 1 END);

CREATE OR REPLACE TEMP MACRO calendar_local(instant) AS epoch_us(CAST(instant AS TIMESTAMPTZ)) + 25_200_000_000;
CREATE OR REPLACE TEMP MACRO calendar_number(instant) AS calendar_local(instant) // 86_400_000_000;
CREATE OR REPLACE TEMP MACRO calendar_clock(instant) AS calendar_local(instant) % 86_400_000_000;
CREATE OR REPLACE TEMP MACRO calendar_instant(number, clock) AS
    make_timestamp(number * 86_400_000_000 + clock - 25_200_000_000) AT TIME ZONE 'UTC';

-- Office time of a working day up to a clock time: the morning's part and the afternoon's.
CREATE OR REPLACE TEMP MACRO calendar_worked(clock) AS
    greatest(least(clock, $morning_end) - $morning_start, 0)
    + greatest(least(clock, $afternoon_end) - $afternoon_start, 0);
CREATE OR REPLACE TEMP MACRO calendar_position(instant) AS
    calendar_ordinal(calendar_number(instant)) * $day
    - CASE WHEN calendar_works(calendar_number(instant))
        THEN $day - calendar_worked(calendar_clock(instant)) ELSE 0 END;
-- Clock time at which an office has worked so long on a day, 0 < worked <= a day.
CREATE OR REPLACE TEMP MACRO calendar_clock_after(worked) AS
    CASE WHEN worked <= $morning_end - $morning_start THEN $morning_start + worked
        ELSE $afternoon_start + worked - ($morning_end - $morning_start) END;
-- First instant at a position; the end of a day and not the beginning of the next.
CREATE OR REPLACE TEMP MACRO calendar_instant_at(position) AS
    calendar_instant(
        calendar_working_day((position - 1) // $day + 1), calendar_clock_after((position - 1) % $day + 1)
    );

-- A limit that can be counted, else null: casts below are worked out for every row, whatever CASE stands around them.
CREATE OR REPLACE TEMP MACRO calendar_limit(value) AS
    CASE WHEN value > 0 AND value <= $largest THEN CAST(value AS DOUBLE) END;
-- Whole microseconds of a limit, at least one; halves are possible (0.5 of a working day).
CREATE OR REPLACE TEMP MACRO calendar_span(value, per) AS
    greatest(CAST(floor(calendar_limit(value) * per + 0.5) AS BIGINT), 1);
CREATE OR REPLACE TEMP MACRO calendar_first_counted(received_at) AS
    calendar_ordinal(calendar_number(received_at))
    + CASE WHEN NOT calendar_works(calendar_number(received_at)) OR calendar_clock(received_at) > $cut_off
        THEN 1 ELSE 0 END;
-- A part of a month is so many thirtieths, rounded up to whole days (Civil Code 2015, Article 146.1).
CREATE OR REPLACE TEMP MACRO calendar_months_later(number, value) AS
    CAST(DATE '1970-01-01' + CAST(number AS INTEGER) + to_months(CAST(floor(calendar_limit(value)) AS INTEGER)) AS DATE)
    - DATE '1970-01-01' + CAST(ceil((calendar_limit(value) - floor(value)) * 30 - 1e-6) AS BIGINT);
CREATE OR REPLACE TEMP MACRO calendar_end_of(number) AS calendar_instant(calendar_on_or_after(number), 86_399_999_999);

-- The latest instant on time; null where there is none (see above). The unit as published in core_procedure.limit_unit.
CREATE OR REPLACE TEMP MACRO working_deadline(received_at, value, unit) AS
    CASE WHEN calendar_place(calendar_number(received_at)) IS NULL OR calendar_limit(value) IS NULL THEN NULL
        WHEN unit = 'Ngày làm việc'
            THEN calendar_instant_at(calendar_first_counted(received_at) * $day + calendar_span(value, $day))
        WHEN unit = 'Giờ'
            THEN calendar_instant_at(calendar_position(received_at) + calendar_span(value, 3_600_000_000))
        WHEN unit = 'Ngày'
            THEN calendar_end_of(calendar_number(received_at) + CAST(ceil(calendar_limit(value)) AS BIGINT))
        WHEN unit = 'Tháng'
            THEN calendar_end_of(calendar_months_later(calendar_number(received_at), value))
    END;
-- The first instant, not before `instant`, by which the office has worked so many seconds more.
CREATE OR REPLACE TEMP MACRO add_office_seconds(instant, seconds) AS
    CASE WHEN calendar_ordinal(calendar_number(instant)) IS NULL OR seconds < 0 THEN NULL
        WHEN seconds = 0 THEN instant
        ELSE calendar_instant_at(calendar_position(instant) + CAST(seconds AS BIGINT) * 1_000_000) END;
-- Whole office seconds from one instant to another; negative when the second comes first.
CREATE OR REPLACE TEMP MACRO office_seconds_between(a, b) AS
    (calendar_position(b) - calendar_position(a)) // 1_000_000;

-- The days of the last two years: reports join to it, so that a day without calls is a row with nothing, not a missing row.
CREATE OR REPLACE VIEW calendar AS
SELECT day::date AS day,
       extract(isodow FROM day)::integer AS weekday,
       extract(isodow FROM day) >= 6 AS weekend
FROM generate_series(current_date - 730, current_date, interval '1 day') AS day;

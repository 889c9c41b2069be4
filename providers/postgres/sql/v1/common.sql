-- The statements that run once a batch. Their plans do not depend on what they are given, and to make
-- one anew takes longer than most of them do. `clock` is the time in a test that makes its own, and
-- NULL everywhere else. Whoever locks rows of several tables does so in the order jobs, held, grants,
-- ready.
--
-- Rows of a table are looked up by `= ANY` of an array where nothing else of a row is looked at but
-- what is the same for all of them. Else id by id, in a LATERAL that `OFFSET 0` keeps apart, and then
-- changed by their `ctid` (and what they are to be still, as another version may have come in between),
-- which takes twice as long. In a plain join the planner may read a whole index instead: it takes a
-- table for as small as it was when it was last vacuumed, which is often empty.

CREATE FUNCTION $schema$.now_ms(clock bigint) RETURNS bigint LANGUAGE sql VOLATILE AS
    'SELECT coalesce(clock, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)';

-- A time and a span later; nothing is later than the last time there is.
CREATE FUNCTION $schema$.later(at bigint, nanos bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
    'SELECT CASE WHEN nanos IS NOT NULL
         THEN least(at + (nanos + 999999) / 1000000, 253402300799999) END';

-- What the searches of an index have met in this transaction. What nobody needs any more is not
-- counted as an entry once the server has noted that, but its page is, which takes as long as two.
CREATE FUNCTION $schema$.walked(index oid) RETURNS bigint LANGUAGE sql VOLATILE AS
    'SELECT pg_stat_get_xact_tuples_returned(index) + 2 * pg_stat_get_xact_blocks_fetched(index)';

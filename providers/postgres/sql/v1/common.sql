-- What holds for all functions of the schema, and what most of them use.
--
-- A function runs once a batch. Its plans do not depend on its arguments, and planning takes longer
-- than most of the statements, so the plans are generic ones that the connection keeps.
--
-- `clock` is the time of a test that makes its own. It is NULL everywhere else.
--
-- A function that locks rows of several tables locks them in the order jobs, held, grants, ready.
--
-- Rows are looked up by `= ANY` of an array if the conditions besides the id are the same for all
-- rows. Otherwise they are looked up one by one in a LATERAL, which `OFFSET 0` keeps the planner
-- from taking apart. They are then changed by their `ctid`, and the change repeats the conditions,
-- as another version of the row may have come in between. That takes twice as long. In a plain join
-- the planner may read a whole index: it takes a table to be as small as at the last vacuum, often
-- empty.

CREATE FUNCTION $schema$.now_ms(clock bigint) RETURNS bigint LANGUAGE sql VOLATILE AS
    'SELECT coalesce(clock, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)';

-- The time a span later, at most the last time that a job can have.
CREATE FUNCTION $schema$.later(at bigint, nanos bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
    'SELECT CASE WHEN nanos IS NOT NULL
         THEN least(at + (nanos + 999999) / 1000000, 253402300799999) END';

-- How many entries the searches of an index have met in this transaction. The server does not count
-- an entry that it knows to be dead, but it counts the page, which takes as long as two entries.
CREATE FUNCTION $schema$.walked(index oid) RETURNS bigint LANGUAGE sql VOLATILE AS
    'SELECT pg_stat_get_xact_tuples_returned(index) + 2 * pg_stat_get_xact_blocks_fetched(index)';

-- What is kept for counts and lists.

-- The names of workers, for people. `seen` is when a worker was last heard of.
CREATE TABLE $schema$.workers(
    owner uuid PRIMARY KEY,
    name text NOT NULL,
    seen bigint NOT NULL
);

-- Whether a waiting job was held before: a retry, a snooze, a requeue for later.
ALTER TABLE $schema$.ready ADD COLUMN started bool NOT NULL DEFAULT false;
UPDATE $schema$.ready e SET started = true FROM $schema$.jobs j WHERE j.id = e.id AND j.fence > 0;

-- How many jobs each table of history has, so that nobody needs to count them. Whoever ends or
-- purges a batch adds rows with the differences to `tally_news`. They are folded into `tallies` now
-- and then, so there is no row that all wait for. A row that names no table of history does not
-- count, so a table that is dropped takes its counts along.
CREATE TABLE $schema$.tallies(
    part text COLLATE "C" NOT NULL,
    lane int NOT NULL,
    ended text COLLATE "C" NOT NULL,
    jobs bigint NOT NULL,
    PRIMARY KEY(part, lane, ended)
);
CREATE TABLE $schema$.tally_news(
    part text COLLATE "C" NOT NULL,
    lane int NOT NULL,
    ended text COLLATE "C" NOT NULL,
    jobs bigint NOT NULL
);
-- A publication of all tables refuses to delete from a table without a key.
ALTER TABLE $schema$.tally_news REPLICA IDENTITY FULL;

-- Whoever may end jobs may count them.
DO $$
DECLARE
    a record;
BEGIN
    FOR a IN SELECT x.privilege_type, CASE x.grantee WHEN 0 THEN 'PUBLIC'
            ELSE x.grantee::regrole::text END AS grantee
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x
        WHERE c.oid = '$schema$.jobs'::regclass AND x.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON $schema$.tallies, $schema$.tally_news TO %s',
            a.privilege_type, a.grantee);
    END LOOP;
END $$;

-- The tables of history.
CREATE FUNCTION $schema$.parts() RETURNS SETOF text LANGUAGE sql STABLE AS
    'SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = ''$schema$.history''::regclass';

CREATE FUNCTION $schema$.part_of(p_table oid) RETURNS text LANGUAGE sql STABLE AS
    'SELECT relname::text FROM pg_class WHERE oid = p_table';

LOCK TABLE $schema$.history IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO $schema$.tallies SELECT $schema$.part_of(h.part), h.lane, h.ended, h.jobs FROM (
    SELECT tableoid AS part, lane, ended, count(*) AS jobs
    FROM $schema$.history GROUP BY 1, 2, 3) h;

-- Counts the jobs of a table of history anew, and corrects the kept numbers: somebody may have
-- emptied the table by hand. One statement sees one moment, so counts that others add meanwhile
-- don't matter.
CREATE FUNCTION $schema$.recount(p_part text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF pg_try_advisory_xact_lock(hashtext('$schema$.recount')) THEN
        EXECUTE format('INSERT INTO $schema$.tally_news
            SELECT %L, lane, ended, sum(jobs) FROM (
                SELECT lane, ended, count(*) AS jobs FROM %s GROUP BY 1, 2
                UNION ALL SELECT lane, ended, -jobs FROM $schema$.tallies WHERE part = %1$L
                UNION ALL SELECT lane, ended, -jobs FROM $schema$.tally_news WHERE part = %1$L) c
            GROUP BY lane, ended HAVING sum(jobs) <> 0',
            p_part, '$schema$.' || quote_ident(p_part));
    END IF;
END $$;

-- A TRUNCATE of history takes all counts along.
CREATE FUNCTION $schema$.forget_tallies() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM $schema$.tally_news;
    DELETE FROM $schema$.tallies;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_tallies AFTER TRUNCATE ON $schema$.history
    FOR EACH STATEMENT EXECUTE FUNCTION $schema$.forget_tallies();

-- Folds the differences into the counts. Others may fold some at the same time. Now and then it
-- counts a table anew, a large one rarely.
CREATE FUNCTION $schema$.fold_tallies() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_part text;
BEGIN
    WITH news AS (
        DELETE FROM $schema$.tally_news WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM $schema$.tally_news LIMIT 10000 FOR UPDATE SKIP LOCKED))
        RETURNING part, lane, ended, jobs
    )
    INSERT INTO $schema$.tallies AS t (part, lane, ended, jobs)
    SELECT part, lane, ended, sum(jobs) FROM news GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
    ON CONFLICT (part, lane, ended) DO UPDATE SET jobs = t.jobs + excluded.jobs;
    DELETE FROM $schema$.tallies WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM $schema$.tallies t
        WHERE jobs = 0 OR part NOT IN (SELECT $schema$.parts()) FOR UPDATE SKIP LOCKED));
    IF random() < 0.01 THEN
        SELECT p.part INTO v_part FROM $schema$.parts() AS p(part) ORDER BY random() LIMIT 1;
        IF random() < 0.01 OR EXISTS (SELECT FROM pg_class
            WHERE oid = ('$schema$.' || quote_ident(v_part))::regclass AND reltuples < 100000) THEN
            PERFORM $schema$.recount(v_part);
        END IF;
    END IF;
END $$;

-- Counts, lists and operations on many jobs.

-- What holders are called, for people; `seen` is when one was last heard of.
CREATE TABLE $schema$.workers(
    owner uuid PRIMARY KEY,
    name text NOT NULL,
    seen bigint NOT NULL
);

-- Whether a job that waits has been held before: a retry, a snooze, a requeue for later.
ALTER TABLE $schema$.ready ADD COLUMN started bool NOT NULL DEFAULT false;
UPDATE $schema$.ready e SET started = true FROM $schema$.jobs j WHERE j.id = e.id AND j.fence > 0;

-- How many jobs that are over each table of history has, so that nobody needs to count them. Whoever
-- ends or purges a batch adds a row of what has changed to `tally_news`; now and then these are folded
-- into `tallies`. So no row is one that all wait for. A table that is dropped takes its counts along:
-- what names no table of history counts for nothing.
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
-- A publication of all tables refuses to delete from one without a key.
ALTER TABLE $schema$.tally_news REPLICA IDENTITY FULL;

-- Who may end jobs may count them.
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

CREATE FUNCTION $schema$.parts() RETURNS SETOF text LANGUAGE sql STABLE AS
    'SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = ''$schema$.history''::regclass';

CREATE FUNCTION $schema$.part_of(p_table oid) RETURNS text LANGUAGE sql STABLE AS
    'SELECT relname::text FROM pg_class WHERE oid = p_table';

LOCK TABLE $schema$.history IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO $schema$.tallies SELECT $schema$.part_of(h.part), h.lane, h.ended, h.jobs FROM (
    SELECT tableoid AS part, lane, ended, count(*) AS jobs FROM $schema$.history GROUP BY 1, 2, 3) h;

-- Counts once more what a table of history has, and corrects what is kept: somebody may have emptied the
-- table by hand. It all sees one moment, so that what others are just about to count does not matter.
CREATE FUNCTION $schema$.recount(p_part text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF pg_try_advisory_xact_lock(hashtext('$schema$.recount')) THEN
        EXECUTE format('INSERT INTO $schema$.tally_news
            SELECT %L, lane, ended, sum(jobs) FROM (
                SELECT lane, ended, count(*) AS jobs FROM %s GROUP BY 1, 2
                UNION ALL SELECT lane, ended, -jobs FROM $schema$.tallies WHERE part = %1$L
                UNION ALL SELECT lane, ended, -jobs FROM $schema$.tally_news WHERE part = %1$L) c
            GROUP BY lane, ended HAVING sum(jobs) <> 0', p_part, '$schema$.' || quote_ident(p_part));
    END IF;
END $$;

-- Who empties history as a whole has nothing left to count.
CREATE FUNCTION $schema$.forget_tallies() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM $schema$.tally_news;
    DELETE FROM $schema$.tallies;
    RETURN NULL;
END $$;
CREATE TRIGGER forget_tallies AFTER TRUNCATE ON $schema$.history
    FOR EACH STATEMENT EXECUTE FUNCTION $schema$.forget_tallies();

-- Folds the news of counts, of which others may fold some at the same time. Now and then a table is
-- counted anew, a large one seldom.
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

-- How many jobs of each kind there are in each state, `due`, `later` (delayed) and `again` (backing off)
-- among them. Of those that wait no more than about `p_most` a lane and rank are counted.
CREATE FUNCTION $schema$.counts(clock bigint, p_most int)
RETURNS TABLE(queue text, name text, state text, jobs bigint, due_at bigint, more bool, at bigint)
LANGUAGE plpgsql STABLE SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_now CONSTANT bigint := $schema$.now_ms(clock);
BEGIN
    RETURN QUERY
    WITH RECURSIVE sides AS (
        (SELECT e.lane, e.suspect, e.rank FROM $schema$.ready e
            ORDER BY e.lane, e.suspect, e.rank LIMIT 1)
        UNION ALL
        SELECT n.* FROM sides s CROSS JOIN LATERAL (
            SELECT e.lane, e.suspect, e.rank FROM $schema$.ready e
            WHERE (e.lane, e.suspect, e.rank) > (s.lane, s.suspect, s.rank)
            ORDER BY e.lane, e.suspect, e.rank LIMIT 1) n
    ), waiting AS (
        SELECT s.lane, d.jobs AS due, d.due_at, l.jobs AS later, l.again
        FROM sides s CROSS JOIN LATERAL (
            SELECT count(*) AS jobs, min(e.due_at) AS due_at FROM (
                SELECT e.due_at FROM $schema$.ready e
                WHERE e.lane = s.lane AND e.suspect = s.suspect AND e.rank = s.rank
                  AND e.due_at <= v_now ORDER BY e.due_at LIMIT p_most + 1) e) d
        CROSS JOIN LATERAL (
            SELECT count(*) AS jobs, count(*) FILTER (WHERE e.started) AS again FROM (
                SELECT e.started FROM $schema$.ready e
                WHERE e.lane = s.lane AND e.suspect = s.suspect AND e.rank = s.rank
                  AND e.due_at > v_now ORDER BY e.due_at LIMIT p_most + 1) e) l
    ), found AS (
        SELECT w.lane, 'due' AS state, w.due AS jobs, w.due_at, w.due > p_most AS more FROM waiting w
        UNION ALL
        SELECT w.lane, 'later', w.later - w.again, NULL, w.later > p_most FROM waiting w
        UNION ALL
        SELECT w.lane, 'again', w.again, NULL, false FROM waiting w
        UNION ALL
        SELECT j.lane, 'running', count(*), NULL, false FROM (
            SELECT unnest(g.ids) AS id, unnest(g.revs) AS rev FROM $schema$.grants g
            UNION ALL SELECT h.id, h.rev FROM $schema$.held h
        ) m CROSS JOIN LATERAL (
            SELECT j.lane FROM $schema$.jobs j WHERE j.id = m.id AND j.rev = m.rev OFFSET 0) j
        GROUP BY j.lane
        UNION ALL
        SELECT t.lane, t.ended, sum(t.jobs), NULL, false FROM (
            SELECT * FROM $schema$.tallies UNION ALL SELECT * FROM $schema$.tally_news) t
        WHERE t.part IN (SELECT $schema$.parts()) GROUP BY t.lane, t.ended
    )
    SELECT l.queue, l.name, f.state, sum(f.jobs)::bigint, min(f.due_at), bool_or(f.more), v_now
    FROM found f JOIN $schema$.lanes l ON l.id = f.lane
    WHERE f.jobs > 0 GROUP BY l.queue, l.name, f.state ORDER BY l.queue, l.name;
END $$;

-- Ids of jobs of these names in this queue, in one of these states, those from `p_least` to
-- `p_greatest`, in their order. Where a kind has few jobs they are looked up by their kind and sorted,
-- else ids are walked along. All that are dead for a reason, or ended within a time, are among them;
-- others may be too.
CREATE FUNCTION $schema$.list_ids(
    p_queue text, p_names text[], p_state text, p_reason text, p_from bigint, p_until bigint,
    p_least uuid, p_greatest uuid, p_newest bool, p_limit int)
RETURNS uuid[] LANGUAGE plpgsql STABLE SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_few CONSTANT int := 10000;
    v_way CONSTANT text := format('ORDER BY id %s LIMIT %s',
        CASE WHEN p_newest THEN 'DESC' ELSE 'ASC' END, p_limit);
    v_walk text := 'SELECT id FROM $schema$.%s WHERE id BETWEEN $1 AND $2 AND %s ' || v_way;
    v_these text := 'true';
    v_end text := 'true';
    v_lanes int[];
    v_some uuid[];
    v_found uuid[] := '{}';
    v_all uuid[];
BEGIN
    IF p_queue IS NOT NULL OR p_names IS NOT NULL THEN
        v_lanes := ARRAY(SELECT id FROM $schema$.lanes
            WHERE (p_queue IS NULL OR queue = p_queue) AND (p_names IS NULL OR name = ANY(p_names)));
        IF cardinality(v_lanes) = 0 THEN
            RETURN '{}';
        END IF;
        v_these := 'lane = ANY($3)';
    END IF;
    IF p_state = 'running' THEN
        RETURN ARRAY(SELECT id FROM (
            SELECT m.id FROM (
                SELECT unnest(g.ids) AS id, unnest(g.revs) AS rev FROM $schema$.grants g
                UNION ALL SELECT h.id, h.rev FROM $schema$.held h
            ) m CROSS JOIN LATERAL (
                SELECT FROM $schema$.jobs j WHERE j.id = m.id AND j.rev = m.rev
                    AND (v_lanes IS NULL OR j.lane = ANY(v_lanes)) OFFSET 0) j
            WHERE m.id BETWEEN p_least AND p_greatest) r
            ORDER BY CASE WHEN NOT p_newest THEN id END, id DESC LIMIT p_limit);
    END IF;
    -- What lives.
    IF p_state IS NULL OR p_state = 'ready' THEN
        IF p_state = 'ready' AND v_lanes IS NOT NULL THEN
            v_some := ARRAY(SELECT e.id FROM unnest(v_lanes) AS l(lane) CROSS JOIN LATERAL (
                SELECT e.id FROM $schema$.ready e WHERE e.lane = l.lane LIMIT v_few + 1) e
                LIMIT v_few + 1);
        END IF;
        IF cardinality(v_some) <= v_few THEN
            EXECUTE 'SELECT array_agg(id) FROM (SELECT id FROM unnest($3) AS n(id)
                WHERE id BETWEEN $1 AND $2 ' || v_way || ') n'
                INTO v_some USING p_least, p_greatest, v_some;
        ELSE
            EXECUTE 'SELECT array_agg(id) FROM (' || format(v_walk, 'jobs', v_these) || ') n'
                INTO v_some USING p_least, p_greatest, v_lanes;
        END IF;
        v_found := v_some;
    END IF;
    -- What is over.
    IF p_state IS DISTINCT FROM 'ready' THEN
        v_end := 'ended = ANY($4)';
        v_all := NULL;
        IF (SELECT coalesce(sum(jobs), 0) FROM (
                SELECT * FROM $schema$.tallies UNION ALL SELECT * FROM $schema$.tally_news) t
            WHERE (p_state IS NULL OR t.ended = p_state)
              AND (v_lanes IS NULL OR t.lane = ANY(v_lanes))) <= v_few THEN
            EXECUTE 'SELECT array_agg(id) FROM (SELECT id FROM (SELECT id FROM $schema$.history h
                WHERE ' || v_end || ' AND ' || v_these || '
                    AND ($5 IS NULL OR reason = $5) AND ended_at >= $6 AND ended_at < $7 OFFSET 0) h
                WHERE id BETWEEN $1 AND $2 ' || v_way || ') n'
                INTO v_all USING p_least, p_greatest, v_lanes, CASE WHEN p_state IS NULL
                    THEN ARRAY['succeeded', 'dead', 'cancelled'] ELSE ARRAY[p_state] END,
                    p_reason, coalesce(p_from, 0), coalesce(p_until, 9223372036854775807);
        ELSE
            EXECUTE 'SELECT array_agg(id) FROM (' || format(v_walk, 'history', v_these ||
                CASE WHEN p_state IS NULL THEN '' ELSE ' AND ' || v_end END) || ') n'
                INTO v_all USING p_least, p_greatest, v_lanes, ARRAY[p_state];
        END IF;
        v_found := v_found || v_all;
    END IF;
    RETURN ARRAY(SELECT id FROM unnest(v_found) AS n(id)
        ORDER BY CASE WHEN NOT p_newest THEN id END, id DESC LIMIT p_limit);
END $$;

-- Drops a table, after what is to be kept for longer was moved, and counted where it is now.
CREATE OR REPLACE FUNCTION $schema$.drop_span(p_lo bigint, p_now bigint) RETURNS bigint
LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
DECLARE
    v_table CONSTANT text := '$schema$.history_' || p_lo;
    v_kept bigint;
    v_rows bigint;
BEGIN
    LOCK TABLE $schema$.history_spans IN SHARE ROW EXCLUSIVE MODE NOWAIT;
    IF NOT EXISTS (SELECT FROM $schema$.history_spans WHERE lo = p_lo) THEN
        RETURN 0;
    END IF;
    v_rows := $schema$.kept_after(v_table, 0, 100000);
    LOCK TABLE $schema$.history IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('ALTER TABLE $schema$.history DETACH PARTITION %s', v_table);
    EXECUTE format('WITH moved AS (
            INSERT INTO $schema$.history SELECT * FROM %s WHERE purge_at > $1
            RETURNING tableoid AS part, lane, ended
        ), told AS (
            INSERT INTO $schema$.tally_news
            SELECT $schema$.part_of(part), lane, ended, count(*) FROM moved GROUP BY part, lane, ended
        )
        SELECT count(*) FROM moved', v_table) INTO v_kept USING p_now;
    EXECUTE format('DROP TABLE %s', v_table);
    DELETE FROM $schema$.history_spans WHERE lo = p_lo;
    RETURN greatest(v_rows - v_kept, 0);
EXCEPTION
    WHEN lock_not_available OR insufficient_privilege THEN RETURN NULL;
END $$;

-- T4, as before; and what is kept is counted.
CREATE OR REPLACE FUNCTION $schema$.succeed(
    clock bigint, p_ids uuid[], p_tokens uuid[], p_results text[], p_own uuid[])
RETURNS uuid[] LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_nestloop = off SET jit = off AS $$
DECLARE
    v_now bigint := $schema$.now_ms(clock);
    v_tokens uuid[] := ARRAY(SELECT DISTINCT n.token FROM unnest(p_tokens) AS n(token));
    v_all uuid[] := '{}';
    v_gone uuid[] := '{}';
    v_single uuid[] := '{}';
    v_grants bigint[];
    v_keeps bool;
    v_ids uuid[];
    v_done uuid[];
    o record;
BEGIN
    FOR pass IN 1..5 LOOP
        v_grants := '{}';
        FOR o IN
            SELECT m.rev, m.grant_id, array_agg(m.id) AS ids FROM (
                SELECT unnest(g.ids) AS id, unnest(g.revs) AS rev, g.token, g.id AS grant_id
                FROM $schema$.grants g WHERE g.token = ANY(v_tokens)
                UNION ALL
                SELECT h.id, h.rev, h.token, NULL FROM $schema$.held h
                WHERE h.token = ANY(v_tokens)
            ) m JOIN (SELECT unnest(p_ids) AS id, unnest(p_tokens) AS token) n
                ON n.id = m.id AND n.token = m.token
            GROUP BY m.rev, m.grant_id ORDER BY m.grant_id, m.rev
        LOOP
            v_done := '{}';
            -- Mostly all of them are kept, or none.
            v_keeps := EXISTS (SELECT FROM $schema$.jobs WHERE id = o.ids[1] AND retain > 0);
            FOR turn IN 1..2 LOOP
                IF v_keeps THEN
                    WITH done AS (
                        DELETE FROM $schema$.jobs j
                        WHERE j.id = ANY(o.ids) AND j.rev = o.rev AND j.retain > 0 RETURNING j.*
                    ), kept AS (
                        INSERT INTO $schema$.history(id, lane, rev, fence, rank, created_at, due_at,
                            retain, max_attempts, max_crashes, expires, deadline, deadline_at,
                            ended_at, purge_at, ended, unique_key, progress, past, extra, metadata,
                            result)
                        SELECT d.id, lane, rev + 1, fence + 1, rank, created_at, due_at, retain,
                            max_attempts, max_crashes, expires, deadline, deadline_at, v_now,
                            v_now + (retain + 999999) / 1000000, 'succeeded', unique_key, progress,
                            past, extra, metadata, n.txt
                        FROM done d
                        JOIN (SELECT unnest(p_ids) AS id, unnest(p_results) AS txt) n ON n.id = d.id
                        RETURNING id, lane, tableoid AS part
                    ), told AS (
                        INSERT INTO $schema$.tally_news
                        SELECT $schema$.part_of(part), lane, 'succeeded', jobs FROM (
                            SELECT part, lane, count(*) AS jobs FROM kept GROUP BY 1, 2) k
                    )
                    SELECT array_agg(id) INTO v_ids FROM kept;
                ELSE
                    WITH gone AS (
                        DELETE FROM $schema$.jobs j
                        WHERE j.id = ANY(o.ids) AND j.rev = o.rev AND j.retain = 0 RETURNING j.id
                    )
                    SELECT array_agg(id) INTO v_ids FROM gone;
                    v_gone := v_gone || v_ids;
                END IF;
                v_done := v_done || v_ids;
                EXIT WHEN cardinality(v_done) = cardinality(o.ids);
                v_keeps := NOT v_keeps;
            END LOOP;
            v_all := v_all || v_done;
            IF o.grant_id IS NULL THEN
                v_single := v_single || v_done;
            ELSE
                v_grants := v_grants || array_fill(o.grant_id, ARRAY[cardinality(v_done)]);
            END IF;
        END LOOP;
        IF cardinality(v_single) > 0 THEN
            DELETE FROM $schema$.held WHERE id = ANY(v_single);
        END IF;
        PERFORM $schema$.leave(v_grants);
        EXIT WHEN cardinality(v_all) = cardinality(p_ids) OR NOT EXISTS (
            SELECT FROM unnest(p_ids, p_tokens) AS n(id, token) CROSS JOIN LATERAL (
                SELECT FROM $schema$.held h WHERE h.id = n.id AND h.token = n.token OFFSET 0) h);
    END LOOP;
    IF cardinality(v_gone) > 0 THEN
        PERFORM $schema$.remember(v_gone, p_own, v_now);
    END IF;
    RETURN v_all;
END $$;

CREATE TYPE $schema$.change AS (
    id uuid, rev int, was text, was_lane int, was_suspect bool, was_rank smallint,
    was_due_at bigint, was_grant bigint, was_until bigint, becomes text, lane int, rank smallint,
    suspect bool, fence bigint, created_at bigint, due_at bigint, retain bigint, max_attempts int,
    max_crashes int, expires bigint, deadline bigint, expires_at bigint, deadline_at bigint,
    unique_key text, progress text, past text, extra text, metadata text, touch_at bigint,
    token uuid, owner uuid, since bigint, lease_until bigint, cancel bool, ended text, reason text,
    ended_at bigint, purge_at bigint, result text, own_id bool);

-- All other transitions, as before, of all jobs at once. `metadata` is only given where it has changed.
CREATE OR REPLACE FUNCTION $schema$.save(clock bigint, p_changes text)
RETURNS uuid[] LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_all $schema$.change[] := ARRAY(SELECT c::$schema$.change FROM
        json_populate_recordset(NULL::$schema$.change, p_changes::json) AS c ORDER BY c.id);
    v_open $schema$.change[];
    v_entries tid[];
    v_leases tid[];
    v_ids uuid[];
    v_own uuid[];
    v_one $schema$.change;
BEGIN
    -- Where they are: what somebody else has changed since it was read is left alone.
    SELECT array_agg(o.c ORDER BY (o.c).id), array_agg(o.entry) FILTER (WHERE o.entry IS NOT NULL),
        array_agg(o.lease) FILTER (WHERE o.lease IS NOT NULL)
    INTO v_open, v_entries, v_leases
    FROM (
        SELECT c::$schema$.change AS c, e.tid AS entry, h.tid AS lease FROM unnest(v_all) AS c
        CROSS JOIN LATERAL (
            SELECT FROM $schema$.jobs j WHERE j.id = c.id AND j.rev = c.rev FOR UPDATE) j
        LEFT JOIN LATERAL (
            SELECT e.ctid AS tid FROM $schema$.ready e WHERE c.was = 'ready' AND e.lane = c.was_lane
                AND e.suspect = c.was_suspect AND e.rank = c.was_rank AND e.due_at = c.was_due_at
                AND e.id = c.id FOR UPDATE) e ON true
        LEFT JOIN LATERAL (
            SELECT h.ctid AS tid FROM $schema$.held h WHERE c.was = 'held' AND h.id = c.id
                AND h.lease_until = c.was_until FOR UPDATE) h ON true
        WHERE c.was <> 'over' AND (c.was <> 'ready' OR e.tid IS NOT NULL)
            AND (c.was <> 'held' OR h.tid IS NOT NULL)
        UNION ALL
        SELECT c::$schema$.change, NULL, NULL FROM unnest(v_all) AS c CROSS JOIN LATERAL (
            SELECT FROM $schema$.history h WHERE h.id = c.id AND h.rev = c.rev FOR UPDATE) h
        WHERE c.was = 'over'
    ) o;
    IF v_open IS NULL THEN
        RETURN '{}';
    END IF;
    IF v_entries IS NOT NULL THEN
        DELETE FROM $schema$.ready WHERE ctid = ANY(v_entries);
    END IF;
    IF v_leases IS NOT NULL THEN
        DELETE FROM $schema$.held WHERE ctid = ANY(v_leases);
    END IF;
    -- Where they go: what lived and lives on,
    UPDATE $schema$.jobs j SET rev = c.rev + 1, lane = c.lane, fence = c.fence,
        suspect = c.suspect, due_at = c.due_at, expires_at = c.expires_at,
        deadline_at = c.deadline_at, progress = c.progress, past = c.past,
        metadata = coalesce(c.metadata, j.metadata)
    FROM (
        SELECT c.*, j.tid FROM unnest(v_open) AS c CROSS JOIN LATERAL (
            SELECT j.ctid AS tid FROM $schema$.jobs j WHERE j.id = c.id OFFSET 0) j
        WHERE c.was <> 'over' AND c.becomes IN ('ready', 'held')) c
    WHERE j.ctid = c.tid;
    -- what is over now,
    WITH kept AS (
        INSERT INTO $schema$.history(id, lane, rev, fence, rank, created_at, due_at, retain,
            max_attempts, max_crashes, expires, deadline, expires_at, deadline_at, ended_at, purge_at,
            ended, reason, unique_key, progress, past, extra, metadata, result)
        SELECT c.id, c.lane, c.rev + 1, c.fence, c.rank, c.created_at, c.due_at, c.retain,
            c.max_attempts, c.max_crashes, c.expires, c.deadline, c.expires_at, c.deadline_at,
            c.ended_at, c.purge_at, c.ended, c.reason, j.unique_key, c.progress, c.past, c.extra,
            coalesce(c.metadata, j.metadata), c.result
        FROM unnest(v_open) AS c CROSS JOIN LATERAL (
            SELECT j.unique_key, j.metadata FROM $schema$.jobs j WHERE j.id = c.id OFFSET 0) j
        WHERE c.was <> 'over' AND c.becomes = 'over'
        RETURNING tableoid AS part, lane, ended
    )
    INSERT INTO $schema$.tally_news SELECT $schema$.part_of(part), lane, ended, jobs FROM (
        SELECT part, lane, ended, count(*) AS jobs FROM kept GROUP BY 1, 2, 3) k;
    v_ids := ARRAY(SELECT c.id FROM unnest(v_open) AS c
        WHERE c.was <> 'over' AND c.becomes NOT IN ('ready', 'held'));
    DELETE FROM $schema$.jobs j WHERE j.id = ANY(v_ids);
    SELECT array_agg(c.id), coalesce(array_agg(c.id) FILTER (WHERE c.own_id), '{}')
        INTO v_ids, v_own FROM unnest(v_open) AS c WHERE c.was <> 'over' AND c.becomes = 'gone';
    IF v_ids IS NOT NULL THEN
        PERFORM $schema$.remember(v_ids, v_own, $schema$.now_ms(clock));
    END IF;
    -- and what was over and comes back, stays or goes.
    INSERT INTO $schema$.jobs(id, lane, rev, fence, rank, suspect, created_at, due_at, retain,
        max_attempts, max_crashes, expires, deadline, expires_at, deadline_at, unique_key, progress,
        past, extra, metadata)
    SELECT c.id, c.lane, c.rev + 1, c.fence, c.rank, c.suspect, c.created_at, c.due_at, c.retain,
        c.max_attempts, c.max_crashes, c.expires, c.deadline, c.expires_at, c.deadline_at,
        h.unique_key, c.progress, c.past, c.extra, coalesce(c.metadata, h.metadata)
    FROM unnest(v_open) AS c CROSS JOIN LATERAL (
        SELECT h.unique_key, h.metadata FROM $schema$.history h WHERE h.id = c.id OFFSET 0) h
    WHERE c.was = 'over' AND c.becomes = 'ready';
    FOR v_one IN
        SELECT c.* FROM unnest(v_open) AS c WHERE c.was = 'over' AND c.becomes = 'over'
    LOOP
        UPDATE $schema$.history h SET rev = v_one.rev + 1, past = v_one.past WHERE h.id = v_one.id;
    END LOOP;
    v_ids := ARRAY(SELECT c.id FROM unnest(v_open) AS c
        WHERE c.was = 'over' AND c.becomes <> 'over' ORDER BY c.id);
    IF cardinality(v_ids) > 0 THEN
        WITH left_it AS (
            DELETE FROM $schema$.history h WHERE h.id = ANY(v_ids)
                AND h.id BETWEEN v_ids[1] AND v_ids[cardinality(v_ids)]
            RETURNING h.tableoid AS part, h.lane, h.ended
        )
        INSERT INTO $schema$.tally_news SELECT $schema$.part_of(part), lane, ended, -jobs FROM (
            SELECT part, lane, ended, count(*) AS jobs FROM left_it GROUP BY 1, 2, 3) k;
    END IF;
    INSERT INTO $schema$.ready(lane, suspect, rank, due_at, id, rev, touch_at, until, started)
        SELECT c.lane, c.suspect, c.rank, c.due_at, c.id, c.rev + 1, c.touch_at,
            least(c.expires_at, c.deadline_at), c.fence > 0
        FROM unnest(v_open) AS c WHERE c.becomes = 'ready';
    INSERT INTO $schema$.held(id, rev, token, owner, since, lease_until, cancel)
        SELECT c.id, c.rev + 1, c.token, c.owner, c.since, c.lease_until, c.cancel
        FROM unnest(v_open) AS c WHERE c.becomes = 'held';
    PERFORM $schema$.leave(ARRAY(
        SELECT c.was_grant FROM unnest(v_open) AS c WHERE c.was = 'grant'));
    RETURN ARRAY(SELECT c.id FROM unnest(v_open) AS c);
END $$;

-- Deletes the rows of a table whose time has come, as before; and they are counted.
CREATE OR REPLACE FUNCTION $schema$.purge_rows(p_table text, p_now bigint, p_limit int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_table CONSTANT regclass := p_table;
    v_purged int := 0;
    v_rows int;
    v_how text;
    v_any bool;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE purge_at <= $1)', v_table)
        INTO v_any USING p_now;
    IF NOT v_any THEN
        RETURN 0;
    END IF;
    -- First what nobody else is about to take; then, to know that nothing is left, also that.
    FOREACH v_how IN ARRAY ARRAY['SKIP LOCKED', ''] LOOP
        LOOP
            EXIT WHEN v_purged >= p_limit;
            EXECUTE format('WITH purged AS (
                    DELETE FROM %s WHERE ctid = ANY(ARRAY(SELECT ctid FROM %1$s
                        WHERE purge_at <= $1 ORDER BY purge_at LIMIT $2 FOR UPDATE %s))
                    RETURNING lane, ended
                ), told AS (
                    INSERT INTO $schema$.tally_news
                    SELECT $3, lane, ended, -count(*) FROM purged GROUP BY lane, ended
                )
                SELECT count(*) FROM purged', v_table, v_how)
                INTO v_rows USING p_now, p_limit - v_purged, $schema$.part_of(v_table);
            EXIT WHEN v_rows = 0;
            v_purged := v_purged + v_rows;
        END LOOP;
    END LOOP;
    RETURN v_purged;
END $$;

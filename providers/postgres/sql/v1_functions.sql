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

-- T1. Answers the ids that were stored; the others' stories are the caller's to find out. What is due
-- is hinted at by a sweep `p_touch` milliseconds later, if nobody has taken it by then. Where all are
-- `p_fresh` (nothing stands in their way), they are stored for a third less, or all fail. Whether an
-- id is that of a job that is over is asked after the insert: while it waited for a row that is just
-- being deleted, the job may have come to its end. Arrays are opened in a SELECT's list: FROM would
-- first write down what is in them, for a quarter more.
CREATE FUNCTION $schema$.create_jobs(
    clock bigint, p_ids uuid[], p_lanes int[], p_ranks smallint[], p_dues bigint[],
    p_from_now bool[], p_retains bigint[], p_attempts int[], p_crashes int[], p_expires bigint[],
    p_deadlines bigint[], p_keys bytea[], p_extras text[], p_metadata text[], p_touch bigint,
    p_fresh bool)
RETURNS uuid[] LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    -- Before the clock is read: nothing is due "now" that is earlier than its transaction.
    v_xid CONSTANT xid8 := pg_current_xact_id();
    v_now bigint := $schema$.now_ms(clock);
    v_max CONSTANT bigint := 253402300799999;
    v_new uuid[];
    v_lo uuid;
    v_hi uuid;
    v_over uuid[];
BEGIN
    IF p_fresh THEN
        INSERT INTO $schema$.jobs(id, lane, rank, created_at, due_at, retain, max_attempts,
            max_crashes, expires, deadline, expires_at, deadline_at, extra, metadata)
        SELECT id, lane, rank, v_now, due_at, retain, max_attempts, max_crashes, expires, deadline,
            $schema$.later(due_at, expires), $schema$.later(due_at, deadline), extra, metadata
        FROM (
            SELECT n.*, CASE WHEN from_now THEN least(v_now + due, v_max) ELSE due END AS due_at
            FROM (
                SELECT unnest(p_ids) AS id, unnest(p_lanes) AS lane, unnest(p_ranks) AS rank,
                    unnest(p_dues) AS due, unnest(p_from_now) AS from_now,
                    unnest(p_retains) AS retain, unnest(p_attempts) AS max_attempts,
                    unnest(p_crashes) AS max_crashes, unnest(p_expires) AS expires,
                    unnest(p_deadlines) AS deadline, unnest(p_extras) AS extra,
                    unnest(p_metadata) AS metadata OFFSET 0) n) n;
        INSERT INTO $schema$.ready(lane, suspect, rank, due_at, id, rev, touch_at, until)
        SELECT lane, false, rank, due_at, id, 0,
            CASE WHEN due_at > v_now THEN due_at ELSE v_now + p_touch END,
            least($schema$.later(due_at, expires), $schema$.later(due_at, deadline))
        FROM (
            SELECT n.*, CASE WHEN from_now THEN least(v_now + due, v_max) ELSE due END AS due_at
            FROM (
                SELECT unnest(p_ids) AS id, unnest(p_lanes) AS lane, unnest(p_ranks) AS rank,
                    unnest(p_dues) AS due, unnest(p_from_now) AS from_now,
                    unnest(p_expires) AS expires, unnest(p_deadlines) AS deadline OFFSET 0) n) n;
        v_new := p_ids;
    ELSE
        WITH stored AS (
            INSERT INTO $schema$.jobs(id, lane, rank, created_at, due_at, retain, max_attempts,
                max_crashes, expires, deadline, expires_at, deadline_at, unique_key, extra, metadata)
            SELECT id, lane, rank, v_now, due_at, retain, max_attempts, max_crashes, expires,
                deadline, $schema$.later(due_at, expires), $schema$.later(due_at, deadline),
                unique_key, extra, metadata
            FROM (
                SELECT n.*, CASE WHEN from_now THEN least(v_now + due, v_max) ELSE due END AS due_at
                FROM unnest(p_ids, p_lanes, p_ranks, p_dues, p_from_now, p_retains, p_attempts,
                    p_crashes, p_expires, p_deadlines, p_keys, p_extras, p_metadata)
                    AS n(id, lane, rank, due, from_now, retain, max_attempts, max_crashes, expires,
                        deadline, unique_key, extra, metadata)) n
            ON CONFLICT DO NOTHING
            RETURNING id, lane, rank, due_at, expires_at, deadline_at
        ), entered AS (
            INSERT INTO $schema$.ready(lane, suspect, rank, due_at, id, rev, touch_at, until)
            SELECT lane, false, rank, due_at, id, 0,
                CASE WHEN due_at > v_now THEN due_at ELSE v_now + p_touch END,
                least(expires_at, deadline_at)
            FROM stored
            RETURNING id
        )
        SELECT coalesce(array_agg(id), '{}') INTO v_new FROM entered;
    END IF;
    SELECT n.id INTO v_lo FROM unnest(v_new) AS n(id) ORDER BY n.id LIMIT 1;
    SELECT n.id INTO v_hi FROM unnest(v_new) AS n(id) ORDER BY n.id DESC LIMIT 1;
    -- Ids of a batch lie close together, so that mostly no other lies among them.
    IF EXISTS (SELECT FROM $schema$.history WHERE id BETWEEN v_lo AND v_hi)
        OR EXISTS (SELECT FROM $schema$.gone_own WHERE id BETWEEN v_lo AND v_hi)
        OR EXISTS (SELECT FROM $schema$.gone WHERE hi >= v_lo AND lo <= v_hi AND until > v_now) THEN
        SELECT array_agg(o.id) INTO v_over FROM (
            SELECT n.id FROM unnest(v_new) AS n(id) CROSS JOIN LATERAL (
                SELECT FROM $schema$.history h WHERE h.id = n.id OFFSET 0) h
            UNION ALL
            SELECT o.id FROM $schema$.gone_own o WHERE o.id = ANY(v_new) AND o.until > v_now
            UNION ALL
            SELECT g.id FROM (
                SELECT unnest(ids) AS id FROM $schema$.gone
                WHERE hi >= v_lo AND lo <= v_hi AND until > v_now) g
            JOIN unnest(v_new) AS n(id) USING (id)
        ) o;
    END IF;
    IF v_over IS NOT NULL THEN
        DELETE FROM $schema$.ready e USING $schema$.jobs j
            WHERE j.id = ANY(v_over) AND e.lane = j.lane AND e.suspect = j.suspect
              AND e.rank = j.rank AND e.due_at = j.due_at AND e.id = j.id;
        DELETE FROM $schema$.jobs WHERE id = ANY(v_over);
        SELECT coalesce(array_agg(n.id), '{}') INTO v_new FROM unnest(v_new) AS n(id)
            WHERE n.id <> ALL(v_over);
    END IF;
    RETURN v_new;
END $$;

-- What a claim hands out, in any order, but after a row that has no id: its times are the store's now
-- (`created_at`) and the next due time (`due_at`), its lane is how many lanes there are, `since` is how
-- many entries were walked over, dead ones too, and `done` are the jobs that succeeded in the same call.
-- Where floors are given, `past` is what was in progress before the first entry was looked at, `fence`
-- the claim's own transaction, and `deadline_at` a time before it had its id; not so where a test makes
-- the time.
CREATE TYPE $schema$.claimed AS (
    id uuid, lane int, fence bigint, rank smallint, created_at bigint, due_at bigint,
    retain bigint, max_attempts int, max_crashes int, expires bigint, deadline bigint,
    deadline_at bigint, since bigint, unique_key bytea, past text, extra text, metadata text, done uuid[]);

-- T2 for what is ready: at most `p_max[w]` of the lanes whose `p_of` is w. Where `p_floors` has a
-- time for a lane and a rank (four a lane), no earlier entry is looked at: there are but dead ones.
CREATE FUNCTION $schema$.claim_ready(
    clock bigint, p_lanes int[], p_of int[], p_max int[], p_suspect bool, p_floors bigint[],
    p_token uuid, p_owner uuid, p_lease bigint, p_done uuid[])
RETURNS SETOF $schema$.claimed LANGUAGE plpgsql ROWS 100 SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_now bigint := $schema$.now_ms(clock);
    v_wanted bool;
    v_suspect bool;
    v_lanes int[];
    v_nths int[];
    v_asked int[];
    v_index CONSTANT oid := '$schema$.ready_pkey'::regclass;
    v_walked bigint := $schema$.walked(v_index);
    v_tids tid[];
    v_ids uuid[];
    v_revs int[];
    v_all uuid[] := '{}';
    v_all_revs int[] := '{}';
    v_left int;
    v_found bool;
    v_more bool;
    v_head $schema$.claimed;
BEGIN
    IF p_floors IS NOT NULL AND clock IS NULL THEN
        v_head.fence := pg_current_xact_id()::text;
        v_head.deadline_at := extract(epoch FROM now()) * 1000;
        v_head.past := pg_current_snapshot();
    END IF;
    FOR pass IN 1..10 LOOP
        v_more := false;
        v_asked := '{}';
        v_wanted := p_suspect AND EXISTS (
            SELECT FROM unnest(p_lanes) AS l(lane) CROSS JOIN LATERAL (
                SELECT FROM $schema$.ready e WHERE e.lane = l.lane AND e.suspect LIMIT 1) e
        ) AND NOT $schema$.holds_suspect(p_token);
        v_suspect := v_wanted AND EXISTS (
            SELECT FROM unnest(p_lanes) AS l(lane) CROSS JOIN generate_series(0, 3) AS r(rank)
            CROSS JOIN LATERAL (
                SELECT FROM $schema$.ready e WHERE e.lane = l.lane AND e.suspect
                    AND e.rank = r.rank::smallint AND e.due_at <= v_now LIMIT 1) e);
        FOR w IN 1..cardinality(p_max) LOOP
            v_left := p_max[w];
            SELECT array_agg(l.lane), array_agg(4 * (l.nth - 1) + 1) INTO v_lanes, v_nths
                FROM unnest(p_lanes, p_of) WITH ORDINALITY AS l(lane, of_want, nth)
                WHERE l.of_want = w;
            CONTINUE WHEN v_left <= 0 OR v_lanes IS NULL;
            v_asked := v_asked || v_lanes;
            IF cardinality(v_lanes) = 1 AND NOT v_suspect THEN
                -- Entries are walked in the order of the index, and no further than is wanted.
                -- One more than that is looked at, to know whether there are more.
                SELECT array_agg(e.tid) INTO v_tids FROM (
                    SELECT e.tid FROM generate_series(0, 3) AS r(rank) CROSS JOIN LATERAL (
                        SELECT ctid AS tid FROM $schema$.ready e
                        WHERE e.lane = v_lanes[1] AND NOT e.suspect AND e.rank = r.rank::smallint
                          AND e.due_at >= coalesce(p_floors[v_nths[1] + r.rank], 0)
                          AND e.due_at <= v_now AND (e.until IS NULL OR e.until > v_now)
                        ORDER BY e.due_at, e.id LIMIT v_left + 1 FOR UPDATE SKIP LOCKED) e
                    LIMIT v_left + 1) e;
                v_more := v_more OR cardinality(v_tids) > v_left;
                WITH taken AS (
                    DELETE FROM $schema$.ready WHERE ctid = ANY(v_tids[:v_left]) RETURNING id, rev)
                SELECT array_agg(id), array_agg(rev) INTO v_ids, v_revs FROM taken;
                IF v_ids IS NOT NULL THEN
                    v_all := v_all || v_ids;
                    v_all_revs := v_all_revs || v_revs;
                    v_left := v_left - cardinality(v_ids);
                END IF;
            ELSE
                FOR r IN 0..3 LOOP
                    EXIT WHEN v_left = 0;
                    WITH seen AS MATERIALIZED (
                        SELECT e.*, false AS suspect FROM unnest(v_lanes, v_nths) AS l(lane, nth)
                        CROSS JOIN LATERAL (
                            SELECT ctid AS tid, e.due_at, e.id FROM $schema$.ready e
                            WHERE e.lane = l.lane AND NOT e.suspect AND e.rank = r::smallint
                              AND e.due_at >= coalesce(p_floors[l.nth + r], 0)
                              AND e.due_at <= v_now AND (e.until IS NULL OR e.until > v_now)
                            ORDER BY e.due_at, e.id LIMIT v_left + 1 FOR UPDATE SKIP LOCKED) e
                        UNION ALL
                        SELECT e.*, true FROM unnest(v_lanes) AS l(lane) CROSS JOIN LATERAL (
                            SELECT ctid AS tid, e.due_at, e.id FROM $schema$.ready e
                            WHERE v_suspect AND e.lane = l.lane AND e.suspect AND e.rank = r::smallint
                              AND e.due_at <= v_now AND (e.until IS NULL OR e.until > v_now)
                            ORDER BY e.due_at, e.id LIMIT 1 FOR UPDATE SKIP LOCKED) e
                    ), counted AS (
                        SELECT s.*, count(*) FILTER (WHERE s.suspect) OVER (ORDER BY s.due_at, s.id) AS nth
                        FROM seen s
                    ), taken AS (
                        DELETE FROM $schema$.ready WHERE ctid = ANY(ARRAY(
                            SELECT tid FROM counted WHERE NOT suspect OR nth = 1
                            ORDER BY due_at, id LIMIT v_left))
                        RETURNING due_at, id, rev, suspect)
                    SELECT array_agg(id), array_agg(rev), coalesce(bool_or(suspect), false),
                        v_more OR (SELECT count(*) FROM counted WHERE NOT suspect OR nth = 1) > v_left
                    INTO v_ids, v_revs, v_found, v_more
                    FROM (SELECT id, rev, suspect FROM taken ORDER BY due_at, id) t;
                    IF v_ids IS NOT NULL THEN
                        v_all := v_all || v_ids;
                        v_all_revs := v_all_revs || v_revs;
                        v_left := v_left - cardinality(v_ids);
                        v_suspect := v_suspect AND NOT v_found;
                        v_wanted := v_wanted AND NOT v_found;
                    END IF;
                END LOOP;
            END IF;
        END LOOP;
        EXIT WHEN v_more;
        SELECT min(e.due_at) INTO v_head.due_at
        FROM unnest(p_lanes) WITH ORDINALITY AS l(lane, nth)
        CROSS JOIN generate_series(0, 3) AS r(rank) CROSS JOIN (VALUES (false), (true)) AS s(suspect)
        CROSS JOIN LATERAL (
            SELECT e.due_at FROM $schema$.ready e
            WHERE e.lane = l.lane AND e.suspect = s.suspect AND e.rank = r.rank::smallint
              AND e.due_at >= CASE WHEN s.suspect THEN 0
                  ELSE coalesce(p_floors[4 * (l.nth - 1) + 1 + r.rank], 0) END
              AND (e.until IS NULL OR e.until > v_now)
            ORDER BY e.due_at, e.id LIMIT 1) e
        WHERE v_wanted OR NOT s.suspect;
        EXIT WHEN cardinality(v_all) > 0 OR v_head.due_at IS NULL OR v_head.due_at > v_now;
        -- It came in between, or somebody is about to take what there is. Then whether they do has to be
        -- known before "nothing" is an answer.
        CONTINUE WHEN pass = 1;
        PERFORM FROM unnest(v_asked) AS l(lane) CROSS JOIN generate_series(0, 3) AS r(rank)
        CROSS JOIN (VALUES (false), (true)) AS s(suspect)
        CROSS JOIN LATERAL (
            SELECT FROM $schema$.ready e
            WHERE e.lane = l.lane AND e.suspect = s.suspect AND e.rank = r.rank::smallint
              AND e.due_at BETWEEN v_head.due_at AND v_now
              AND (e.until IS NULL OR e.until > v_now) LIMIT 1 FOR UPDATE) e
        WHERE v_wanted OR NOT s.suspect LIMIT 1;
        EXIT WHEN NOT FOUND AND pass > 2;
    END LOOP;
    v_head.created_at := v_now;
    v_head.done := p_done;
    v_head.since := $schema$.walked(v_index) - v_walked;
    SELECT count(*) INTO v_head.lane FROM $schema$.lanes;
    RETURN NEXT v_head;
    IF cardinality(v_all) > 0 THEN
        INSERT INTO $schema$.grants(token, owner, since, lease_until, members, ids, revs)
            VALUES(p_token, p_owner, v_now, v_now + p_lease, cardinality(v_all), v_all, v_all_revs);
        RETURN QUERY
            SELECT j.id, j.lane, j.fence, j.rank, j.created_at, j.due_at, j.retain, j.max_attempts,
                j.max_crashes, j.expires, j.deadline, j.deadline_at, v_now, j.unique_key, j.past,
                j.extra, j.metadata, NULL::uuid[]
            FROM $schema$.jobs j WHERE j.id = ANY(v_all);
    END IF;
END $$;

-- Entries that a claim with these floors does not see: the earliest of each lane and rank, no more than
-- `p_span` below its floor. The last row has no lane: its `due_at` is how many entries were walked over.
CREATE FUNCTION $schema$.below(p_lanes int[], p_floors bigint[], p_span bigint)
RETURNS TABLE(lane int, rank int, due_at bigint) LANGUAGE plpgsql STABLE
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_index CONSTANT oid := '$schema$.ready_pkey'::regclass;
    v_walked bigint := $schema$.walked(v_index);
BEGIN
    RETURN QUERY SELECT l.lane, r.rank, e.due_at
        FROM unnest(p_lanes) WITH ORDINALITY AS l(lane, nth)
        CROSS JOIN generate_series(0, 3) AS r(rank)
        CROSS JOIN LATERAL (
            SELECT e.due_at FROM $schema$.ready e
            WHERE e.lane = l.lane AND NOT e.suspect AND e.rank = r.rank::smallint
              AND e.due_at >= coalesce(p_floors[4 * (l.nth - 1) + 1 + r.rank] - p_span, 0)
              AND e.due_at < p_floors[4 * (l.nth - 1) + 1 + r.rank]
            ORDER BY e.due_at LIMIT 1) e;
    RETURN QUERY SELECT NULL::int, NULL::int,
        $schema$.walked(v_index) - v_walked;
END $$;

-- T2 by id: of these entries, those that are still there.
CREATE FUNCTION $schema$.claim_entries(
    p_now bigint, p_lanes int[], p_suspects bool[], p_ranks smallint[], p_dues bigint[],
    p_ids uuid[], p_token uuid, p_owner uuid, p_lease bigint)
RETURNS SETOF $schema$.claimed LANGUAGE plpgsql ROWS 100 SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_ids uuid[];
    v_revs int[];
BEGIN
    WITH found AS MATERIALIZED (
        SELECT e.tid FROM unnest(p_lanes, p_suspects, p_ranks, p_dues, p_ids)
            AS n(lane, suspect, rank, due_at, id)
        CROSS JOIN LATERAL (
            SELECT ctid AS tid FROM $schema$.ready e
            WHERE e.lane = n.lane AND e.suspect = n.suspect AND e.rank = n.rank
              AND e.due_at = n.due_at AND e.id = n.id OFFSET 0) e
    ), taken AS (
        DELETE FROM $schema$.ready e USING found f WHERE e.ctid = f.tid
        RETURNING e.id, e.rev)
    SELECT array_agg(id), array_agg(rev) INTO v_ids, v_revs FROM taken;
    IF v_ids IS NOT NULL THEN
        INSERT INTO $schema$.grants(token, owner, since, lease_until, members, ids, revs)
            VALUES(p_token, p_owner, p_now, p_now + p_lease, cardinality(v_ids), v_ids, v_revs);
        RETURN QUERY
            SELECT j.id, j.lane, j.fence, j.rank, j.created_at, j.due_at, j.retain, j.max_attempts,
                j.max_crashes, j.expires, j.deadline, j.deadline_at, p_now, j.unique_key, j.past,
                j.extra, j.metadata, NULL::uuid[]
            FROM $schema$.jobs j WHERE j.id = ANY(v_ids);
    END IF;
END $$;

-- T2′: what a token holds.
CREATE FUNCTION $schema$.held_by(p_token uuid) RETURNS SETOF $schema$.claimed
LANGUAGE sql STABLE ROWS 100 AS $$
    SELECT j.id, j.lane, j.fence, j.rank, j.created_at, j.due_at, j.retain, j.max_attempts,
        j.max_crashes, j.expires, j.deadline, j.deadline_at, m.since, j.unique_key, j.past, j.extra,
        j.metadata, NULL::uuid[]
    FROM (
        SELECT n.id, n.rev, g.since FROM $schema$.grants g
            CROSS JOIN LATERAL unnest(g.ids, g.revs) AS n(id, rev) WHERE g.token = p_token
        UNION ALL
        SELECT h.id, h.rev, h.since FROM $schema$.held h WHERE h.token = p_token
    ) m CROSS JOIN LATERAL (
        SELECT * FROM $schema$.jobs j WHERE j.id = m.id AND j.rev = m.rev OFFSET 0) j
    ORDER BY j.rank, j.due_at, j.id
$$;

CREATE FUNCTION $schema$.holds_suspect(p_token uuid) RETURNS bool LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM (
            SELECT n.id, n.rev FROM $schema$.grants g
                CROSS JOIN LATERAL unnest(g.ids, g.revs) AS n(id, rev) WHERE g.token = p_token
            UNION ALL
            SELECT h.id, h.rev FROM $schema$.held h WHERE h.token = p_token
        ) m CROSS JOIN LATERAL (
            SELECT FROM $schema$.jobs j
            WHERE j.id = m.id AND j.rev = m.rev AND j.suspect OFFSET 0) j)
$$;

-- Counts members of grants down, and removes what has none left.
CREATE FUNCTION $schema$.leave(p_grants bigint[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    g record;
BEGIN
    FOR g IN SELECT n.id, count(*)::int AS members FROM unnest(p_grants) AS n(id)
             WHERE n.id IS NOT NULL GROUP BY n.id ORDER BY n.id LOOP
        DELETE FROM $schema$.grants t WHERE t.id = g.id AND t.members <= g.members;
        IF NOT FOUND THEN
            UPDATE $schema$.grants t SET members = t.members - g.members WHERE t.id = g.id;
        END IF;
    END LOOP;
END $$;

-- Of these jobs, those that these tokens hold. The planner can't know how long the arrays are, and
-- would compare each element of one with each of the other.
CREATE FUNCTION $schema$.held_jobs(p_ids uuid[], p_tokens uuid[], p_texts text[])
RETURNS TABLE(id uuid, rev int, grant_id bigint, token uuid, owner uuid, since bigint,
    lease_until bigint, cancel bool, txt text)
LANGUAGE plpgsql STABLE ROWS 100 SET plan_cache_mode = force_generic_plan
SET enable_nestloop = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_tokens uuid[] := ARRAY(SELECT DISTINCT n.token FROM unnest(p_tokens) AS n(token));
BEGIN
    RETURN QUERY
        WITH given AS MATERIALIZED (
            SELECT unnest(p_ids) AS id, unnest(p_tokens) AS token, unnest(p_texts) AS txt
        ), members AS MATERIALIZED (
            SELECT unnest(g.ids) AS id, unnest(g.revs) AS rev, g.id AS grant_id, g.token, g.owner,
                g.since, g.lease_until
            FROM $schema$.grants g WHERE g.token = ANY(v_tokens)
        )
        SELECT m.id, m.rev, m.grant_id, m.token, m.owner, m.since, m.lease_until, false, n.txt
        FROM members m JOIN given n ON n.id = m.id AND n.token = m.token
        UNION ALL
        SELECT h.id, h.rev, NULL, h.token, h.owner, h.since, h.lease_until, h.cancel, n.txt
        FROM $schema$.held h JOIN given n ON n.id = h.id AND n.token = h.token
        WHERE h.token = ANY(v_tokens);
END $$;

-- T4. Answers the ids of the jobs that were held by these tokens, and have succeeded. `p_own` are
-- those ids that bgjob has not made. A renewal at the same time moves a job to a lease of its own:
-- then it is looked for once more. Jobs of one grant and `rev`, mostly all, are ended together.
CREATE FUNCTION $schema$.succeed(
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
                        RETURNING id
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

-- Remembers the ids of jobs that were deleted at their end, for five minutes.
CREATE FUNCTION $schema$.remember(p_ids uuid[], p_own uuid[], p_now bigint)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_ids uuid[];
BEGIN
    IF cardinality(p_own) > 0 THEN
        INSERT INTO $schema$.gone_own SELECT id, p_now + 300000
            FROM unnest(p_ids) AS n(id) WHERE id = ANY(p_own)
            ON CONFLICT (id) DO UPDATE SET until = excluded.until;
    END IF;
    v_ids := ARRAY(SELECT id FROM unnest(p_ids) AS n(id) WHERE id <> ALL(p_own) ORDER BY id);
    IF cardinality(v_ids) > 0 THEN
        INSERT INTO $schema$.gone(lo, hi, until, ids)
            VALUES(v_ids[1], v_ids[cardinality(v_ids)], p_now + 300000, v_ids);
    END IF;
END $$;

-- T3. A job that is renewed for the first time leaves its grant for a lease of its own. Who gets
-- such a lease or has news to tell changes its row, and its rev with it; where somebody else changes
-- it at the same time, once more.
CREATE FUNCTION $schema$.renew(
    clock bigint, p_ids uuid[], p_tokens uuid[], p_progress text[], p_lease bigint)
RETURNS TABLE(id uuid, token uuid, cancel bool) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_until bigint := $schema$.now_ms(clock) + p_lease;
    v_ids uuid[] := p_ids;
    v_tokens uuid[] := p_tokens;
    v_texts text[] := p_progress;
    v_changed uuid[];
    v_grants bigint[];
BEGIN
    FOR pass IN 1..10 LOOP
        WITH own AS MATERIALIZED (
            SELECT o.*, j.tid
            FROM $schema$.held_jobs(v_ids, v_tokens, v_texts) o CROSS JOIN LATERAL (
                SELECT ctid AS tid FROM $schema$.jobs j
                WHERE j.id = o.id AND j.rev = o.rev OFFSET 0) j
            WHERE o.grant_id IS NOT NULL OR o.txt IS NOT NULL
            ORDER BY o.grant_id, o.rev, o.id -- as `succeed` locks them
        ), changed AS (
            UPDATE $schema$.jobs j SET rev = j.rev + 1, progress = coalesce(o.txt, j.progress)
            FROM own o WHERE j.ctid = o.tid AND j.rev = o.rev
            RETURNING j.id, j.rev, o.grant_id, o.token, o.owner, o.since, o.lease_until, o.cancel
        ), moved AS (
            INSERT INTO $schema$.held AS t (id, rev, token, owner, since, lease_until, cancel)
            SELECT id, rev, token, owner, since, lease_until, cancel FROM changed
            ON CONFLICT (id) DO UPDATE SET rev = excluded.rev
        )
        SELECT coalesce(array_agg(id), '{}'), array_agg(grant_id) INTO v_changed, v_grants
        FROM changed;
        PERFORM $schema$.leave(v_grants);
        SELECT array_agg(n.id), array_agg(n.token), array_agg(n.txt) INTO v_ids, v_tokens, v_texts
        FROM unnest(v_ids, v_tokens, v_texts) AS n(id, token, txt) CROSS JOIN LATERAL (
            SELECT FROM $schema$.held h WHERE h.id = n.id AND h.token = n.token OFFSET 0) h
        WHERE n.txt IS NOT NULL AND n.id <> ALL(v_changed);
        EXIT WHEN v_ids IS NULL;
    END LOOP;
    RETURN QUERY
        UPDATE $schema$.held h SET lease_until = greatest(h.lease_until, v_until)
        FROM unnest(p_ids, p_tokens) AS n(id, token) CROSS JOIN LATERAL (
            SELECT ctid AS tid FROM $schema$.held h
            WHERE h.id = n.id AND h.token = n.token OFFSET 0) f
        WHERE h.ctid = f.tid AND h.token = n.token
        RETURNING h.id, h.token, h.cancel;
END $$;

-- All other transitions: what the caller made of a job that it read, where it still stands as it
-- was read. `p_was` says where: {"ready": …} by the key of its entry, {"grant": id} or
-- {"held": lease_until} while it runs, nothing where it is over. Answers the ids that were changed.
CREATE FUNCTION $schema$.save(clock bigint, p_changes text)
RETURNS uuid[] LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_saved uuid[] := '{}';
    v_grants bigint[] := '{}';
    c record;
BEGIN
    FOR c IN SELECT * FROM json_to_recordset(p_changes::json) AS x(
        id uuid, rev int, was text, was_lane int, was_suspect bool, was_rank smallint,
        was_due_at bigint, was_grant bigint, was_until bigint,
        becomes text, lane int, rank smallint, suspect bool, fence bigint, created_at bigint,
        due_at bigint, retain bigint, max_attempts int, max_crashes int, expires bigint,
        deadline bigint, expires_at bigint, deadline_at bigint, unique_key text, progress text,
        past text, extra text, metadata text, touch_at bigint, token uuid, owner uuid, since bigint,
        lease_until bigint, cancel bool, ended text, reason text, ended_at bigint, purge_at bigint,
        result text, own_id bool) ORDER BY id
    LOOP
        -- Where it is.
        IF c.was = 'over' THEN
            PERFORM FROM $schema$.history h WHERE h.id = c.id AND h.rev = c.rev FOR UPDATE;
        ELSE
            PERFORM FROM $schema$.jobs j WHERE j.id = c.id AND j.rev = c.rev FOR UPDATE;
        END IF;
        CONTINUE WHEN NOT FOUND;
        IF c.was = 'ready' THEN
            DELETE FROM $schema$.ready e WHERE e.lane = c.was_lane AND e.suspect = c.was_suspect
                AND e.rank = c.was_rank AND e.due_at = c.was_due_at AND e.id = c.id;
            CONTINUE WHEN NOT FOUND;
        ELSIF c.was = 'held' THEN
            DELETE FROM $schema$.held h WHERE h.id = c.id AND h.lease_until = c.was_until;
            CONTINUE WHEN NOT FOUND;
        ELSIF c.was = 'grant' THEN
            v_grants := v_grants || c.was_grant;
        END IF;
        -- Where it goes.
        IF c.was = 'over' THEN
            DELETE FROM $schema$.history h WHERE h.id = c.id;
            IF c.becomes = 'ready' THEN
                INSERT INTO $schema$.jobs(id, lane, rev, fence, rank, suspect, created_at, due_at,
                    retain, max_attempts, max_crashes, expires, deadline, expires_at, deadline_at,
                    unique_key, progress, past, extra, metadata)
                VALUES(c.id, c.lane, c.rev + 1, c.fence, c.rank, c.suspect, c.created_at, c.due_at,
                    c.retain, c.max_attempts, c.max_crashes, c.expires, c.deadline, c.expires_at,
                    c.deadline_at, decode(c.unique_key, 'hex'), c.progress, c.past, c.extra,
                    c.metadata);
            END IF;
        ELSIF c.becomes IN ('ready', 'held') THEN
            UPDATE $schema$.jobs j SET rev = c.rev + 1, lane = c.lane, fence = c.fence,
                suspect = c.suspect, due_at = c.due_at, expires_at = c.expires_at,
                deadline_at = c.deadline_at, progress = c.progress, past = c.past,
                metadata = c.metadata
            WHERE j.id = c.id;
        ELSE
            DELETE FROM $schema$.jobs j WHERE j.id = c.id;
        END IF;
        IF c.becomes = 'ready' THEN
            INSERT INTO $schema$.ready(lane, suspect, rank, due_at, id, rev, touch_at, until)
            VALUES(c.lane, c.suspect, c.rank, c.due_at, c.id, c.rev + 1, c.touch_at,
                least(c.expires_at, c.deadline_at));
        ELSIF c.becomes = 'held' THEN
            INSERT INTO $schema$.held(id, rev, token, owner, since, lease_until, cancel)
            VALUES(c.id, c.rev + 1, c.token, c.owner, c.since, c.lease_until, c.cancel);
        ELSIF c.becomes = 'over' THEN
            INSERT INTO $schema$.history(id, lane, rev, fence, rank, created_at, due_at, retain,
                max_attempts, max_crashes, expires, deadline, expires_at, deadline_at, ended_at,
                purge_at, ended, reason, unique_key, progress, past, extra, metadata, result)
            VALUES(c.id, c.lane, c.rev + 1, c.fence, c.rank, c.created_at, c.due_at, c.retain,
                c.max_attempts, c.max_crashes, c.expires, c.deadline, c.expires_at, c.deadline_at,
                c.ended_at, c.purge_at, c.ended, c.reason, decode(c.unique_key, 'hex'), c.progress,
                c.past, c.extra, c.metadata, c.result);
        ELSIF c.becomes = 'gone' THEN
            PERFORM $schema$.remember(ARRAY[c.id],
                CASE WHEN c.own_id THEN ARRAY[c.id] ELSE '{}'::uuid[] END,
                $schema$.now_ms(clock));
        END IF;
        v_saved := v_saved || c.id;
    END LOOP;
    PERFORM $schema$.leave(v_grants);
    RETURN v_saved;
END $$;

-- What time has come for: leases that ran out ('lease'), jobs that are too late ('late') and jobs to
-- be hinted at ('touch'); at most `p_limit` in all. Grants that nothing is left of are removed.
CREATE FUNCTION $schema$.due(
    clock bigint, p_margin bigint, p_limit int, p_touch bool)
RETURNS TABLE(kind text, id uuid) LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    v_now bigint := $schema$.now_ms(clock);
    v_left int := p_limit;
    v_found int;
BEGIN
    IF EXISTS (SELECT FROM $schema$.grants WHERE lease_until < v_now - p_margin) THEN
        DELETE FROM $schema$.grants g WHERE g.lease_until < v_now - p_margin AND NOT EXISTS (
            SELECT FROM unnest(g.ids, g.revs) AS n(id, rev) CROSS JOIN LATERAL (
                SELECT FROM $schema$.jobs j WHERE j.id = n.id AND j.rev = n.rev OFFSET 0) j);
        RETURN QUERY SELECT 'lease', n.id FROM $schema$.grants g
            CROSS JOIN LATERAL unnest(g.ids, g.revs) AS n(id, rev)
            CROSS JOIN LATERAL (
                SELECT FROM $schema$.jobs j WHERE j.id = n.id AND j.rev = n.rev OFFSET 0) j
            WHERE g.lease_until < v_now - p_margin ORDER BY g.lease_until LIMIT v_left;
        GET DIAGNOSTICS v_found = ROW_COUNT;
        v_left := v_left - v_found;
    END IF;
    RETURN QUERY SELECT 'lease', h.id FROM $schema$.held h
        WHERE h.lease_until < v_now - p_margin ORDER BY h.lease_until LIMIT v_left;
    GET DIAGNOSTICS v_found = ROW_COUNT;
    v_left := v_left - v_found;
    RETURN QUERY SELECT 'late', e.id FROM $schema$.ready e
        WHERE e.until <= v_now ORDER BY e.until LIMIT v_left;
    GET DIAGNOSTICS v_found = ROW_COUNT;
    v_left := v_left - v_found;
    IF p_touch THEN
        RETURN QUERY SELECT 'touch', e.id FROM $schema$.ready e
            WHERE e.touch_at <= v_now ORDER BY e.touch_at LIMIT v_left;
    END IF;
END $$;

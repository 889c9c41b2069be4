-- A row of what a claim returns. The first row has no id: it is the head, which tells about the
-- claim itself in columns of a job. The jobs follow in any order. `src/head.rs` reads the head:
--
-- * `created_at`: the store's time.
-- * `due_at`: the next due time.
-- * `lane`: how many lanes there are.
-- * `since`: how many entries the claim walked over, dead ones included.
-- * `done`: the jobs that succeeded in the same call.
-- * `past`, `fence`, `deadline_at`: only if floors are given, and not with a test's clock. They are
--   the snapshot before the claim read its first entry, the claim's own transaction, and a time
--   before that transaction had its id.
CREATE TYPE $schema$.claimed AS (
    id uuid, lane int, fence bigint, rank smallint, created_at bigint, due_at bigint,
    retain bigint, max_attempts int, max_crashes int, expires bigint, deadline bigint,
    deadline_at bigint, since bigint, unique_key bytea, past text, extra text, metadata text,
    done uuid[]);

-- T2 (claim) of ready jobs: at most `p_max[w]` of the lanes whose `p_of` is w. `p_floors` has four
-- times for each lane, one for each rank. Earlier entries are not looked at, as they are dead.
-- Programs of before version 3 call this function.
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
                -- Entries are walked in the order of the index, one entry further than is wanted,
                -- to know whether there are more.
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
                            WHERE v_suspect AND e.lane = l.lane AND e.suspect
                              AND e.rank = r::smallint
                              AND e.due_at <= v_now AND (e.until IS NULL OR e.until > v_now)
                            ORDER BY e.due_at, e.id LIMIT 1 FOR UPDATE SKIP LOCKED) e
                    ), counted AS (
                        SELECT s.*, count(*) FILTER (WHERE s.suspect)
                            OVER (ORDER BY s.due_at, s.id) AS nth
                        FROM seen s
                    ), taken AS (
                        DELETE FROM $schema$.ready WHERE ctid = ANY(ARRAY(
                            SELECT tid FROM counted WHERE NOT suspect OR nth = 1
                            ORDER BY due_at, id LIMIT v_left))
                        RETURNING due_at, id, rev, suspect)
                    SELECT array_agg(id), array_agg(rev), coalesce(bool_or(suspect), false),
                        v_more OR (
                            SELECT count(*) FROM counted WHERE NOT suspect OR nth = 1) > v_left
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
        CROSS JOIN generate_series(0, 3) AS r(rank)
        CROSS JOIN (VALUES (false), (true)) AS s(suspect)
        CROSS JOIN LATERAL (
            SELECT e.due_at FROM $schema$.ready e
            WHERE e.lane = l.lane AND e.suspect = s.suspect AND e.rank = r.rank::smallint
              AND e.due_at >= CASE WHEN s.suspect THEN 0
                  ELSE coalesce(p_floors[4 * (l.nth - 1) + 1 + r.rank], 0) END
              AND (e.until IS NULL OR e.until > v_now)
            ORDER BY e.due_at, e.id LIMIT 1) e
        WHERE v_wanted OR NOT s.suspect;
        EXIT WHEN cardinality(v_all) > 0 OR v_head.due_at IS NULL OR v_head.due_at > v_now;
        -- A job came in between, or another claim has locked all jobs that are due. In the second
        -- case this claim waits for the other: it may not return nothing if the other rolls back.
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

-- Entries that a claim with these floors does not see: the earliest of each lane and rank, at most
-- `p_span` below its floor. The last row has no lane. Its `due_at` is how many entries the search
-- walked over.
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

-- T2 (claim) by id: claims those of these entries that are still there.
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

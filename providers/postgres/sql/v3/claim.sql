-- The first of these entries, in this order, whose jobs fit into `p_room` bytes, and the bytes.
-- With `p_one` the very first is returned in any case.
CREATE FUNCTION $schema$.fitting(
    p_tids tid[], p_room bigint, p_one bool, OUT tids tid[], OUT bytes bigint)
LANGUAGE sql VOLATILE AS $$
    SELECT array_agg(f.tid ORDER BY f.nth), max(f.total)::bigint FROM (
        SELECT n.tid, n.nth, sum(coalesce(j.bytes, 0)) OVER (ORDER BY n.nth) AS total
        FROM unnest(p_tids) WITH ORDINALITY AS n(tid, nth)
        CROSS JOIN LATERAL (SELECT e.id FROM $schema$.ready e WHERE e.ctid = n.tid OFFSET 0) e
        LEFT JOIN LATERAL (
            SELECT octet_length(metadata) + coalesce(octet_length(extra), 0)
                + coalesce(octet_length(past), 0) AS bytes
            FROM $schema$.jobs j WHERE j.id = e.id OFFSET 0) j ON true) f
    WHERE f.total <= p_room OR p_one AND f.nth = 1
$$;

-- T2 (claim) of ready jobs, as `claim_ready`, with these differences:
--
-- * It fails if a number stands for another kind than the caller has noted.
-- * It returns at most `p_room` bytes, but one job in any case with `p_one`.
-- * It returns none of `p_skip`.
-- * In the head, `lane` is how many kinds there are of these queues with one of these names, in
--   versions up to the one beside the name. `deadline` is 1 if there was not room for all jobs.
CREATE FUNCTION $schema$.claim_kinds(
    clock bigint, p_lanes int[], p_stamps bigint[], p_of int[], p_max int[], p_suspect bool,
    p_floors bigint[], p_room bigint, p_one bool, p_skip uuid[], p_queues text[], p_names text[],
    p_versions bigint[], p_token uuid, p_owner uuid, p_lease bigint, p_done uuid[])
RETURNS SETOF $schema$.claimed LANGUAGE plpgsql ROWS 100 SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_now bigint := $schema$.now_ms(clock);
    v_wanted bool;
    v_suspect bool;
    v_large bool;
    v_full bool := false;
    v_room bigint := p_room;
    v_bytes bigint;
    v_lanes int[];
    v_nths int[];
    v_asked int[];
    v_index CONSTANT oid := '$schema$.ready_pkey'::regclass;
    v_walked bigint := $schema$.walked(v_index);
    v_tids tid[];
    v_fit tid[];
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
    v_large := EXISTS (
        SELECT FROM unnest(p_lanes) AS l(lane) CROSS JOIN LATERAL (
            SELECT FROM $schema$.jobs j WHERE j.lane = l.lane AND octet_length(j.metadata)
                + coalesce(octet_length(j.extra), 0) + coalesce(octet_length(j.past), 0) > 4000
            LIMIT 1) j);
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
        <<wants>>
        FOR w IN 1..cardinality(p_max) LOOP
            v_left := p_max[w];
            SELECT array_agg(l.lane), array_agg(4 * (l.nth - 1) + 1) INTO v_lanes, v_nths
                FROM unnest(p_lanes, p_of) WITH ORDINALITY AS l(lane, of_want, nth)
                WHERE l.of_want = w;
            CONTINUE WHEN v_left <= 0 OR v_lanes IS NULL;
            v_asked := v_asked || v_lanes;
            -- The ranks of one lane are searched at once, those of several lanes one after the
            -- other.
            FOR v_rank IN 0..3 LOOP
                EXIT WHEN v_left = 0;
                -- Entries are walked in the order of the index, one entry further than is wanted,
                -- to know whether there are more.
                IF cardinality(v_lanes) = 1 AND NOT v_suspect THEN
                    EXIT WHEN v_rank > 0;
                    SELECT array_agg(e.tid) INTO v_tids FROM (
                        SELECT e.tid FROM generate_series(0, 3) AS r(rank) CROSS JOIN LATERAL (
                            SELECT ctid AS tid FROM $schema$.ready e
                            WHERE e.lane = v_lanes[1] AND NOT e.suspect
                              AND e.rank = r.rank::smallint
                              AND e.due_at >= coalesce(p_floors[v_nths[1] + r.rank], 0)
                              AND e.due_at <= v_now AND (e.until IS NULL OR e.until > v_now)
                              AND e.id <> ALL(p_skip)
                            ORDER BY e.due_at, e.id LIMIT v_left + 1 FOR UPDATE SKIP LOCKED) e
                        LIMIT v_left + 1) e;
                ELSE
                    WITH seen AS MATERIALIZED (
                        SELECT e.*, false AS suspect FROM unnest(v_lanes, v_nths) AS l(lane, nth)
                        CROSS JOIN LATERAL (
                            SELECT ctid AS tid, e.due_at, e.id FROM $schema$.ready e
                            WHERE e.lane = l.lane AND NOT e.suspect AND e.rank = v_rank::smallint
                              AND e.due_at >= coalesce(p_floors[l.nth + v_rank], 0)
                              AND e.due_at <= v_now AND (e.until IS NULL OR e.until > v_now)
                              AND e.id <> ALL(p_skip)
                            ORDER BY e.due_at, e.id LIMIT v_left + 1 FOR UPDATE SKIP LOCKED) e
                        UNION ALL
                        SELECT e.*, true FROM unnest(v_lanes) AS l(lane) CROSS JOIN LATERAL (
                            SELECT ctid AS tid, e.due_at, e.id FROM $schema$.ready e
                            WHERE v_suspect AND e.lane = l.lane AND e.suspect
                              AND e.rank = v_rank::smallint
                              AND e.due_at <= v_now AND (e.until IS NULL OR e.until > v_now)
                              AND e.id <> ALL(p_skip)
                            ORDER BY e.due_at, e.id LIMIT 1 FOR UPDATE SKIP LOCKED) e
                    ), counted AS (
                        SELECT s.*, count(*) FILTER (WHERE s.suspect)
                            OVER (ORDER BY s.due_at, s.id) AS nth
                        FROM seen s)
                    SELECT array_agg(c.tid) INTO v_tids FROM (
                        SELECT tid FROM counted WHERE NOT suspect OR nth = 1
                        ORDER BY due_at, id LIMIT v_left + 1) c;
                END IF;
                CONTINUE WHEN v_tids IS NULL;
                v_more := v_more OR cardinality(v_tids) > v_left;
                v_tids := v_tids[:v_left];
                IF v_large THEN
                    SELECT f.tids, coalesce(f.bytes, 0) INTO v_fit, v_bytes
                        FROM $schema$.fitting(v_tids, v_room, p_one AND v_all = '{}') f;
                    v_full := cardinality(v_tids) > coalesce(cardinality(v_fit), 0);
                    v_room := v_room - v_bytes;
                    v_tids := v_fit;
                END IF;
                WITH taken AS (
                    DELETE FROM $schema$.ready WHERE ctid = ANY(v_tids) RETURNING id, rev, suspect)
                SELECT array_agg(id), array_agg(rev), coalesce(bool_or(suspect), false)
                INTO v_ids, v_revs, v_found FROM taken;
                IF v_ids IS NOT NULL THEN
                    v_all := v_all || v_ids;
                    v_all_revs := v_all_revs || v_revs;
                    v_left := v_left - cardinality(v_ids);
                    v_suspect := v_suspect AND NOT v_found;
                    v_wanted := v_wanted AND NOT v_found;
                END IF;
                EXIT wants WHEN v_full;
            END LOOP;
        END LOOP;
        EXIT WHEN v_more OR v_full;
        SELECT min(e.due_at) INTO v_head.due_at
        FROM unnest(p_lanes) WITH ORDINALITY AS l(lane, nth)
        CROSS JOIN generate_series(0, 3) AS r(rank)
        CROSS JOIN (VALUES (false), (true)) AS s(suspect)
        CROSS JOIN LATERAL (
            SELECT e.due_at FROM $schema$.ready e
            WHERE e.lane = l.lane AND e.suspect = s.suspect AND e.rank = r.rank::smallint
              AND e.due_at >= CASE WHEN s.suspect THEN 0
                  ELSE coalesce(p_floors[4 * (l.nth - 1) + 1 + r.rank], 0) END
              AND (e.until IS NULL OR e.until > v_now) AND e.id <> ALL(p_skip)
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
              AND (e.until IS NULL OR e.until > v_now) AND e.id <> ALL(p_skip) LIMIT 1 FOR UPDATE) e
        WHERE v_wanted OR NOT s.suspect LIMIT 1;
        EXIT WHEN NOT FOUND AND pass > 2;
    END LOOP;
    v_head.created_at := v_now;
    v_head.done := p_done;
    v_head.since := $schema$.walked(v_index) - v_walked;
    v_head.deadline := v_full::int;
    SELECT count(*) INTO v_head.lane
        FROM unnest(p_queues) AS q(queue) CROSS JOIN unnest(p_names, p_versions) AS n(name, version)
        CROSS JOIN LATERAL (
            SELECT FROM $schema$.lanes l
            WHERE l.queue = q.queue AND l.name = n.name AND l.version <= n.version OFFSET 0) l;
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
    PERFORM $schema$.check_lanes(p_lanes, p_stamps);
END $$;

-- Puts jobs back that were just claimed and can't be read, as if nobody had claimed them.
CREATE FUNCTION $schema$.unclaim(clock bigint, p_token uuid, p_ids uuid[], p_touch bigint)
RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_grants bigint[];
BEGIN
    WITH own AS MATERIALIZED (
        SELECT o.id, o.rev, o.grant_id, j.tid
        FROM $schema$.held_jobs(p_ids, array_fill(p_token, ARRAY[cardinality(p_ids)]), NULL) o
        CROSS JOIN LATERAL (
            SELECT ctid AS tid FROM $schema$.jobs j
            WHERE j.id = o.id AND j.rev = o.rev OFFSET 0) j
        WHERE o.grant_id IS NOT NULL
        ORDER BY o.grant_id, o.rev, o.id
    ), changed AS (
        UPDATE $schema$.jobs j SET rev = j.rev + 1
        FROM own o WHERE j.ctid = o.tid AND j.rev = o.rev
        RETURNING j.id, j.rev, j.lane, j.suspect, j.rank, j.due_at, j.expires_at, j.deadline_at,
            o.grant_id
    ), entered AS (
        INSERT INTO $schema$.ready(lane, suspect, rank, due_at, id, rev, touch_at, until)
        SELECT lane, suspect, rank, due_at, id, rev, $schema$.now_ms(clock) + p_touch,
            least(expires_at, deadline_at)
        FROM changed
    )
    SELECT array_agg(grant_id) INTO v_grants FROM changed;
    PERFORM $schema$.leave(v_grants);
END $$;

-- T1 (create).
--
-- Returns the ids that were stored. The caller finds out what became of the others.
-- * A job that is due now and that nobody has claimed `p_touch` milliseconds later is hinted at by
--   a sweep.
-- * `p_fresh`: nothing can be in the way of these jobs. Storing them costs a third less, and if
--   something is in the way after all, the whole call fails.
-- * The function checks after the insert whether an id belongs to a job that is over. The insert
--   may wait for a row that is being deleted, and the job may end in that time.
-- * Arrays are opened in the list of a SELECT. FROM would first write their elements to a buffer,
--   which costs a quarter more.
CREATE FUNCTION $schema$.create_jobs(
    clock bigint, p_ids uuid[], p_lanes int[], p_ranks smallint[], p_dues bigint[],
    p_from_now bool[], p_retains bigint[], p_attempts int[], p_crashes int[], p_expires bigint[],
    p_deadlines bigint[], p_keys bytea[], p_extras text[], p_metadata text[], p_touch bigint,
    p_fresh bool)
RETURNS uuid[] LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    -- Taken before the clock is read, so that no job is due before its transaction has its id.
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
                max_crashes, expires, deadline, expires_at, deadline_at, unique_key, extra,
                metadata)
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
    -- The ids of a batch are close together, so that mostly no other id lies between them.
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

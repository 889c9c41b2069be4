-- A change of one job.
CREATE TYPE $schema$.change AS (
    id uuid, rev int, was text, was_lane int, was_suspect bool, was_rank smallint,
    was_due_at bigint, was_grant bigint, was_until bigint, becomes text, lane int, rank smallint,
    suspect bool, fence bigint, created_at bigint, due_at bigint, retain bigint, max_attempts int,
    max_crashes int, expires bigint, deadline bigint, expires_at bigint, deadline_at bigint,
    unique_key text, progress text, past text, extra text, metadata text, touch_at bigint,
    token uuid, owner uuid, since bigint, lease_until bigint, cancel bool, ended text, reason text,
    ended_at bigint, purge_at bigint, result text, own_id bool);

-- All other transitions, as before, of all jobs at once. `metadata` is given only if it has
-- changed.
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
    -- Where the jobs are. A job that somebody has changed since it was read is left alone.
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
    -- Where the jobs go: those that live on,
    UPDATE $schema$.jobs j SET rev = c.rev + 1, lane = c.lane, fence = c.fence,
        suspect = c.suspect, due_at = c.due_at, expires_at = c.expires_at,
        deadline_at = c.deadline_at, progress = c.progress, past = c.past,
        metadata = coalesce(c.metadata, j.metadata)
    FROM (
        SELECT c.*, j.tid FROM unnest(v_open) AS c CROSS JOIN LATERAL (
            SELECT j.ctid AS tid FROM $schema$.jobs j WHERE j.id = c.id OFFSET 0) j
        WHERE c.was <> 'over' AND c.becomes IN ('ready', 'held')) c
    WHERE j.ctid = c.tid;
    -- those that are over now,
    WITH kept AS (
        INSERT INTO $schema$.history(id, lane, rev, fence, rank, created_at, due_at, retain,
            max_attempts, max_crashes, expires, deadline, expires_at, deadline_at, ended_at,
            purge_at, ended, reason, unique_key, progress, past, extra, metadata, result)
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
    -- and those that were over and come back, stay or go.
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

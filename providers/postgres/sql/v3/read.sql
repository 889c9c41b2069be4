-- How many jobs of each kind there are in each state. Waiting jobs are `due`, `later` (delayed) or
-- `again` (backing off). About `p_most` of them are counted in each lane and rank.
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
        SELECT w.lane, 'due' AS state, w.due AS jobs, w.due_at, w.due > p_most AS more
        FROM waiting w
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

-- Ids of jobs of these names in this queue and this state, from `p_least` to `p_greatest`, in
-- order. If a kind has few jobs, they are looked up by their kind and sorted. Otherwise ids are
-- walked along. The caller checks the reason and the time of the end: ids of other jobs may be
-- among those returned.
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
            WHERE (p_queue IS NULL OR queue = p_queue)
              AND (p_names IS NULL OR name = ANY(p_names)));
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
    -- Live jobs.
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
    -- Jobs that are over.
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

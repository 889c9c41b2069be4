-- Forgets kinds without jobs. It looks at some hundred kinds at a time, and deletes those that have
-- not been used for ten minutes.
--
-- Whoever creates or claims reads `lanes` before the commit. So a transaction that has locked the
-- table for itself alone sees all jobs that there are and will be. Programs of before this version
-- don't read the table, so nothing is forgotten while a deployment may still run them.
CREATE FUNCTION $schema$.forget_lanes(clock bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    v_now CONSTANT bigint := $schema$.now_ms(clock);
    v_grace CONSTANT bigint := 600000;
    v_some int[];
    v_unused int[];
    v_forgotten int := 0;
BEGIN
    IF EXISTS (SELECT FROM $schema$.migrations HAVING max(applied_at) > now() - interval '7 days'
        AND max(applied_at) > min(applied_at) + interval '1 hour')
    THEN
        RETURN 0;
    END IF;
    SELECT array_agg(id) INTO v_some FROM (
        SELECT id FROM $schema$.lanes WHERE coalesce(looked_at, 0) < v_now - 60000
        ORDER BY looked_at NULLS FIRST LIMIT 500) l;
    IF v_some IS NULL THEN
        RETURN 0;
    END IF;
    v_unused := $schema$.unused_lanes(v_some);
    UPDATE $schema$.lanes l SET looked_at = v_now, idle_since = CASE WHEN l.id = ANY(v_unused)
        THEN coalesce(l.idle_since, v_now) END WHERE l.id = ANY(v_some);
    SELECT array_agg(id) INTO v_unused FROM (
        SELECT id FROM $schema$.lanes WHERE id = ANY(v_unused) AND idle_since <= v_now - v_grace
        LIMIT 200) l;
    IF v_unused IS NULL THEN
        RETURN 0;
    END IF;
    LOCK TABLE $schema$.lanes IN ACCESS EXCLUSIVE MODE NOWAIT;
    DELETE FROM $schema$.lanes WHERE id = ANY($schema$.unused_lanes(v_unused));
    GET DIAGNOSTICS v_forgotten = ROW_COUNT;
    RETURN v_forgotten;
EXCEPTION
    -- The table is in use, or this program may not lock it.
    WHEN lock_not_available OR insufficient_privilege THEN RETURN 0;
END $$;

-- Those of these lanes that no job is in.
CREATE FUNCTION $schema$.unused_lanes(p_lanes int[]) RETURNS int[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(l.lane), '{}') FROM unnest(p_lanes) AS l(lane)
    WHERE NOT EXISTS (SELECT FROM $schema$.ready e WHERE e.lane = l.lane)
      AND NOT EXISTS (SELECT FROM $schema$.history h
          WHERE h.ended IN ('succeeded', 'dead', 'cancelled') AND h.lane = l.lane)
      AND l.lane NOT IN (
          SELECT j.lane FROM (
              SELECT unnest(g.ids) AS id FROM $schema$.grants g
              UNION ALL SELECT h.id FROM $schema$.held h) m
          CROSS JOIN LATERAL (SELECT j.lane FROM $schema$.jobs j WHERE j.id = m.id OFFSET 0) j)
$$;

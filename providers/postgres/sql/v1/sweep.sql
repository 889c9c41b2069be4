-- What a sweep has to look at: jobs whose lease ran out ('lease'), jobs that are too late ('late')
-- and jobs to be hinted at ('touch'), at most `p_limit` in all. Grants without members are removed.
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

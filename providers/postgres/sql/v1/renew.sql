-- T3 (renew). A job that is renewed for the first time leaves its grant for a lease of its own.
-- Such a job, and a job with new progress, has its row and its `rev` changed. If somebody else
-- changes the row at the same time, the function tries again.
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
            ORDER BY o.grant_id, o.rev, o.id -- the order in which `succeed` locks them
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

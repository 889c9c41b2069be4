-- Who holds which jobs.

-- T2′ (claim repeated): the jobs that a token holds.
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

-- Whether a token holds a suspect.
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

-- Counts the members of grants down, once for each time that a grant is named. A grant without
-- members is removed.
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

-- Those of these jobs that these tokens hold. The planner can't know how long the arrays are and
-- would compare each element of one array with each of the other, so nested loops are off.
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

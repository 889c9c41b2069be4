-- Numbers of kinds of jobs.

-- A number may be given out twice: after a backup was restored, after tables were emptied, after a
-- kind was forgotten. So each row has a stamp that no other row ever has. A caller that has noted a
-- number passes its stamp along. If the two no longer belong together, all that the call did is
-- rolled back.
ALTER TABLE $schema$.lanes
    ADD stamp bigint NOT NULL DEFAULT ('x' || left(gen_random_uuid()::text, 8)
        || right(gen_random_uuid()::text, 8))::bit(64)::bigint,
    -- When its use was last checked, and since when it has not been used.
    ADD looked_at bigint,
    ADD idle_since bigint;

-- Few jobs are so large that a thousand of them exceed what a call carries. A claim looks at the
-- size of each job only if there is such a job.
CREATE INDEX jobs_large ON $schema$.jobs(lane) WHERE octet_length(metadata)
    + coalesce(octet_length(extra), 0) + coalesce(octet_length(past), 0) > 4000;

-- Gives numbers to those of these kinds that have none, and returns them all. Numbers are drawn: a
-- sequence may be behind the table, and would be in the way of a new kind.
CREATE FUNCTION $schema$.add_lanes(p_queues text[], p_names text[], p_versions bigint[])
RETURNS TABLE(id int, stamp bigint, queue text, name text, version bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    FOR pass IN 1..20 LOOP
        BEGIN
            INSERT INTO $schema$.lanes(id, queue, name, version) OVERRIDING SYSTEM VALUE
                SELECT ('x' || left(gen_random_uuid()::text, 8))::bit(32)::int & 2147483647,
                    n.queue, n.name, n.version
                FROM (SELECT DISTINCT u.queue, u.name, u.version
                    FROM unnest(p_queues, p_names, p_versions) AS u(queue, name, version)) n
                WHERE NOT EXISTS (SELECT FROM $schema$.lanes l
                    WHERE (l.queue, l.name, l.version) = (n.queue, n.name, n.version))
                ORDER BY n.queue, n.name, n.version
                ON CONFLICT (queue, name, version) DO NOTHING;
            EXIT;
        EXCEPTION
            -- Another kind has the drawn number.
            WHEN unique_violation THEN NULL;
        END;
    END LOOP;
    RETURN QUERY SELECT l.id, l.stamp, l.queue, l.name, l.version
        FROM (SELECT DISTINCT u.queue, u.name, u.version
            FROM unnest(p_queues, p_names, p_versions) AS u(queue, name, version)) n
        JOIN $schema$.lanes l ON (l.queue, l.name, l.version) = (n.queue, n.name, n.version);
END $$;

-- Fails, and rolls the transaction back, if numbers stand for other kinds than those that the
-- caller has noted. It is called last: what it sees then was true before, or the transaction is
-- refused.
CREATE FUNCTION $schema$.check_lanes(p_lanes int[], p_stamps bigint[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    v_stamp bigint;
BEGIN
    IF cardinality(p_lanes) = 1 THEN
        SELECT stamp INTO v_stamp FROM $schema$.lanes WHERE id = p_lanes[1];
        IF v_stamp = p_stamps[1] THEN
            RETURN;
        END IF;
    END IF;
    IF EXISTS (
        SELECT FROM unnest(p_lanes, p_stamps) AS n(lane, stamp) LEFT JOIN LATERAL (
            SELECT l.stamp FROM $schema$.lanes l WHERE l.id = n.lane OFFSET 0) l ON true
        WHERE l.stamp IS DISTINCT FROM n.stamp)
    THEN
        RAISE EXCEPTION 'kinds of jobs have other numbers than they had' USING ERRCODE = 'BJ001';
    END IF;
END $$;

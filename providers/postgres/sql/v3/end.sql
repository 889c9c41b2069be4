-- T4 (succeed), as before. Jobs that are kept are counted.
CREATE OR REPLACE FUNCTION $schema$.succeed(
    clock bigint, p_ids uuid[], p_tokens uuid[], p_results text[], p_own uuid[])
RETURNS uuid[] LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_nestloop = off SET jit = off AS $$
DECLARE
    v_now bigint := $schema$.now_ms(clock);
    v_tokens uuid[] := ARRAY(SELECT DISTINCT n.token FROM unnest(p_tokens) AS n(token));
    v_all uuid[] := '{}';
    v_gone uuid[] := '{}';
    v_single uuid[] := '{}';
    v_grants bigint[];
    v_keeps bool;
    v_ids uuid[];
    v_done uuid[];
    o record;
BEGIN
    FOR pass IN 1..5 LOOP
        v_grants := '{}';
        FOR o IN
            SELECT m.rev, m.grant_id, array_agg(m.id) AS ids FROM (
                SELECT unnest(g.ids) AS id, unnest(g.revs) AS rev, g.token, g.id AS grant_id
                FROM $schema$.grants g WHERE g.token = ANY(v_tokens)
                UNION ALL
                SELECT h.id, h.rev, h.token, NULL FROM $schema$.held h
                WHERE h.token = ANY(v_tokens)
            ) m JOIN (SELECT unnest(p_ids) AS id, unnest(p_tokens) AS token) n
                ON n.id = m.id AND n.token = m.token
            GROUP BY m.rev, m.grant_id ORDER BY m.grant_id, m.rev
        LOOP
            v_done := '{}';
            -- Mostly all of them are kept, or none is.
            v_keeps := EXISTS (SELECT FROM $schema$.jobs WHERE id = o.ids[1] AND retain > 0);
            FOR turn IN 1..2 LOOP
                IF v_keeps THEN
                    WITH done AS (
                        DELETE FROM $schema$.jobs j
                        WHERE j.id = ANY(o.ids) AND j.rev = o.rev AND j.retain > 0 RETURNING j.*
                    ), kept AS (
                        INSERT INTO $schema$.history(id, lane, rev, fence, rank, created_at, due_at,
                            retain, max_attempts, max_crashes, expires, deadline, deadline_at,
                            ended_at, purge_at, ended, unique_key, progress, past, extra, metadata,
                            result)
                        SELECT d.id, lane, rev + 1, fence + 1, rank, created_at, due_at, retain,
                            max_attempts, max_crashes, expires, deadline, deadline_at, v_now,
                            v_now + (retain + 999999) / 1000000, 'succeeded', unique_key, progress,
                            past, extra, metadata, n.txt
                        FROM done d
                        JOIN (SELECT unnest(p_ids) AS id, unnest(p_results) AS txt) n ON n.id = d.id
                        RETURNING id, lane, tableoid AS part
                    ), told AS (
                        INSERT INTO $schema$.tally_news
                        SELECT $schema$.part_of(part), lane, 'succeeded', jobs FROM (
                            SELECT part, lane, count(*) AS jobs FROM kept GROUP BY 1, 2) k
                    )
                    SELECT array_agg(id) INTO v_ids FROM kept;
                ELSE
                    WITH gone AS (
                        DELETE FROM $schema$.jobs j
                        WHERE j.id = ANY(o.ids) AND j.rev = o.rev AND j.retain = 0 RETURNING j.id
                    )
                    SELECT array_agg(id) INTO v_ids FROM gone;
                    v_gone := v_gone || v_ids;
                END IF;
                v_done := v_done || v_ids;
                EXIT WHEN cardinality(v_done) = cardinality(o.ids);
                v_keeps := NOT v_keeps;
            END LOOP;
            v_all := v_all || v_done;
            IF o.grant_id IS NULL THEN
                v_single := v_single || v_done;
            ELSE
                v_grants := v_grants || array_fill(o.grant_id, ARRAY[cardinality(v_done)]);
            END IF;
        END LOOP;
        IF cardinality(v_single) > 0 THEN
            DELETE FROM $schema$.held WHERE id = ANY(v_single);
        END IF;
        PERFORM $schema$.leave(v_grants);
        EXIT WHEN cardinality(v_all) = cardinality(p_ids) OR NOT EXISTS (
            SELECT FROM unnest(p_ids, p_tokens) AS n(id, token) CROSS JOIN LATERAL (
                SELECT FROM $schema$.held h WHERE h.id = n.id AND h.token = n.token OFFSET 0) h);
    END LOOP;
    IF cardinality(v_gone) > 0 THEN
        PERFORM $schema$.remember(v_gone, p_own, v_now);
    END IF;
    RETURN v_all;
END $$;

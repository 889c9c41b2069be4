-- All other transitions. The caller has read a job and computed what it becomes. The change is
-- written if the job is still as the caller read it: `rev` is the same, and the job is where `was`
-- says. That is `ready` with the key of the entry, `grant` with the grant, `held` with `was_until`,
-- or `over`. Returns the ids that were changed.
CREATE FUNCTION $schema$.save(clock bigint, p_changes text)
RETURNS uuid[] LANGUAGE plpgsql SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET jit = off AS $$
DECLARE
    v_saved uuid[] := '{}';
    v_grants bigint[] := '{}';
    c record;
BEGIN
    FOR c IN SELECT * FROM json_to_recordset(p_changes::json) AS x(
        id uuid, rev int, was text, was_lane int, was_suspect bool, was_rank smallint,
        was_due_at bigint, was_grant bigint, was_until bigint,
        becomes text, lane int, rank smallint, suspect bool, fence bigint, created_at bigint,
        due_at bigint, retain bigint, max_attempts int, max_crashes int, expires bigint,
        deadline bigint, expires_at bigint, deadline_at bigint, unique_key text, progress text,
        past text, extra text, metadata text, touch_at bigint, token uuid, owner uuid, since bigint,
        lease_until bigint, cancel bool, ended text, reason text, ended_at bigint, purge_at bigint,
        result text, own_id bool) ORDER BY id
    LOOP
        -- Where the job is.
        IF c.was = 'over' THEN
            PERFORM FROM $schema$.history h WHERE h.id = c.id AND h.rev = c.rev FOR UPDATE;
        ELSE
            PERFORM FROM $schema$.jobs j WHERE j.id = c.id AND j.rev = c.rev FOR UPDATE;
        END IF;
        CONTINUE WHEN NOT FOUND;
        IF c.was = 'ready' THEN
            DELETE FROM $schema$.ready e WHERE e.lane = c.was_lane AND e.suspect = c.was_suspect
                AND e.rank = c.was_rank AND e.due_at = c.was_due_at AND e.id = c.id;
            CONTINUE WHEN NOT FOUND;
        ELSIF c.was = 'held' THEN
            DELETE FROM $schema$.held h WHERE h.id = c.id AND h.lease_until = c.was_until;
            CONTINUE WHEN NOT FOUND;
        ELSIF c.was = 'grant' THEN
            v_grants := v_grants || c.was_grant;
        END IF;
        -- Where the job goes.
        IF c.was = 'over' THEN
            DELETE FROM $schema$.history h WHERE h.id = c.id;
            IF c.becomes = 'ready' THEN
                INSERT INTO $schema$.jobs(id, lane, rev, fence, rank, suspect, created_at, due_at,
                    retain, max_attempts, max_crashes, expires, deadline, expires_at, deadline_at,
                    unique_key, progress, past, extra, metadata)
                VALUES(c.id, c.lane, c.rev + 1, c.fence, c.rank, c.suspect, c.created_at, c.due_at,
                    c.retain, c.max_attempts, c.max_crashes, c.expires, c.deadline, c.expires_at,
                    c.deadline_at, decode(c.unique_key, 'hex'), c.progress, c.past, c.extra,
                    c.metadata);
            END IF;
        ELSIF c.becomes IN ('ready', 'held') THEN
            UPDATE $schema$.jobs j SET rev = c.rev + 1, lane = c.lane, fence = c.fence,
                suspect = c.suspect, due_at = c.due_at, expires_at = c.expires_at,
                deadline_at = c.deadline_at, progress = c.progress, past = c.past,
                metadata = c.metadata
            WHERE j.id = c.id;
        ELSE
            DELETE FROM $schema$.jobs j WHERE j.id = c.id;
        END IF;
        IF c.becomes = 'ready' THEN
            INSERT INTO $schema$.ready(lane, suspect, rank, due_at, id, rev, touch_at, until)
            VALUES(c.lane, c.suspect, c.rank, c.due_at, c.id, c.rev + 1, c.touch_at,
                least(c.expires_at, c.deadline_at));
        ELSIF c.becomes = 'held' THEN
            INSERT INTO $schema$.held(id, rev, token, owner, since, lease_until, cancel)
            VALUES(c.id, c.rev + 1, c.token, c.owner, c.since, c.lease_until, c.cancel);
        ELSIF c.becomes = 'over' THEN
            INSERT INTO $schema$.history(id, lane, rev, fence, rank, created_at, due_at, retain,
                max_attempts, max_crashes, expires, deadline, expires_at, deadline_at, ended_at,
                purge_at, ended, reason, unique_key, progress, past, extra, metadata, result)
            VALUES(c.id, c.lane, c.rev + 1, c.fence, c.rank, c.created_at, c.due_at, c.retain,
                c.max_attempts, c.max_crashes, c.expires, c.deadline, c.expires_at, c.deadline_at,
                c.ended_at, c.purge_at, c.ended, c.reason, decode(c.unique_key, 'hex'), c.progress,
                c.past, c.extra, c.metadata, c.result);
        ELSIF c.becomes = 'gone' THEN
            PERFORM $schema$.remember(ARRAY[c.id],
                CASE WHEN c.own_id THEN ARRAY[c.id] ELSE '{}'::uuid[] END,
                $schema$.now_ms(clock));
        END IF;
        v_saved := v_saved || c.id;
    END LOOP;
    PERFORM $schema$.leave(v_grants);
    RETURN v_saved;
END $$;

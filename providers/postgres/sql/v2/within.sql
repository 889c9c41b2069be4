-- Jobs in transactions of the users' own.

-- Until when somebody waits for work and wants a notification. Commits that notify wait for each
-- other, so a transaction notifies only if this says that somebody waits. What a crash loses is
-- noted again.
CREATE UNLOGGED TABLE $schema$.sleep(
    one bool PRIMARY KEY DEFAULT true CHECK (one),
    until bigint NOT NULL
);

CREATE FUNCTION $schema$.asleep(clock bigint, p_span bigint) RETURNS void LANGUAGE sql AS
    'INSERT INTO $schema$.sleep AS s (until) VALUES($schema$.now_ms(clock) + p_span)
     ON CONFLICT (one) DO UPDATE SET until = excluded.until
     WHERE s.until < excluded.until - p_span / 4';

-- A new id: it grows with time (UUID, version 7).
CREATE FUNCTION $schema$.new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        substr(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 3)
        || set_byte(substr(r, 7), 0, get_byte(r, 6) & 15 | 112), 'hex')::uuid
    FROM (SELECT uuid_send(gen_random_uuid()) AS r) n
$$;

CREATE TYPE $schema$.new_job AS (
    nth bigint, id uuid, lane int, rank smallint, due bigint, from_now bool, retain bigint,
    max_attempts int, max_crashes int, expires bigint, deadline bigint, unique_key bytea,
    extra text, metadata text);

-- Why a job was not stored, or NULL if the reason is gone.
CREATE FUNCTION $schema$.why_not(clock bigint, j $schema$.new_job) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
    v_is_repeat bool;
    v_holder uuid;
BEGIN
    -- An operator may have edited the metadata: then it differs from what was stored.
    SELECT l.name = n.name AND
        (s.metadata = j.metadata OR coalesce((s.past::json -> 'ver')::text::bigint, 0) > 0)
    INTO v_is_repeat
    FROM (SELECT lane, past, metadata FROM $schema$.jobs WHERE id = j.id
          UNION ALL SELECT lane, past, metadata FROM $schema$.history WHERE id = j.id LIMIT 1) s
        JOIN $schema$.lanes l ON l.id = s.lane, $schema$.lanes n WHERE n.id = j.lane;
    IF FOUND THEN
        RETURN CASE WHEN v_is_repeat THEN '"exists"' ELSE '"id_taken"' END;
    END IF;
    IF EXISTS (SELECT FROM $schema$.gone_own o
               WHERE o.id = j.id AND o.until > $schema$.now_ms(clock))
        OR EXISTS (SELECT FROM $schema$.gone g WHERE g.hi >= j.id AND g.lo <= j.id
                   AND g.until > $schema$.now_ms(clock) AND j.id = ANY(g.ids)) THEN
        RETURN '"exists"';
    END IF;
    SELECT id INTO v_holder FROM $schema$.jobs WHERE unique_key = j.unique_key AND id <> j.id;
    RETURN CASE WHEN FOUND THEN json_build_object('key_taken', v_holder) END;
END $$;

-- T1 (create) in the caller's transaction. `p_jobs` is a JSON array, and so is the answer.
CREATE FUNCTION $schema$.create_within(clock bigint, p_jobs text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    v_jobs $schema$.new_job[];
    v_open $schema$.new_job[];
    v_answers json[];
    v_stored uuid[];
    j $schema$.new_job;
BEGIN
    INSERT INTO $schema$.lanes(queue, name, version)
        SELECT DISTINCT n.queue, n.name, n.version
        FROM json_to_recordset(p_jobs::json) AS n(queue text, name text, version bigint)
        WHERE NOT EXISTS (SELECT FROM $schema$.lanes l
            WHERE (l.queue, l.name, l.version) = (n.queue, n.name, n.version))
        ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING;
    SELECT array_agg(ROW(nth, n.id, l.id, rank, due, from_now, retain, max_attempts, max_crashes,
        expires, deadline, decode(unique_key, 'hex'), extra, metadata)::$schema$.new_job
        ORDER BY nth)
    INTO v_jobs
    FROM ROWS FROM (json_to_recordset(p_jobs::json) AS (id uuid, queue text, name text,
        version bigint, rank smallint, due bigint, from_now bool, retain bigint, max_attempts int,
        max_crashes int, expires bigint, deadline bigint, unique_key text, extra text,
        metadata text)) WITH ORDINALITY
        AS n(id, queue, name, version, rank, due, from_now, retain, max_attempts, max_crashes,
            expires, deadline, unique_key, extra, metadata, nth)
    JOIN $schema$.lanes l ON (l.queue, l.name, l.version) = (n.queue, n.name, n.version);
    v_answers := array_fill(NULL::json, ARRAY[cardinality(v_jobs)]);
    -- An id or a key may become free while its holder is looked up.
    FOR pass IN 1..8 LOOP
        SELECT array_agg(n ORDER BY nth) INTO v_open FROM unnest(v_jobs) n
            WHERE v_answers[nth] IS NULL;
        EXIT WHEN v_open IS NULL;
        -- Nothing hints at these jobs at the commit: the next sweep does.
        SELECT $schema$.create_jobs(clock, array_agg(id), array_agg(lane), array_agg(rank),
            array_agg(due), array_agg(from_now), array_agg(retain), array_agg(max_attempts),
            array_agg(max_crashes), array_agg(expires), array_agg(deadline),
            array_agg(unique_key), array_agg(extra), array_agg(metadata), 0, false)
        INTO v_stored FROM unnest(v_open) n;
        FOREACH j IN ARRAY v_open LOOP
            IF j.id = ANY(v_stored) THEN
                v_answers[j.nth] := '"created"';
                v_stored := array_remove(v_stored, j.id);
            ELSE
                v_answers[j.nth] := $schema$.why_not(clock, j);
            END IF;
        END LOOP;
    END LOOP;
    IF v_open IS NOT NULL THEN
        RAISE EXCEPTION 'others took and freed the same id or unique key again and again'
            USING ERRCODE = 'serialization_failure';
    END IF;
    IF EXISTS (SELECT FROM $schema$.sleep WHERE until > $schema$.now_ms(clock)) THEN
        PERFORM pg_notify('bgjob_$schema$', queue) FROM (
            SELECT DISTINCT l.queue FROM unnest(v_jobs) n JOIN $schema$.lanes l ON l.id = n.lane) q;
    END IF;
    RETURN array_to_json(v_answers)::text;
END $$;

-- T4 (succeed) in the caller's transaction.
CREATE FUNCTION $schema$.succeed_within(clock bigint, p_success text) RETURNS text
LANGUAGE sql AS $$
    SELECT CASE WHEN cardinality($schema$.succeed(clock, ARRAY[id], ARRAY[token], ARRAY[result],
        CASE WHEN own THEN ARRAY[id] ELSE '{}' END)) = 1 THEN '["succeeded"]' ELSE '["lost"]' END
    FROM json_to_record(p_success::json) AS n(id uuid, token uuid, result text, own bool)
$$;

-- Stores a job, for triggers, psql and other languages: what `JobManager::enqueue_raw` does.
-- Returns its id, or the id of the live job that has its unique key.
CREATE FUNCTION $schema$.enqueue(
    name text, metadata jsonb, queue text DEFAULT 'default', priority text DEFAULT 'normal',
    delay interval DEFAULT NULL, at timestamptz DEFAULT NULL, id uuid DEFAULT NULL,
    unique_key text DEFAULT NULL, version bigint DEFAULT 0, max_attempts int DEFAULT 5,
    max_crashes int DEFAULT 3, expires interval DEFAULT NULL, deadline interval DEFAULT NULL,
    retain interval DEFAULT '24 hours', headers jsonb DEFAULT NULL, tags text[] DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    v_rank int := array_position(ARRAY['critical', 'high', 'normal', 'low'], priority) - 1;
    v_id uuid := coalesce(id, $schema$.new_id());
    v_extra jsonb := jsonb_strip_nulls(jsonb_build_object('headers', headers, 'tags', tags));
    v_wrong text := CASE
        WHEN name !~ '^[A-Za-z0-9._:-]{1,128}$' OR name IS NULL
            THEN '"name" has 1 to 128 bytes of A-Z a-z 0-9 . _ : -'
        WHEN queue !~ '^[a-z0-9][a-z0-9._-]{0,63}$' OR queue IS NULL
            THEN '"queue" has 1 to 64 bytes of a-z 0-9 . _ - and starts with a letter or digit'
        WHEN metadata IS NULL THEN '"metadata" is JSON; for none it is ''null'''
        WHEN octet_length(metadata::text) > 1048576 THEN '"metadata" has at most 1 MiB'
        WHEN v_rank IS NULL THEN '"priority" is critical, high, normal or low'
        WHEN delay IS NOT NULL AND at IS NOT NULL THEN 'say "delay" or "at", not both'
        WHEN delay < interval '0' OR delay > interval '3650 days'
            THEN '"delay" is at most ten years'
        WHEN octet_length(unique_key) NOT BETWEEN 1 AND 256
            THEN '"unique_key" has 1 to 256 bytes'
        WHEN coalesce(version, -1) NOT BETWEEN 0 AND 4294967295
            THEN '"version" is a number from 0 on'
        WHEN coalesce(max_attempts, 0) NOT BETWEEN 1 AND 1000
            THEN '"max_attempts" is a number from 1 to 1000'
        WHEN coalesce(max_crashes, 0) NOT BETWEEN 1 AND 1000
            THEN '"max_crashes" is a number from 1 to 1000'
        WHEN expires < interval '0' OR expires > interval '3650 days'
            THEN '"expires" is at most ten years'
        WHEN deadline < interval '0' OR deadline > interval '3650 days'
            THEN '"deadline" is at most ten years'
        WHEN coalesce(retain, interval '-1 s') NOT BETWEEN interval '0' AND interval '3650 days'
            THEN '"retain" is at most ten years'
        WHEN headers IS NOT NULL AND (jsonb_typeof(headers) <> 'object' OR EXISTS (
                SELECT FROM jsonb_each(headers) h WHERE jsonb_typeof(h.value) <> 'string'))
            THEN '"headers" is an object of texts'
        WHEN cardinality(tags) > 32 OR array_position(tags, NULL) IS NOT NULL
            THEN '"tags" has at most 32 texts'
        WHEN octet_length(v_extra::text) > 16384 THEN '"headers" and "tags" have at most 16 KiB'
    END;
    v_answer json;
BEGIN
    IF v_wrong IS NOT NULL THEN
        RAISE EXCEPTION 'this job can''t be enqueued: %', v_wrong
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    v_answer := $schema$.create_within(NULL, json_build_array(json_strip_nulls(json_build_object(
        'id', v_id, 'queue', queue, 'name', name, 'version', version, 'rank', v_rank,
        'due', (extract(epoch FROM coalesce(at - timestamptz 'epoch', delay, '0')) * 1000)::bigint,
        'from_now', at IS NULL, 'retain', (extract(epoch FROM retain) * 1000000000)::bigint,
        'max_attempts', max_attempts, 'max_crashes', max_crashes,
        'expires', (extract(epoch FROM expires) * 1000000000)::bigint,
        'deadline', (extract(epoch FROM deadline) * 1000000000)::bigint,
        'unique_key', encode(convert_to(unique_key, 'UTF8'), 'hex'),
        'extra', nullif(v_extra::text, '{}'), 'metadata', metadata::text)))::text)::json -> 0;
    CASE
        WHEN v_answer::text IN ('"created"', '"exists"') THEN RETURN v_id;
        WHEN v_answer::text = '"id_taken"' THEN
            RAISE EXCEPTION 'this job can''t be enqueued: another one has its id'
                USING ERRCODE = 'unique_violation';
        ELSE RETURN v_answer ->> 'key_taken';
    END CASE;
END $$;

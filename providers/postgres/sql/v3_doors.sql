-- Doors that are open to others: what SQL hands in, what stands beside the tables, and a purge that one
-- step of which fails goes on with the others.

-- A publication of all tables refuses to delete from one without a key.
ALTER TABLE $schema$.gone REPLICA IDENTITY FULL;

-- A sequence may be behind its table (a replica that took over, a backup of the rows alone). What
-- numbers grants has only to differ.
ALTER TABLE $schema$.grants ALTER id DROP IDENTITY,
    ALTER id SET DEFAULT (random() * 9007199254740991)::bigint;

-- A time that a job can have: none before 1970, none after the year 9999.
CREATE FUNCTION $schema$.in_range(at bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
    'SELECT least(greatest(at, 0), 253402300799999)';

CREATE FUNCTION $schema$.at_ms(at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN at < '1970-01-01 00:00:00+00' THEN 0
        WHEN at >= '10000-01-01 00:00:00+00' THEN 253402300799999
        ELSE floor(extract(epoch FROM at) * 1000)::bigint END
$$;

-- An interval in nanoseconds. A month has 30 days there and a year 365, whatever the calendar says.
CREATE FUNCTION $schema$.nanos(span interval) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN NOT isfinite(span) THEN '-1' ELSE
        (extract(year FROM span) * 365 + extract(month FROM span) * 30 + extract(day FROM span))
            * 86400000000000
        + extract(hour FROM span) * 3600000000000 + extract(minute FROM span) * 60000000000
        + extract(microseconds FROM span) * 1000 END
$$;

-- What was stored at a time that no job can have is put where it can be found, and changed.
WITH healed AS (
    UPDATE $schema$.jobs SET due_at = $schema$.in_range(due_at),
        expires_at = CASE WHEN expires_at IS NOT NULL
            THEN $schema$.later($schema$.in_range(due_at), expires) END,
        deadline_at = CASE WHEN deadline_at IS NOT NULL
            THEN $schema$.later($schema$.in_range(due_at), deadline) END
    WHERE due_at NOT BETWEEN 0 AND 253402300799999
    RETURNING id, due_at, expires_at, deadline_at
)
UPDATE $schema$.ready e SET due_at = h.due_at, touch_at = $schema$.in_range(e.touch_at),
    until = least(h.expires_at, h.deadline_at)
FROM healed h WHERE e.id = h.id;

-- Brings the list of spans in line with the tables that are there: others may have emptied the one, or
-- dropped some of the other.
CREATE FUNCTION $schema$.find_spans() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE $schema$.history_spans IN SHARE ROW EXCLUSIVE MODE NOWAIT;
    WITH there AS (
        SELECT substr(c.relname, 9)::bigint AS lo, ('x' || replace(substring(
            pg_get_expr(c.relpartbound, c.oid) FROM $re$TO \('([0-9a-f-]{13})$re$), '-', ''))::bit(48)::bigint
            AS hi
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = '$schema$.history'::regclass AND c.relname ~ '^history_[0-9]+$'
    ), gone AS (
        DELETE FROM $schema$.history_spans s WHERE NOT EXISTS (SELECT FROM there t WHERE t.lo = s.lo)
    )
    INSERT INTO $schema$.history_spans SELECT lo, hi FROM there ON CONFLICT DO NOTHING;
END $$;

CREATE OR REPLACE FUNCTION $schema$.add_spans(p_now bigint) RETURNS void LANGUAGE plpgsql
SET lock_timeout = '100ms' AS $$
DECLARE
    v_hour CONSTANT bigint := 3600000;
    v_lo bigint;
    v_hi bigint;
    v_spans int;
    v_table text;
    a record;
BEGIN
    -- One of them is the rest.
    IF (SELECT count(*) FROM $schema$.history_spans) + 1 <>
        (SELECT count(*) FROM pg_inherits WHERE inhparent = '$schema$.history'::regclass) THEN
        PERFORM $schema$.find_spans();
    END IF;
    LOOP
        SELECT count(*), max(hi) INTO v_spans, v_lo FROM $schema$.history_spans;
        EXIT WHEN v_lo > p_now + v_hour OR EXISTS (SELECT FROM pg_class
            WHERE oid = '$schema$.history_rest'::regclass AND reltuples > 500000);
        LOCK TABLE $schema$.history_spans IN SHARE ROW EXCLUSIVE MODE NOWAIT;
        -- What ended while there was no table is in `history_rest`, where its ids are.
        IF v_lo IS NULL OR v_lo <= p_now THEN
            v_lo := p_now - p_now % v_hour
                + CASE WHEN EXISTS (SELECT FROM $schema$.history_rest) THEN v_hour ELSE 0 END;
        END IF;
        -- The longer jobs are kept, the longer the spans: each table that there is costs a little.
        v_hi := v_lo
            + v_hour * CASE WHEN v_spans < 12 THEN 6 WHEN v_spans < 24 THEN 24 ELSE 168 END;
        v_table := '$schema$.history_' || v_lo;
        EXECUTE format('CREATE TABLE %s PARTITION OF $schema$.history '
            'FOR VALUES FROM (%L) TO (%L) WITH (autovacuum_vacuum_cost_delay = 0)',
            v_table, $schema$.first_id(v_lo), $schema$.first_id(v_hi));
        -- Who was given the rights to all tables has them to this one too.
        FOR a IN SELECT x.privilege_type, CASE x.grantee WHEN 0 THEN 'PUBLIC'
                ELSE x.grantee::regrole::text END AS grantee
            FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x
            WHERE c.oid = '$schema$.history'::regclass AND x.grantee <> c.relowner
        LOOP
            EXECUTE format('GRANT %s ON %s TO %s', a.privilege_type, v_table, a.grantee);
        END LOOP;
        INSERT INTO $schema$.history_spans VALUES(v_lo, v_hi);
    END LOOP;
EXCEPTION
    -- A job of the span may be in `history_rest` all the same, if clocks differ. Nor has every program
    -- the right to make tables.
    WHEN lock_not_available OR check_violation OR insufficient_privilege THEN NULL;
END $$;

-- The name of a table is one, and nothing else.
CREATE OR REPLACE FUNCTION $schema$.kept_after(p_table text, p_at bigint, p_most int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_rows int;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s WHERE purge_at > $1 LIMIT $2) r',
        p_table::regclass) INTO v_rows USING p_at, p_most;
    RETURN v_rows;
END $$;

-- T12. A step that fails is told of in the server's log, and stops no other.
CREATE OR REPLACE FUNCTION $schema$.purge(clock bigint, p_limit int) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := $schema$.now_ms(clock);
    v_purged bigint := 0;
    s record;
BEGIN
    BEGIN
        DELETE FROM $schema$.gone WHERE until <= v_now;
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'bgjob: ids of jobs that are gone can''t be forgotten: %', SQLERRM;
    END;
    BEGIN
        DELETE FROM $schema$.gone_own WHERE until <= v_now;
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'bgjob: ids of jobs that are gone can''t be forgotten: %', SQLERRM;
    END;
    BEGIN
        PERFORM $schema$.add_spans(v_now);
    EXCEPTION WHEN OTHERS THEN
        RAISE WARNING 'bgjob: no table of history can be added: %', SQLERRM;
    END;
    FOR s IN
        SELECT lo, hi, hi - lo AS span FROM $schema$.history_spans UNION ALL SELECT NULL, NULL, NULL
        ORDER BY lo
    LOOP
        EXIT WHEN v_purged >= p_limit;
        BEGIN
            v_purged := v_purged
                + $schema$.purge_span(s.lo, s.hi, v_now, (p_limit - v_purged)::int);
        EXCEPTION
            -- Another program made it, which may do this too; or somebody has dropped it just now.
            WHEN insufficient_privilege OR undefined_table THEN NULL;
            WHEN OTHERS THEN
                RAISE WARNING 'bgjob: a table of history can''t be purged: %', SQLERRM;
        END;
    END LOOP;
    RETURN v_purged;
END $$;

-- Purges one table of history, `history_rest` where there is no `p_lo`. Few go when their time has
-- come. Where there are many in a table, they wait for all but a few of the others.
CREATE FUNCTION $schema$.purge_span(p_lo bigint, p_hi bigint, p_now bigint, p_limit int)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_table CONSTANT text := '$schema$.history_' || coalesce(p_lo::text, 'rest');
    v_few CONSTANT int := 1000;
    v_many CONSTANT int := 10000;
BEGIN
    -- From here on nobody else can drop it.
    EXECUTE format('LOCK TABLE %s IN ACCESS SHARE MODE', v_table);
    -- A table that is a span old hardly gets new rows.
    IF p_hi + p_hi - p_lo <= p_now THEN
        IF $schema$.kept_after(v_table, p_now, v_few + 1) <= v_few AND (
            $schema$.kept_after(v_table, 0, v_many) = v_many
            OR $schema$.kept_after(v_table, 0, 1) = 0)
        THEN
            RETURN coalesce($schema$.drop_span(p_lo, p_now), 0);
        END IF;
        IF $schema$.kept_after(v_table, p_now + p_hi - p_lo, v_few + 1) <= v_few
            AND (SELECT reltuples >= v_many FROM pg_class WHERE oid = v_table::regclass) THEN
            RETURN 0;
        END IF;
    END IF;
    RETURN $schema$.purge_rows(v_table, p_now, p_limit);
END $$;

-- Why a job was not stored, where the reason is still there: a job of the same function under its id
-- (one of these names), one of another, or who has its key.
CREATE FUNCTION $schema$.why_not_by(clock bigint, j $schema$.new_job, p_names json) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
    v_name text;
    v_is_repeat bool;
    v_holder uuid;
BEGIN
    SELECT l.name, l.name = n.name OR l.name IN (SELECT json_array_elements_text(p_names))
    INTO v_name, v_is_repeat
    FROM (SELECT lane FROM $schema$.jobs WHERE id = j.id
          UNION ALL SELECT lane FROM $schema$.history WHERE id = j.id LIMIT 1) s
        LEFT JOIN $schema$.lanes l ON l.id = s.lane, $schema$.lanes n WHERE n.id = j.lane;
    IF FOUND THEN
        RETURN CASE WHEN v_is_repeat THEN '"exists"'
            ELSE json_build_object('id_taken_by', coalesce(v_name, '?')) END;
    END IF;
    IF EXISTS (SELECT FROM $schema$.gone_own o
               WHERE o.id = j.id AND o.until > $schema$.now_ms(clock))
        OR EXISTS (SELECT FROM $schema$.gone g WHERE g.hi >= j.id AND g.lo <= j.id
                   AND g.until > $schema$.now_ms(clock) AND j.id = ANY(g.ids)) THEN
        RETURN '"exists"';
    END IF;
    SELECT h.id, l.name INTO v_holder, v_name
    FROM $schema$.jobs h LEFT JOIN $schema$.lanes l ON l.id = h.lane
    WHERE h.unique_key = j.unique_key AND h.id <> j.id;
    RETURN CASE WHEN FOUND THEN json_build_object('key_taken_by',
        json_build_object('id', v_holder, 'name', v_name)) END;
END $$;

-- T1 in the caller's transaction. `p_jobs` is a JSON array; the answer is one too. Each job may have
-- `aliases`, other names of its function.
CREATE FUNCTION $schema$.store_within(clock bigint, p_jobs text) RETURNS text
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_jobs $schema$.new_job[];
    v_open $schema$.new_job[];
    v_answers json[];
    v_stored uuid[];
    j $schema$.new_job;
BEGIN
    PERFORM $schema$.add_lanes(array_agg(n.queue), array_agg(n.name), array_agg(n.version))
        FROM json_to_recordset(p_jobs::json) AS n(queue text, name text, version bigint)
        WHERE NOT EXISTS (SELECT FROM $schema$.lanes l
            WHERE (l.queue, l.name, l.version) = (n.queue, n.name, n.version))
        HAVING count(*) > 0;
    SELECT array_agg(ROW(nth, n.id, l.id, least(greatest(rank, 0), 3), $schema$.in_range(due),
        from_now, greatest(retain, 0), greatest(max_attempts, 1), greatest(max_crashes, 1),
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
    -- An id or a key may get free while it is looked at who has it.
    FOR pass IN 1..8 LOOP
        SELECT array_agg(n ORDER BY nth) INTO v_open FROM unnest(v_jobs) n
            WHERE v_answers[nth] IS NULL;
        EXIT WHEN v_open IS NULL;
        -- Nobody hints at these when they are there: the next sweep does.
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
                v_answers[j.nth] := $schema$.why_not_by(clock, j,
                    coalesce(p_jobs::json -> (j.nth - 1)::int -> 'aliases', '[]'));
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

-- The same for programs of before, which know other answers.
CREATE OR REPLACE FUNCTION $schema$.create_within(clock bigint, p_jobs text) RETURNS text
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT jsonb_agg(CASE
        WHEN a.value ? 'id_taken_by' THEN '"id_taken"'
        WHEN a.value ? 'key_taken_by'
            THEN jsonb_build_object('key_taken', a.value #> '{key_taken_by,id}')
        ELSE a.value END ORDER BY a.nth)::text
    FROM jsonb_array_elements($schema$.store_within(clock, p_jobs)::jsonb)
        WITH ORDINALITY AS a(value, nth)
$$;

-- A backoff in the words of `#[job(backoff = "…")]` as a job carries it; nothing where it is none.
CREATE FUNCTION $schema$.backoff_json(p_text text) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_most CONSTANT bigint := 315360000000000000;
    v_parts text[] := regexp_match(p_text, '^\s*([a-z]+)\s*\(([^()]*)\)\s*$');
    v_waits bigint[] := '{}';
    v_max bigint;
    v_jitter bool := true;
    v_wait bigint;
    v_part text;
BEGIN
    FOREACH v_part IN ARRAY regexp_split_to_array(v_parts[2], ',') LOOP
        v_part := btrim(v_part);
        IF v_part ~ '^no\s+jitter$' THEN
            v_jitter := false;
            CONTINUE;
        ELSIF v_part !~ '^(max\s+)?([0-9]{1,12}(ms|s|m|h|d)\s*)+$' THEN
            RETURN NULL;
        END IF;
        v_wait := $schema$.nanos(regexp_replace(v_part, '^max\s+', '')::interval)::bigint;
        IF v_wait > v_most OR v_part LIKE 'max%' AND v_max IS NOT NULL THEN
            RETURN NULL;
        ELSIF v_part LIKE 'max%' THEN
            v_max := v_wait;
        ELSE
            v_waits := v_waits || v_wait;
        END IF;
    END LOOP;
    RETURN CASE
        WHEN v_parts[1] = 'steps' AND cardinality(v_waits) BETWEEN 1 AND 100 AND v_max IS NULL
            THEN jsonb_build_object('steps', v_waits)
        WHEN cardinality(v_waits) <> 1 THEN NULL
        WHEN v_parts[1] = 'constant' AND v_max IS NULL
            THEN jsonb_build_object('linear', ARRAY[v_waits[1], v_waits[1]])
        WHEN v_parts[1] IN ('linear', 'exponential') AND v_waits[1] > 0
            AND coalesce(v_max, 3600000000000) >= v_waits[1]
            THEN jsonb_build_object(v_parts[1],
                ARRAY[v_waits[1], coalesce(v_max, 3600000000000)])
    END || CASE WHEN v_jitter THEN '{}' ELSE '{"jitter": false}' END::jsonb;
EXCEPTION
    WHEN data_exception OR null_value_not_allowed THEN RETURN NULL;
END $$;

-- Stores a job, for triggers, psql and other languages: what `JobManager::enqueue_raw` does.
-- Answers its id, or that of the live job that has its unique key.
CREATE FUNCTION $schema$.enqueue(
    name text, metadata jsonb, queue text DEFAULT 'default', priority text DEFAULT 'normal',
    delay interval DEFAULT NULL, at timestamptz DEFAULT NULL, id uuid DEFAULT NULL,
    unique_key text DEFAULT NULL, version bigint DEFAULT 0, max_attempts int DEFAULT 5,
    max_crashes int DEFAULT 3, expires interval DEFAULT NULL, deadline interval DEFAULT NULL,
    retain interval DEFAULT '24 hours', headers jsonb DEFAULT NULL, tags text[] DEFAULT NULL,
    timeout interval DEFAULT NULL, backoff text DEFAULT NULL, max_metadata int DEFAULT 262144,
    shared_unique_key text DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_most CONSTANT numeric := 315360000000000000;
    v_rank int := array_position(ARRAY['critical', 'high', 'normal', 'low'], priority) - 1;
    v_id uuid := coalesce(id, $schema$.new_id());
    v_tags jsonb := to_jsonb(nullif(tags, '{}'));
    v_extra text;
    v_wrong text;
    v_answer json;
BEGIN
    v_wrong := CASE
        WHEN name !~ '^[A-Za-z0-9._:-]{1,128}$' OR name IS NULL
            THEN '"name" has 1 to 128 bytes of A-Z a-z 0-9 . _ : -'
        WHEN queue !~ '^[a-z0-9][a-z0-9._-]{0,63}$' OR queue IS NULL
            THEN '"queue" has 1 to 64 bytes of a-z 0-9 . _ - and starts with a letter or digit'
        WHEN metadata IS NULL THEN '"metadata" is JSON; for none it is ''null'''
        WHEN coalesce(max_metadata, 0) NOT BETWEEN 1 AND 1048576
            THEN '"max_metadata" is a number of bytes from 1 to 1048576'
        WHEN octet_length(metadata::text) > max_metadata
            THEN format('"metadata" has %s bytes, more than the %s allowed: store the data elsewhere '
                'and enqueue its key, or raise "max_metadata"',
                octet_length(metadata::text), max_metadata)
        WHEN jsonb_path_exists(metadata,
            'strict $.**{127} ? (@.type() == "object" || @.type() == "array")')
            THEN '"metadata" has lists or maps more than 127 deep'
        WHEN v_rank IS NULL THEN '"priority" is critical, high, normal or low'
        WHEN delay IS NOT NULL AND at IS NOT NULL THEN 'say "delay" or "at", not both'
        WHEN $schema$.nanos(delay) NOT BETWEEN 0 AND v_most
            THEN '"delay" is at most ten years'
        WHEN unique_key IS NOT NULL AND shared_unique_key IS NOT NULL
            THEN 'say "unique_key" or "shared_unique_key", not both'
        WHEN octet_length(unique_key) NOT BETWEEN 1 AND 256
            THEN '"unique_key" has 1 to 256 bytes'
        WHEN octet_length(shared_unique_key) NOT BETWEEN 1 AND 256
            THEN '"shared_unique_key" has 1 to 256 bytes'
        WHEN coalesce(version, -1) NOT BETWEEN 0 AND 4294967295
            THEN '"version" is a number from 0 to 4294967295'
        WHEN coalesce(max_attempts, 0) NOT BETWEEN 1 AND 1000
            THEN '"max_attempts" is a number from 1 to 1000'
        WHEN coalesce(max_crashes, 0) NOT BETWEEN 1 AND 1000
            THEN '"max_crashes" is a number from 1 to 1000'
        WHEN $schema$.nanos(expires) NOT BETWEEN 0 AND v_most
            THEN '"expires" is at most ten years'
        WHEN $schema$.nanos(deadline) NOT BETWEEN 0 AND v_most
            THEN '"deadline" is at most ten years'
        WHEN coalesce($schema$.nanos(retain), -1) NOT BETWEEN 0 AND v_most
            THEN '"retain" is at most ten years'
        WHEN $schema$.nanos(timeout) NOT BETWEEN 1 AND v_most
            THEN '"timeout" is more than zero and at most ten years'
        WHEN backoff IS NOT NULL AND $schema$.backoff_json(backoff) IS NULL
            THEN '"backoff" is exponential(5s, max 1h), linear(5s, max 1h), constant(30s) or '
                'steps(1s, 10s, 1m)'
        WHEN jsonb_typeof(headers) <> 'object' THEN '"headers" is an object of texts'
        WHEN EXISTS (SELECT FROM jsonb_each(headers) h WHERE jsonb_typeof(h.value) <> 'string')
            THEN '"headers" is an object of texts'
        WHEN array_ndims(tags) > 1 OR cardinality(tags) > 32 OR v_tags @> '[null]'
            THEN '"tags" has at most 32 texts'
        WHEN (SELECT coalesce(sum(octet_length(h.key) + octet_length(h.value)), 0)
                FROM jsonb_each_text(headers) h)
            + (SELECT coalesce(sum(octet_length(t)), 0) FROM unnest(tags) t) > 16384
            THEN '"headers" and "tags" have at most 16 KiB'
    END;
    IF v_wrong IS NOT NULL THEN
        RAISE EXCEPTION 'this job can''t be enqueued: %', v_wrong
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    v_extra := nullif(jsonb_strip_nulls(jsonb_build_object(
        'headers', nullif(headers, '{}'), 'tags', v_tags,
        'timeout', $schema$.nanos(timeout)::bigint, 'backoff', $schema$.backoff_json(backoff))),
        '{}')::text;
    -- A key belongs to the job's name, unless it is shared: what is stored says which.
    v_answer := $schema$.store_within(NULL, json_build_array(json_strip_nulls(json_build_object(
        'id', v_id, 'queue', queue, 'name', name, 'version', version, 'rank', v_rank,
        'due', coalesce($schema$.at_ms(at), ceil($schema$.nanos(delay) / 1000000)::bigint, 0),
        'from_now', at IS NULL, 'retain', $schema$.nanos(retain)::bigint,
        'max_attempts', max_attempts, 'max_crashes', max_crashes,
        'expires', $schema$.nanos(expires)::bigint, 'deadline', $schema$.nanos(deadline)::bigint,
        'unique_key', encode(convert_to(
            coalesce(name || '/' || unique_key, '*/' || shared_unique_key), 'UTF8'), 'hex'),
        'extra', v_extra, 'metadata', metadata::text)))::text)::json -> 0;
    CASE
        WHEN v_answer::text IN ('"created"', '"exists"') THEN RETURN v_id;
        WHEN v_answer -> 'id_taken_by' IS NOT NULL THEN
            RAISE EXCEPTION 'this job can''t be enqueued: another one has its id, of "%"',
                v_answer ->> 'id_taken_by' USING ERRCODE = 'unique_violation';
        WHEN v_answer #>> '{key_taken_by,name}' <> name THEN
            RAISE EXCEPTION 'this job can''t be enqueued: a live one of "%" has its shared key',
                v_answer #>> '{key_taken_by,name}' USING ERRCODE = 'unique_violation';
        ELSE RETURN v_answer #>> '{key_taken_by,id}';
    END CASE;
END $$;

-- The one with fewer arguments would make each call ambiguous. Who may call the one may call the other,
-- and what depends on the old one (a view, a default) goes on with it under another name.
DO $do$
DECLARE
    v_old oid := (SELECT oid FROM pg_proc WHERE pronamespace = '$schema$'::regnamespace
        AND proname = 'enqueue' AND pronargs = 16);
    v_new oid := (SELECT oid FROM pg_proc WHERE pronamespace = '$schema$'::regnamespace
        AND proname = 'enqueue' AND pronargs > 16);
    a record;
BEGIN
    IF EXISTS (SELECT FROM pg_proc WHERE oid = v_old AND proacl IS NOT NULL) THEN
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', v_new::regprocedure);
        FOR a IN SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE x.grantee::regrole::text END AS grantee
            FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) x WHERE p.oid = v_old
        LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %s', v_new::regprocedure, a.grantee);
        END LOOP;
    END IF;
    BEGIN
        EXECUTE format('DROP FUNCTION %s', v_old::regprocedure);
    EXCEPTION WHEN dependent_objects_still_exist THEN
        EXECUTE format('ALTER FUNCTION %s RENAME TO enqueue_v2', v_old::regprocedure);
    END;
END $do$;

-- What runs in the transactions of others goes by no path of theirs.
ALTER FUNCTION $schema$.succeed_within(bigint, text) SET search_path = pg_catalog, pg_temp;

-- A backoff in the words of `#[job(backoff = "…")]`, as a job carries it. NULL if the text is not
-- one.
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
-- Returns its id, or the id of the live job that has its unique key.
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
            THEN format(
                '"metadata" has %s bytes, more than the %s allowed: store the data elsewhere '
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
    -- What is stored as the key begins with the job's name, or with `*` if the key is shared.
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

-- The function of version 2 has fewer arguments and would make each call ambiguous, so it is
-- dropped. Whoever may call the old one may call the new one. If something depends on the old one
-- (a view, a default), the old one gets another name.
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
        FOR a IN SELECT CASE x.grantee WHEN 0 THEN 'PUBLIC'
                ELSE x.grantee::regrole::text END AS grantee
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

-- A function that runs in a user's transaction does not use the user's search path.
ALTER FUNCTION $schema$.succeed_within(bigint, text) SET search_path = pg_catalog, pg_temp;

-- Why a job was not stored, or NULL if the reason is gone: a job of the same function (it has one
-- of these names) has its id, a job of another function has its id, or a live job has its unique
-- key.
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

-- T1 (create) in the caller's transaction. `p_jobs` is a JSON array, and so is the answer. A job
-- may have `aliases`, other names of its function.
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

-- The same for older programs, which know other answers.
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

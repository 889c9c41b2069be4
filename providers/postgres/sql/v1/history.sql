-- Jobs that are over. There is a table for each span of time, so that thousands of jobs whose
-- retention has passed go with their table. Deleting a job costs as much as running it, and leaves
-- holes.
--
-- A span is one of ids, not of the times at which jobs ended, so that there is one table to look up
-- an id in. A job that is kept for longer than its table, or ends after its table is gone, is in
-- `history_rest`.

-- The first id of a time.
CREATE FUNCTION $schema$.first_id(at bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$SELECT (lpad(to_hex(at), 12, '0') || repeat('0', 20))::uuid$$;

-- How many rows of a table are kept for longer than `p_at`. At most `p_most` are counted.
CREATE FUNCTION $schema$.kept_after(p_table text, p_at bigint, p_most int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_rows int;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s WHERE purge_at > $1 LIMIT $2) r', p_table)
        INTO v_rows USING p_at, p_most;
    RETURN v_rows;
END $$;

-- Makes the tables that will be needed soon. Nobody has to wait for one: a job whose table is
-- missing goes to `history_rest`. If another program is making tables, or somebody reads for long,
-- a later call makes them. For each new table the server reads all of `history_rest`, and nobody
-- can end a job meanwhile. So no more tables are made if `history_rest` is large, as it is if ids
-- are the users' own.
CREATE FUNCTION $schema$.add_spans(p_now bigint) RETURNS void LANGUAGE plpgsql
SET lock_timeout = '100ms' AS $$
DECLARE
    v_hour CONSTANT bigint := 3600000;
    v_lo bigint;
    v_hi bigint;
    v_spans int;
BEGIN
    LOOP
        SELECT count(*), max(hi) INTO v_spans, v_lo FROM $schema$.history_spans;
        EXIT WHEN v_lo > p_now + v_hour OR EXISTS (SELECT FROM pg_class
            WHERE oid = '$schema$.history_rest'::regclass AND reltuples > 500000);
        LOCK TABLE $schema$.history_spans IN SHARE ROW EXCLUSIVE MODE NOWAIT;
        -- Jobs that ended while there was no table are in `history_rest`, and so are their ids.
        IF v_lo IS NULL OR v_lo <= p_now THEN
            v_lo := p_now - p_now % v_hour
                + CASE WHEN EXISTS (SELECT FROM $schema$.history_rest) THEN v_hour ELSE 0 END;
        END IF;
        -- The longer jobs are kept, the longer the spans, as each table costs a little.
        v_hi := v_lo
            + v_hour * CASE WHEN v_spans < 12 THEN 6 WHEN v_spans < 24 THEN 24 ELSE 168 END;
        EXECUTE format('CREATE TABLE $schema$.history_%s PARTITION OF $schema$.history '
            'FOR VALUES FROM (%L) TO (%L) WITH (autovacuum_vacuum_cost_delay = 0)',
            v_lo, $schema$.first_id(v_lo), $schema$.first_id(v_hi));
        INSERT INTO $schema$.history_spans VALUES(v_lo, v_hi);
    END LOOP;
EXCEPTION
    -- If clocks differ, a job of the span may be in `history_rest` all the same. Not every program
    -- has the right to make tables.
    WHEN lock_not_available OR check_violation OR insufficient_privilege THEN NULL;
END $$;

SELECT $schema$.add_spans($schema$.now_ms(NULL));

-- Moves the jobs that are kept for longer, and drops the table. Returns how many jobs went with it,
-- at most a hundred thousand. Returns NULL if it would have to wait, as nobody can end a job
-- meanwhile.
CREATE FUNCTION $schema$.drop_span(p_lo bigint, p_now bigint) RETURNS bigint LANGUAGE plpgsql
SET lock_timeout = '100ms' AS $$
DECLARE
    v_table CONSTANT text := '$schema$.history_' || p_lo;
    v_kept bigint;
    v_rows bigint;
BEGIN
    LOCK TABLE $schema$.history_spans IN SHARE ROW EXCLUSIVE MODE NOWAIT;
    IF NOT EXISTS (SELECT FROM $schema$.history_spans WHERE lo = p_lo) THEN
        RETURN 0;
    END IF;
    v_rows := $schema$.kept_after(v_table, 0, 100000);
    LOCK TABLE $schema$.history IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('ALTER TABLE $schema$.history DETACH PARTITION %s', v_table);
    EXECUTE format('INSERT INTO $schema$.history SELECT * FROM %s WHERE purge_at > $1', v_table)
        USING p_now;
    GET DIAGNOSTICS v_kept = ROW_COUNT;
    EXECUTE format('DROP TABLE %s', v_table);
    DELETE FROM $schema$.history_spans WHERE lo = p_lo;
    RETURN greatest(v_rows - v_kept, 0);
EXCEPTION
    WHEN lock_not_available OR insufficient_privilege THEN RETURN NULL;
END $$;

-- T12 (purge). Returns how many jobs went, more than `p_limit` if a table was dropped. If a table
-- has few jobs, each goes when its time has come. If it has many, they wait until all but a few may
-- go.
CREATE FUNCTION $schema$.purge(clock bigint, p_limit int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_now bigint := $schema$.now_ms(clock);
    v_few CONSTANT int := 1000;
    v_many CONSTANT int := 10000;
    v_purged bigint := 0;
    v_dropped bigint;
    v_table text;
    s record;
BEGIN
    DELETE FROM $schema$.gone WHERE until <= v_now;
    DELETE FROM $schema$.gone_own WHERE until <= v_now;
    PERFORM $schema$.add_spans(v_now);
    FOR s IN
        SELECT lo, hi, hi - lo AS span FROM $schema$.history_spans UNION ALL SELECT NULL, NULL, NULL
        ORDER BY lo
    LOOP
        EXIT WHEN v_purged >= p_limit;
        v_table := '$schema$.history_' || coalesce(s.lo::text, 'rest');
        BEGIN
            -- From here on nobody else can drop the table.
            EXECUTE format('LOCK TABLE %s IN ACCESS SHARE MODE', v_table);
            -- A table that is a span old hardly gets new rows.
            IF s.hi + s.span <= v_now THEN
                IF $schema$.kept_after(v_table, v_now, v_few + 1) <= v_few AND (
                    $schema$.kept_after(v_table, 0, v_many) = v_many
                    OR $schema$.kept_after(v_table, 0, 1) = 0)
                THEN
                    v_dropped := $schema$.drop_span(s.lo, v_now);
                    v_purged := v_purged + coalesce(v_dropped, 0);
                    CONTINUE;
                END IF;
                CONTINUE WHEN $schema$.kept_after(v_table, v_now + s.span, v_few + 1) <= v_few
                    AND (SELECT reltuples >= v_many FROM pg_class WHERE oid = v_table::regclass);
            END IF;
            v_purged := v_purged
                + $schema$.purge_rows(v_table, v_now, (p_limit - v_purged)::int);
        EXCEPTION
            -- Another program made the table, and purges it; or somebody has just dropped it.
            WHEN insufficient_privilege OR undefined_table THEN NULL;
        END;
    END LOOP;
    RETURN v_purged;
END $$;

-- Deletes the rows of a table whose time has come.
CREATE FUNCTION $schema$.purge_rows(p_table text, p_now bigint, p_limit int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_purged int := 0;
    v_rows int;
    v_how text;
    v_any bool;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE purge_at <= $1)', p_table)
        INTO v_any USING p_now;
    IF NOT v_any THEN
        RETURN 0;
    END IF;
    -- First the rows that nobody else has locked; then all, to know that nothing is left.
    FOREACH v_how IN ARRAY ARRAY['SKIP LOCKED', ''] LOOP
        LOOP
            EXIT WHEN v_purged >= p_limit;
            EXECUTE format('DELETE FROM %s WHERE ctid = ANY(ARRAY(SELECT ctid FROM %1$s '
                'WHERE purge_at <= $1 ORDER BY purge_at LIMIT $2 FOR UPDATE %s))', p_table, v_how)
                USING p_now, p_limit - v_purged;
            GET DIAGNOSTICS v_rows = ROW_COUNT;
            EXIT WHEN v_rows = 0;
            v_purged := v_purged + v_rows;
        END LOOP;
    END LOOP;
    RETURN v_purged;
END $$;

-- Jobs that are over are kept in a table for each span of time, so that thousands that are no longer
-- kept go with their table: to delete each would cost as much as it cost to run it, and leave holes.
--
-- A span is one of ids, not of when jobs ended: so that there is one table to look up an id in. What
-- is to be kept for longer than its table, and what ends after its table is gone, is in
-- `history_rest`.

-- The first id of a time.
CREATE FUNCTION $schema$.first_id(at bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
    $$SELECT (lpad(to_hex(at), 12, '0') || repeat('0', 20))::uuid$$;

-- How many rows a table has that are kept for longer than `p_at`; no more than `p_most` are counted.
CREATE FUNCTION $schema$.kept_after(p_table text, p_at bigint, p_most int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_rows int;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s WHERE purge_at > $1 LIMIT $2) r', p_table)
        INTO v_rows USING p_at, p_most;
    RETURN v_rows;
END $$;

-- Makes the tables that will be needed soon. Who needs one before it is there uses `history_rest`,
-- so that nobody has to wait: if others are at it, or somebody reads for long, a later call does it.
-- For each the server reads all of `history_rest`, and nobody can end a job meanwhile: where that is
-- large, as ids are the users' own, there are no more tables.
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
        -- What ended while there was no table is in `history_rest`, where its ids are.
        IF v_lo IS NULL OR v_lo <= p_now THEN
            v_lo := p_now - p_now % v_hour
                + CASE WHEN EXISTS (SELECT FROM $schema$.history_rest) THEN v_hour ELSE 0 END;
        END IF;
        -- The longer jobs are kept, the longer the spans: each table that there is costs a little.
        v_hi := v_lo
            + v_hour * CASE WHEN v_spans < 12 THEN 6 WHEN v_spans < 24 THEN 24 ELSE 168 END;
        EXECUTE format('CREATE TABLE $schema$.history_%s PARTITION OF $schema$.history '
            'FOR VALUES FROM (%L) TO (%L) WITH (autovacuum_vacuum_cost_delay = 0)',
            v_lo, $schema$.first_id(v_lo), $schema$.first_id(v_hi));
        INSERT INTO $schema$.history_spans VALUES(v_lo, v_hi);
    END LOOP;
EXCEPTION
    -- A job of the span may be in `history_rest` all the same, if clocks differ. Nor has every program
    -- the right to make tables.
    WHEN lock_not_available OR check_violation OR insufficient_privilege THEN NULL;
END $$;

SELECT $schema$.add_spans($schema$.now_ms(NULL));

-- Drops a table, after what is to be kept for longer was moved. Answers how many jobs it was, a
-- hundred thousand where they were more, and nothing where it would have had to wait: nobody can end
-- a job meanwhile.
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

-- T12. Answers how many jobs it was: more than `p_limit` where a table was dropped. Few go when
-- their time has come. Where there are many in a table, they wait for all but a few of the others.
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
            -- From here on nobody else can drop it.
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
            -- Another program made it, which may do this too; or somebody has dropped it just now.
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
    -- First what nobody else is about to take; then, to know that nothing is left, also that.
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

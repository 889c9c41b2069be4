-- Brings the list of spans in line with the tables that there are: somebody may have emptied the
-- list, or dropped tables.
CREATE FUNCTION $schema$.find_spans() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOCK TABLE $schema$.history_spans IN SHARE ROW EXCLUSIVE MODE NOWAIT;
    WITH there AS (
        SELECT substr(c.relname, 9)::bigint AS lo, ('x' || replace(substring(
            pg_get_expr(c.relpartbound, c.oid) FROM $re$TO \('([0-9a-f-]{13})$re$), '-', '')
            )::bit(48)::bigint AS hi
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = '$schema$.history'::regclass AND c.relname ~ '^history_[0-9]+$'
    ), gone AS (
        DELETE FROM $schema$.history_spans s
        WHERE NOT EXISTS (SELECT FROM there t WHERE t.lo = s.lo)
    )
    INSERT INTO $schema$.history_spans SELECT lo, hi FROM there ON CONFLICT DO NOTHING;
END $$;

-- Makes the tables that will be needed soon, with the rights that others have to `history`.
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
    -- One of the tables is the rest.
    IF (SELECT count(*) FROM $schema$.history_spans) + 1 <>
        (SELECT count(*) FROM pg_inherits WHERE inhparent = '$schema$.history'::regclass) THEN
        PERFORM $schema$.find_spans();
    END IF;
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
        v_table := '$schema$.history_' || v_lo;
        EXECUTE format('CREATE TABLE %s PARTITION OF $schema$.history '
            'FOR VALUES FROM (%L) TO (%L) WITH (autovacuum_vacuum_cost_delay = 0)',
            v_table, $schema$.first_id(v_lo), $schema$.first_id(v_hi));
        -- Whoever was given rights to all tables has them to this one too.
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
    -- If clocks differ, a job of the span may be in `history_rest` all the same. Not every program
    -- has the right to make tables.
    WHEN lock_not_available OR check_violation OR insufficient_privilege THEN NULL;
END $$;

-- How many rows are kept for longer. `regclass` refuses what is not the name of a table.
CREATE OR REPLACE FUNCTION $schema$.kept_after(p_table text, p_at bigint, p_most int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_rows int;
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT FROM %s WHERE purge_at > $1 LIMIT $2) r',
        p_table::regclass) INTO v_rows USING p_at, p_most;
    RETURN v_rows;
END $$;

-- T12 (purge). A part that fails is a warning in the server's log, and stops no other part.
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
            -- Another program made the table, and purges it; or somebody has just dropped it.
            WHEN insufficient_privilege OR undefined_table THEN NULL;
            WHEN OTHERS THEN
                RAISE WARNING 'bgjob: a table of history can''t be purged: %', SQLERRM;
        END;
    END LOOP;
    RETURN v_purged;
END $$;

-- Purges one table of history, `history_rest` if `p_lo` is NULL. If a table has few jobs, each goes
-- when its time has come. If it has many, they wait until all but a few may go.
CREATE FUNCTION $schema$.purge_span(p_lo bigint, p_hi bigint, p_now bigint, p_limit int)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_table CONSTANT text := '$schema$.history_' || coalesce(p_lo::text, 'rest');
    v_few CONSTANT int := 1000;
    v_many CONSTANT int := 10000;
BEGIN
    -- From here on nobody else can drop the table.
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

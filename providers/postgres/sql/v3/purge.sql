-- Drops a table, as before. Jobs that are moved are counted where they are now.
CREATE OR REPLACE FUNCTION $schema$.drop_span(p_lo bigint, p_now bigint) RETURNS bigint
LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
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
    EXECUTE format('WITH moved AS (
            INSERT INTO $schema$.history SELECT * FROM %s WHERE purge_at > $1
            RETURNING tableoid AS part, lane, ended
        ), told AS (
            INSERT INTO $schema$.tally_news
            SELECT $schema$.part_of(part), lane, ended, count(*)
            FROM moved GROUP BY part, lane, ended
        )
        SELECT count(*) FROM moved', v_table) INTO v_kept USING p_now;
    EXECUTE format('DROP TABLE %s', v_table);
    DELETE FROM $schema$.history_spans WHERE lo = p_lo;
    RETURN greatest(v_rows - v_kept, 0);
EXCEPTION
    WHEN lock_not_available OR insufficient_privilege THEN RETURN NULL;
END $$;

-- Deletes the rows of a table whose time has come, as before. They are taken off the counts.
CREATE OR REPLACE FUNCTION $schema$.purge_rows(p_table text, p_now bigint, p_limit int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    v_table CONSTANT regclass := p_table;
    v_purged int := 0;
    v_rows int;
    v_how text;
    v_any bool;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %s WHERE purge_at <= $1)', v_table)
        INTO v_any USING p_now;
    IF NOT v_any THEN
        RETURN 0;
    END IF;
    -- First the rows that nobody else has locked; then all, to know that nothing is left.
    FOREACH v_how IN ARRAY ARRAY['SKIP LOCKED', ''] LOOP
        LOOP
            EXIT WHEN v_purged >= p_limit;
            EXECUTE format('WITH purged AS (
                    DELETE FROM %s WHERE ctid = ANY(ARRAY(SELECT ctid FROM %1$s
                        WHERE purge_at <= $1 ORDER BY purge_at LIMIT $2 FOR UPDATE %s))
                    RETURNING lane, ended
                ), told AS (
                    INSERT INTO $schema$.tally_news
                    SELECT $3, lane, ended, -count(*) FROM purged GROUP BY lane, ended
                )
                SELECT count(*) FROM purged', v_table, v_how)
                INTO v_rows USING p_now, p_limit - v_purged, $schema$.part_of(v_table);
            EXIT WHEN v_rows = 0;
            v_purged := v_purged + v_rows;
        END LOOP;
    END LOOP;
    RETURN v_purged;
END $$;

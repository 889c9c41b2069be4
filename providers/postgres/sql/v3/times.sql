-- Times and numbers that others may have written: through SQL, a replica or a backup.

-- A publication of all tables refuses to delete from a table without a key.
ALTER TABLE $schema$.gone REPLICA IDENTITY FULL;

-- A sequence may be behind its table (a replica that took over, a backup of the rows alone). The
-- numbers of grants only have to differ.
ALTER TABLE $schema$.grants ALTER id DROP IDENTITY,
    ALTER id SET DEFAULT (random() * 9007199254740991)::bigint;

-- The nearest time that a job can have: from 1970 to the end of the year 9999.
CREATE FUNCTION $schema$.in_range(at bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS
    'SELECT least(greatest(at, 0), 253402300799999)';

-- The same, from a timestamp.
CREATE FUNCTION $schema$.at_ms(at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN at < '1970-01-01 00:00:00+00' THEN 0
        WHEN at >= '10000-01-01 00:00:00+00' THEN 253402300799999
        ELSE floor(extract(epoch FROM at) * 1000)::bigint END
$$;

-- An interval in nanoseconds. A month has 30 days and a year 365. An infinite interval is -1.
CREATE FUNCTION $schema$.nanos(span interval) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN NOT isfinite(span) THEN '-1' ELSE
        (extract(year FROM span) * 365 + extract(month FROM span) * 30 + extract(day FROM span))
            * 86400000000000
        + extract(hour FROM span) * 3600000000000 + extract(minute FROM span) * 60000000000
        + extract(microseconds FROM span) * 1000 END
$$;

-- Jobs that were stored at a time that no job can have are moved to the nearest possible time.
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

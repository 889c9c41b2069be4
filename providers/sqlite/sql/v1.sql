-- Times are milliseconds since the Unix epoch, spans nanoseconds, ids and tokens 16 bytes.
CREATE TABLE bgjob_lanes(
    id INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    UNIQUE(queue, name, version)
);

-- What may be large stands last: columns behind it would be read through its overflow pages.
CREATE TABLE bgjob_jobs(
    id BLOB PRIMARY KEY NOT NULL,
    lane INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    max_crashes INTEGER NOT NULL,
    retain INTEGER NOT NULL,
    expires INTEGER,
    deadline INTEGER,
    expires_at INTEGER,
    deadline_at INTEGER,
    unique_key TEXT,
    ver INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    epoch INTEGER NOT NULL DEFAULT 0,
    errors INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    ended TEXT,
    reason TEXT,
    ended_at INTEGER,
    purge_at INTEGER,
    extra TEXT,
    progress TEXT,
    history TEXT,
    metadata TEXT NOT NULL,
    result TEXT
) WITHOUT ROWID;
CREATE UNIQUE INDEX bgjob_jobs_unique ON bgjob_jobs(unique_key)
    WHERE unique_key IS NOT NULL AND ended IS NULL;
-- Covers counts, and lists of one state in the order of ids.
CREATE INDEX bgjob_jobs_ended ON bgjob_jobs(ended, id, lane) WHERE ended IS NOT NULL;
CREATE INDEX bgjob_jobs_purge ON bgjob_jobs(purge_at) WHERE purge_at IS NOT NULL;

-- `until` is the earlier of expires_at and deadline_at.
CREATE TABLE bgjob_ready(
    lane INTEGER NOT NULL,
    suspect INTEGER NOT NULL,
    rank INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    id BLOB NOT NULL,
    touch_at INTEGER NOT NULL,
    until INTEGER,
    PRIMARY KEY(lane, suspect, rank, due_at, id)
) WITHOUT ROWID;
CREATE INDEX bgjob_ready_until ON bgjob_ready(until) WHERE until IS NOT NULL;

CREATE TABLE bgjob_held(
    id BLOB PRIMARY KEY NOT NULL,
    token BLOB NOT NULL,
    owner BLOB NOT NULL,
    since INTEGER NOT NULL,
    lease_until INTEGER NOT NULL,
    cancel INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

CREATE TABLE bgjob_gone_0(id BLOB PRIMARY KEY NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE bgjob_gone_1(id BLOB PRIMARY KEY NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE bgjob_gone_2(id BLOB PRIMARY KEY NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;

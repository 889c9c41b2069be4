-- Times are milliseconds since the Unix epoch, spans nanoseconds. `$schema$` is the schema's name.

-- Kinds of jobs: all that decides who may claim a job, under a number.
CREATE TABLE $schema$.lanes(
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    UNIQUE(queue, name, version)
);

-- Live jobs. `rev` grows with every change of a row, which ends every hold that names the old
-- `rev`. `fence` is the fence of the last grant that is over.
CREATE TABLE $schema$.jobs(
    id uuid PRIMARY KEY,
    lane int NOT NULL,
    rev int NOT NULL DEFAULT 0,
    fence bigint NOT NULL DEFAULT 0,
    rank smallint NOT NULL,
    suspect bool NOT NULL DEFAULT false,
    created_at bigint NOT NULL,
    due_at bigint NOT NULL,
    retain bigint NOT NULL,
    max_attempts int NOT NULL,
    max_crashes int NOT NULL,
    expires bigint,
    deadline bigint,
    expires_at bigint,
    deadline_at bigint,
    unique_key bytea,
    progress text,
    past text,
    extra text,
    metadata text NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
        autovacuum_vacuum_insert_threshold = -1);
CREATE UNIQUE INDEX jobs_unique ON $schema$.jobs(unique_key) WHERE unique_key IS NOT NULL;

-- An entry for each job that waits, in the order of claims. `until` is the earlier of expires_at
-- and deadline_at.
CREATE TABLE $schema$.ready(
    lane int NOT NULL,
    suspect bool NOT NULL,
    rank smallint NOT NULL,
    due_at bigint NOT NULL,
    id uuid NOT NULL,
    rev int NOT NULL,
    touch_at bigint NOT NULL,
    until bigint,
    PRIMARY KEY(lane, suspect, rank, due_at, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX ready_until ON $schema$.ready(until) WHERE until IS NOT NULL;

-- A lease for each claimed batch. It holds those jobs of `ids` whose `rev` is still the one noted
-- here. `members` counts down as jobs leave, and the row goes with the last one.
CREATE TABLE $schema$.grants(
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token uuid NOT NULL,
    owner uuid NOT NULL,
    since bigint NOT NULL,
    lease_until bigint NOT NULL,
    members int NOT NULL,
    ids uuid[] NOT NULL,
    revs int[] NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0,
        toast_tuple_target = 256);
ALTER TABLE $schema$.grants ALTER ids SET STORAGE EXTERNAL, ALTER revs SET STORAGE MAIN;
CREATE INDEX grants_token ON $schema$.grants(token);

-- A lease of one job that was renewed or is asked to end.
CREATE TABLE $schema$.held(
    id uuid PRIMARY KEY,
    rev int NOT NULL,
    token uuid NOT NULL,
    owner uuid NOT NULL,
    since bigint NOT NULL,
    lease_until bigint NOT NULL,
    cancel bool NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX held_token ON $schema$.held(token);

-- Jobs that are over. There is a table for each span of the time at which jobs were made, as ids
-- grow with time, and one for the rest: see `history.sql`.
CREATE TABLE $schema$.history(
    id uuid PRIMARY KEY,
    lane int NOT NULL,
    rev int NOT NULL,
    fence bigint NOT NULL,
    rank smallint NOT NULL,
    created_at bigint NOT NULL,
    due_at bigint NOT NULL,
    retain bigint NOT NULL,
    max_attempts int NOT NULL,
    max_crashes int NOT NULL,
    expires bigint,
    deadline bigint,
    expires_at bigint,
    deadline_at bigint,
    ended_at bigint NOT NULL,
    purge_at bigint NOT NULL,
    ended text NOT NULL,
    reason text,
    unique_key bytea,
    progress text,
    past text,
    extra text,
    metadata text NOT NULL,
    result text
) PARTITION BY RANGE (id);
CREATE TABLE $schema$.history_rest PARTITION OF $schema$.history DEFAULT
    WITH (autovacuum_vacuum_cost_delay = 0);
CREATE INDEX history_purge ON $schema$.history(purge_at);
CREATE INDEX history_ended ON $schema$.history(ended, lane);

-- The spans, from `lo` to before `hi`. The table of one is `history_` and its `lo`.
CREATE TABLE $schema$.history_spans(lo bigint PRIMARY KEY, hi bigint NOT NULL);

-- Ids of jobs that were deleted at their end, a row for each batch. Ids made by bgjob grow with
-- time, so a new one is greater than the `hi` of nearly every row. Ids of the users' own have a
-- table with a row for each.
CREATE TABLE $schema$.gone(
    lo uuid NOT NULL,
    hi uuid NOT NULL,
    until bigint NOT NULL,
    ids uuid[] NOT NULL
);
ALTER TABLE $schema$.gone ALTER ids SET STORAGE EXTERNAL;
CREATE INDEX gone_hi ON $schema$.gone(hi);
CREATE INDEX gone_until ON $schema$.gone USING brin(until);
CREATE TABLE $schema$.gone_own(id uuid PRIMARY KEY, until bigint NOT NULL);

//! The statements, with the name of their schema.

use std::sync::Arc;

use super::schema::quoted;

/// The columns of a live job `j` and of its place: its entry `r`, its own lease `h`, its grant `m`.
/// The columns of [`OVER`] have the same order.
const LIVE: &str = "SELECT j.id, j.lane, j.rev, j.fence, j.rank, j.created_at, j.due_at, j.retain, \
     j.max_attempts, j.max_crashes, j.expires, j.deadline, j.expires_at, j.deadline_at, \
     j.unique_key, j.progress, j.past, j.extra, j.metadata, l.queue, l.name, l.version, \
     r.touch_at, m.grant_id, \
     coalesce(h.token, m.token) AS token, coalesce(h.owner, m.owner) AS owner, \
     coalesce(h.since, m.since) AS since, coalesce(h.lease_until, m.lease_until) AS lease_until, \
     coalesce(h.cancel, false) AS cancel, NULL::text AS ended, NULL::text AS reason, \
     NULL::bigint AS ended_at, NULL::bigint AS purge_at, NULL::text AS result, j.suspect ";

/// The tables of those columns, looked up one by one, as `v1/common.sql` explains.
const LOOKED_UP: &str = "FROM $schema$.jobs j \
     LEFT JOIN LATERAL (SELECT e.touch_at FROM $schema$.ready e \
         WHERE e.lane = j.lane AND e.suspect = j.suspect AND e.rank = j.rank \
         AND e.due_at = j.due_at AND e.id = j.id OFFSET 0) r ON true \
     LEFT JOIN LATERAL (SELECT * FROM $schema$.held h WHERE h.id = j.id OFFSET 0) h ON true \
     LEFT JOIN members m ON m.id = j.id AND m.rev = j.rev \
     LEFT JOIN $schema$.lanes l ON l.id = j.lane ";

/// Jobs that are over.
const OVER: &str = "SELECT j.id, j.lane, j.rev, j.fence, j.rank, j.created_at, j.due_at, j.retain, \
     j.max_attempts, j.max_crashes, j.expires, j.deadline, j.expires_at, j.deadline_at, \
     j.unique_key, j.progress, j.past, j.extra, j.metadata, l.queue, l.name, l.version, \
     NULL::bigint AS touch_at, \
     NULL::bigint AS grant_id, NULL::uuid AS token, NULL::uuid AS owner, NULL::bigint AS since, \
     NULL::bigint AS lease_until, false AS cancel, j.ended, j.reason, j.ended_at, j.purge_at, \
     j.result, false AS suspect FROM $schema$.history j \
     LEFT JOIN $schema$.lanes l ON l.id = j.lane ";

const MEMBERS: &str = "WITH members AS MATERIALIZED (\
     SELECT n.id, n.rev, g.id AS grant_id, g.token, g.owner, g.since, g.lease_until \
     FROM $schema$.grants g CROSS JOIN LATERAL unnest(g.ids, g.revs) AS n(id, rev)";

macro_rules! statements {
    ($($(#[doc = $doc:expr])* $name:ident = $text:expr;)*) => {
        /// All statements.
        #[derive(Debug)]
        pub(super) struct Sql { $($(#[doc = $doc])* pub(super) $name: Arc<str>,)* }

        impl Sql {
            pub(super) fn new(schema: &str) -> Self {
                let schema = quoted(schema);
                Self { $($name: $text.replace("$schema$", &schema).into(),)* }
            }
        }
    };
}

statements! {
    /// The time is written in place of `$clock$`, as the only parameter is in use.
    create_within = "SELECT $schema$.store_within($clock$, $1) AS answer";
    succeed_within = "SELECT $schema$.succeed_within($clock$, $1) AS answer";
    /// The tables that hold jobs, for error texts.
    place = "$schema$.jobs or $schema$.history,";
    now = "SELECT $schema$.now_ms($1) AS now";
    served_lanes = "SELECT l.* FROM unnest($1::text[]) AS q(queue) \
        CROSS JOIN unnest($2::text[], $3::bigint[]) AS n(name, version) \
        CROSS JOIN LATERAL (SELECT l.id, l.stamp, l.queue, l.name, l.version \
            FROM $schema$.lanes l WHERE l.queue = q.queue AND l.name = n.name \
            AND l.version <= n.version OFFSET 0) l";
    add_lanes = "SELECT * FROM $schema$.add_lanes($1, $2, $3)";
    forget_lanes = "SELECT $schema$.forget_lanes($1)";
    /// The numbers are checked last, as `check_lanes` explains.
    create = "SELECT $schema$.create_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
        $14, $15, $16) AS ids, $schema$.check_lanes($17, $18)";
    remembered = "SELECT n.id FROM unnest($2::uuid[]) AS n(id) \
        WHERE EXISTS (SELECT FROM $schema$.gone_own o WHERE o.id = n.id \
            AND o.until > $schema$.now_ms($1)) \
        OR EXISTS (SELECT FROM $schema$.gone g WHERE g.hi >= n.id AND g.lo <= n.id \
            AND g.until > $schema$.now_ms($1) AND n.id = ANY(g.ids))";
    key_holders = "SELECT id, unique_key FROM $schema$.jobs WHERE unique_key = ANY($1::bytea[])";
    claim_ready = "SELECT * FROM $schema$.claim_kinds($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, \
        $11, $12, $13, $14, $15, $16, NULL)";
    unclaim = "SELECT $schema$.unclaim($1, $2, $3, $4)";
    below = "SELECT lane, rank, due_at FROM $schema$.below($1, $2, $3)";
    claim_entries = "SELECT * FROM $schema$.claim_entries($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    held_by = "SELECT h.*, l.queue, l.name, l.version FROM $schema$.held_by($1) h \
        LEFT JOIN $schema$.lanes l ON l.id = h.lane";
    holds_suspect = "SELECT $schema$.holds_suspect($1) AS holds";
    succeed = "SELECT $schema$.succeed($1, $2, $3, $4, $5) AS ids";
    /// One commit, the successes first.
    succeed_and_claim = "SELECT * FROM $schema$.claim_kinds($1, $6, $7, $8, $9, $10, $11, $12, \
        $13, $14, $15, $16, $17, $18, $19, $20, $schema$.succeed($1, $2, $3, $4, $5))";
    renew = "SELECT id, token, cancel FROM $schema$.renew($1, $2, $3, $4, $5)";
    save = "SELECT $schema$.save($1, $2) AS ids, $schema$.check_lanes($3, $4)";
    due = "SELECT kind, id FROM $schema$.due($1, $2, $3, $4)";
    index_touches = "CREATE INDEX IF NOT EXISTS ready_touch ON $schema$.ready(touch_at)";
    purge = "SELECT $schema$.purge($1, $2) AS jobs";
    /// As many jobs as fit `$3` bytes, at least one. `rows` is the number of all of them. The sizes
    /// are known without reading the large columns.
    load = format!("{MEMBERS} WHERE n.id = ANY($2::uuid[])) SELECT * FROM (\
        SELECT j.*, $schema$.now_ms($1) AS now, row_number() OVER (ORDER BY j.id) AS nth, \
            count(*) OVER () AS rows, \
            sum(octet_length(metadata) + coalesce(octet_length(extra), 0) \
                + coalesce(octet_length(past), 0) + coalesce(octet_length(result), 0)) \
                OVER (ORDER BY j.id) AS bytes \
        FROM ({LIVE} {LOOKED_UP} WHERE j.id = ANY($2) \
            UNION ALL SELECT o.* FROM unnest($2) AS n(id) CROSS JOIN LATERAL (\
                {OVER} WHERE j.id = n.id OFFSET 0) o) j) j \
        WHERE bytes <= $3 OR nth = 1 ORDER BY id");
    list = "SELECT $schema$.list_ids($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS ids";
    counts = "SELECT * FROM $schema$.counts($1, $2)";
    fold_tallies = "SELECT $schema$.fold_tallies()";
    name_worker = "WITH old AS (DELETE FROM $schema$.workers \
            WHERE seen < $schema$.now_ms($1) - 2678400000 AND owner <> $2) \
        INSERT INTO $schema$.workers(owner, name, seen) VALUES($2, $3, $schema$.now_ms($1)) \
        ON CONFLICT(owner) DO UPDATE SET name = excluded.name, seen = excluded.seen";
    worker_names = "SELECT owner, name FROM $schema$.workers WHERE owner = ANY($1)";
    cancelled = "SELECT id FROM $schema$.held WHERE cancel";
    asleep = "SELECT $schema$.asleep($1, $2)";
    notify = "SELECT pg_notify($1, q) FROM unnest($2::text[]) AS n(q)";
}

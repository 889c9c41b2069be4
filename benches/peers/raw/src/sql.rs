//! The statements.

use peers_common::Rows;

pub(crate) const TABLES: &str = "
    SET client_min_messages = warning;
    CREATE TABLE IF NOT EXISTS payloads(
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload bytea NOT NULL);
    CREATE TABLE IF NOT EXISTS ready(
        queue int NOT NULL, priority smallint NOT NULL, run_at timestamptz NOT NULL,
        id bigint NOT NULL, PRIMARY KEY(queue, priority, run_at, id));
    CREATE TABLE IF NOT EXISTS leases(
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        until timestamptz NOT NULL, ids bigint[] NOT NULL);
    CREATE TABLE IF NOT EXISTS history(
        id bigint PRIMARY KEY, payload bytea NOT NULL, ended_at timestamptz NOT NULL);
    CREATE INDEX IF NOT EXISTS history_ended ON history(ended_at)";

pub(crate) const INSERT: &str = "
    WITH p AS (INSERT INTO payloads(payload) SELECT * FROM unnest($1::bytea[]) RETURNING id),
    r AS (INSERT INTO ready SELECT 1, 0, now(), id FROM p)
    SELECT pg_notify('jobs', '')";

macro_rules! claim {
    () => {
        ", dl AS (DELETE FROM leases WHERE id = $3),
        r AS (DELETE FROM ready WHERE ctid = ANY(ARRAY(
            SELECT ctid FROM ready WHERE queue = 1 AND run_at <= now()
            ORDER BY priority, run_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)) RETURNING id),
        a AS MATERIALIZED (SELECT array_agg(id) AS ids FROM r),
        l AS (INSERT INTO leases(until, ids) SELECT now() + interval '60s', ids FROM a
            WHERE ids IS NOT NULL RETURNING id)
        SELECT p.id, p.payload, (SELECT id FROM l) AS lease FROM payloads p
        WHERE p.id = ANY((SELECT ids FROM a)::bigint[])"
    };
}

/// Ends the batch before and claims the next; ended jobs go, or move to the history.
pub(crate) fn drain(rows: Rows) -> &'static str {
    match rows {
        Rows::Deleted => concat!(
            "WITH d AS (DELETE FROM payloads WHERE id = ANY($2))",
            claim!()
        ),
        Rows::Kept => concat!(
            "WITH g AS (DELETE FROM payloads WHERE id = ANY($2) RETURNING id, payload),
            h AS (INSERT INTO history SELECT id, payload, now() FROM g)",
            claim!()
        ),
    }
}

//! What is said about each of them besides figures. From their own code, November 2026.

/// One of those compared.
pub(crate) struct About {
    pub(crate) name: &'static str,
    pub(crate) settings: &'static str,
    /// What an end is compared with, so that a worker that has lost its job does not end it for
    /// another one.
    pub(crate) fence: &'static str,
    /// What becomes of the rows of jobs that succeeded.
    pub(crate) rows: &'static str,
    /// When the jobs of a worker that died are given to another.
    pub(crate) rescue: &'static str,
}

pub(crate) const PEERS: &[About] = &[
    About {
        name: "bgjob",
        settings: "defaults",
        fence: "yes: the token of the claim and the job's revision",
        rows: "kept 24 h, or deleted (`retain = \"0s\"`)",
        rescue: "30 s (its lease)",
    },
    About {
        name: "graphile_worker",
        settings: "local queue of 1,000, concurrency 16, 20 connections, completions each 5 ms",
        fence: "no: by id",
        rows: "deleted",
        rescue: "never; by its recovery, which is off by default",
    },
    About {
        name: "awa",
        settings: "1024 workers, claims of 512, no deadline, look each 50 ms, 2 completion shards, \
                   COPY",
        fence: "yes: the lease and the receipt of the run",
        rows: "a ring of tables that is emptied as it comes round (16 s); then only counted",
        rescue: "90 s without a heartbeat",
    },
    About {
        name: "riverqueue",
        settings: "2000 workers, fetch cooldown 2 ms, look each 20 ms, 50 connections",
        fence: "no: by id, where it is running; not by attempt",
        rows: "kept 24 h",
        rescue: "1 h and the job's timeout",
    },
    About {
        name: "apalis-postgres",
        settings: "batches of 1,000, concurrency 100, notified, look each 50 ms",
        fence: "in part: the worker's name; not the attempt",
        rows: "kept until they are vacuumed by hand",
        rescue: "5 min without a heartbeat",
    },
    About {
        name: "sqlxmq",
        settings: "200 jobs at a time, 20 connections",
        fence: "no: by id",
        rows: "deleted",
        rescue: "the backoff (1 s at first), which the runner puts off while it lives",
    },
    About {
        name: "raw",
        settings: "batches of 1,000, one connection to claim and end, one to insert",
        fence: "no",
        rows: "deleted, or moved to a second table",
        rescue: "never",
    },
];

/// Why peers are ahead of bgjob, where they are: the measure, and the reason.
pub(crate) const AHEAD: &[(&str, &str)] = &[];

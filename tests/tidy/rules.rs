//! The limits and lists of the house rules. A limit is raised by an entry in a table of
//! exceptions, with its reason, in the change that needs it.

use super::source::{Code, File};

// ---- sizes ----

pub(crate) const FILE_LINES: usize = 500;
pub(crate) const FUNCTION_LINES: usize = 70;
pub(crate) const COLUMNS: usize = 100;

/// Files that may be longer: path, limit, reason.
pub(crate) const LONGER_FILES: &[(&str, usize, &str)] = &[];
/// Files whose lines may be longer: path, limit, reason.
pub(crate) const LONGER_LINES: &[(&str, usize, &str)] = &[(
    "tests/ui/fail/name_too_long.rs",
    160,
    "a name that is too long is its point",
)];
/// Functions that may be longer: `path::name`, limit, reason.
pub(crate) const LONGER_FUNCTIONS: &[(&str, usize, &str)] = &[
    (
        "providers/postgres/sql/v1/claim.sql::claim_ready",
        152,
        APPLIED,
    ),
    (
        "providers/postgres/sql/v1/create.sql::create_jobs",
        96,
        APPLIED,
    ),
    ("providers/postgres/sql/v1/end.sql::succeed", 83, APPLIED),
    ("providers/postgres/sql/v1/save.sql::save", 81, APPLIED),
    (
        "providers/postgres/sql/v3/claim.sql::claim_kinds",
        176,
        APPLIED,
    ),
    ("providers/postgres/sql/v3/end.sql::succeed", 87, APPLIED),
    (
        "providers/postgres/sql/v3/enqueue.sql::enqueue",
        100,
        APPLIED,
    ),
    ("providers/postgres/sql/v3/read.sql::list_ids", 78, APPLIED),
    ("providers/postgres/sql/v3/save.sql::save", 115, APPLIED),
];
/// See `docs/decisions/0096-an-applied-step-stays-as-it-is.md`.
const APPLIED: &str = "databases have it from a step that is not run again: the step that replaces \
                       it splits it";

// ---- direction ----

/// What each module may use: itself, and these, which all stand above it in this list. So arrows
/// point one way, and there is no circle. First the modules of `bgjob-core`, then those of `bgjob`,
/// which sees the core's under the same names.
pub(crate) const LAYERS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("entropy", &[]),
    ("lock", &[]),
    ("id", &["clock", "entropy"]),
    ("error", &["id"]), // an error says which job it is about
    ("job", &["clock", "entropy", "error", "id"]),
    ("transaction", &["error"]),
    ("queue", &["error", "id", "job"]),
    // The contracts are one layer: a sweep tells which hints to push.
    (
        "store",
        &[
            "clock",
            "entropy",
            "error",
            "id",
            "job",
            "queue",
            "transaction",
        ],
    ),
    (
        "extract",
        &["clock", "error", "id", "job", "lock", "transaction"],
    ),
    ("toolkit", &["error", "id", "job", "lock", "store"]),
    // ---- bgjob ----
    ("task", &["clock", "entropy", "lock"]),
    (
        "events",
        &[
            "clock", "entropy", "error", "extract", "id", "job", "lock", "store",
        ],
    ),
    ("calls", &["error", "events"]),
    ("registry", &["error", "extract", "id", "job", "store"]),
    (
        "providers",
        &[
            "clock", "entropy", "error", "id", "job", "lock", "queue", "store", "toolkit",
        ],
    ),
    (
        "manager",
        &[
            "calls",
            "clock",
            "entropy",
            "error",
            "events",
            "extract", // who waits for a job may be a job's handler itself
            "id",
            "job",
            "lock",
            "providers", // in `connect` alone, see `only_connect_opens_providers`
            "queue",
            "registry",
            "store",
            "task",
            "transaction",
        ],
    ),
    (
        "dispatcher",
        &[
            "calls",
            "clock",
            "entropy",
            "error",
            "events",
            "extract",
            "id",
            "job",
            "lock",
            "manager",
            "queue",
            "registry",
            "store",
            "task",
            "transaction",
        ],
    ),
];
/// Modules that may use every other one.
pub(crate) const ABOVE_ALL: &[&str] = &["lib", "prelude", "private", "testing"];
/// The crates whose modules these are.
pub(crate) const LAYERED: [&str; 2] = ["bgjob-core/src/", "bgjob/src/"];
/// What is published. A crate may depend on those before it, and nothing else of bgjob's.
pub(crate) const CRATES: &[(&str, &[&str])] = &[
    ("bgjob-macros", &[]),
    ("bgjob-core", &[]),
    ("providers/postgres", &["bgjob-core"]),
    ("providers/sqlite", &["bgjob-core"]),
    (
        "bgjob",
        &[
            "bgjob-core",
            "bgjob-macros",
            "bgjob-postgres",
            "bgjob-sqlite",
        ],
    ),
    ("bgjob-conformance", &["bgjob"]),
];

// ---- words ----

pub(crate) struct Ban {
    /// Tokens, separated by spaces.
    pub(crate) words: &'static [&'static str],
    /// Folders and files it holds in, by how their path begins.
    pub(crate) within: &'static [&'static str],
    /// And those it does not hold in.
    pub(crate) except: &'static [&'static str],
    /// Which code it holds for.
    pub(crate) code: Part,
    pub(crate) remedy: &'static str,
}

#[derive(PartialEq)]
pub(crate) enum Part {
    ForUsers,
    ForTests,
    All,
}

impl Ban {
    /// Whether it holds in this file.
    pub(crate) fn holds_in(&self, path: &str) -> bool {
        let among = |list: &[&str]| list.iter().any(|start| path.starts_with(start));
        among(self.within) && !among(self.except)
    }

    /// The code of the file that it holds for.
    pub(crate) fn part_of(&self, file: &File) -> Code {
        let code = file.code();
        let whole_file = file.path.contains("tests/") || file.path.ends_with("tests.rs");
        if self.code == Part::All || (whole_file && self.code == Part::ForTests) {
            return code;
        }
        let (users, tests) = code.split_tests();
        if self.code == Part::ForUsers {
            users
        } else {
            tests
        }
    }
}

pub(crate) const BANS: &[Ban] = &[
    Ban {
        words: &[
            "await",
            "async",
            "tokio",
            "std :: fs",
            "std :: net",
            "std :: process",
            "std :: thread",
            "File",
        ],
        within: &["bgjob-core/src/job/"],
        // Names errors of tokio's, so that `?` converts them.
        except: &["bgjob-core/src/job/outcome.rs"],
        code: Part::ForUsers,
        remedy: "job/ is pure: it awaits nothing and does no I/O",
    },
    Ban {
        words: &["tracing", "println !", "eprintln !"],
        within: &["bgjob-core/src/", "bgjob/src/", "providers/"],
        except: &["bgjob/src/events/", "bgjob/src/testing/"],
        code: Part::ForUsers,
        remedy: "only events/ logs: emit an event there; a provider returns an error instead",
    },
    Ban {
        words: &["linkme"],
        within: &["bgjob-core/src/", "bgjob/src/", "providers/"],
        // private.rs and lib.rs hand it on to the macros of linked.rs.
        except: &[
            "bgjob-core/src/lib.rs",
            "bgjob-core/src/store/linked.rs",
            "bgjob/src/private.rs",
            "bgjob/src/registry/linked.rs",
        ],
        code: Part::All,
        remedy: "only the two files linked.rs know linkme",
    },
    Ban {
        words: &["SystemTime :: now"],
        within: &["bgjob-core/src/", "bgjob/src/", "providers/"],
        except: &["bgjob-core/src/clock.rs"],
        code: Part::All,
        remedy: "take the time from the `Clock` that is given",
    },
    Ban {
        words: &["# [ ignore", "should_panic"],
        within: &[""],
        except: &[],
        code: Part::All,
        remedy: "a test runs, and asserts what it expects: remove the attribute",
    },
    Ban {
        words: &["sleep (", "sleep_until ("],
        within: &[""],
        // Real processes that take real time, and a nemesis that strikes at odd moments; simulated
        // ones, whose time takes none.
        except: &["tests/kill/", "tests/simulation/"],
        code: Part::ForTests,
        remedy: "tests don't sleep: advance paused time or a manual clock, or wait for an event",
    },
    Ban {
        words: &["todo !", "unimplemented !"],
        within: &[""],
        except: &[],
        code: Part::All,
        remedy: "finish it, or leave it out",
    },
];

// ---- the top of the house ----

pub(crate) const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".git",
    ".github",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "benches",
    "bgjob",
    "bgjob-conformance",
    "bgjob-core",
    "bgjob-macros",
    "deny.toml",
    "docs",
    "examples",
    "fuzz",
    "providers",
    "rustfmt.toml",
    "target",
    "tests",
];
/// How documents that are read elsewhere too, on crates.io and docs.rs, name files of this one.
pub(crate) const OWN_ADDRESSES: &[&str] = &[
    "https://github.com/bgjob/bgjob/blob/main/",
    "https://github.com/bgjob/bgjob/tree/main/",
    "https://raw.githubusercontent.com/bgjob/bgjob/main/",
];
/// Examples whose output depends on what they are given: they have tests of their own.
pub(crate) const NO_FIXED_OUTPUT: &[&str] = &["quickstart", "web"];
/// Files in providers/ of bgjob that are no provider.
pub(crate) const NO_PROVIDERS: &[&str] = &["mod"];

/// Who hands each call on, and the contract it does so for: `(trait, its file, the forwarders)`.
/// `forward_job_store!` in the first of them serves every type that only wraps a store.
pub(crate) const FORWARDERS: &[(&str, &str, &[&str])] = &[
    (
        "JobStore",
        "bgjob-core/src/store/jobs.rs",
        &[
            "bgjob-core/src/store/shared.rs",
            "bgjob/src/testing/faulty/store.rs",
            "bgjob/src/testing/simulation/witness.rs",
        ],
    ),
    (
        "DocumentStore",
        "bgjob-core/src/store/documents.rs",
        &[
            "bgjob-core/src/store/shared.rs",
            "bgjob/src/testing/faulty/documents.rs",
        ],
    ),
    (
        "JobQueue",
        "bgjob-core/src/queue.rs",
        &[
            "bgjob-core/src/queue.rs",
            "bgjob/src/testing/faulty/queue.rs",
        ],
    ),
];

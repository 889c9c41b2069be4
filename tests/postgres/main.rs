//! The PostgreSQL store against servers of its own: what the suites can't ask of a store.

mod company;
mod counts;
mod cuts;
mod disks;
mod exhausted;
mod guide;
mod history;
mod in_doubt;
mod kinds;
mod opening;
mod outages;
mod plans;
mod pooler;
mod runtimes;
mod support;
mod texts;
mod together;

use bgjob_test_servers as servers;

//! Real servers for tests, benches and examples. Each is of one test's own: on a free port of
//! 127.0.0.1, with a data folder of its own, and gone with the process that started it, however
//! that ends. Nothing here touches a server that it did not start.
//!
//! * [`postgres`], and [`pgbouncer`] in front of it
//! * [`smtp`]: a mail server that remembers
//! * [`proxy`]: between a test and a server, to cut connections

pub mod pgbouncer;
pub mod postgres;
pub mod proxy;
pub mod smtp;

/// A name that nothing else has, and nobody can guess.
fn unique() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

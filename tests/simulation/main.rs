//! The simulator: what it finds in users' jobs, and the protocol under everything it can do.

mod protocol;
mod users;

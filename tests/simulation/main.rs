//! The simulator: what it finds in users' jobs, and the protocol under everything it can do.

mod documents;
mod protocol;
mod users;

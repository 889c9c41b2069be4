//! A job's life from enqueue to its end, on the memory store and paused time: what the dispatcher
//! and the manager promise, also while stores, queues and handlers fail.

mod support;

mod cancel;
mod delays;
mod enqueue;
mod fairness;
mod health;
mod leases;
mod middleware;
mod operate;
mod panics;
mod queue;
mod results;
mod retries;
mod serving;
mod shutdown;
mod state;
mod stores;
mod suspects;
mod timeouts;

//! A job's life from enqueue to its end, on the memory store and paused time: what the dispatcher
//! and the manager promise, also while stores, queues and handlers fail.

mod support;

mod blocking;
mod bulk;
mod cancel;
mod deaths;
mod delays;
mod enqueue;
mod fairness;
mod health;
mod leases;
mod lines;
mod listeners;
mod middleware;
mod operate;
mod panics;
mod queue;
mod results;
mod retries;
mod runtimes;
mod serving;
mod shutdown;
mod slowed;
mod state;
mod stores;
mod suspects;
mod timeouts;
mod unserved;
mod waits;

//! A small web application with background jobs: who signs up is stored, and a welcome mail is
//! sent, now or once the mail server is back.
//!
//! * [`users`]: the application's own table
//! * [`mail`]: the job, an annotated function
//! * [`routes`]: what is answered to whom; the sign-up and its job are one transaction
//! * [`app`]: everything put together, the way up and the way down

pub mod app;
pub mod mail;
pub mod routes;
pub mod users;

#![allow(dead_code, non_camel_case_types)]

struct Result;
struct Option;
struct Box;
struct String;
struct Some;
struct Ok;
struct Err;
struct IntoIterator;
struct Self_;
struct str;
struct u32;
mod core {}
mod std {}
mod alloc {}
mod bgjob {}

#[::bgjob::job(aliases = ["a"], timeout = "1s", backoff = "steps(1s)", version = 1, upgrade = up)]
async fn shadowed(_: (), _: ::bgjob::JobContext) -> ::std::result::Result<(), ::bgjob::JobError> {
    ::std::result::Result::Ok(())
}

#[::bgjob::job(blocking)]
fn shadowed_blocking(_: ()) {}

fn up(
    value: ::serde_json::Value,
    _: ::std::primitive::u32,
) -> ::std::result::Result<::serde_json::Value, ::bgjob::JobError> {
    ::std::result::Result::Ok(value)
}

fn main() {}

use bgjob::prelude::*;

#[job(name = "", qeue = "mail", timeout = "30", priority = "urgent", aliases = ["a", "a"])]
async unsafe fn greet<T>(_: &T) {}

fn main() {}

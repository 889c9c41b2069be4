use bgjob::prelude::*;

#[job(max_retries = 4, retry_delay = 5, ttl = "1h", cron = "0 * * * *", concurrency = 2, unique)]
async fn greet(_: String) {}

fn main() {}

//! What the guide says can be run.

use bgjob::{JobStore, providers::postgres::PostgresOptions};

use crate::{
    servers::postgres::Server,
    support::{new, open, run_at},
};

const GUIDE: &str = include_str!("../../docs/postgres.md");

#[tokio::test]
async fn its_statements_are_right() {
    let server = Server::start(&["fsync=off"]);
    let url = server.url();
    let store = open(&PostgresOptions::from_url(&url).expect("it is a URL")).await;
    store.create(&[new(None)]).await.expect("it answers");
    let blocks = GUIDE.split("```sql\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|rest| rest.split_once("```")).collect();
    assert!(blocks.len() >= 3, "there are some");
    for (sql, _) in blocks {
        run_at(&url, sql.to_owned()).await;
    }
}

#[test]
fn it_knows_every_option() {
    for option in ["schema", "connections", "migrate", "pooler"] {
        let row = format!("| `bgjob.{option}` |");
        assert!(GUIDE.contains(&row), "no row for {option}");
    }
}

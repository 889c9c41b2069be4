use std::collections::BTreeMap;

use bgjob::prelude::*;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[derive(Serialize, Deserialize)]
struct Page<T> {
    items: Vec<T>,
}

#[derive(Serialize, Deserialize)]
enum Shape {
    Round(f64),
    Square { side: f64 },
}

trait Family {
    type Member: Serialize + DeserializeOwned + Send + 'static;
}

struct Numbers;

impl Family for Numbers {
    type Member = u64;
}

#[job]
async fn generic(_: Page<(u8, String)>) {}

#[job]
async fn an_enum(_: Shape) {}

#[job]
async fn map(_: BTreeMap<String, Option<[u8; 4]>>) {}

#[job]
async fn projected(_: <Numbers as Family>::Member) {}

#[job]
async fn owned_cow(_: std::borrow::Cow<'static, str>) {}

#[job]
async fn raw(_: bgjob::Json) {}

fn main() {
    let _ = (Shape::Round(1.0), Shape::Square { side: 1.0 });
}

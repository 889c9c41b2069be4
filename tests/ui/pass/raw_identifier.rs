use bgjob::prelude::*;

#[job]
pub async fn r#type(_: ()) {}

fn main() {
    assert_eq!(r#type::NAME, "type");
    drop(r#type(()));
}

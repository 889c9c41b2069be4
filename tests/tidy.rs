//! House rules that can be held by a test.

#[test]
fn placeholder() {}

//! The few ids, tokens and owners that all programs share, and how they are printed.

use bgjob::{
    JobId, Owner,
    job::{Json, Token},
};

/// Few enough that programs often meet the same job again.
pub(super) const IDS: u8 = 8;

pub(super) const QUEUES: [&str; 2] = ["pictures", "mail"];
/// No dispatcher serves the last one.
pub(super) const NAMES: [&str; 3] = ["resize", "shrink", "melt"];
pub(super) const KEYS: [&str; 2] = ["one", "two"];
pub(super) const TAG: &str = "odd";

/// The ids, in their order.
pub(super) fn ids() -> Vec<JobId> {
    (0..IDS).map(id).collect()
}

pub(super) fn id(nth: u8) -> JobId {
    JobId::from_bytes((1 + u128::from(nth)).to_be_bytes())
}

/// The bytes of the token or owner with this number. The number comes first, where `Debug` shows
/// it.
fn bytes(number: u32) -> [u8; 16] {
    (u128::from(number) << 96 | 1).to_be_bytes()
}

pub(super) fn token(number: u32) -> Token {
    Token::from_bytes(bytes(number))
}

pub(super) fn owner(number: u32) -> Owner {
    Owner::from_bytes(bytes(number))
}

pub(super) fn json(number: u8) -> Json {
    Json::encode(&number).expect("a number is JSON")
}

/// Replaces job 3 by `j3`, token 7 by `t7`, in a text that has them in full.
pub(super) fn short(text: &str) -> String {
    let mut text = text.to_owned();
    for nth in 0..IDS {
        text = text.replace(&id(nth).to_string(), &format!("j{nth}"));
    }
    let mut rest = text.as_str();
    let mut out = String::new();
    while let Some((before, after)) = rest.split_once("Token(") {
        let (head, after) = after.split_once("…)").unwrap_or((after, ""));
        let number = u32::from_str_radix(head, 16).unwrap_or_default();
        out += &format!("{before}t{number}");
        rest = after;
    }
    out + rest
}

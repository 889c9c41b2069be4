//! What goes into a JSON comes out of it, or is refused.

use std::{collections::BTreeMap, fmt::Debug};

use serde::Serialize;

use super::*;
use crate::job::Wide;

/// Patterns of bits: all exponents with mantissas of all kinds, and many at random.
fn patterns() -> impl Iterator<Item = u64> {
    let mantissas = [
        0,
        1,
        2,
        (1 << 52) - 1,
        1 << 51,
        0x000f_0f0f_0f0f_0f0f,
        0x0005_5555_5555_5555,
    ];
    let classes = (0..2048_u64)
        .flat_map(move |exponent| mantissas.map(|mantissa| exponent << 52 | mantissa))
        .flat_map(|bits| [bits, bits | 1 << 63]);
    let mut seed = 7_u64;
    let random = std::iter::repeat_with(move || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        seed ^ seed >> 29
    });
    let amounts = (0..20_000).map(|n| (f64::from(n) * 1.1 / 3.0).to_bits());
    classes.chain(random.take(50_000)).chain(amounts)
}

#[test]
fn every_float_is_the_same_bit_by_bit_or_refused() {
    for bits in patterns() {
        let float = f64::from_bits(bits);
        match Json::encode(&float) {
            Ok(json) => {
                let back: f64 = json.decode().expect("it is a number");
                assert_eq!(back.to_bits(), bits, "{float:e}: {}", json.as_str());
                let value = Wide::of(&json).expect("it is a number").value;
                assert_eq!(value.as_f64().map(f64::to_bits), Some(bits), "{float:e}");
            }
            Err(_) => assert!(!float.is_finite(), "{float:e} is refused"),
        }
        let float = f32::from_bits((bits >> 32) as u32);
        match Json::encode(&float) {
            Ok(json) => {
                let back: f32 = json.decode().expect("it is a number");
                assert_eq!(
                    back.to_bits(),
                    float.to_bits(),
                    "{float:e}: {}",
                    json.as_str()
                );
            }
            Err(_) => assert!(!float.is_finite(), "{float:e} is refused"),
        }
    }
}

#[track_caller]
fn refused(value: impl Serialize, says: &str) {
    let error = Json::encode(&value).expect_err(says);
    assert_eq!(error.to_string(), says);
    assert!(std::error::Error::source(&error).is_none());
}

#[derive(Serialize)]
struct Order {
    note: Option<String>,
    lines: Vec<Line>,
}

#[derive(Serialize)]
enum Line {
    Plain(f64),
    Priced { net: Option<f32> },
}

#[test]
fn what_is_no_finite_number_is_refused_by_its_place() {
    let text = "a number that is NaN or infinite can't be written as JSON";
    refused(f64::NAN, text);
    refused(f32::NEG_INFINITY, text);
    refused(Some(f64::INFINITY), text);
    refused((1, [0.5, f64::NAN]), &format!("{text} (at: [1][1])"));
    refused(
        BTreeMap::from([("secret", f64::NAN)]),
        &format!("{text} (at: […])"),
    );
    let order = |line| Order {
        note: None,
        lines: vec![Line::Plain(1.5), line],
    };
    refused(
        order(Line::Plain(f64::NAN)),
        &format!("{text} (at: lines[1].Plain)"),
    );
    let net = Some(f32::NAN);
    refused(
        order(Line::Priced { net }),
        &format!("{text} (at: lines[1].net)"),
    );
    let fine = order(Line::Priced { net: None });
    assert!(Json::encode(&fine).is_ok(), "`None` is `null` too");
}

struct Talks;

impl Serialize for Talks {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("4111-1111"))
    }
}

#[test]
fn what_a_type_says_of_its_value_is_not_handed_on() {
    let text = "the value can't be written as JSON: its type refuses it";
    refused(Talks, text);
    refused([[Talks]], &format!("{text} (at: [0][0])"));
    let keys = "the value can't be written as JSON, where the keys of a map are strings, numbers \
                or `bool`";
    refused(BTreeMap::from([((1, 2), 3)]), keys);
}

#[test]
fn what_is_deeper_than_it_can_be_read_is_refused() {
    let nested = |depth: usize| {
        let text = ["[".repeat(depth), "]".repeat(depth)].concat();
        RawValue::from_string(text).expect("it is JSON")
    };
    let deepest = Json::encode(&nested(127)).expect("it can be read");
    let _: serde_json::Value = deepest.decode().expect("it can be read");
    refused(
        nested(128),
        "the value is nested too deep for JSON (most: 127)",
    );
    Json::encode(&"[{\"[".repeat(200)).expect("these are in a text");
    Json::encode(&vec![[0; 1]; 500]).expect("these are beside one another");
}

#[track_caller]
fn told_apart(value: impl Serialize, are: bool) {
    let json = Json::encode(&value).expect("it is JSON");
    assert_eq!(json.tells_apart(&value).is_ok(), are, "{}", json.as_str());
}

#[test]
fn an_option_that_would_be_read_as_none_is_known() {
    told_apart(Some(None::<u8>), false);
    told_apart(vec![Some(())], false);
    told_apart(
        (None::<Option<u8>>, Some(Some(1)), Some([None::<u8>])),
        true,
    );
}

fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let json = Json::encode(value).expect("it is JSON");
    assert_eq!(&json.decode::<T>().expect("it is the same"), value);
}

#[test]
fn integers_of_128_bits_survive() {
    for number in [0, u128::MAX, u128::from(u64::MAX) + 1] {
        same(&number);
        same(&BTreeMap::from([("a".to_owned(), vec![Some(number)])]));
    }
    for number in [i128::MIN, i128::MAX, i128::from(i64::MIN) - 1] {
        same(&[number]);
    }
}

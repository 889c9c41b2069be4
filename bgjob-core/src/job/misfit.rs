//! Says where a JSON does not fit a type and what was expected there, never the value that was
//! found.
//!
//! Normal decoding is fast and says little. A value that failed to decode is decoded once more by
//! the deserializer here, which keeps track of its position. Its error can't hold a value: all of
//! its text comes from the type (what was expected, and names of fields). A map's key is data, so
//! it is not shown.

use std::fmt::{self, Display};

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, EnumAccess, Error as _, Expected, IntoDeserializer,
        MapAccess, SeqAccess, Unexpected, VariantAccess, Visitor, value::StrDeserializer,
    },
    forward_to_deserialize_any,
};
use serde_json::{Map, Value};

/// What does not fit, as in `at .user.email: expected a string, found a number`. `None` where
/// nothing can be said.
#[doc(hidden)]
pub fn misfit<T: DeserializeOwned>(value: &Value) -> Option<String> {
    let fault = T::deserialize(At(value)).err()?;
    (fault.what.is_some() || !fault.steps.is_empty()).then(|| fault.to_string())
}

/// A fault and the path to it, innermost step first.
#[derive(Debug)]
struct Fault {
    what: Option<String>,
    steps: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Field(&'static str),
    /// A key that is not a name of the type itself. It may be data, so it is not shown.
    Key,
    Place(usize),
}

impl Fault {
    fn new(what: impl Into<String>) -> Self {
        Self {
            what: Some(what.into()),
            steps: Vec::new(),
        }
    }

    fn within(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.steps.is_empty() {
            f.write_str("at ")?;
        }
        for step in self.steps.iter().rev() {
            match step {
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Key => f.write_str(".*")?,
                Step::Place(place) => write!(f, "[{place}]")?,
            }
        }
        match (&self.what, self.steps.is_empty()) {
            (Some(what), true) => f.write_str(what),
            (Some(what), false) => write!(f, ": {what}"),
            (None, _) => f.write_str(" is refused by its type"),
        }
    }
}

impl std::error::Error for Fault {}

impl serde::de::Error for Fault {
    /// Drops a text of the type's own code: it may quote the value.
    fn custom<T: Display>(_: T) -> Self {
        Self {
            what: None,
            steps: Vec::new(),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {}", kind(found)))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found another value"))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::new(format!("expected {expected}, found {length} of them"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("expected one of {}", expected.join(", ")))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        let known = expected.join(", ");
        Self::new(format!("a field it does not know; there are {known}"))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::new(format!("the field `{field}` is missing"))
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::new(format!("the field `{field}` is there twice"))
    }
}

fn kind(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "an object",
        _ => "something else",
    }
}

/// Deserializes one value.
#[derive(Clone, Copy)]
struct At<'a>(&'a Value);

impl<'de, 'a: 'de> Deserializer<'de> for At<'a> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::String(text) => visitor.visit_str(text),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::Array(list) => visitor.visit_seq(List(list, 0)),
            Value::Object(object) => visitor.visit_map(Fields::new(object, &[])),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Object(object) => visitor.visit_map(Fields::new(object, fields)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let (name, content) = match self.0 {
            Value::String(name) => (name, None),
            Value::Object(object) if object.len() == 1 => match object.iter().next() {
                Some((name, content)) => (name, Some(content)),
                None => return Err(Fault::custom("")),
            },
            _ => return Err(Fault::new("expected a variant's name, or an object of one")),
        };
        visitor.visit_enum(Variant {
            name,
            content,
            step: known(name, variants),
        })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

/// The step to a key. It has the name only where the type itself has that name.
fn known(key: &str, names: &'static [&'static str]) -> Step {
    let name = names.iter().find(|name| **name == key);
    name.map_or(Step::Key, |name| Step::Field(name))
}

struct List<'a>(&'a [Value], usize);

impl<'de, 'a: 'de> SeqAccess<'de> for List<'a> {
    type Error = Fault;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        let Some(value) = self.0.get(self.1) else {
            return Ok(None);
        };
        let place = Step::Place(self.1);
        self.1 += 1;
        let read = seed.deserialize(At(value));
        read.map(Some).map_err(|fault| fault.within(place))
    }
}

struct Fields<'a> {
    rest: serde_json::map::Iter<'a>,
    names: &'static [&'static str],
    entry: Option<(&'a String, &'a Value)>,
}

impl<'a> Fields<'a> {
    fn new(object: &'a Map<String, Value>, names: &'static [&'static str]) -> Self {
        Self {
            rest: object.iter(),
            names,
            entry: None,
        }
    }
}

impl<'de, 'a: 'de> MapAccess<'de> for Fields<'a> {
    type Error = Fault;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        self.entry = self.rest.next();
        let Some((key, _)) = self.entry else {
            return Ok(None);
        };
        let key: StrDeserializer<'_, Fault> = key.as_str().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        let (key, value) = self.entry.ok_or_else(|| Fault::custom(""))?;
        let read = seed.deserialize(At(value));
        read.map_err(|fault| fault.within(known(key, self.names)))
    }
}

struct Variant<'a> {
    name: &'a str,
    content: Option<&'a Value>,
    step: Step,
}

impl<'de, 'a: 'de> EnumAccess<'de> for Variant<'a> {
    type Error = Fault;
    type Variant = Content<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Content<'a>), Fault> {
        let name: StrDeserializer<'_, Fault> = self.name.into_deserializer();
        let variant = seed.deserialize(name)?;
        Ok((variant, Content(self.content, self.step)))
    }
}

/// What a variant holds.
struct Content<'a>(Option<&'a Value>, Step);

impl<'a> Content<'a> {
    fn value(&self) -> &'a Value {
        static NULL: Value = Value::Null;
        self.0.unwrap_or(&NULL)
    }
}

impl<'de, 'a: 'de> VariantAccess<'de> for Content<'a> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.value() {
            Value::Null => Ok(()),
            _ => Err(Fault::new("expected the variant's name alone").within(self.1)),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        let read = seed.deserialize(At(self.value()));
        read.map_err(|fault| fault.within(self.1))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Fault> {
        let read = At(self.value()).deserialize_any(visitor);
        read.map_err(|fault| fault.within(self.1))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let read = At(self.value()).deserialize_struct("", fields, visitor);
        read.map_err(|fault| fault.within(self.1))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only read into")]
    struct Order {
        user: User,
        lines: Vec<(u8, String)>,
        #[serde(default)]
        by_key: HashMap<String, u32>,
        kind: Option<Kind>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read into")]
    struct User {
        email: String,
        age: Option<u8>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[allow(dead_code, reason = "only read into")]
    enum Kind {
        Gift { to: u64 },
        Plain,
    }

    fn check(change: impl FnOnce(&mut Value), says: Option<&str>) {
        let mut order = json!({
            "user": { "email": "a@b.c", "age": 7 },
            "lines": [[1, "secret"], [2, "secret"]],
            "by_key": { "secret": 1 },
            "kind": { "gift": { "to": 1 } },
        });
        change(&mut order);
        assert_eq!(misfit::<Order>(&order).as_deref(), says);
    }

    #[test]
    fn it_is_said_where_it_is_and_what_was_expected_and_nothing_else() {
        check(|_| {}, None);
        let at = |path: &'static str, value: Value, says| {
            check(|order| *order.pointer_mut(path).expect(path) = value, says);
        };
        let says = |path, value, says| at(path, value, Some(says));
        says(
            "/user/email",
            json!(4111),
            "at .user.email: expected a string, found a whole number",
        );
        says(
            "/user/age",
            json!("secret"),
            "at .user.age: expected u8, found a string",
        );
        says(
            "/user/age",
            json!(4111),
            "at .user.age: expected u8, found another value",
        );
        says(
            "/user",
            json!({ "secret": 1 }),
            "at .user: a field it does not know; there are email, age",
        );
        says("/user", json!({}), "at .user: the field `email` is missing");
        says(
            "/lines/1/0",
            json!(true),
            "at .lines[1][0]: expected u8, found a boolean",
        );
        says(
            "/by_key/secret",
            json!("secret"),
            "at .by_key.*: expected u32, found a string",
        );
        says(
            "/kind",
            json!("secret"),
            "at .kind: expected one of gift, plain",
        );
        says(
            "/kind/gift/to",
            json!(-1),
            "at .kind.gift.to: expected u64, found another value",
        );
        says(
            "/kind",
            json!({ "plain": "secret" }),
            "at .kind.plain: expected the variant's name alone",
        );
        says("", json!("secret"), "expected struct Order, found a string");
    }

    #[test]
    fn what_a_type_s_own_code_says_may_be_the_value() {
        fn refuse<'de, D: Deserializer<'de>>(from: D) -> Result<(), D::Error> {
            let text: String = serde::Deserialize::deserialize(from)?;
            Err(D::Error::custom(text))
        }
        #[derive(Deserialize)]
        #[allow(dead_code, reason = "only read into")]
        struct Own {
            #[serde(deserialize_with = "refuse")]
            own: (),
        }
        let said = misfit::<Own>(&json!({ "own": "secret" }));
        assert_eq!(said.as_deref(), Some("at .own is refused by its type"));
    }
}

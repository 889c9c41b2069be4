//! Finds what a value's JSON would lose, by serializing the value into nothing.
//!
//! serde_json writes `null` for NaN, for infinity and for `Some(None)`, so nothing is lost where
//! the JSON has no `null`.

use std::fmt;

use serde::{Serialize, Serializer, ser};

/// Something in a value that JSON can't hold, and where.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) what: What,
    /// The path to it, innermost step first.
    path: Vec<ValueStep>,
}

/// What JSON can't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A number that is NaN or infinite.
    NotFinite,
    /// `Some(None)`, `Some(())`: an option that is read as `None`.
    LikeNone,
    /// The type itself refuses to be written.
    Other,
}

/// A step into a value. Keys of maps are data, and data is never shown.
#[derive(Debug)]
enum ValueStep {
    Field(&'static str),
    Nth(usize),
    Entry,
}

impl Refused {
    const fn new(what: What) -> Self {
        Self {
            what,
            path: Vec::new(),
        }
    }

    fn within(mut self, step: ValueStep) -> Self {
        self.path.push(step);
        self
    }

    /// The path to it, as in `prices[2].net`. Empty for the value itself.
    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        for step in self.path.iter().rev() {
            match step {
                ValueStep::Field(name) if path.is_empty() => path.push_str(name),
                ValueStep::Field(name) => path.extend([".", name]),
                ValueStep::Nth(nth) => path.push_str(&format!("[{nth}]")),
                ValueStep::Entry => path.push_str("[…]"),
            }
        }
        path
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}", self.what, self.path())
    }
}

impl std::error::Error for Refused {}

impl ser::Error for Refused {
    /// Drops the type's own message: it may quote the value.
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::new(What::Other)
    }
}

type Found = Result<(), Refused>;

/// Fails with the first thing in a value that JSON can't hold. Options that would be read back as
/// `None` count only with `like_none`.
pub(super) fn find<T: Serialize + ?Sized>(value: &T, like_none: bool) -> Found {
    value.serialize(Look {
        like_none,
        in_some: false,
    })
}

/// A serializer that only looks at the value.
#[derive(Debug, Clone, Copy)]
struct Look {
    like_none: bool,
    /// The value stands directly in a `Some`.
    in_some: bool,
}

impl Look {
    fn number(self, is_finite: bool) -> Found {
        if is_finite {
            Ok(())
        } else {
            Err(Refused::new(What::NotFinite))
        }
    }

    fn null(self) -> Found {
        if self.like_none && self.in_some {
            Err(Refused::new(What::LikeNone))
        } else {
            Ok(())
        }
    }

    fn into_value<T: Serialize + ?Sized>(self, value: &T, step: ValueStep) -> Found {
        let look = Self {
            in_some: false,
            ..self
        };
        value.serialize(look).map_err(|found| found.within(step))
    }

    fn parts(self) -> Result<Parts, Refused> {
        Ok(Parts { look: self, nth: 0 })
    }
}

macro_rules! fine {
    ($($name:ident: $type:ty,)*) => {$(
        fn $name(self, _: $type) -> Found {
            Ok(())
        }
    )*};
}

impl Serializer for Look {
    type Ok = ();
    type Error = Refused;
    type SerializeSeq = Parts;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Parts;
    type SerializeMap = Parts;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    fine! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_char: char,
        serialize_str: &str,
        serialize_bytes: &[u8],
    }

    fn serialize_f32(self, number: f32) -> Found {
        self.number(number.is_finite())
    }

    fn serialize_f64(self, number: f64) -> Found {
        self.number(number.is_finite())
    }

    fn serialize_none(self) -> Found {
        self.null()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Found {
        value.serialize(Self {
            in_some: true,
            ..self
        })
    }

    fn serialize_unit(self) -> Found {
        self.null()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Found {
        self.null()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Found {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Found {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Found {
        self.into_value(value, ValueStep::Field(variant))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Parts, Refused> {
        self.parts()
    }

    fn serialize_tuple(self, _: usize) -> Result<Parts, Refused> {
        self.parts()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts, Refused> {
        self.parts()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts, Refused> {
        self.parts()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Parts, Refused> {
        self.parts()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts, Refused> {
        self.parts()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts, Refused> {
        self.parts()
    }
}

/// Looks at the parts of a value, one after the other.
#[derive(Debug)]
struct Parts {
    look: Look,
    nth: usize,
}

impl Parts {
    fn next<T: Serialize + ?Sized>(&mut self, value: &T) -> Found {
        let nth = self.nth;
        self.nth += 1;
        self.look.into_value(value, ValueStep::Nth(nth))
    }
}

macro_rules! parts {
    ($($trait:ident: $method:ident,)*) => {$(
        impl ser::$trait for Parts {
            type Ok = ();
            type Error = Refused;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Found {
                self.next(value)
            }

            fn end(self) -> Found {
                Ok(())
            }
        }
    )*};
}

macro_rules! fields {
    ($($trait:ident,)*) => {$(
        impl ser::$trait for Parts {
            type Ok = ();
            type Error = Refused;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Found {
                self.look.into_value(value, ValueStep::Field(name))
            }

            fn end(self) -> Found {
                Ok(())
            }
        }
    )*};
}

parts! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

fields! {
    SerializeStruct,
    SerializeStructVariant,
}

impl ser::SerializeMap for Parts {
    type Ok = ();
    type Error = Refused;

    /// serde_json has refused a key that is no text before.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Found {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Found {
        self.look.into_value(value, ValueStep::Entry)
    }

    fn end(self) -> Found {
        Ok(())
    }
}

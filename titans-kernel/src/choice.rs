//! Choices: an enumeration declared once, with the byte that saved bytes hold, the name that files and people use, and
//! its list.

use crate::error::{Fault, Result};

/// A choice among some variants. [`choice!`](crate::choice!) declares it.
///
/// ```
/// use titans_kernel::Choice;
/// use titans_kernel::memory::Network;
///
/// assert_eq!((Network::Residual.name(), Network::Residual.code()), ("residual", 1));
/// assert_eq!((Network::of_name("plain"), Network::of_code(1)), (Some(Network::Plain), Ok(Network::Residual)));
/// assert_eq!(Network::RULE, "network: 0 plain, 1 residual");
/// ```
pub trait Choice: Copy + PartialEq + 'static {
    /// What is chosen, e.g. `"activation"`.
    const WHAT: &'static str;
    /// Every variant, in the order in which people read them.
    const ALL: &'static [Self];
    /// What is chosen, and every variant's byte and name in the order of [`Choice::ALL`], e.g. `"network: 0 plain, 1
    /// residual"`: the rule that a byte or a name breaks.
    const RULE: &'static str;

    /// The lower-case name, in configurations, on the command line and in reports.
    fn name(self) -> &'static str;

    /// The byte in blobs, states and the C interface. It is never given to another variant.
    fn code(self) -> u8;

    /// The variant of a name.
    fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|choice| choice.name() == name)
    }

    /// The variant of a byte.
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format) with the largest byte there is.
    fn of_code(code: u8) -> Result<Self> {
        let last = Self::ALL.iter().map(|choice| choice.code()).max().unwrap_or(0);
        let found = Self::ALL.iter().copied().find(|choice| choice.code() == code);
        found.ok_or(Fault::Corrupt.error(Self::WHAT, last.into(), code.into()))
    }
}

/// Declares an enumeration that is a [`Choice`]: `pub enum Name: "what is chosen" { Variant = byte, "name"; … }`,
/// documentation and attributes where an enumeration has them. `Clone`, `Copy`, `Debug`, `PartialEq` and `Eq` are
/// derived; with the feature `serde` its name is what is written and read.
#[macro_export]
macro_rules! choice {
    (
        $(#[$attribute:meta])*
        pub enum $name:ident: $what:literal {
            $($(#[$of_variant:meta])* $variant:ident = $code:literal, $text:literal;)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name {
            $($(#[$of_variant])* $variant = $code,)+
        }

        impl $crate::Choice for $name {
            const WHAT: &'static str = $what;
            const ALL: &'static [Self] = &[$(Self::$variant,)+];
            const RULE: &'static str = $crate::choice::listed!($what; $($code $text)+);

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }

            fn code(self) -> u8 {
                self as u8
            }
        }

        const _: () = assert!($crate::choice::distinct(&[$($text,)+]), "two variants have one name");

        $crate::choice::in_serde!($name);
    };
}

/// [`Choice::RULE`] of variants' bytes and names.
#[doc(hidden)]
#[macro_export]
macro_rules! __choice_listed {
    ($what:literal; $code:literal $text:literal $($more:literal $name:literal)*) => {
        concat!($what, ": ", $code, " ", $text $(, ", ", $more, " ", $name)*)
    };
}

#[doc(hidden)]
pub use __choice_listed as listed;

/// Whether no name is there twice; bytes are compared by the compiler.
#[doc(hidden)]
pub const fn distinct(names: &[&str]) -> bool {
    let mut i = 1;
    while i < names.len() {
        let mut j = 0;
        while j < i {
            if same(names[i].as_bytes(), names[j].as_bytes()) {
                return false;
            }
            j += 1;
        }
        i += 1;
    }
    true
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

#[doc(hidden)]
#[macro_export]
#[cfg(not(feature = "serde"))]
macro_rules! __choice_in_serde {
    ($name:ident) => {};
}

#[doc(hidden)]
#[macro_export]
#[cfg(feature = "serde")]
macro_rules! __choice_in_serde {
    ($name:ident) => {
        impl $crate::choice::serde::Serialize for $name {
            fn serialize<S: $crate::choice::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                serializer.serialize_str($crate::Choice::name(*self))
            }
        }

        impl<'de> $crate::choice::serde::Deserialize<'de> for $name {
            fn deserialize<D: $crate::choice::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                deserializer.deserialize_str($crate::choice::ByName::<Self>::default())
            }
        }
    };
}

#[doc(hidden)]
pub use __choice_in_serde as in_serde;

/// For [`choice!`](crate::choice!) in other crates.
#[cfg(feature = "serde")]
#[doc(hidden)]
pub use serde;

/// Reads a choice by its name.
#[cfg(feature = "serde")]
#[doc(hidden)]
#[derive(Debug)]
pub struct ByName<T>(core::marker::PhantomData<T>);

#[cfg(feature = "serde")]
impl<T> Default for ByName<T> {
    fn default() -> Self {
        Self(core::marker::PhantomData)
    }
}

#[cfg(feature = "serde")]
impl<T: Choice> serde::de::Visitor<'_> for ByName<T> {
    type Value = T;

    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "the {} by its name, one of ", T::WHAT)?;
        T::ALL.iter().enumerate().try_for_each(|(i, x)| write!(f, "{}{}", if i > 0 { ", " } else { "" }, x.name()))
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> core::result::Result<T, E> {
        T::of_name(name).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(name), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, distinct};
    use crate::memory::{Activation, Form, Loss, Network, Read};
    use crate::model::{Combine, GateSpan, Kind, MacFeed, MacRead, Mode, Wiring};

    #[test]
    fn names_and_bytes_lead_back_to_their_variants() {
        for &x in Activation::ALL {
            assert_eq!((Activation::of_name(x.name()), Activation::of_code(x.code())), (Some(x), Ok(x)));
        }
        assert!(Activation::of_code(Activation::ALL.len() as u8).is_err() && Activation::of_name("").is_none());
        assert!(distinct(&["a", "b", "ab", "ba"]) && !distinct(&["a", "ab", "b", "ab"]) && !distinct(&["", ""]));
    }

    #[test]
    fn a_rule_lists_every_variant() {
        fn listed<T: Choice>() -> std::string::String {
            let all: std::vec::Vec<_> = T::ALL.iter().map(|x| std::format!("{} {}", x.code(), x.name())).collect();
            std::format!("{}: {}", T::WHAT, all.join(", "))
        }
        assert_eq!(Activation::RULE, "activation: 0 silu, 1 gelu, 2 gelu-tanh, 3 relu, 4 identity");
        assert_eq!((Activation::RULE, Wiring::RULE), (&*listed::<Activation>(), &*listed::<Wiring>()));
        assert_eq!((Network::RULE, Mode::RULE), (&*listed::<Network>(), &*listed::<Mode>()));
    }

    /// What blobs and states that are out in the world hold.
    #[test]
    fn bytes_stay_what_they_were() {
        let codes = |of: &[u8]| of.to_vec();
        fn all<T: Choice>() -> std::vec::Vec<(u8, &'static str)> {
            T::ALL.iter().map(|x| (x.code(), x.name())).collect()
        }
        assert_eq!(all::<Activation>(), [(0, "silu"), (1, "gelu"), (2, "gelu-tanh"), (3, "relu"), (4, "identity")]);
        assert_eq!(all::<Loss>(), [(0, "sum"), (1, "half"), (2, "mean")]);
        assert_eq!(all::<Network>(), [(0, "plain"), (1, "residual")]);
        assert_eq!(all::<Read>(), [(0, "after"), (1, "before"), (2, "chunk-start")]);
        assert_eq!(all::<Kind>(), [(0, "lmm"), (1, "mac"), (2, "mag"), (3, "mal"), (4, "attention")]);
        assert_eq!(all::<Wiring>(), [(1, "residual"), (0, "letter")]);
        assert_eq!(all::<GateSpan>(), [(0, "token"), (1, "chunk")]);
        assert_eq!(all::<MacRead>(), [(0, "after"), (1, "segment")]);
        assert_eq!(all::<MacFeed>(), [(1, "split"), (2, "tokens"), (0, "output")]);
        assert_eq!(all::<Form>(), [(0, "token"), (1, "chunk")]);
        assert_eq!(all::<Mode>(), [(0, "on"), (1, "frozen"), (2, "absent")]);
        assert_eq!(codes(&[0, 1, 2, 3, 4, 5]), all::<Combine>().iter().map(|x| x.0).collect::<std::vec::Vec<_>>());
    }
}

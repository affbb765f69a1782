//! Names of the memory's choices, the same in configuration files, on the command line and in saved models.

use crate::error::{Error, Result};
use serde::{Deserialize, Deserializer, Serializer, de};
use titans_kernel::memory::{Activation, Loss, Network, Read};

/// A choice with a lower-case name.
pub trait Named: Copy + PartialEq + 'static {
    /// What is chosen, e.g. `"activation"`.
    const WHAT: &'static str;
    /// Every choice and its name.
    const ALL: &'static [(&'static str, Self)];

    /// The name.
    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, choice)| *choice == self).map_or("", |(name, _)| name)
    }

    /// The choice of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names there are.
    fn parse(name: &str) -> Result<Self> {
        Self::ALL.iter().find(|(n, _)| *n == name).map(|&(_, choice)| choice).ok_or_else(|| {
            let names = Self::ALL.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ");
            Error::usage(format!("{}: expected one of {names}, found {name}", Self::WHAT))
        })
    }
}

impl Named for Activation {
    const WHAT: &'static str = "activation";
    const ALL: &'static [(&'static str, Self)] = &[
        ("silu", Self::Silu),
        ("gelu", Self::Gelu),
        ("gelu-tanh", Self::GeluTanh),
        ("relu", Self::Relu),
        ("identity", Self::Identity),
    ];
}

impl Named for Network {
    const WHAT: &'static str = "network";
    const ALL: &'static [(&'static str, Self)] = &[("plain", Self::Plain), ("residual", Self::Residual)];
}

impl Named for Loss {
    const WHAT: &'static str = "loss";
    const ALL: &'static [(&'static str, Self)] = &[("sum", Self::Sum), ("half", Self::Half), ("mean", Self::Mean)];
}

impl Named for Read {
    const WHAT: &'static str = "read";
    const ALL: &'static [(&'static str, Self)] =
        &[("after", Self::After), ("before", Self::Before), ("chunk-start", Self::ChunkStart)];
}

/// `#[serde(with = "names")]` for a field of such a choice.
pub(super) fn serialize<T: Named, S: Serializer>(choice: &T, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(choice.name())
}

/// The other half of [`serialize`].
pub(super) fn deserialize<'de, T: Named, E: Deserializer<'de>>(deserializer: E) -> std::result::Result<T, E::Error> {
    T::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
}

/// `#[serde(with = "names::option")]` for a field that may be absent.
pub(super) mod option {
    use super::Named;
    use serde::{Deserialize, Deserializer, Serializer, de};

    /// Writes the name, or none.
    pub(in super::super) fn serialize<T: Named, S: Serializer>(
        choice: &Option<T>,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        match choice {
            Some(choice) => serializer.serialize_some(choice.name()),
            None => serializer.serialize_none(),
        }
    }

    /// Reads the name, if there is one.
    pub(in super::super) fn deserialize<'de, T: Named, E: Deserializer<'de>>(
        deserializer: E,
    ) -> std::result::Result<Option<T>, E::Error> {
        Option::<String>::deserialize(deserializer)?.map(|n| T::parse(&n).map_err(de::Error::custom)).transpose()
    }
}

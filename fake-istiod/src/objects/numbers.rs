//! Numbers with the bounds that the API server has for them, for `#[serde(deserialize_with)]`.

use std::fmt::Display;

use serde::{Deserialize, Deserializer, de};

/// A port, or 0 where none is as good as none: that is looked at with the rest of the object.
pub(super) fn port<'de, D: Deserializer<'de>, T: TryFrom<u16>>(deserializer: D) -> Result<T, D::Error> {
    let number = i64::deserialize(deserializer)?;
    let port = u16::try_from(number).ok().and_then(|port| T::try_from(port).ok());
    port.ok_or_else(|| de::Error::custom(format!("port {number} is out of range; expected 1 to 65535")))
}

/// As [`port`], if there is one.
pub(super) fn optional_port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    #[derive(Deserialize)]
    struct Port(#[serde(deserialize_with = "port")] u32);
    Ok(Option::<Port>::deserialize(deserializer)?.map(|Port(port)| port))
}

/// A count in Kubernetes, which is no negative number and has 31 bits.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    within(i64::deserialize(deserializer)?)
}

/// As [`count`], if there is one.
pub(super) fn optional_count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    Option::<i64>::deserialize(deserializer)?.map(within).transpose()
}

fn within<E: de::Error>(number: impl TryInto<i32> + Display + Copy) -> Result<u32, E> {
    let count = number.try_into().ok().and_then(|count| u32::try_from(count).ok());
    count.ok_or_else(|| E::custom(format!("{number} is out of range; expected 0 to {}", i32::MAX)))
}

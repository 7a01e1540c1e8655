//! Messages of protobuf as people write them and tools record them: the JSON mapping, read in JSON or YAML with the
//! place of every mistake, and written.
//!
//! <https://protobuf.dev/programming-guides/json/> specifies it. What the messages of xDS are made of is known by their
//! descriptors, which the build script collects.

mod found;
mod read;
mod scalar;
mod special;
mod write;

use std::sync::LazyLock;

use prost_reflect::DescriptorPool;

pub(crate) use found::find;
pub(crate) use write::write;

/// All messages that xDS resources are made of.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(&include_bytes!(concat!(env!("OUT_DIR"), "/xds-descriptors.bin"))[..])
        .expect("the build script has put the set together")
});

#[cfg(test)]
mod tests;

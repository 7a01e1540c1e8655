//! Buffers of calls.

use tonic::codec::BufferSettings;

/// For streams that live as long as their connection and are silent most of the time, as those of xDS: 1 KiB for each
/// direction, which grows when it must, instead of tonic's 8 KiB. A mesh in one process has four such directions for
/// each pod.
///
/// To be returned by `buffer_settings` of a [`tonic::codec::Encoder`] or [`tonic::codec::Decoder`].
#[must_use]
pub fn small_buffers() -> BufferSettings {
    BufferSettings::new(1 << 10, 32 << 10)
}

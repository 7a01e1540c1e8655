//! The messages that the JSON mapping writes in a way of its own.

use prost_reflect::MessageDescriptor;

/// Whether the JSON mapping writes messages of this type in a way of its own.
pub(super) fn is_special(message: &MessageDescriptor) -> bool {
    const SPECIAL: [&str; 15] = [
        "Any",
        "Duration",
        "Timestamp",
        "Struct",
        "Value",
        "ListValue",
        "DoubleValue",
        "FloatValue",
        "Int64Value",
        "UInt64Value",
        "Int32Value",
        "UInt32Value",
        "BoolValue",
        "StringValue",
        "BytesValue",
    ];
    message.package_name() == "google.protobuf" && SPECIAL.contains(&message.name())
}

//! Names of resources, old-style and `xdstp:` (gRFC A47).

use std::borrow::Cow;

/// The form under which names are compared: the context parameters of an `xdstp:` name in order of their keys. Other
/// names are left alone.
///
/// ```
/// # use hermesh_xds::resource::canonical_name;
/// assert_eq!(canonical_name("xdstp://a/envoy.config.cluster.v3.Cluster/x?b=2&a=1"),
///            "xdstp://a/envoy.config.cluster.v3.Cluster/x?a=1&b=2");
/// assert_eq!(canonical_name("outbound|80||x?b=2&a=1"), "outbound|80||x?b=2&a=1");
/// ```
#[must_use]
pub fn canonical_name(name: &str) -> Cow<'_, str> {
    let Some((path, parameters)) = name.split_once('?').filter(|_| name.starts_with("xdstp:")) else {
        return Cow::Borrowed(name);
    };
    let mut parameters: Vec<&str> = parameters.split('&').collect();
    if parameters.is_sorted() {
        return Cow::Borrowed(name);
    }
    parameters.sort_unstable();
    Cow::Owned(format!("{path}?{}", parameters.join("&")))
}

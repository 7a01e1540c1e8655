//! How people name one object: `deployment/web`, or `shop/deployment/web` in another namespace.

use std::fmt;
use std::str::FromStr;

use hermesh_istiod::objects::{Kind, ObjectKey};
use hermesh_istiod::yaml::nearest;

/// The kinds that kubectl knows by a shorter name.
const SHORT: [(&str, &str); 14] = [
    ("ap", "AuthorizationPolicy"),
    ("cm", "ConfigMap"),
    ("deploy", "Deployment"),
    ("dr", "DestinationRule"),
    ("ns", "Namespace"),
    ("pa", "PeerAuthentication"),
    ("po", "Pod"),
    ("sa", "ServiceAccount"),
    ("se", "ServiceEntry"),
    ("sts", "StatefulSet"),
    ("svc", "Service"),
    ("vs", "VirtualService"),
    ("we", "WorkloadEntry"),
    ("wg", "WorkloadGroup"),
];

/// An object's kind and name, and its namespace if it is another than usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectName {
    pub(crate) namespace: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

impl ObjectName {
    /// What identifies the object, where `namespace` is the usual one.
    pub(crate) fn key(&self, namespace: &str) -> ObjectKey {
        let namespace = self.namespace.as_deref().unwrap_or(namespace);
        ObjectKey::new(self.kind, if self.kind.is_namespaced() { namespace } else { "" }, &self.name)
    }

    /// A regular expression for names of objects.
    pub(crate) fn pattern() -> String {
        format!(r"^([^/\s]+/)?({})/[^/\s]+$", words().join("|"))
    }
}

/// What kinds are called here: in lower case, as on kubectl's command line.
fn words() -> Vec<String> {
    let long = Kind::ALL.iter().map(|kind| kind.name().to_lowercase());
    long.chain(SHORT.iter().map(|(short, _)| (*short).to_owned())).collect()
}

impl FromStr for ObjectName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (namespace, word, name) = match parts.as_slice() {
            [kind, name] => (None, *kind, *name),
            [namespace, kind, name] => (Some(*namespace), *kind, *name),
            _ => (None, "", ""),
        };
        if parts.iter().any(|part| part.is_empty() || part.contains(char::is_whitespace)) || word.is_empty() {
            return Err(format!("expected an object such as `deployment/web` or `shop/service/web`, found {text:?}"));
        }
        let long = SHORT.iter().find(|(short, _)| *short == word).map(|(_, kind)| kind.to_lowercase());
        let long = long.as_deref().unwrap_or(word);
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name().to_lowercase() == long) else {
            let words = words();
            return Err(match nearest(word, words.iter().map(String::as_str)) {
                Some(near) => format!("unknown kind {word:?} in {text:?}; did you mean `{near}`?"),
                None => format!("unknown kind {word:?} in {text:?}; expected one such as `deployment/{name}`"),
            });
        };
        if namespace.is_some() && !kind.is_namespaced() {
            return Err(format!("a {kind} has no namespace; write `{word}/{name}`"));
        }
        Ok(Self { namespace: namespace.map(str::to_owned), kind, name: name.to_owned() })
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{}/{}", self.kind.name().to_lowercase(), self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_as_for_kubectl() {
        let key = |text: &str| text.parse::<ObjectName>().map(|name| name.key("shop").to_string());
        assert_eq!(key("deployment/web"), Ok("Deployment shop/web".to_owned()));
        assert_eq!(key("bank/sts/db"), Ok("StatefulSet bank/db".to_owned()));
        assert_eq!(key("ns/shop"), Ok("Namespace shop".to_owned()));
        assert_eq!(key("virtualservice/web"), Ok("VirtualService shop/web".to_owned()));
    }

    #[test]
    fn what_is_no_name_of_an_object_is_explained() {
        for (text, expected) in [
            ("web", "expected an object such as `deployment/web` or `shop/service/web`, found \"web\""),
            ("deployment/", "expected an object such as `deployment/web` or `shop/service/web`, found \"deployment/\""),
            ("a/b/c/d", "expected an object such as `deployment/web` or `shop/service/web`, found \"a/b/c/d\""),
            ("deploymnt/web", "unknown kind \"deploymnt\" in \"deploymnt/web\"; did you mean `deployment`?"),
            ("shop/web", "unknown kind \"shop\" in \"shop/web\"; expected one such as `deployment/web`"),
            ("shop/namespace/shop", "a Namespace has no namespace; write `namespace/shop`"),
        ] {
            assert_eq!(text.parse::<ObjectName>(), Err(expected.to_owned()), "{text}");
        }
    }
}

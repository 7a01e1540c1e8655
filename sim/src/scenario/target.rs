//! How steps name what they act on: `workload`, `namespace/workload`, with `/ordinal` for one of its pods and
//! `/ordinal/container` for one of its containers.

use std::fmt;
use std::str::FromStr;

use super::read::is_decimal;

/// A workload, one of its pods, or one of its containers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    /// The namespace, if not the scenario's.
    pub namespace: Option<String>,
    /// The Deployment's name, or that of a Pod without one.
    pub workload: String,
    /// Which of its pods, from 0 in the order of their creation.
    pub ordinal: Option<usize>,
    /// Which of the pod's containers.
    pub container: Option<String>,
}

/// The word for everything there is, where a step takes it.
const ALL: &str = "all";

/// Regular expressions for targets as steps take them. A second part that is no number tells that the first is a
/// namespace.
pub(super) mod pattern {
    /// `web`, `shop/web`
    pub(in super::super) const WORKLOAD: &str = r"^(?!all$)([^/\s]+/(?![0-9]+$))?[^/\s]+$";

    /// `web`, `web/0`, `shop/web/0`
    pub(in super::super) const POD: &str = r"^(?!all$)([^/\s]+/(?![0-9]+(/|$)))?[^/\s]+(/[0-9]+)?$";

    /// `web/0/app`, `shop/web/0/app`
    pub(in super::super) const CONTAINER: &str = r"^([^/\s]+/(?![0-9]+/))?[^/\s]+/[0-9]+/[^/\s]+$";

    /// Any of these.
    pub(in super::super) const ANY: &str = r"^(?!all$)([^/\s]+/(?![0-9]+(/|$)))?[^/\s]+(/[0-9]+(/[^/\s]+)?)?$";
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected workload, workload/ordinal or workload/ordinal/container, found {text:?}");
        let parts: Vec<&str> = text.split('/').collect();
        if parts.iter().any(|part| part.is_empty() || part.contains(char::is_whitespace)) {
            return Err(wrong());
        }
        if text == ALL {
            return Err(format!("`{ALL}` is no workload; name those that are meant, one of that name as `shop/{ALL}`"));
        }
        let ordinal = |part: &str| part.parse::<usize>().ok().filter(|_| is_decimal(part));
        let (namespace, rest) = match parts.as_slice() {
            [namespace, workload, ..] if ordinal(workload).is_none() => (Some(*namespace), &parts[1..]),
            _ => (None, &parts[..]),
        };
        let (workload, at, container) = match rest {
            [workload] => (workload, None, None),
            [workload, at] => (workload, Some(at), None),
            [workload, at, container] => (workload, Some(at), Some(container)),
            _ => return Err(wrong()),
        };
        let at = at.map(|at| ordinal(at).ok_or_else(wrong)).transpose()?;
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            workload: (*workload).to_owned(),
            ordinal: at,
            container: container.map(|container| (*container).to_owned()),
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.workload)?;
        if let Some(ordinal) = self.ordinal {
            write!(f, "/{ordinal}")?;
        }
        match &self.container {
            Some(container) => write!(f, "/{container}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ordinal_tells_a_namespace_from_a_workload() {
        let parts = |text: &str| {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.to_string(), text);
            (target.namespace, target.workload, target.ordinal, target.container)
        };
        assert_eq!(parts("web"), (None, "web".into(), None, None));
        assert_eq!(parts("web/0"), (None, "web".into(), Some(0), None));
        assert_eq!(parts("web/1/app"), (None, "web".into(), Some(1), Some("app".into())));
        assert_eq!(parts("shop/web"), (Some("shop".into()), "web".into(), None, None));
        assert_eq!(parts("shop/web/0/app"), (Some("shop".into()), "web".into(), Some(0), Some("app".into())));
    }

    #[test]
    fn what_is_none_of_these_is_refused() {
        for text in ["", "/", "web/", "a/b/c", "a/b/c/d", "a b", "web/0/app/x/y"] {
            assert!(text.parse::<Target>().unwrap_err().contains(&format!("{text:?}")), "{text}");
        }
    }
}

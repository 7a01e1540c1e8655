//! The table that `kubectl get pods` prints.

use std::collections::BTreeMap;
use std::fmt;

use super::tables::aligned;

/// One pod as kubectl shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct PodRow {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The workload it belongs to: its Deployment, StatefulSet or Job, or itself.
    pub workload: String,
    /// What its containers take for their name: what echo answers with.
    #[serde(skip)]
    pub(crate) hostname: String,
    /// Its number among the workload's pods, from 0.
    pub ordinal: u32,
    /// `2/2`: ready containers and all, sidecars among them.
    pub ready: String,
    /// `Running`, `CrashLoopBackOff` and so on.
    pub status: String,
    /// How often its containers were restarted.
    pub restarts: u32,
    /// How the last run of each container ended, of those that have ended, as `kubectl describe pod` shows it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exits: BTreeMap<String, ContainerExit>,
    /// How long ago it was created, such as `58s`.
    pub age: String,
    /// Its address, once it has one.
    pub ip: Option<std::net::IpAddr>,
    /// The node it runs on, once it was given one.
    pub node: Option<String>,
    /// The names of its containers in the order in which they start, then those of its init containers.
    pub containers: Vec<String>,
}

/// How a run of a container ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ContainerExit {
    /// The exit code: 0 for success, 137 after SIGKILL, 101 after a panic, else what the program chose.
    pub code: i32,
    /// `Completed` or `Error`.
    pub reason: String,
}

impl fmt::Display for ContainerExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, exit code {}", self.reason, self.code)
    }
}

/// A workload's name as seen from `own`: with its namespace if that is another.
pub(super) fn qualified(namespace: &str, workload: &str, own: &str) -> String {
    if namespace == own { workload.to_owned() } else { format!("{namespace}/{workload}") }
}

impl PodRow {
    /// Whether all its containers are ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.split_once('/').is_some_and(|(ready, all)| ready == all) && self.status == "Running"
    }

    /// Whether it was deleted and is about to end.
    #[must_use]
    pub fn is_terminating(&self) -> bool {
        self.status == "Terminating"
    }
}

/// The rows of `kubectl get pods`; `Display` prints them under their headings.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct PodTable {
    /// A row a pod.
    pub rows: Vec<PodRow>,
    /// Of which namespace they are.
    #[serde(skip)]
    pub namespace: String,
}

impl fmt::Display for PodTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headings = ["NAME", "READY", "STATUS", "RESTARTS", "AGE"];
        let restarts: Vec<String> = self.rows.iter().map(|row| row.restarts.to_string()).collect();
        let mut rows: Vec<Vec<&str>> = Vec::new();
        for (row, restarts) in self.rows.iter().zip(&restarts) {
            rows.push(vec![&row.name, &row.ready, &row.status, restarts, &row.age]);
        }
        aligned(f, Some(&self.namespace), &headings, &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_looks_like_kubectls() {
        let row = |name: &str| PodRow {
            namespace: "echo-grpc".to_owned(),
            name: name.to_owned(),
            workload: "echo-v1".to_owned(),
            hostname: name.to_owned(),
            ordinal: 0,
            ready: "2/2".to_owned(),
            status: "Running".to_owned(),
            restarts: 0,
            exits: BTreeMap::new(),
            age: "58s".to_owned(),
            ip: None,
            node: None,
            containers: vec!["istio-proxy".to_owned(), "app".to_owned()],
        };
        let rows = vec![row("echo-v1-69d6d96cb7-gpcpd"), row("echo-v2-5c6cbf6dc7-dfhcb")];
        let table = PodTable { rows, namespace: "echo-grpc".to_owned() };
        let expected = "\
NAME                       READY   STATUS    RESTARTS   AGE
echo-v1-69d6d96cb7-gpcpd   2/2     Running   0          58s
echo-v2-5c6cbf6dc7-dfhcb   2/2     Running   0          58s
";
        assert_eq!(table.to_string(), expected);
    }
}

//! Tables as `kubectl get` prints them.

use std::fmt;

use hermesh_istiod::objects::Kind;
use serde::ser::{Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::Mesh;

/// What [`Mesh::get`] lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Listed {
    /// The nodes of the cluster.
    Nodes,
    /// Deployments.
    Deployments,
    /// StatefulSets.
    StatefulSets,
    /// Jobs.
    Jobs,
    /// Services.
    Services,
    /// The ready endpoints of Services.
    Endpoints,
}

impl Listed {
    pub(crate) const ALL: [Self; 6] =
        [Self::Nodes, Self::Deployments, Self::StatefulSets, Self::Jobs, Self::Services, Self::Endpoints];

    /// What it is called after `kubectl get`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Deployments => "deployments",
            Self::StatefulSets => "statefulsets",
            Self::Jobs => "jobs",
            Self::Services => "services",
            Self::Endpoints => "endpoints",
        }
    }

    /// The kind of object that has a row.
    pub(crate) fn kind(self) -> Kind {
        match self {
            Self::Nodes => Kind::Node,
            Self::Deployments => Kind::Deployment,
            Self::StatefulSets => Kind::StatefulSet,
            Self::Jobs => Kind::Job,
            Self::Services | Self::Endpoints => Kind::Service,
        }
    }
}

/// A table of `kubectl get`; `Display` prints it under its headings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Table {
    /// `NAME` and so on.
    pub headings: Vec<&'static str>,
    /// A row an object, with a cell for each heading.
    pub rows: Vec<Vec<String>>,
    /// Of which namespace its objects are; nodes are of none.
    pub namespace: Option<String>,
}

impl Table {
    /// The cell of the object `name` under `heading`.
    #[must_use]
    pub fn cell(&self, name: &str, heading: &str) -> Option<&str> {
        let column = self.headings.iter().position(|known| *known == heading)?;
        let row = self.rows.iter().find(|row| row.first().is_some_and(|own| own == name))?;
        row.get(column).map(String::as_str)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows: Vec<Vec<&str>> = self.rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        aligned(f, self.namespace.as_deref(), &self.headings, &rows)
    }
}

/// An object for each row, with the headings as keys.
impl Serialize for Table {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Row<'a>(&'a [&'static str], &'a [String]);
        impl Serialize for Row<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut row = serializer.serialize_map(Some(self.0.len()))?;
                for (heading, cell) in self.0.iter().zip(self.1) {
                    row.serialize_entry(heading, cell)?;
                }
                row.end()
            }
        }
        let mut rows = serializer.serialize_seq(Some(self.rows.len()))?;
        for row in &self.rows {
            rows.serialize_element(&Row(&self.headings, row))?;
        }
        rows.end()
    }
}

/// Writes rows under their headings as kubectl does: three spaces between columns, and nothing after the last.
/// Without any, it says where there are none.
pub(super) fn aligned(
    f: &mut fmt::Formatter<'_>,
    namespace: Option<&str>,
    headings: &[&str],
    rows: &[Vec<&str>],
) -> fmt::Result {
    if rows.is_empty() {
        return match namespace {
            Some(namespace) => writeln!(f, "No resources found in {namespace} namespace."),
            None => writeln!(f, "No resources found"),
        };
    }
    let lines = || std::iter::once(headings).chain(rows.iter().map(Vec::as_slice));
    let cell = |line: &[&str], column: usize| line.get(column).map_or(0, |cell| cell.chars().count());
    let width = |column| lines().map(|line| cell(line, column)).max().unwrap_or_default();
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    for row in lines() {
        let Some((last, before)) = row.split_last() else { continue };
        for (cell, width) in before.iter().zip(&widths) {
            write!(f, "{cell:<width$}   ")?;
        }
        writeln!(f, "{last}")?;
    }
    Ok(())
}

/// What there is to see of the cluster.
impl Mesh {
    /// Nodes, or the objects of a kind in the mesh's namespace, as `kubectl get` shows them.
    #[must_use]
    pub fn get(&self, listed: Listed) -> Table {
        self.cluster.table(listed, &self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        Table {
            headings: vec!["NAME", "ENDPOINTS", "AGE"],
            rows: vec![row(["cart", "10.244.0.3:7070,10.244.0.4:7070", "58s"]), row(["payments", "<none>", "2m"])],
            namespace: Some("shop".to_owned()),
        }
    }

    #[test]
    fn where_there_is_nothing_it_says_so() {
        let empty = Table { rows: Vec::new(), ..table() };
        assert_eq!(empty.to_string(), "No resources found in shop namespace.\n");
        assert_eq!(Table { namespace: None, ..empty }.to_string(), "No resources found\n");
    }

    #[test]
    fn columns_are_aligned_as_kubectl_aligns_them() {
        let expected = "\
NAME       ENDPOINTS                         AGE
cart       10.244.0.3:7070,10.244.0.4:7070   58s
payments   <none>                            2m
";
        assert_eq!(table().to_string(), expected);
    }

    #[test]
    fn a_cell_is_found_by_name_and_heading_and_as_json() {
        assert_eq!(table().cell("payments", "ENDPOINTS"), Some("<none>"));
        assert_eq!((table().cell("nobody", "AGE"), table().cell("cart", "STATUS")), (None, None));
        let json = serde_json::to_value(table()).unwrap();
        assert_eq!(json[1], serde_json::json!({"NAME": "payments", "ENDPOINTS": "<none>", "AGE": "2m"}));
    }
}

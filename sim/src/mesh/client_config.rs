//! What xDS clients have asked for, accepted and rejected, as their own status discovery tells (CSDS, gRFC A40).

use std::fmt;

use envoy_types::pb::envoy::admin::v3::ClientResourceStatus;
use envoy_types::pb::envoy::service::status::v3::ClientStatusRequest;
use hermesh_xds::{ClientStatusDiscovery, ResourceType};

use super::{DisturbError, Fault, Mesh};

/// One resource of one xDS client.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ClientResource {
    /// The process whose client it is: `namespace/pod/container`.
    pub process: String,
    /// A channel's target, or `#server` for the client of the process's servers.
    pub client: String,
    /// `LDS`, `RDS`, `CDS` or `EDS`.
    #[serde(rename = "type")]
    pub resource_type: &'static str,
    /// Its name.
    pub name: String,
    /// `REQUESTED`, `DOES_NOT_EXIST`, `ACKED` or `NACKED`.
    pub status: &'static str,
    /// The version in use; empty if there is none.
    pub version: String,
    /// Why the client rejected the last copy, if it did.
    pub error: Option<String>,
}

/// The resources of all xDS clients of some pods; `Display` prints them as a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ClientConfig(pub Vec<ClientResource>);

impl Mesh {
    /// What the xDS clients of a workload's pods, or of one of them, have asked for and what has become of it: of each
    /// process that runs there, loads among them.
    ///
    /// # Panics
    /// If there is no such workload or pod.
    #[track_caller]
    pub fn client_config(&mut self, target: &str) -> ClientConfig {
        let result = self.try_client_config(target);
        self.must("client_config", result)
    }

    /// [`client_config`](Self::client_config) without panics.
    ///
    /// # Errors
    /// If there is no such workload or pod, or if a process of it is paused.
    pub fn try_client_config(&mut self, target: &str) -> Result<ClientConfig, DisturbError> {
        let pods = self.choose(target)?.pods;
        let world = self.world().clone();
        let containers = pods.iter().filter_map(|row| self.net(row)).flat_map(|net| world.containers(net));
        let running: Vec<_> = containers.filter(|id| world.status(*id).is_none()).collect();
        if let Some(paused) = running.iter().find(|id| world.is_paused(**id)) {
            return Err(DisturbError::Paused(world.container_name(*paused).to_string()));
        }
        let told = async {
            let mut resources = Vec::new();
            for id in running {
                let discovery = ClientStatusDiscovery::new(&world.runtime_in(id));
                let request = ClientStatusRequest { exclude_resource_contents: true, ..ClientStatusRequest::default() };
                let Ok(status) = discovery.client_status(&request).await else { continue };
                for client in status.config {
                    let process = world.container_name(id).to_string();
                    resources.extend(client.generic_xds_configs.into_iter().map(|config| {
                        ClientResource {
                            process: process.clone(),
                            client: client.client_scope.clone(),
                            resource_type: ResourceType::from_type_url(&config.type_url)
                                .map_or("", ResourceType::short),
                            status: ClientResourceStatus::try_from(config.client_status)
                                .unwrap_or(ClientResourceStatus::Unknown)
                                .as_str_name(),
                            name: config.name,
                            version: config.version_info,
                            error: config.error_state.map(|error| error.details),
                        }
                    }));
                }
            }
            resources
        };
        let told = self.simulation.block_on(told);
        self.check_fault()?;
        Ok(ClientConfig(told.map_err(Fault::from)?))
    }
}

impl ClientConfig {
    /// The resource of this type and name, of the first client that has it.
    #[must_use]
    pub fn get(&self, resource_type: ResourceType, name: &str) -> Option<&ClientResource> {
        self.0.iter().find(|resource| resource.resource_type == resource_type.short() && resource.name == name)
    }
}

impl fmt::Display for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heading = ["PROCESS", "CLIENT", "TYPE", "NAME", "STATUS", "VERSION"].map(str::to_owned);
        let cells = |row: &ClientResource| {
            let process = row.process.split_once('/').map_or(&*row.process, |(_, rest)| rest);
            [process, &row.client, row.resource_type, &row.name, row.status, &row.version].map(str::to_owned)
        };
        let rows: Vec<[String; 6]> = std::iter::once(heading).chain(self.0.iter().map(cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
        let errors = std::iter::once(None).chain(self.0.iter().map(|row| row.error.as_deref()));
        for (row, error) in rows.iter().zip(errors) {
            for (column, cell) in row[..5].iter().enumerate() {
                write!(f, "{cell:<width$}   ", width = width(column))?;
            }
            writeln!(f, "{}", row[5])?;
            if let Some(error) = error {
                writeln!(f, "  {error}")?;
            }
        }
        Ok(())
    }
}

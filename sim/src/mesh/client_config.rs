//! What xDS clients have asked for, accepted and rejected, as their own status discovery tells (CSDS, gRFC A40).

use std::fmt;

use envoy_types::pb::envoy::admin::v3::ClientResourceStatus;
use envoy_types::pb::envoy::service::status::v3::ClientStatusRequest;
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use hermesh_xds::{ClientStatusDiscovery, ResourceType};

use super::{DisturbError, Fault, Mesh, Resource};

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
    /// The version of the copy that it rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rejected_version: Option<String>,
    /// The copy in use; none if there is none, and where only a table is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
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
                let Ok(status) = discovery.client_status(&ClientStatusRequest::default()).await else { continue };
                for client in status.config {
                    let process = world.container_name(id).to_string();
                    let configs = client.generic_xds_configs.into_iter();
                    resources.extend(configs.map(|config| resource(&process, &client.client_scope, config)));
                }
            }
            resources
        };
        let told = self.simulation.block_on(told);
        self.check_fault()?;
        Ok(ClientConfig(told.map_err(Fault::from)?))
    }
}

fn resource(process: &str, client: &str, config: GenericXdsConfig) -> ClientResource {
    let status = ClientResourceStatus::try_from(config.client_status).unwrap_or(ClientResourceStatus::Unknown);
    let (error, rejected_version) = config.error_state.map(|error| (error.details, error.version_info)).unzip();
    ClientResource {
        process: process.to_owned(),
        client: client.to_owned(),
        resource_type: ResourceType::from_type_url(&config.type_url).map_or("", ResourceType::short),
        name: config.name,
        status: status.as_str_name(),
        version: config.version_info,
        error,
        rejected_version,
        resource: config.xds_config.and_then(|body| Resource::new(body).ok()),
    }
}

impl ClientConfig {
    /// The same without the resources themselves.
    #[must_use]
    pub fn without_contents(mut self) -> Self {
        self.0.iter_mut().for_each(|row| row.resource = None);
        self
    }

    /// All of it as JSON: a list with an object for each resource, in which `resource` is the copy in use in protobuf's
    /// JSON mapping ([`Resource::to_json`]).
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::to_value(self).expect("texts and JSON always have a JSON form")
    }

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

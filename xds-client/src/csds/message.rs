//! From what a client knows to what the service says (gRFC A40).

use std::time::Duration;

use envoy_types::pb::envoy::admin::v3::{ClientResourceStatus, UpdateFailureState};
use envoy_types::pb::envoy::service::status::v3::ClientConfig;
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use envoy_types::pb::google::protobuf::{Any, Timestamp};

use crate::ads::client::{ClientStatus, ErrorState, ResourceStatus};
use crate::client::ClientState;

/// One client; resources without their contents unless `with_contents`.
pub(super) fn client_config(client: ClientState, with_contents: bool) -> ClientConfig {
    let resources = client.resources.into_iter();
    ClientConfig {
        node: Some(client.bootstrap.node.to_proto()),
        generic_xds_configs: resources.map(|resource| generic_xds_config(resource, with_contents)).collect(),
        client_scope: client.key,
        ..Default::default()
    }
}

/// One resource. Version, time and contents are those of the copy in use; a rejected copy has its own in `error_state`,
/// without `failed_configuration`, since clients do not keep it.
fn generic_xds_config(resource: ResourceStatus, with_contents: bool) -> GenericXdsConfig {
    let type_url = resource.resource_type.type_url();
    let contents = resource.raw.filter(|_| with_contents);
    GenericXdsConfig {
        type_url: type_url.to_owned(),
        name: resource.name,
        version_info: resource.version.to_string(),
        xds_config: contents.map(|raw| Any { type_url: type_url.to_owned(), value: raw.into() }),
        last_updated: resource.last_updated.map(timestamp),
        client_status: client_status(resource.client_status).into(),
        error_state: resource.error.map(error_state),
        ..Default::default()
    }
}

/// A resource that was not sent in time counts as missing: gRFC A88's TIMEOUT is for servers that ask for it by a
/// feature, and its RECEIVED_ERROR for responses with errors in them; this client knows neither.
fn client_status(status: ClientStatus) -> ClientResourceStatus {
    match status {
        ClientStatus::Requested => ClientResourceStatus::Requested,
        ClientStatus::DoesNotExist => ClientResourceStatus::DoesNotExist,
        ClientStatus::Acked => ClientResourceStatus::Acked,
        ClientStatus::Nacked => ClientResourceStatus::Nacked,
    }
}

fn error_state(error: ErrorState) -> UpdateFailureState {
    UpdateFailureState {
        failed_configuration: None,
        last_update_attempt: Some(timestamp(error.at)),
        details: error.message.to_string(),
        version_info: error.version.to_string(),
    }
}

/// A time since 1970.
fn timestamp(wall: Duration) -> Timestamp {
    let seconds = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
    let nanos = i32::try_from(wall.subsec_nanos()).expect("less than a second");
    Timestamp { seconds, nanos }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::ResourceType;

    const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

    fn resource(client_status: ClientStatus, good: Option<&'static str>, bad: Option<&'static str>) -> ResourceStatus {
        ResourceStatus {
            resource_type: ResourceType::Cluster,
            name: "c".to_owned(),
            client_status,
            version: good.unwrap_or_default().into(),
            last_updated: good.map(|_| Duration::from_millis(1500)),
            raw: good.map(|version| version.as_bytes().into()),
            error: bad.map(|version| ErrorState {
                message: "no type".into(),
                version: version.into(),
                at: Duration::new(7, 9),
            }),
        }
    }

    #[test]
    fn every_status_says_what_grpc_says_of_it() {
        let in_use =
            Some((Timestamp { seconds: 1, nanos: 500_000_000 }, Any { type_url: CLUSTER.into(), value: b"1".into() }));
        let rejected = Some(UpdateFailureState {
            failed_configuration: None,
            last_update_attempt: Some(Timestamp { seconds: 7, nanos: 9 }),
            details: "no type".to_owned(),
            version_info: "2".to_owned(),
        });
        for (status, good, bad, client_status, version_info, contents, error_state) in [
            (ClientStatus::Requested, None, None, ClientResourceStatus::Requested, "", None, None),
            (ClientStatus::DoesNotExist, None, None, ClientResourceStatus::DoesNotExist, "", None, None),
            (ClientStatus::Acked, Some("1"), None, ClientResourceStatus::Acked, "1", in_use.clone(), None),
            (ClientStatus::Nacked, None, Some("2"), ClientResourceStatus::Nacked, "", None, rejected.clone()),
            (ClientStatus::Nacked, Some("1"), Some("2"), ClientResourceStatus::Nacked, "1", in_use, rejected),
        ] {
            let (last_updated, xds_config) = contents.unzip();
            let expected = GenericXdsConfig {
                type_url: CLUSTER.to_owned(),
                name: "c".to_owned(),
                version_info: version_info.to_owned(),
                xds_config,
                last_updated,
                client_status: client_status.into(),
                error_state,
                ..Default::default()
            };
            assert_eq!(generic_xds_config(resource(status, good, bad), true), expected, "{status:?}");
            let without = GenericXdsConfig { xds_config: None, ..expected };
            assert_eq!(generic_xds_config(resource(status, good, bad), false), without, "{status:?}");
        }
    }
}

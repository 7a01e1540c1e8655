//! Connections to istiod: name, roots and token are read anew for each.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hermesh_runtime::http2::{CallError, ConnectOptions, Connection, Keepalive, connect_on};
use hermesh_runtime::tls::{ClientTls, Identity, PeerRule, TrustBundle};
use hermesh_runtime::{EventId, Runtime, Trail};
use tonic::body::Body;
use tonic::metadata::{MetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::TokenMissing;
use crate::publish::FILES;
use crate::settings::Settings;

/// `GRPC_KEEPALIVE_INTERVAL` and `GRPC_KEEPALIVE_TIMEOUT`, in both directions.
pub(crate) const KEEPALIVE: Keepalive =
    Keepalive { interval: Duration::from_secs(30), timeout: Duration::from_secs(10), while_idle: false };

/// Port of istiod's plaintext xDS and certificate service.
const PLAINTEXT_PORT: &str = ":15010";

/// A server of the control plane.
pub(crate) struct Upstream<'a> {
    /// `host:port`.
    pub(crate) address: &'a str,
    /// The name that its certificate must carry, and the file with the roots it must chain to.
    pub(crate) tls: Option<(&'a str, &'a Path)>,
    /// The directory with the certificate to show, if there is to be one.
    pub(crate) identity: Option<&'a PathBuf>,
}

impl<'a> Upstream<'a> {
    /// The xDS server.
    pub(crate) fn xds(settings: &'a Settings) -> Self {
        let with_tls = settings.proxy.control_plane_tls;
        let tls = with_tls.then_some((settings.istiod_name.as_str(), settings.xds_root.as_path()));
        Self { address: &settings.proxy.discovery_address, tls, identity: settings.provisioned_certs.as_ref() }
    }

    /// The certificate authority.
    pub(crate) fn authority(settings: &'a Settings) -> Self {
        let plaintext = settings.ca_address.ends_with(PLAINTEXT_PORT);
        let tls = (!plaintext).then_some((settings.ca_name.as_str(), settings.ca_root.as_path()));
        Self { address: &settings.ca_address, tls, identity: settings.provisioned_certs.as_ref() }
    }

    /// Opens a connection, trying one address of the host after another.
    pub(crate) async fn connect(&self, rt: &Runtime, cause: Option<EventId>) -> Result<Client, Unreached> {
        let tls = match self.tls {
            Some((name, root)) => {
                let identity = match self.identity {
                    Some(directory) => provisioned(rt, directory).await,
                    None => None,
                };
                Some(client_tls(rt, name, root, identity).await?)
            }
            None => None,
        };
        let options = ConnectOptions { tls, keepalive: Some(KEEPALIVE), cause, ..ConnectOptions::default() };
        let mut last = None;
        for address in self.resolve(rt, options.deadline).await? {
            match connect_on(rt, &Trail::because(cause), address.into(), &options).await {
                Ok((connection, _closed)) => return Ok(Client(connection)),
                Err(error) => last = Some(Unreached { status: error.status(), event: error.event }),
            }
        }
        Err(last.unwrap_or_else(|| Status::unavailable(format!("{}: no address", self.address)).into()))
    }

    /// The `:scheme` and `:authority` of calls.
    pub(crate) fn origin(&self) -> http::Uri {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let uri = http::Uri::builder().scheme(scheme).authority(self.address).path_and_query("/").build();
        // An address that is no authority has failed to resolve before.
        uri.unwrap_or_else(|_| http::Uri::from_static("http://istiod"))
    }

    async fn resolve(&self, rt: &Runtime, limit: Duration) -> Result<Vec<SocketAddr>, Status> {
        let unresolved = |error: &dyn std::fmt::Display| Status::unavailable(format!("{}: {error}", self.address));
        let (host, port) = self.address.rsplit_once(':').ok_or_else(|| unresolved(&"no port"))?;
        let port: u16 = port.parse().map_err(|_| unresolved(&"no port"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => match tokio::time::timeout(limit, rt.resolve(host)).await {
                Ok(found) => found.map_err(|error| unresolved(&error))?,
                Err(_) => return Err(unresolved(&format_args!("lookup {host}: i/o timeout"))),
            },
        };
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}

/// Fills in who calls: the cluster, the token as it is on disk now, and headers from the environment.
pub(crate) async fn credentials(
    rt: &Runtime,
    settings: &Settings,
    headers: &[(String, String)],
    cause: Option<EventId>,
    metadata: &mut MetadataMap,
) {
    let mut insert = |name: &str, value: &str| {
        let key = MetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes());
        if let (Ok(key), Ok(value)) = (key, MetadataValue::try_from(value)) {
            metadata.insert(key, value);
        }
    };
    if !settings.cluster_id.is_empty() {
        insert("ClusterID", &settings.cluster_id);
    }
    for (name, value) in headers {
        insert(name, value);
    }
    match rt.read(&settings.token).await {
        Ok(token) => insert("authorization", &format!("Bearer {}", String::from_utf8_lossy(&token).trim())),
        Err(error) => {
            let path = settings.token.display().to_string();
            rt.emit_because(cause, TokenMissing { path, error: error.to_string() });
        }
    }
}

/// The certificate in a directory as it is now. One that is not there, cannot be read or has expired is not shown: the
/// token has to do.
async fn provisioned(rt: &Runtime, directory: &Path) -> Option<Identity> {
    let [key, chain, _] = FILES;
    let (chain, key) = (rt.read(directory.join(chain)).await.ok()?, rt.read(directory.join(key)).await.ok()?);
    let identity = Identity::from_pem(rt, &chain, &key).ok()?;
    (identity.not_after() > rt.wall()).then_some(identity)
}

async fn client_tls(rt: &Runtime, name: &str, root: &Path, identity: Option<Identity>) -> Result<ClientTls, Status> {
    let unusable =
        |error: &dyn std::fmt::Display| Status::unavailable(format!("root certificate {}: {error}", root.display()));
    let pem = rt.read(root).await.map_err(|error| unusable(&error))?;
    let trust = TrustBundle::from_pem(&pem).map_err(|error| unusable(&error))?;
    ClientTls::new(rt, name, trust, identity, PeerRule::dns(name)).map_err(|error| unusable(&error))
}

/// Why there is no connection or no answer, and the event that tells of it.
#[derive(Debug)]
pub(crate) struct Unreached {
    pub(crate) status: Status,
    pub(crate) event: Option<EventId>,
}

impl From<Status> for Unreached {
    fn from(status: Status) -> Self {
        Self { status, event: None }
    }
}

/// A connection as tonic's clients take one.
#[derive(Clone)]
pub(crate) struct Client(Connection);

impl Client {
    /// The event that tells of the connection.
    pub(crate) fn event(&self) -> Option<EventId> {
        self.0.event()
    }

    /// The event behind what goes wrong with it.
    pub(crate) fn trouble(&self) -> Option<EventId> {
        self.0.trouble()
    }

    /// The event of the server that tells how it ended the call to `path` on this connection, if it did.
    pub(crate) fn refusal(&self, rt: &Runtime, path: &str) -> Option<EventId> {
        rt.received(&format!("{}{path}", self.0.local_address()))
    }

    /// Whether it takes no more calls.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl tower_service::Service<http::Request<Body>> for Client {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let call = self.0.call(request);
        Box::pin(async move {
            call.await.map_err(|error| match error {
                CallError::Unsent { status, .. } | CallError::Failed(status) => status,
                other => Status::new(Code::Unavailable, other.to_string()),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use hermesh_test_support::{InMemory, Process, Setup};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_name_server_is_not_waited_for_longer_than_a_connection() {
        let rt = Process::new(Setup::new().network(InMemory::with_silent_names())).rt;
        let begin = tokio::time::Instant::now();
        let upstream = Upstream { address: "istiod.istio-system.svc:15012", tls: None, identity: None };
        let Unreached { status, .. } = upstream.connect(&rt, None).await.map(drop).unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let text = "istiod.istio-system.svc:15012: lookup istiod.istio-system.svc: i/o timeout";
        assert_eq!((status.message(), begin.elapsed().as_secs()), (text, 20));
    }
}

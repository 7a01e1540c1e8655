//! How to speak TLS as a client and as a server.

use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, Error, ServerConfig};
use rustls_pki_types::{CertificateDer, IpAddr, Ipv4Addr, ServerName, UnixTime};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use super::verify::Verifier;
use super::{Identity, PeerCertificate, PeerRule, TrustBundle};
use crate::Runtime;
use crate::http2::Io;

const ALPN_HTTP2: &[u8] = b"h2";

/// How a client speaks TLS. Cheap to clone.
#[derive(Clone)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    server_name: ServerName<'static>,
}

impl ClientTls {
    /// `server_name` is what the server is told to be asked for (SNI); it is not compared with the certificate, see
    /// [`PeerRule::dns`]. If it is empty, or an IP address, nothing is told. Without an `identity` the client
    /// stays anonymous.
    ///
    /// # Errors
    /// If `server_name` is no host name, or the runtime's cryptography knows no TLS version.
    pub fn new(
        rt: &Runtime,
        server_name: &str,
        trust: TrustBundle,
        identity: Option<Identity>,
        rule: PeerRule,
    ) -> Result<Self, Error> {
        let crypto = rt.crypto();
        let verifier = Arc::new(Verifier::new(&crypto, trust, rule, true));
        let builder = ClientConfig::builder_with_details(crypto, Arc::new(WallClock(rt.clone())))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Some(identity) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        config.resumption = Resumption::disabled();
        let server_name = match server_name {
            // rustls sends no IP address as server name.
            "" => ServerName::IpAddress(IpAddr::V4(Ipv4Addr::from([0; 4]))),
            name => ServerName::try_from(name.to_owned())
                .map_err(|error| Error::General(format!("server name `{name}`: {error}")))?,
        };
        Ok(Self { config: Arc::new(config), server_name })
    }

    pub(crate) async fn connect<S: Io>(&self, stream: S) -> io::Result<(client::TlsStream<S>, PeerCertificate)> {
        let stream = TlsConnector::from(Arc::clone(&self.config)).connect(self.server_name.clone(), stream).await?;
        let session = stream.get_ref().1;
        if session.alpn_protocol() != Some(ALPN_HTTP2) {
            // grpc-go refuses such servers since 1.67.
            return Err(io::Error::other("credentials: cannot check peer: missing selected ALPN property"));
        }
        let peer = read(session.peer_certificates())?.ok_or(io::ErrorKind::InvalidData)?;
        Ok((stream, peer))
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

/// Which clients a server wants to know.
#[derive(Clone, Debug)]
pub enum ClientAuth {
    /// It asks for no certificate.
    None,
    /// It asks for a certificate and verifies it if there is one.
    Optional(TrustBundle),
    /// It refuses clients without a certificate that it can verify.
    Required(TrustBundle),
}

/// How a server speaks TLS. Cheap to clone.
#[derive(Clone)]
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// A server that shows `identity` and wants to know its `clients`.
    ///
    /// # Errors
    /// If the runtime's cryptography knows no TLS version.
    pub fn new(rt: &Runtime, identity: Identity, clients: ClientAuth) -> Result<Self, Error> {
        let crypto = rt.crypto();
        let builder = ServerConfig::builder_with_details(Arc::clone(&crypto), Arc::new(WallClock(rt.clone())))
            .with_safe_default_protocol_versions()?;
        let verifier = |trust, mandatory| Arc::new(Verifier::new(&crypto, trust, PeerRule::any(), mandatory));
        let builder = match clients {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Optional(trust) => builder.with_client_cert_verifier(verifier(trust, false)),
            ClientAuth::Required(trust) => builder.with_client_cert_verifier(verifier(trust, true)),
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.certified())));
        config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Self(Arc::new(config)))
    }

    pub(crate) async fn accept<S: Io>(&self, stream: S) -> io::Result<(server::TlsStream<S>, Option<PeerCertificate>)> {
        let stream = TlsAcceptor::from(Arc::clone(&self.0)).accept(stream).await?;
        let peer = read(stream.get_ref().1.peer_certificates())?;
        Ok((stream, peer))
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

/// The runtime's wall clock, for rustls.
#[derive(Debug)]
struct WallClock(Runtime);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.wall()))
    }
}

fn read(chain: Option<&[CertificateDer<'static>]>) -> io::Result<Option<PeerCertificate>> {
    match chain {
        None | Some([]) => Ok(None),
        Some(chain) => PeerCertificate::from_chain(chain.to_vec())
            .map(Some)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error)),
    }
}

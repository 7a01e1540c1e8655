//! Asks the certificate authority: a new key pair and request each time, a few attempts, one long-lived connection.
//!
//! Istio's `security/pkg/nodeagent/caclient/providers/citadel`.

use std::time::Duration;

use hermesh_runtime::crypto::KeyPair;
use hermesh_runtime::tls::PeerCertificate;
use hermesh_runtime::{Draws, EventId, Runtime};
use rcgen::{CertificateParams, DistinguishedName, DnType, SanType};
use tonic::{Request, Status};

use crate::CertificateIssued;
use crate::publish::Certificates;
use crate::rotation;
use crate::settings::Settings;
use crate::upstream::{self, Client, Unreached, Upstream};

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod proto {
    tonic::include_proto!("istio.v1.auth");
}

use proto::istio_certificate_service_client::IstioCertificateServiceClient;
use proto::{IstioCertificateRequest, IstioCertificateResponse};

/// A certificate that came, with what a schedule needs to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    pub(crate) certificates: Certificates,
    pub(crate) not_after: Duration,
    /// The event that tells of it.
    pub(crate) event: Option<EventId>,
}

/// The path of the authority's one method.
const CREATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// The authority's client.
pub(crate) struct Authority {
    rt: Runtime,
    draws: Draws,
    connection: Option<Client>,
}

impl Authority {
    pub(crate) fn new(rt: &Runtime) -> Self {
        Self { rt: rt.clone(), draws: rt.draws("agent/csr"), connection: None }
    }

    /// A fresh key and certificate for the pod's identity. After an error the connection is built anew, which is how a
    /// changed root comes into use.
    pub(crate) async fn request(&mut self, settings: &Settings, cause: Option<EventId>) -> Result<Secret, Unreached> {
        let key = KeyPair::generate(&self.rt);
        let csr = certificate_request(&key, &identity(settings))?;
        let mut waits = rotation::retry_waits(&mut self.draws).into_iter();
        let response = loop {
            match self.attempt(settings, &csr, cause).await {
                Ok(response) => break response,
                Err(error) => {
                    self.connection = None;
                    let wait = waits.next().filter(|_| rotation::is_retriable(error.status.code()));
                    tokio::time::sleep(wait.ok_or(error)?).await;
                }
            }
        };
        let secret = read_response(&self.rt, &key, response.cert_chain, cause);
        if secret.is_err() {
            self.connection = None;
        }
        Ok(secret?)
    }

    async fn attempt(
        &mut self,
        settings: &Settings,
        csr: &str,
        cause: Option<EventId>,
    ) -> Result<IstioCertificateResponse, Unreached> {
        let upstream = Upstream::authority(settings);
        let client = match self.connection.take().filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => upstream.connect(&self.rt, cause).await?,
        };
        self.connection = Some(client.clone());
        let mut request = Request::new(IstioCertificateRequest {
            csr: csr.to_owned(),
            validity_duration: i64::try_from(settings.secret_ttl.as_secs()).unwrap_or(i64::MAX),
            metadata: Some(metadata(settings)),
        });
        let cause = client.event().or(cause);
        upstream::credentials(&self.rt, settings, &settings.ca_headers, cause, request.metadata_mut()).await;
        let mut service = IstioCertificateServiceClient::with_origin(client.clone(), upstream.origin());
        let answer = service.create_certificate(request).await.map(tonic::Response::into_inner);
        answer.map_err(|status| Unreached {
            status,
            event: client.refusal(&self.rt, CREATE).or_else(|| client.trouble()),
        })
    }
}

/// The identity that the agent asks for; the authority gives the one that its token proves.
pub(crate) fn identity(settings: &Settings) -> String {
    let trust_domain = settings.trust_domain.replace('@', ".");
    format!("spiffe://{trust_domain}/ns/{}/sa/{}", settings.pod_namespace, settings.service_account)
}

/// A PKCS #10 request in PEM, as istio-agent writes it: an empty organisation, and the identity as a critical SAN.
fn certificate_request(key: &KeyPair, identity: &str) -> Result<String, Status> {
    let unusable = |error: rcgen::Error| Status::invalid_argument(format!("identity `{identity}`: {error}"));
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "");
    params.subject_alt_names = vec![SanType::URI(identity.try_into().map_err(unusable)?)];
    params.serialize_request(key).and_then(|request| request.pem()).map_err(unusable)
}

fn metadata(settings: &Settings) -> prost_types::Struct {
    let kind = prost_types::value::Kind::StringValue(settings.cert_signer.clone());
    let value = prost_types::Value { kind: Some(kind) };
    prost_types::Struct { fields: [("CertSigner".to_owned(), value)].into() }
}

fn read_response(rt: &Runtime, key: &KeyPair, chain: Vec<String>, cause: Option<EventId>) -> Result<Secret, Status> {
    let [leaf, .., root] = chain.as_slice() else { return Err(Status::internal("invalid empty CertChain")) };
    let unreadable = |error: &dyn std::fmt::Display| Status::internal(format!("certificate in CertChain: {error}"));
    let der = pem::parse(leaf).map_err(|error| unreadable(&error))?.into_contents();
    let leaf = PeerCertificate::from_chain(vec![der.into()]).map_err(|error| unreadable(&error))?;
    let event = rt.emit_because(
        cause,
        CertificateIssued {
            identity: leaf.uri_sans.first().cloned(),
            not_before_s: leaf.not_before.as_secs(),
            not_after_s: leaf.not_after.as_secs(),
        },
    );
    let certificates =
        Certificates { key: key.to_pem(), chain: concat(&chain), root: concat(std::slice::from_ref(root)) };
    Ok(Secret { certificates, not_after: leaf.not_after, event })
}

/// PEM texts one after another, each on a line of its own.
fn concat(parts: &[String]) -> String {
    let mut whole = String::new();
    for part in parts {
        if !whole.is_empty() && !whole.ends_with('\n') {
            whole.push('\n');
        }
        whole.push_str(part);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_texts_are_joined_with_newlines_where_they_lack_one() {
        let concat = |parts: &[&str]| concat(&parts.iter().map(ToString::to_string).collect::<Vec<_>>());
        for (parts, whole) in [(&[][..], ""), (&["a"], "a"), (&["a", "b"], "a\nb"), (&["a\n", "b"], "a\nb")] {
            assert_eq!(concat(parts), whole);
        }
    }

    #[test]
    fn a_chain_without_a_root_is_an_error() {
        let rt = hermesh_runtime::os::runtime();
        let key = KeyPair::generate(&rt);
        for chain in [vec![], vec!["leaf".to_owned()]] {
            let status = read_response(&rt, &key, chain, None).unwrap_err();
            assert_eq!(status.message(), "invalid empty CertChain");
        }
    }

    #[test]
    fn the_request_carries_the_identity_and_no_common_name() {
        let rt = hermesh_runtime::os::runtime();
        let csr = certificate_request(&KeyPair::generate(&rt), "spiffe://td/ns/a/sa/b").unwrap();
        let parsed = rcgen::CertificateSigningRequestParams::from_pem(&csr).unwrap();
        assert_eq!(parsed.params.subject_alt_names, [SanType::URI("spiffe://td/ns/a/sa/b".try_into().unwrap())]);
        assert_eq!(parsed.params.distinguished_name.get(&DnType::CommonName), None);
    }
}

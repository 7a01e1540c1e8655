//! The certificate service on the wire: authenticates, signs, answers with leaf and root.

use std::sync::{Arc, Mutex, PoisonError};

use hermesh_runtime::server::ConnectionInfo;
use hermesh_runtime::{Draws, EventId, Runtime};
use tonic::{Request, Response, Status};

use super::{CertificateAuthority, SignError};
use crate::authentication::{Authenticator, Caller, Credentials};
use crate::disruption::{self, Door};

/// The generated messages and server of `istio.v1.auth`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub mod proto {
    tonic::include_proto!("istio.v1.auth");
}

use proto::istio_certificate_service_server::IstioCertificateService;
use proto::{IstioCertificateRequest, IstioCertificateResponse};

hermesh_runtime::event! {
    /// The authority signed a certificate.
    CertificateIssued = "ca.issued" {
        /// Whose name it carries; several are separated by spaces.
        identity: String,
        /// The serial number in hexadecimal.
        serial: String,
        /// Since 1970, in seconds.
        not_before_s: u64,
        /// Since 1970, in seconds.
        not_after_s: u64,
    }

    /// The authority refused to sign.
    CertificateRefused = "ca.refused" {
        /// Who asked, if that is known.
        identity: Option<String>,
        /// The gRPC status that the caller sees.
        code: String,
        error: String,
    }
}

/// `istio.v1.auth.IstioCertificateService`.
#[derive(Clone)]
pub struct CertificateService {
    rt: Runtime,
    authority: Arc<CertificateAuthority>,
    authenticator: Authenticator,
    serials: Arc<Mutex<Draws>>,
    door: Door,
}

/// The path of the one method.
const CREATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

/// What is known of a call besides its request.
struct Call {
    /// What it follows from.
    cause: Option<EventId>,
    /// What names it to who made it.
    name: Option<String>,
}

impl CertificateService {
    pub(crate) fn new(
        rt: &Runtime,
        authority: Arc<CertificateAuthority>,
        authenticator: Authenticator,
        serials: Arc<Mutex<Draws>>,
        door: Door,
    ) -> Self {
        Self { rt: rt.clone(), authority, authenticator, serials, door }
    }

    async fn create(
        &self,
        credentials: &Credentials,
        request: &IstioCertificateRequest,
        call: &Call,
    ) -> Result<IstioCertificateResponse, Status> {
        let caller = match self.authenticator.authenticate(credentials).await {
            Ok(caller) => caller,
            Err(error) => {
                let status = Status::unauthenticated("request authenticate failure");
                return Err(self.refuse(call, None, status, error));
            }
        };
        if impersonates(request) {
            let status = Status::unauthenticated("request impersonation authentication failure");
            return Err(self.refuse(call, Some(&caller), status, "no account may act for others".to_owned()));
        }
        let serial = draw_serial(&self.serials);
        let (identities, validity_s) = (caller.identities(), request.validity_duration);
        let signed = self.authority.sign(&request.csr, identities, validity_s, self.rt.wall(), serial);
        match signed {
            Ok(issued) => {
                let event = CertificateIssued {
                    identity: caller.to_string(),
                    serial: serial.iter().map(|byte| format!("{byte:02x}")).collect(),
                    not_before_s: issued.not_before.as_secs(),
                    not_after_s: issued.not_after.as_secs(),
                };
                self.rt.emit_because(call.cause, event);
                Ok(IstioCertificateResponse {
                    cert_chain: vec![issued.cert_pem, self.authority.root().cert_pem.clone()],
                })
            }
            Err(error) => {
                let message = format!("CSR signing error ({error})");
                let status = match error {
                    SignError::Signer(_) => Status::internal(message),
                    _ => Status::invalid_argument(message),
                };
                Err(self.refuse(call, Some(&caller), status, error.to_string()))
            }
        }
    }

    fn refuse(&self, call: &Call, caller: Option<&Caller>, status: Status, error: String) -> Status {
        let identity = caller.map(ToString::to_string);
        let event = CertificateRefused { identity, code: format!("{:?}", status.code()), error };
        let refused = self.rt.emit_because(call.cause, event);
        if let Some(name) = &call.name {
            self.rt.sent(name, refused);
        }
        status
    }
}

#[tonic::async_trait]
impl IstioCertificateService for CertificateService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let connection = request.extensions().get::<ConnectionInfo>();
        let credentials = Credentials::new(request.metadata().as_ref(), connection);
        let mut call = Call {
            cause: connection.and_then(|connection| connection.event),
            name: disruption::call_name(connection, CREATE),
        };
        if let Err(refusal) = self.door.enter(connection).await {
            call.cause = refusal.cause.or(call.cause);
            let error = refusal.status.message().to_owned();
            return Err(self.refuse(&call, None, refusal.status, error));
        }
        self.create(&credentials, request.get_ref(), &call).await.map(Response::new)
    }
}

/// The next serial number; positive, as X.509 demands.
pub(crate) fn draw_serial(serials: &Mutex<Draws>) -> super::Serial {
    let mut serial = super::Serial::default();
    serials.lock().unwrap_or_else(PoisonError::into_inner).fill(&mut serial);
    serial[0] &= 0x7f;
    serial
}

/// `ImpersonatedIdentity` is for node proxies such as ztunnel, which no mesh here has (`CA_TRUSTED_NODE_ACCOUNTS`).
fn impersonates(request: &IstioCertificateRequest) -> bool {
    use prost_types::value::Kind;
    let field = request.metadata.as_ref().and_then(|metadata| metadata.fields.get("ImpersonatedIdentity"));
    matches!(field.and_then(|value| value.kind.as_ref()), Some(Kind::StringValue(identity)) if !identity.is_empty())
}

//! Transport security of clusters and listeners: which certificate providers to use and whom to trust (gRFC A29).

use envoy_types::pb::envoy::config::core::v3::TransportSocket;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as proto;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::ValidationContextType;
use prost::{Message, Name};

use crate::resource::decode::parse;
use crate::resource::{DecodeError, StringMatcher, Validation};

/// The only transport socket that gRPC knows.
const TLS_SOCKET: &str = "envoy.transport_sockets.tls";

/// Names a certificate provider of the bootstrap and a certificate it provides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CertificateProviderInstance {
    /// A key of the bootstrap's `certificate_providers`; validation has made sure that it is there.
    pub instance_name: String,
    /// Which of the provider's certificates; `file_watcher` has one and ignores the name.
    pub certificate_name: String,
}

/// How a client secures connections to a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamTlsContext {
    /// Where the client's own certificate comes from; `None` means TLS without a client certificate.
    pub identity: Option<CertificateProviderInstance>,
    /// Where the trusted roots come from.
    pub roots: CertificateProviderInstance,
    /// The server's certificate must carry a subject alternative name that one of these matches; with none, any will
    /// do.
    pub subject_alt_names: Vec<StringMatcher>,
}

/// How a server secures the connections of one filter chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownstreamTlsContext {
    /// Where the server's certificate comes from.
    pub identity: CertificateProviderInstance,
    /// Where the roots that client certificates are checked against come from.
    pub roots: Option<CertificateProviderInstance>,
    /// Whether clients must present a certificate. If not, none is asked for. `roots` is set whenever this is true.
    pub require_client_certificate: bool,
}

impl UpstreamTlsContext {
    pub(super) fn from_proto(socket: &TransportSocket, validation: &Validation) -> Result<Self, DecodeError> {
        let context: proto::UpstreamTlsContext = tls_context(socket)?;
        let Some(common) = &context.common_tls_context else {
            return Err(DecodeError::new("UpstreamTlsContext in CDS response does not contain a CommonTlsContext"));
        };
        let Common { identity, roots, subject_alt_names } = read_common(common, validation)?;
        let Some(roots) = roots else {
            return Err(DecodeError::new(
                "security configuration on the client-side does not contain root certificate provider instance name",
            ));
        };
        Ok(Self { identity, roots, subject_alt_names })
    }
}

impl DownstreamTlsContext {
    pub(super) fn from_proto(socket: &TransportSocket, validation: &Validation) -> Result<Self, DecodeError> {
        let context: proto::DownstreamTlsContext = tls_context(socket)?;
        if context.require_sni.is_some_and(|require| require.value) {
            return Err(DecodeError::new("require_sni field set to true in DownstreamTlsContext message"));
        }
        if context.ocsp_staple_policy != proto::downstream_tls_context::OcspStaplePolicy::LenientStapling as i32 {
            return Err(DecodeError::new(
                "ocsp_staple_policy field set to unsupported value in DownstreamTlsContext message",
            ));
        }
        let Some(common) = &context.common_tls_context else {
            return Err(DecodeError::new("DownstreamTlsContext in LDS response does not contain a CommonTlsContext"));
        };
        let Common { identity, roots, subject_alt_names } = read_common(common, validation)?;
        if !subject_alt_names.is_empty() {
            return Err(DecodeError::new(
                "match_subject_alt_names field in validation context is not supported on the server",
            ));
        }
        let Some(identity) = identity else {
            return Err(DecodeError::new(
                "security configuration on the server-side does not contain identity certificate provider instance \
                 name",
            ));
        };
        let require_client_certificate = context.require_client_certificate.is_some_and(|require| require.value);
        if require_client_certificate && roots.is_none() {
            return Err(DecodeError::new(
                "security configuration on the server-side does not contain root certificate provider instance name, \
                 but require_client_cert field is set",
            ));
        }
        Ok(Self { identity, roots, require_client_certificate })
    }
}

fn tls_context<M: Message + Default + Name>(socket: &TransportSocket) -> Result<M, DecodeError> {
    if socket.name != TLS_SOCKET {
        return Err(DecodeError::new(format!(
            "transport_socket field has unexpected name: {:?}, want {TLS_SOCKET:?}",
            socket.name
        )));
    }
    let Some(ConfigType::TypedConfig(any)) = &socket.config_type else {
        return Err(DecodeError::new("transport_socket field has no typed_config"));
    };
    if any.type_url != M::type_url() {
        return Err(DecodeError::new(format!("transport_socket field has unexpected typeURL: {}", any.type_url)));
    }
    parse(M::NAME, any)
}

/// What both sides take from a `CommonTlsContext`.
#[derive(Default)]
struct Common {
    identity: Option<CertificateProviderInstance>,
    roots: Option<CertificateProviderInstance>,
    subject_alt_names: Vec<StringMatcher>,
}

impl Common {
    fn is_empty(&self) -> bool {
        self.identity.is_none() && self.roots.is_none() && self.subject_alt_names.is_empty()
    }
}

/// The fields of today first; those they replaced if today's give nothing. Servers send both for the sake of older
/// clients.
fn read_common(common: &proto::CommonTlsContext, validation: &Validation) -> Result<Common, DecodeError> {
    if common.tls_params.is_some() {
        return Err(DecodeError::new("unsupported tls_params field in CommonTlsContext message"));
    }
    if common.custom_handshaker.is_some() {
        return Err(DecodeError::new("unsupported custom_handshaker field in CommonTlsContext message"));
    }
    let read = match read_current_fields(common) {
        Ok(read) if !read.is_empty() => read,
        current => match (read_deprecated_fields(common), current) {
            (Ok(read), Err(error)) if read.is_empty() => return Err(error),
            (Ok(read), _) => read,
            (Err(deprecated), Err(current)) => {
                return Err(DecodeError::new(format!("{current}; with deprecated fields: {deprecated}")));
            }
            (Err(deprecated), Ok(_)) => return Err(deprecated),
        },
    };
    for (role, instance) in [("identity", &read.identity), ("root", &read.roots)] {
        if let Some(CertificateProviderInstance { instance_name, .. }) = instance
            && !validation.certificate_providers.contains(instance_name)
        {
            return Err(DecodeError::new(format!(
                "{role} certificate provider instance name {instance_name:?} missing in bootstrap configuration"
            )));
        }
    }
    Ok(read)
}

fn read_current_fields(common: &proto::CommonTlsContext) -> Result<Common, DecodeError> {
    let identity = common.tls_certificate_provider_instance.as_ref().map(plugin_instance);
    if identity.is_none() {
        if !common.tls_certificates.is_empty() {
            return Err(DecodeError::new("unsupported field tls_certificates is set in CommonTlsContext message"));
        }
        if !common.tls_certificate_sds_secret_configs.is_empty() {
            return Err(DecodeError::new(
                "unsupported field tls_certificate_sds_secret_configs is set in CommonTlsContext message",
            ));
        }
    }
    let context = match &common.validation_context_type {
        Some(ValidationContextType::ValidationContext(context)) => Some(context),
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            combined.default_validation_context.as_ref()
        }
        Some(_) => return Err(DecodeError::new("validation context contains unexpected type")),
        None => None,
    };
    let Some(context) = context else {
        return Ok(Common { identity, ..Common::default() });
    };
    for (field, is_set) in [
        ("verify_certificate_spki", !context.verify_certificate_spki.is_empty()),
        ("verify_certificate_hash", !context.verify_certificate_hash.is_empty()),
        (
            "require_signed_certificate_timestamp",
            context.require_signed_certificate_timestamp.is_some_and(|require| require.value),
        ),
        ("crl", context.crl.is_some()),
        ("custom_validator_config", context.custom_validator_config.is_some()),
    ] {
        if is_set {
            return Err(DecodeError::new(format!("unsupported {field} field in CommonTlsContext message")));
        }
    }
    Ok(Common {
        identity,
        roots: context.ca_certificate_provider_instance.as_ref().map(plugin_instance),
        subject_alt_names: read_subject_alt_names(context)?,
    })
}

#[expect(deprecated, reason = "reading the deprecated fields is what this is for")]
fn read_deprecated_fields(common: &proto::CommonTlsContext) -> Result<Common, DecodeError> {
    let identity = common.tls_certificate_certificate_provider_instance.as_ref().map(deprecated_instance);
    let (roots, subject_alt_names) = match &common.validation_context_type {
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            let Some(roots) = &combined.validation_context_certificate_provider_instance else {
                return Err(DecodeError::new(
                    "expected field validation_context_certificate_provider_instance is missing in CommonTlsContext \
                     message",
                ));
            };
            let names = combined.default_validation_context.as_ref().map_or(Ok(Vec::new()), read_subject_alt_names)?;
            (Some(deprecated_instance(roots)), names)
        }
        Some(ValidationContextType::ValidationContextCertificateProviderInstance(roots)) => {
            (Some(deprecated_instance(roots)), Vec::new())
        }
        Some(_) => return Err(DecodeError::new("validation context contains unexpected type")),
        None => (None, Vec::new()),
    };
    Ok(Common { identity, roots, subject_alt_names })
}

#[expect(deprecated, reason = "gRFC A29 reads this field, not its replacement")]
fn read_subject_alt_names(context: &proto::CertificateValidationContext) -> Result<Vec<StringMatcher>, DecodeError> {
    context.match_subject_alt_names.iter().map(StringMatcher::from_proto).collect()
}

fn plugin_instance(proto: &proto::CertificateProviderPluginInstance) -> CertificateProviderInstance {
    CertificateProviderInstance {
        instance_name: proto.instance_name.clone(),
        certificate_name: proto.certificate_name.clone(),
    }
}

fn deprecated_instance(proto: &proto::common_tls_context::CertificateProviderInstance) -> CertificateProviderInstance {
    CertificateProviderInstance {
        instance_name: proto.instance_name.clone(),
        certificate_name: proto.certificate_name.clone(),
    }
}

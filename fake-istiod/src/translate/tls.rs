//! TLS contexts, with the fields of both generations that gRPC clients read.
//!
//! Source: Istio `grpcgen/grpcgen.go` (`buildCommonTLSContext`). gRPC before 1.65 reads the deprecated fields, gRPC
//! since then, and grpc-java 1.77 only, the others.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::google::protobuf::BoolValue;

use super::proto;

/// The only name under which gRPC looks for TLS.
const TRANSPORT_SOCKET: &str = "envoy.transport_sockets.tls";

/// A client's transport socket; `identities` are the server's SPIFFE IDs, any of which will do. None means any server
/// of the mesh.
pub(super) fn upstream(identities: &BTreeSet<String>) -> core::TransportSocket {
    let context =
        tls::UpstreamTlsContext { common_tls_context: Some(common(identities)), ..tls::UpstreamTlsContext::default() };
    socket(proto::any(&context))
}

/// A server's transport socket. Every client of the mesh may connect: istiod names no identities here.
pub(super) fn downstream() -> core::TransportSocket {
    let context = tls::DownstreamTlsContext {
        common_tls_context: Some(common(&BTreeSet::new())),
        require_client_certificate: Some(BoolValue { value: true }),
        ..tls::DownstreamTlsContext::default()
    };
    socket(proto::any(&context))
}

fn socket(context: envoy_types::pb::google::protobuf::Any) -> core::TransportSocket {
    core::TransportSocket {
        name: TRANSPORT_SOCKET.to_owned(),
        config_type: Some(core::transport_socket::ConfigType::TypedConfig(context)),
    }
}

#[expect(deprecated, reason = "older clients read nothing else")]
fn common(identities: &BTreeSet<String>) -> tls::CommonTlsContext {
    let exact = |identity: &String| matcher::StringMatcher {
        match_pattern: Some(matcher::string_matcher::MatchPattern::Exact(identity.clone())),
        ..matcher::StringMatcher::default()
    };
    let validation = tls::CertificateValidationContext {
        ca_certificate_provider_instance: Some(plugin("ROOTCA")),
        match_subject_alt_names: identities.iter().map(exact).collect(),
        ..tls::CertificateValidationContext::default()
    };
    let combined = tls::common_tls_context::CombinedCertificateValidationContext {
        default_validation_context: Some(validation),
        validation_context_certificate_provider_instance: Some(instance("ROOTCA")),
        ..tls::common_tls_context::CombinedCertificateValidationContext::default()
    };
    let validation = tls::common_tls_context::ValidationContextType::CombinedValidationContext(combined);
    tls::CommonTlsContext {
        tls_certificate_provider_instance: Some(plugin("default")),
        tls_certificate_certificate_provider_instance: Some(instance("default")),
        validation_context_type: Some(validation),
        ..tls::CommonTlsContext::default()
    }
}

fn plugin(certificate: &str) -> tls::CertificateProviderPluginInstance {
    tls::CertificateProviderPluginInstance {
        instance_name: "default".to_owned(),
        certificate_name: certificate.to_owned(),
    }
}

fn instance(certificate: &str) -> tls::common_tls_context::CertificateProviderInstance {
    tls::common_tls_context::CertificateProviderInstance {
        instance_name: "default".to_owned(),
        certificate_name: certificate.to_owned(),
    }
}

#[cfg(test)]
#[expect(deprecated, reason = "older clients read nothing else")]
mod tests {
    use super::*;

    /// Both generations of fields of a context, and the identities in it.
    fn fields(identities: &[&str]) -> (Vec<[String; 2]>, usize) {
        let context = common(&identities.iter().map(|identity| (*identity).to_owned()).collect());
        let new = |it: Option<&tls::CertificateProviderPluginInstance>| {
            it.map(|it| [it.instance_name.clone(), it.certificate_name.clone()]).unwrap()
        };
        let old = |it: Option<&tls::common_tls_context::CertificateProviderInstance>| {
            it.map(|it| [it.instance_name.clone(), it.certificate_name.clone()]).unwrap()
        };
        let Some(tls::common_tls_context::ValidationContextType::CombinedValidationContext(combined)) =
            &context.validation_context_type
        else {
            panic!("the validation context is a combined one");
        };
        let validation = combined.default_validation_context.as_ref().unwrap();
        let fields = vec![
            new(context.tls_certificate_provider_instance.as_ref()),
            old(context.tls_certificate_certificate_provider_instance.as_ref()),
            new(validation.ca_certificate_provider_instance.as_ref()),
            old(combined.validation_context_certificate_provider_instance.as_ref()),
        ];
        (fields, validation.match_subject_alt_names.len())
    }

    /// Istio's tls_test.go: BothFieldsSet, NoSANs, FieldValuesMatch.
    #[test]
    fn old_and_new_fields_name_the_same_certificates() {
        let pair = |name: &str| ["default".to_owned(), name.to_owned()];
        let expected = vec![pair("default"), pair("default"), pair("ROOTCA"), pair("ROOTCA")];
        assert_eq!(fields(&["spiffe://trust-domain/ns/default/sa/service"]), (expected.clone(), 1));
        assert_eq!(fields(&[]), (expected, 0));
    }
}

//! What an agent tells of itself.

use serde::{Serialize, Serializer};

use crate::Profile;

hermesh_runtime::event! {
    /// An agent begins.
    Started = "agent.started" {
        /// The node's ID.
        node: String,
        discovery_address: String,
        profile: Profile,
    }

    /// The Unix socket takes connections.
    SocketListening = "agent.socket.listening" {
        path: String,
    }

    /// The gRPC bootstrap is in place.
    BootstrapWritten = "agent.bootstrap.written" {
        path: String,
    }

    /// `/healthz/ready` answers differently than before.
    ReadinessChanged = "agent.readiness" {
        ready: bool,
        /// Why not.
        reason: Option<String>,
    }

    /// The application's health is another one than before, or known for the first time.
    HealthChanged = "agent.health" {
        healthy: bool,
        /// What is wrong with it.
        message: Option<String>,
    }

    /// An application opened an ADS stream.
    StreamOpened = "agent.stream.opened" {
        /// Counts from 1.
        stream: u64,
        /// The method's name.
        method: &'static str,
    }

    /// An ADS stream ended, at both ends.
    StreamClosed = "agent.stream.closed" {
        stream: u64,
        /// The gRPC status that the application sees.
        code: String,
        message: String,
        /// Whether such an end is part of normal life: `graceful`, `expected` or `unexpected`.
        class: crate::forward::EndClass,
    }

    /// A request went from the application towards istiod.
    RequestForwarded = "agent.request" @ Debug {
        stream: u64,
        #[serde(rename = "type")]
        type_url: String,
        version: String,
        nonce: String,
        /// The application rejects the response with this nonce.
        error: Option<String>,
    }

    /// A response came from istiod.
    ResponseForwarded = "agent.response" @ Debug {
        stream: u64,
        #[serde(rename = "type")]
        type_url: String,
        version: String,
        nonce: String,
        /// False for types that no gRPC application understands.
        forwarded: bool,
    }

    /// The service account token cannot be read; the call goes without.
    TokenMissing = "agent.token.missing" {
        path: String,
        error: String,
    }

    /// A certificate was asked for.
    CertificateRequested = "cert.requested" {
        identity: String,
        authority: String,
    }

    /// No certificate came; it is asked for again.
    CertificateRequestFailed = "cert.request.failed" {
        /// The gRPC status.
        code: String,
        message: String,
        retry_in_ms: u64,
    }

    /// The authority issued a certificate.
    CertificateIssued = "cert.issued" {
        /// The SPIFFE ID that it carries.
        identity: Option<String>,
        not_before_s: u64,
        not_after_s: u64,
    }

    /// Key, certificate and root became visible in the output directory.
    CertificatesPublished = "cert.published" {
        directory: String,
        not_after_s: u64,
    }

    /// The files could not be written; the old ones stay, and it is tried again unless the next certificate is due
    /// first.
    CertificatePublishFailed = "cert.publish.failed" {
        directory: String,
        error: String,
        retry_in_ms: u64,
    }

    /// The root differs from the one before.
    RootChanged = "cert.root.changed" {
        /// SHA-256 of the PEM text, in hexadecimal.
        digest: String,
    }

    /// The next certificate will be asked for at this time.
    RotationScheduled = "cert.rotation.scheduled" {
        due_s: u64,
    }

    /// The agent ends.
    Stopped = "agent.stopped" {
        reason: String,
    }
}

impl Serialize for Profile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Hermesh => "hermesh",
            Self::Istio => "istio",
        })
    }
}

//! The bootstrap: which management server to ask, as whom, and with which certificates (gRFC A27, A29, A36, A47).
//!
//! Environment variable `GRPC_XDS_BOOTSTRAP` names the file; `GRPC_XDS_BOOTSTRAP_CONFIG` holds the text itself. Fields
//! that are not named here are ignored everywhere: istio-agent writes some.

mod node;
mod parse;
mod template;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use hermesh_runtime::Runtime;
use hermesh_runtime::channel::Target;

pub use node::Node;
pub(crate) use template::percent_encode;

use template::populate;

/// The file's path.
pub const FILE_VARIABLE: &str = "GRPC_XDS_BOOTSTRAP";
/// The text itself, read only if [`FILE_VARIABLE`] is unset.
pub const TEXT_VARIABLE: &str = "GRPC_XDS_BOOTSTRAP_CONFIG";

/// A bootstrap that passed validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Bootstrap {
    /// Management servers in order of preference; never empty.
    pub xds_servers: Vec<ServerConfig>,
    /// Who this process says it is.
    pub node: Node,
    /// Certificate providers by instance name. Those with a plugin other than `file_watcher` are left out, so that a
    /// resource naming one is rejected.
    pub certificate_providers: BTreeMap<String, FileWatcherConfig>,
    /// Name of the listener resource of a server: every `%s` stands for its listening address.
    pub server_listener_resource_name_template: Option<String>,
    /// Name of the listener resource of a client: every `%s` stands for its target.
    pub client_default_listener_resource_name_template: String,
    /// Management servers of `xdstp:` names, by authority.
    pub authorities: BTreeMap<String, Authority>,
}

impl Bootstrap {
    /// Reads the bootstrap that the environment names.
    ///
    /// # Errors
    /// If there is none, or it is no valid bootstrap.
    pub async fn from_runtime(rt: &Runtime) -> Result<Self, BootstrapError> {
        if let Some(path) = rt.var(FILE_VARIABLE).filter(|path| !path.is_empty()) {
            let text = rt
                .read(&path)
                .await
                .map_err(|source| BootstrapError::Read { path: PathBuf::from(&path), message: source.to_string() })?;
            return parse::parse(&format!("bootstrap file {path}"), &text);
        }
        match rt.var(TEXT_VARIABLE).filter(|text| !text.is_empty()) {
            Some(text) => parse::parse(&format!("bootstrap in {TEXT_VARIABLE}"), text.as_bytes()),
            None => Err(BootstrapError::NotDefined),
        }
    }

    /// Reads a bootstrap from JSON text. `origin` says in errors where it comes from.
    ///
    /// ```
    /// # use hermesh_xds::Bootstrap;
    /// let text = r#"{
    ///     "xds_servers": [{"server_uri": "unix:///etc/istio/proxy/XDS", "channel_creds": [{"type": "insecure"}]}],
    ///     "node": {"id": "sidecar~10.0.0.1~web-0.shop~shop.svc.cluster.local"}
    /// }"#;
    /// let bootstrap = Bootstrap::from_json("example", text.as_bytes())?;
    /// assert_eq!(bootstrap.client_listener_name("", "echo.shop:80")?, "echo.shop:80");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If it is no valid bootstrap.
    pub fn from_json(origin: &str, text: &[u8]) -> Result<Self, BootstrapError> {
        parse::parse(origin, text)
    }

    /// The name of the listener for the target `xds://<authority>/<endpoint>`.
    ///
    /// # Errors
    /// If the target names an authority that the bootstrap does not.
    pub fn client_listener_name(&self, authority: &str, endpoint: &str) -> Result<String, UnknownAuthority> {
        if authority.is_empty() {
            return Ok(populate(&self.client_default_listener_resource_name_template, endpoint));
        }
        match self.authorities.get(authority) {
            Some(known) => Ok(populate(&known.client_listener_resource_name_template, endpoint)),
            None => Err(UnknownAuthority { authority: authority.to_owned(), endpoint: endpoint.to_owned() }),
        }
    }

    /// The name of the listener of a server on `address`, such as `0.0.0.0:8080`; `None` if the bootstrap has no
    /// template for it.
    #[must_use]
    pub fn server_listener_name(&self, address: &str) -> Option<String> {
        self.server_listener_resource_name_template.as_ref().map(|template| populate(template, address))
    }
}

/// Why there is no bootstrap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// Neither variable is set.
    #[error(
        "bootstrap environment variables (\"{FILE_VARIABLE}\" or \"{TEXT_VARIABLE}\") not defined; \
         set the first to the path of a bootstrap file"
    )]
    NotDefined,
    /// The file cannot be read.
    #[error("failed to read bootstrap config from file {}: {message}; {FILE_VARIABLE} names it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system says.
        message: String,
    },
    /// The text is no JSON object.
    #[error("{origin}: error normalizing JSON bootstrap configuration: {message}")]
    Json {
        /// Where the text comes from.
        origin: String,
        /// What is wrong with it, with line and column.
        message: String,
    },
    /// A field is missing or wrong.
    #[error("{origin}: {field}: {message}")]
    Field {
        /// Where the text comes from.
        origin: String,
        /// The field's path, such as `xds_servers[0].server_uri`.
        field: String,
        /// What is wrong with it and what would be right.
        message: String,
    },
}

/// A target names an authority that the bootstrap does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "xds: authority {authority:?} specified in dial target \"xds://{authority}/{endpoint}\" is not found in the \
     bootstrap file; add it to `authorities`"
)]
pub struct UnknownAuthority {
    /// The authority.
    pub authority: String,
    /// The target's endpoint.
    pub endpoint: String,
}

/// One management server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServerConfig {
    /// The `server_uri` as it was given.
    pub server_uri: String,
    /// What it means.
    pub target: Target,
    /// The first kind of channel credentials that is supported.
    pub channel_creds: ChannelCreds,
    /// The `server_features`, known or not.
    pub server_features: Vec<String>,
}

impl ServerConfig {
    /// Whether a deleted listener or cluster is kept in use (gRFC A53).
    #[must_use]
    pub fn ignores_resource_deletion(&self) -> bool {
        self.server_features.iter().any(|feature| feature == "ignore_resource_deletion")
    }
}

/// How the connection to a management server is secured.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChannelCreds {
    /// Not at all.
    Insecure,
    /// By TLS (gRFC A65), with a client certificate if there are two files.
    Tls(TlsConfig),
}

/// The configuration of channel credentials of type `tls`; each file may be unset.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct TlsConfig {
    /// Trusted roots; `None` means those of the system.
    pub ca_certificate_file: Option<PathBuf>,
    /// The client's certificate chain.
    pub certificate_file: Option<PathBuf>,
    /// Its private key.
    pub private_key_file: Option<PathBuf>,
}

/// The configuration of a `file_watcher` certificate provider (gRFC A29).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileWatcherConfig {
    /// Certificate chain and private key, both or neither.
    pub identity: Option<IdentityFiles>,
    /// Trusted roots. At least one of this and `identity` is set.
    pub ca_certificate_file: Option<PathBuf>,
    /// How often the files are read again.
    pub refresh_interval: Duration,
}

/// The two files of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The certificate chain, leaf first.
    pub certificate_file: PathBuf,
    /// The leaf's private key.
    pub private_key_file: PathBuf,
}

/// Where `xdstp:` resources of one authority come from (gRFC A47).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Name of the listener resource of a client that dials this authority.
    pub client_listener_resource_name_template: String,
    /// In order of preference; empty means the top-level list.
    pub xds_servers: Vec<ServerConfig>,
}

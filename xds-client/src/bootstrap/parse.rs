//! The bootstrap's JSON form.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::template::percent_encode;
use super::{
    Authority, Bootstrap, BootstrapError, ChannelCreds, FileWatcherConfig, IdentityFiles, Node, ServerConfig, TlsConfig,
};
use crate::resource::Locality;

/// How often a file watcher looks if the bootstrap does not say (gRFC A29).
const DEFAULT_REFRESH: Duration = Duration::from_secs(600);
/// How often grpc-go looks if the bootstrap says zero.
const ZERO_REFRESH: Duration = Duration::from_secs(3600);

pub(super) fn parse(origin: &str, text: &[u8]) -> Result<Bootstrap, BootstrapError> {
    let value: Value = serde_json::from_slice(text)
        .map_err(|error| BootstrapError::Json { origin: origin.to_owned(), message: error.to_string() })?;
    if !value.is_object() {
        return Err(BootstrapError::Json {
            origin: origin.to_owned(),
            message: "expected an object with the field `xds_servers`".to_owned(),
        });
    }
    read_bootstrap(&Json { path: String::new(), value: &value })
        .map_err(|FieldError { field, message }| BootstrapError::Field { origin: origin.to_owned(), field, message })
}

struct FieldError {
    field: String,
    message: String,
}

/// A value and where it stands.
struct Json<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Json<'a> {
    /// The field `key`; one that is `null` counts as missing.
    fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Some(Self { path, value })
    }

    fn error(&self, message: impl Into<String>) -> FieldError {
        let field = if self.path.is_empty() { "top level".to_owned() } else { self.path.clone() };
        FieldError { field, message: message.into() }
    }

    fn mismatch(&self, expected: &str) -> FieldError {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "a list",
            Value::Object(_) => "an object",
        };
        self.error(format!("expected {expected}, found {found}"))
    }

    fn text(&self) -> Result<&'a str, FieldError> {
        self.value.as_str().ok_or_else(|| self.mismatch("a string"))
    }

    fn items(&self) -> Result<Vec<Self>, FieldError> {
        let items = self.value.as_array().ok_or_else(|| self.mismatch("a list"))?;
        Ok(items.iter().enumerate().map(|(i, value)| Self { path: format!("{}[{i}]", self.path), value }).collect())
    }

    fn object(&self) -> Result<&'a serde_json::Map<String, Value>, FieldError> {
        self.value.as_object().ok_or_else(|| self.mismatch("an object"))
    }

    fn members(&self) -> Result<Vec<(&'a str, Self)>, FieldError> {
        let members = self.object()?.iter();
        Ok(members.map(|(key, value)| (key.as_str(), Self { path: format!("{}.{key}", self.path), value })).collect())
    }

    /// The text of the field `key`; `None` if it is missing or empty.
    fn text_of(&self, key: &str) -> Result<Option<&'a str>, FieldError> {
        match self.get(key) {
            Some(field) => Ok(Some(field.text()?).filter(|text| !text.is_empty())),
            None => Ok(None),
        }
    }

    fn path_of(&self, key: &str) -> Result<Option<PathBuf>, FieldError> {
        Ok(self.text_of(key)?.map(PathBuf::from))
    }
}

fn read_bootstrap(json: &Json<'_>) -> Result<Bootstrap, FieldError> {
    let xds_servers = read_servers(json)?;
    if xds_servers.is_empty() {
        return Err(FieldError {
            field: "xds_servers".to_owned(),
            message: "required field `xds_servers` not found or empty; list at least one management server".to_owned(),
        });
    }
    let mut certificate_providers = BTreeMap::new();
    if let Some(providers) = json.get("certificate_providers") {
        for (name, provider) in providers.members()? {
            if let Some(config) = read_provider(&provider)? {
                certificate_providers.insert(name.to_owned(), config);
            }
        }
    }
    let mut authorities = BTreeMap::new();
    if let Some(members) = json.get("authorities") {
        for (name, authority) in members.members()? {
            authorities.insert(name.to_owned(), read_authority(name, &authority)?);
        }
    }
    Ok(Bootstrap {
        xds_servers,
        node: json.get("node").map_or_else(|| Ok(Node::default()), |node| read_node(&node))?,
        certificate_providers,
        server_listener_resource_name_template: json
            .text_of("server_listener_resource_name_template")?
            .map(str::to_owned),
        client_default_listener_resource_name_template: json
            .text_of("client_default_listener_resource_name_template")?
            .unwrap_or("%s")
            .to_owned(),
        authorities,
    })
}

fn read_servers(parent: &Json<'_>) -> Result<Vec<ServerConfig>, FieldError> {
    match parent.get("xds_servers") {
        Some(servers) => servers.items()?.iter().map(read_server).collect(),
        None => Ok(Vec::new()),
    }
}

fn read_server(json: &Json<'_>) -> Result<ServerConfig, FieldError> {
    json.object()?;
    let Some(server_uri) = json.text_of("server_uri")? else {
        return Err(json.error("`server_uri` field in server config cannot be empty; name the management server"));
    };
    let target = server_uri.parse().map_err(|error| json.error(format!("`server_uri`: {error}")))?;
    let mut server_features = Vec::new();
    if let Some(features) = json.get("server_features") {
        // Features may be of any JSON type; only strings have a meaning.
        server_features.extend(features.items()?.iter().filter_map(|it| it.value.as_str()).map(str::to_owned));
    }
    let mut channel_creds = None;
    if let Some(list) = json.get("channel_creds") {
        for creds in list.items()? {
            channel_creds = read_creds(&creds)?;
            if channel_creds.is_some() {
                break;
            }
        }
    }
    let Some(channel_creds) = channel_creds else {
        return Err(json.error(
            "`channel_creds` field in server config cannot be empty; give at least one of type `insecure` or `tls`",
        ));
    };
    Ok(ServerConfig { server_uri: server_uri.to_owned(), target, channel_creds, server_features })
}

/// Credentials of a type that is not supported are passed over.
fn read_creds(json: &Json<'_>) -> Result<Option<ChannelCreds>, FieldError> {
    match json.text_of("type")? {
        Some("insecure") => Ok(Some(ChannelCreds::Insecure)),
        Some("tls") => {
            let Some(config) = json.get("config") else {
                return Ok(Some(ChannelCreds::Tls(TlsConfig::default())));
            };
            let tls = TlsConfig {
                ca_certificate_file: config.path_of("ca_certificate_file")?,
                certificate_file: config.path_of("certificate_file")?,
                private_key_file: config.path_of("private_key_file")?,
            };
            if tls.certificate_file.is_some() != tls.private_key_file.is_some() {
                return Err(config.error(
                    "failed to build credentials bundle from bootstrap for \"tls\": `certificate_file` and \
                     `private_key_file` must be set together",
                ));
            }
            Ok(Some(ChannelCreds::Tls(tls)))
        }
        _ => Ok(None),
    }
}

fn read_node(json: &Json<'_>) -> Result<Node, FieldError> {
    json.object()?;
    let text = |key| Ok(json.text_of(key)?.unwrap_or_default().to_owned());
    let mut locality = Locality::default();
    if let Some(field) = json.get("locality") {
        for (key, part) in
            [("region", &mut locality.region), ("zone", &mut locality.zone), ("sub_zone", &mut locality.sub_zone)]
        {
            *part = field.text_of(key)?.unwrap_or_default().to_owned();
        }
    }
    let metadata = match json.get("metadata") {
        Some(metadata) => metadata.object()?.clone(),
        None => serde_json::Map::new(),
    };
    Ok(Node { id: text("id")?, cluster: text("cluster")?, locality, metadata })
}

/// `None` for a plugin that is not supported.
fn read_provider(json: &Json<'_>) -> Result<Option<FileWatcherConfig>, FieldError> {
    if json.text_of("plugin_name")? != Some("file_watcher") {
        return Ok(None);
    }
    let failed = |message: &str| {
        json.error(format!(
            "config parsing for certificate provider plugin \"file_watcher\" failed during bootstrap: {message}"
        ))
    };
    let Some(config) = json.get("config") else {
        return Err(failed("`config` is missing"));
    };
    let identity = match (config.path_of("certificate_file")?, config.path_of("private_key_file")?) {
        (Some(certificate_file), Some(private_key_file)) => {
            if certificate_file.parent() != private_key_file.parent() {
                return Err(failed("`certificate_file` and `private_key_file` must be in the same directory"));
            }
            Some(IdentityFiles { certificate_file, private_key_file })
        }
        (None, None) => None,
        _ => return Err(failed("`certificate_file` and `private_key_file` must be set together")),
    };
    let ca_certificate_file = config.path_of("ca_certificate_file")?;
    if identity.is_none() && ca_certificate_file.is_none() {
        return Err(failed(
            "set `certificate_file` with `private_key_file`, or `ca_certificate_file`; at least one is needed",
        ));
    }
    let refresh_interval = match config.text_of("refresh_interval")? {
        None => DEFAULT_REFRESH,
        Some(text) => match parse_duration(text) {
            Some(Duration::ZERO) => ZERO_REFRESH,
            Some(interval) => interval,
            None => return Err(failed("`refresh_interval` must be seconds with the suffix `s`, such as `900s`")),
        },
    };
    Ok(Some(FileWatcherConfig { identity, ca_certificate_file, refresh_interval }))
}

/// A duration in protobuf's JSON form: seconds with up to nine decimals and the suffix `s`.
fn parse_duration(text: &str) -> Option<Duration> {
    let number = text.strip_suffix('s')?;
    let (seconds, decimals) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if seconds.is_empty() || !digits(seconds) || !digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let nanos = format!("{decimals:0<9}").parse().ok()?;
    Some(Duration::new(seconds.parse().ok()?, nanos))
}

fn read_authority(name: &str, json: &Json<'_>) -> Result<Authority, FieldError> {
    json.object()?;
    let prefix = format!("xdstp://{}/", percent_encode(name, b"/"));
    let template = match json.text_of("client_listener_resource_name_template")? {
        None => format!("{prefix}envoy.config.listener.v3.Listener/%s"),
        Some(template) if template.starts_with(&prefix) => template.to_owned(),
        Some(template) => {
            return Err(json.error(format!(
                "`client_listener_resource_name_template` {template:?} doesn't start with prefix {prefix:?}"
            )));
        }
    };
    Ok(Authority { client_listener_resource_name_template: template, xds_servers: read_servers(json)? })
}

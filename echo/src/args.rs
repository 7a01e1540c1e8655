//! The echo server's command line, as Istio's sample manifests write it (`pkg/test/echo/cmd/server`).

use std::collections::BTreeSet;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arguments {
    /// HTTP/1.1 and h2c ports (`--port`).
    pub http: Vec<u16>,
    /// gRPC ports (`--grpc`), together with those that only `--xds-grpc-server` names.
    pub grpc: Vec<u16>,
    /// Those of the gRPC ports that take their configuration from xDS (`--xds-grpc-server`).
    pub xds: BTreeSet<u16>,
    /// TCP ports (`--tcp`).
    pub tcp: Vec<u16>,
    /// Where Prometheus reads counters (`--metrics`), if anywhere.
    pub metrics: Option<u16>,
    /// The version to tell callers (`--version`).
    pub version: String,
    /// The cluster to tell callers (`--cluster`).
    pub cluster: String,
    /// The Istio version to tell callers (`--istio-version`).
    pub istio_version: String,
    /// Which addresses to bind.
    pub bind: Bind,
}

/// Which addresses the ports are bound on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bind {
    /// All of a family the host has: `0.0.0.0`, or `::` where there is no IPv4.
    All,
    /// The addresses of `INSTANCE_IP`, else `INSTANCE_IPS` (`--bind-ip`).
    Instance,
    /// Loopback (`--bind-localhost`).
    Localhost,
}

/// A command line that the echo server does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// No such flag.
    #[error("unknown flag `{0}`")]
    UnknownFlag(String),
    /// Istio's echo has this flag, ours does not play it.
    #[error("flag `--{0}` is known to Istio's echo but not supported here; remove it")]
    Unsupported(String),
    /// Words that belong to no flag.
    #[error("unexpected argument `{0}`; the echo server takes flags only")]
    Positional(String),
    /// A flag at the end of the line that needs a value.
    #[error("flag `--{0}` needs a value")]
    MissingValue(String),
    /// A value that is no port.
    #[error("flag `--{flag}`: `{value}` is no port; expected a number from 1 to 65535")]
    Port {
        /// The flag.
        flag: String,
        /// What was given.
        value: String,
    },
    /// A value that is neither true nor false.
    #[error("flag `--{flag}`: `{value}` is neither true nor false")]
    Bool {
        /// The flag.
        flag: String,
        /// What was given.
        value: String,
    },
}

/// Flags of Istio's echo that open or change endpoints which are not played here.
const UNSUPPORTED: [&str; 14] = [
    "udp",
    "hbone",
    "double-hbone",
    "endpoint-picker",
    "tls",
    "mtls",
    "server-first",
    "proxy-protocol",
    "uds",
    "ca",
    "disable-alpn",
    "tls-min-version",
    "tls-curve-preferences",
    "forwarding_address",
];

impl Arguments {
    /// Reads a command line without the program's name. Lists of ports may be repeated or separated by commas; a
    /// default port applies only where its flag is absent.
    ///
    /// # Errors
    /// The first flag that is not understood.
    pub fn parse(words: &[String]) -> Result<Self, ArgumentError> {
        let (mut http, mut grpc, mut tcp, mut xds) = (None, None, None, None);
        let mut parsed = Self {
            http: Vec::new(),
            grpc: Vec::new(),
            xds: BTreeSet::new(),
            tcp: Vec::new(),
            metrics: None,
            version: String::new(),
            cluster: String::new(),
            istio_version: String::new(),
            bind: Bind::All,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let flag = word.strip_prefix("--").ok_or_else(|| ArgumentError::Positional(word.clone()))?;
            let (name, inline) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            match name {
                "bind-ip" | "bind-localhost" => {
                    if boolean(name, inline.as_deref())? && parsed.bind != Bind::Localhost {
                        parsed.bind = if name == "bind-ip" { Bind::Instance } else { Bind::Localhost };
                    }
                    continue;
                }
                _ if UNSUPPORTED.contains(&name) => return Err(ArgumentError::Unsupported(name.to_owned())),
                _ => {}
            }
            let mut value = || {
                inline
                    .clone()
                    .or_else(|| words.next().cloned())
                    .ok_or_else(|| ArgumentError::MissingValue(name.to_owned()))
            };
            match name {
                "port" => ports(name, &value()?, &mut http)?,
                "grpc" => ports(name, &value()?, &mut grpc)?,
                "tcp" => ports(name, &value()?, &mut tcp)?,
                "xds-grpc-server" => ports(name, &value()?, &mut xds)?,
                "metrics" => {
                    let value = value()?;
                    // 0 is upstream's way of saying "no metrics".
                    parsed.metrics = if value == "0" { None } else { Some(port(name, &value)?) };
                }
                "version" => parsed.version = value()?,
                "cluster" => parsed.cluster = value()?,
                "istio-version" => parsed.istio_version = value()?,
                // Certificate files are for TLS ports, of which there are none; the sample names them all the same.
                "crt" | "key" => drop(value()?),
                _ if name.starts_with("log_") => drop(value()?),
                _ => return Err(ArgumentError::UnknownFlag(word.clone())),
            }
        }
        parsed.http = http.unwrap_or_else(|| vec![8080]);
        parsed.grpc = grpc.unwrap_or_else(|| vec![7070]);
        parsed.tcp = tcp.unwrap_or_else(|| vec![9090]);
        // Upstream's flag only marks ports that `--grpc` opens; its own test manifests leave `--grpc` out. Opening both
        // serves the manifests of either kind.
        for port in xds.unwrap_or_default() {
            parsed.xds.insert(port);
            if !parsed.grpc.contains(&port) {
                parsed.grpc.push(port);
            }
        }
        Ok(parsed)
    }
}

fn ports(flag: &str, value: &str, into: &mut Option<Vec<u16>>) -> Result<(), ArgumentError> {
    let list = into.get_or_insert_default();
    for part in value.split(',') {
        let port = port(flag, part)?;
        if !list.contains(&port) {
            list.push(port);
        }
    }
    Ok(())
}

fn port(flag: &str, value: &str) -> Result<u16, ArgumentError> {
    match value.trim().parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(ArgumentError::Port { flag: flag.to_owned(), value: value.to_owned() }),
    }
}

fn boolean(flag: &str, value: Option<&str>) -> Result<bool, ArgumentError> {
    match value {
        None | Some("true") => Ok(true),
        Some("false") => Ok(false),
        Some(value) => Err(ArgumentError::Bool { flag: flag.to_owned(), value: value.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, ArgumentError> {
        Arguments::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_samples_command_line_is_understood() {
        let line = "--metrics=15014 --port 18080 --tcp 19090 --xds-grpc-server=17070 --grpc 17070 --grpc 17171 \
                    --port 3333 --port 8080 --version v1 --crt=/cert.crt --key=/cert.key";
        let parsed = parse(line).unwrap();
        assert_eq!(parsed.http, [18080, 3333, 8080]);
        assert_eq!(parsed.grpc, [17070, 17171]);
        assert_eq!(parsed.xds, BTreeSet::from([17070]));
        assert_eq!(parsed.tcp, [19090]);
        assert_eq!(parsed.metrics, Some(15014));
        assert_eq!(parsed.version, "v1");
        assert_eq!(parsed.bind, Bind::All);
    }

    #[test]
    fn defaults_apply_only_to_absent_flags() {
        let parsed = parse("--port=80,81").unwrap();
        assert_eq!((parsed.http, parsed.grpc, parsed.tcp), (vec![80, 81], vec![7070], vec![9090]));
    }

    #[test]
    fn a_port_that_only_the_xds_flag_names_is_opened_too() {
        let parsed = parse("--grpc 7070 --xds-grpc-server=7171").unwrap();
        assert_eq!(parsed.grpc, [7070, 7171]);
        assert_eq!(parsed.xds, BTreeSet::from([7171]));
    }

    #[test]
    fn localhost_wins_over_the_instance_address() {
        assert_eq!(parse("--bind-localhost --bind-ip").unwrap().bind, Bind::Localhost);
        assert_eq!(parse("--bind-ip=true").unwrap().bind, Bind::Instance);
        assert_eq!(parse("--bind-ip=false").unwrap().bind, Bind::All);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, message) in [
            ("--prot 80", "unknown flag `--prot`"),
            ("--tls=443", "flag `--tls` is known to Istio's echo but not supported here; remove it"),
            ("8080", "unexpected argument `8080`; the echo server takes flags only"),
            ("--grpc", "flag `--grpc` needs a value"),
            ("--grpc=x", "flag `--grpc`: `x` is no port; expected a number from 1 to 65535"),
            ("--tcp 0", "flag `--tcp`: `0` is no port; expected a number from 1 to 65535"),
            ("--bind-ip=maybe", "flag `--bind-ip`: `maybe` is neither true nor false"),
        ] {
            assert_eq!(parse(line).unwrap_err().to_string(), message, "{line}");
        }
    }
}

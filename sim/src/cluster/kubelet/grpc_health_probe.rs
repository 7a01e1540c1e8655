//! `grpc_health_probe`, the tool that exec probes ask a gRPC server with, TLS included.
//!
//! Flags, and the exit codes 1 (arguments), 2 (connection), 3 (call) and 4 (unhealthy) are the tool's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use hermesh_runtime::channel::ChannelOptions;
use hermesh_runtime::tls::{ClientTls, Identity, PeerRule, TrustBundle};
use hermesh_runtime::{Runtime, go_duration};

use super::health::{self, Limits};

/// The tool's bounds for connecting and for the call, unless its flags say otherwise.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Flags with a value, and those without.
const VALUES: [&str; 8] = [
    "addr",
    "connect-timeout",
    "rpc-timeout",
    "service",
    "tls-ca-cert",
    "tls-client-cert",
    "tls-client-key",
    "tls-server-name",
];
const SWITCHES: [&str; 2] = ["tls", "tls-no-verify"];

/// Asks the server for its health. The error says what the tool would, with its exit status.
pub(super) async fn run(rt: &Runtime, args: &[String]) -> Result<(), String> {
    let invalid = |error: String| format!("exit status 1: grpc_health_probe: {error}");
    let flags = Flags::parse(args).map_err(invalid)?;
    let address = flags.get("addr").ok_or_else(|| invalid("-addr not specified".to_owned()))?;
    let (host, port) = address.rsplit_once(':').ok_or_else(|| invalid(format!("-addr={address} is not host:port")))?;
    let port = port.parse().map_err(|_| invalid(format!("-addr={address} is not host:port")))?;
    let limits = Limits {
        connect: flags.timeout("connect-timeout").map_err(invalid)?,
        call: flags.timeout("rpc-timeout").map_err(invalid)?,
    };
    let tls = flags.tls(rt).await.map_err(invalid)?;
    let ip = match host {
        "" | "localhost" => Ipv4Addr::LOCALHOST.into(),
        host => match host.parse::<IpAddr>() {
            Ok(ip) => ip,
            Err(_) => *rt
                .resolve(host)
                .await
                .map_err(|error| format!("exit status 2: {error}"))?
                .first()
                .ok_or("exit status 2: the host has no address")?,
        },
    };
    let options = ChannelOptions { tls, ..ChannelOptions::default() };
    let service = flags.get("service").unwrap_or_default();
    let checked = health::check_in_steps(rt, SocketAddr::new(ip, port), options, service, limits).await;
    checked.map_err(|unhealthy| format!("exit status {}: {unhealthy}", unhealthy.exit_status()))
}

/// Flags as Go parses them, with one dash or two.
struct Flags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Flags<'a> {
    fn parse(args: &'a [String]) -> Result<Self, String> {
        let (mut flags, mut args) = (Vec::new(), args.iter());
        while let Some(arg) = args.next() {
            let flag = arg.strip_prefix('-').ok_or_else(|| format!("unexpected argument `{arg}`"))?;
            let (name, value) = match flag.trim_start_matches('-').split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag.trim_start_matches('-'), None),
            };
            if SWITCHES.contains(&name) {
                flags.push((name, boolean(name, value.unwrap_or("true"))?));
            } else if VALUES.contains(&name) {
                let value = value.or_else(|| args.next().map(String::as_str));
                flags.push((name, value.ok_or_else(|| format!("flag needs an argument: -{name}"))?));
            } else {
                let known = VALUES.iter().chain(&SWITCHES).map(|flag| format!("-{flag}")).collect::<Vec<_>>();
                return Err(format!("flag provided but not defined: -{name}; known here are {}", known.join(", ")));
            }
        }
        Ok(Self(flags))
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rev().find(|(flag, _)| *flag == name).map(|(_, value)| *value)
    }

    /// A bound, as Go's `time.ParseDuration` reads it.
    fn timeout(&self, name: &str) -> Result<Duration, String> {
        let Some(value) = self.get(name) else { return Ok(TIMEOUT) };
        let invalid = || format!("invalid value {value:?} for flag -{name}: parse error");
        let time = go_duration::parse(value).map_err(|_| invalid())?;
        if time.is_zero() { Err(format!("-{name} must be greater than zero (specified: 0s)")) } else { Ok(time) }
    }

    fn is_set(&self, switch: &str) -> bool {
        self.get(switch) == Some("true")
    }

    /// How to speak TLS, if at all.
    async fn tls(&self, rt: &Runtime) -> Result<Option<ClientTls>, String> {
        let (ca, unverified) = (self.get("tls-ca-cert"), self.is_set("tls-no-verify"));
        let (certificate, key) = (self.get("tls-client-cert"), self.get("tls-client-key"));
        if !self.is_set("tls") {
            let lone = VALUES.iter().chain(&SWITCHES).find(|flag| flag.starts_with("tls-") && self.get(flag).is_some());
            return lone.map_or(Ok(None), |flag| Err(format!("specified -{flag} without specifying -tls")));
        }
        let trust = match (ca, unverified) {
            (Some(_), true) => return Err("specified -tls-ca-cert with -tls-no-verify, which reads no CA".to_owned()),
            (Some(path), false) => TrustBundle::from_pem(&read(rt, path).await?).map_err(|error| error.to_string())?,
            (None, true) => TrustBundle::unverified(),
            (None, false) => {
                return Err("images here have no CAs of their own: -tls-ca-cert or -tls-no-verify".to_owned());
            }
        };
        let identity = match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let (certificate, key) = (read(rt, certificate).await?, read(rt, key).await?);
                Some(Identity::from_pem(rt, &certificate, &key).map_err(|error| error.to_string())?)
            }
            (None, None) => None,
            _ => return Err("-tls-client-cert and -tls-client-key go together".to_owned()),
        };
        let host = self.get("addr").and_then(|address| address.rsplit_once(':')).map_or("", |(host, _)| host);
        let name = self.get("tls-server-name").unwrap_or(host);
        let rule = if unverified { PeerRule::any() } else { PeerRule::dns(name) };
        ClientTls::new(rt, name, trust, identity, rule).map(Some).map_err(|error| error.to_string())
    }
}

/// A truth value as Go's `strconv.ParseBool` reads it.
fn boolean(name: &str, value: &str) -> Result<&'static str, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok("true"),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok("false"),
        _ => Err(format!("invalid boolean value {value:?} for -{name}: parse error")),
    }
}

async fn read(rt: &Runtime, path: &str) -> Result<Vec<u8>, String> {
    rt.read(Path::new(path)).await.map(|bytes| bytes.to_vec()).map_err(|error| format!("open {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str], flag: &str) -> Result<Option<String>, String> {
        let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        Flags::parse(&args).map(|flags| flags.get(flag).map(str::to_owned))
    }

    #[test]
    fn flags_are_written_as_go_programs_take_them() {
        let table = [
            (&["-addr=:1"][..], Ok(Some(":1"))),
            (&["--addr", ":1"], Ok(Some(":1"))),
            (&["-addr=:1", "-addr=:2"], Ok(Some(":2"))),
            (&["-tls"], Ok(None)),
            (&["-addr"], Err("flag needs an argument: -addr")),
            (&["addr"], Err("unexpected argument `addr`")),
        ];
        for (args, expected) in table {
            let expected = expected.map(|value| value.map(str::to_owned)).map_err(str::to_owned);
            assert_eq!(parsed(args, "addr"), expected, "{args:?}");
        }
        for (value, expected) in [("1", "true"), ("TRUE", "true"), ("f", "false"), ("0", "false")] {
            assert_eq!(parsed(&[&format!("-tls={value}")], "tls"), Ok(Some(expected.to_owned())), "{value}");
        }
        let message = "invalid boolean value \"yes\" for -tls: parse error";
        assert_eq!(parsed(&["-tls=yes"], "tls"), Err(message.to_owned()));
        let timeout = |value: &str| {
            let args = [format!("-rpc-timeout={value}")];
            Flags::parse(&args).and_then(|flags| flags.timeout("rpc-timeout"))
        };
        assert_eq!(timeout("1m30.5s"), Ok(Duration::from_millis(90_500)));
        assert_eq!(timeout("5").unwrap_err(), "invalid value \"5\" for flag -rpc-timeout: parse error");
        assert!(timeout("0s").unwrap_err().starts_with("-rpc-timeout must be greater than zero"));
        assert!(parsed(&["-adr=:1"], "addr").unwrap_err().contains("known here are -addr"));
    }
}

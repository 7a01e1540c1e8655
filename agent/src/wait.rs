//! `pilot-agent wait`: polls a URL until it answers 200, as the injected postStart hook does.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hermesh_runtime::{Runtime, http1};
use tokio::time::Instant;

/// What to poll, how often and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// `--timeoutSeconds`.
    pub timeout: Duration,
    /// `--requestTimeoutMillis`.
    pub request_timeout: Duration,
    /// `--periodMillis`; the first attempt comes after one period.
    pub period: Duration,
    /// `--url`.
    pub url: String,
}

impl Default for Wait {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(60),
            request_timeout: Duration::from_millis(500),
            period: Duration::from_millis(500),
            url: "http://localhost:15021/healthz/ready".to_owned(),
        }
    }
}

/// Why waiting failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The arguments cannot be used.
    #[error("argument `{argument}`: {problem}")]
    Argument {
        /// Which.
        argument: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The URL never answered 200.
    #[error("timeout waiting for {url} to become ready: {last}")]
    Timeout {
        /// What was polled.
        url: String,
        /// How the last attempt ended.
        last: String,
    },
}

impl Wait {
    /// Reads the arguments after `wait`, as `--name=value` or `--name value`.
    ///
    /// # Errors
    /// If one has no value or one that cannot be used. Unknown flags are tolerated.
    pub fn parse(args: &[String]) -> Result<Self, WaitError> {
        let mut wait = Self::default();
        let mut args = args.iter();
        while let Some(argument) = args.next() {
            let error = |problem| WaitError::Argument { argument: argument.clone(), problem };
            let Some(flag) = argument.strip_prefix("--") else { return Err(error("expected a flag")) };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if !matches!(name, "timeoutSeconds" | "requestTimeoutMillis" | "periodMillis" | "url") {
                continue;
            }
            let value = value.or_else(|| args.next().cloned()).ok_or_else(|| error("needs a value"))?;
            let number = || value.parse::<u32>().map_err(|_| error("expected a whole number below 2^32"));
            match name {
                "timeoutSeconds" => wait.timeout = Duration::from_secs(u64::from(number()?)),
                "requestTimeoutMillis" => wait.request_timeout = Duration::from_millis(u64::from(number()?)),
                "periodMillis" => wait.period = Duration::from_millis(u64::from(number()?.max(1))),
                _ => wait.url = value,
            }
        }
        Ok(wait)
    }

    /// Polls until the URL answers 200.
    ///
    /// # Errors
    /// How the last attempt ended, if none succeeded in time.
    pub async fn run(&self, rt: &Runtime) -> Result<(), WaitError> {
        let end = Instant::now() + self.timeout;
        let mut last = "no attempt was made".to_owned();
        loop {
            let next = Instant::now() + self.period;
            if next > end {
                tokio::time::sleep_until(end).await;
                return Err(WaitError::Timeout { url: self.url.clone(), last });
            }
            tokio::time::sleep_until(next).await;
            match tokio::time::timeout(self.request_timeout, self.attempt(rt)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => last = error,
                Err(_) => last = format!("no answer within {:?}", self.request_timeout),
            }
        }
    }

    async fn attempt(&self, rt: &Runtime) -> Result<(), String> {
        let uri: http::Uri = self.url.parse().map_err(|_| "not a URL".to_owned())?;
        let authority = uri.authority().ok_or("URL without a host")?;
        let (host, port) = (authority.host(), authority.port_u16().unwrap_or(80));
        let address = match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) => address,
            Err(_) if host == "localhost" => IpAddr::from([127, 0, 0, 1]),
            Err(_) => {
                let found = rt.resolve(host).await.map_err(|error| error.to_string())?;
                found.first().copied().ok_or("host has no address")?
            }
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let to = SocketAddr::new(address, port);
        let response = http1::get(rt, to, authority.as_str(), path, self.request_timeout).await;
        match response {
            Ok(response) if response.status == http::StatusCode::OK => Ok(()),
            Ok(response) => Err(format!("HTTP status code {}", response.status.as_u16())),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Wait, WaitError> {
        Wait::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_injected_hook_is_understood() {
        let wait = parse("--url=http://localhost:15020/healthz/ready").unwrap();
        let expected = Wait { url: "http://localhost:15020/healthz/ready".to_owned(), ..Wait::default() };
        assert_eq!(wait, expected);
        let wait = parse("--timeoutSeconds 5 --periodMillis=20 --log_as_json").unwrap();
        assert_eq!((wait.timeout, wait.period), (Duration::from_secs(5), Duration::from_millis(20)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_server_is_part_of_the_request() {
        let network = hermesh_test_support::InMemory::with_silent_names();
        let rt = hermesh_test_support::Process::new(hermesh_test_support::Setup::new().network(network)).rt;
        let begin = Instant::now();
        let wait = parse("--url=http://istiod/ready --timeoutSeconds=10").unwrap();
        let error = wait.run(&rt).await.unwrap_err().to_string();
        assert_eq!(error, "timeout waiting for http://istiod/ready to become ready: no answer within 500ms");
        assert_eq!(begin.elapsed(), Duration::from_secs(10));
    }

    #[test]
    fn arguments_that_cannot_be_used_are_named() {
        for (line, named) in [("--url", "--url"), ("--periodMillis=x", "--periodMillis=x"), ("http://x", "http://x")] {
            assert!(parse(line).unwrap_err().to_string().contains(named), "{line}");
        }
    }
}

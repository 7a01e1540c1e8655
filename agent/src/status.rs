//! The status port, 15020: readiness for kubelet, `/quitquitquit` and `/drain` for whoever is on this host.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use hermesh_runtime::server::{ConnectionInfo, DrainHandle};
use hermesh_runtime::{EventId, Listener, Runtime, http1};
use http::{Method, Request, Response, StatusCode};
use tokio::sync::Notify;

use crate::ReadinessChanged;
use crate::bootstrap::certificate_files;
use crate::readiness::{Bootstrap, Readiness};
use crate::settings::Settings;

#[derive(Clone)]
pub(crate) struct StatusServer {
    rt: Runtime,
    settings: Arc<Settings>,
    readiness: Arc<Mutex<State>>,
    drain: DrainHandle,
    quit: Arc<Notify>,
    started: Option<EventId>,
}

#[derive(Default)]
struct State {
    readiness: Readiness,
    /// The files that the bootstrap names, once it loaded: istio-agent does not read it again.
    files: Option<Vec<String>>,
}

impl StatusServer {
    pub(crate) fn new(rt: &Runtime, settings: &Arc<Settings>, drain: DrainHandle, started: Option<EventId>) -> Self {
        Self {
            rt: rt.clone(),
            settings: Arc::clone(settings),
            readiness: Arc::default(),
            drain,
            quit: Arc::default(),
            started,
        }
    }

    /// Told when someone asks the agent to quit.
    pub(crate) fn quit(&self) -> Arc<Notify> {
        Arc::clone(&self.quit)
    }

    /// All interfaces, unless the status server is off.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let port = self.settings.proxy.status_port;
        let any = match self.settings.addresses.first() {
            Some(IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            _ => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        };
        (port != 0).then(|| SocketAddr::new(any, port))
    }

    pub(crate) async fn serve(self, listener: Box<dyn Listener>) -> io::Result<()> {
        let rt = self.rt.clone();
        http1::serve(&rt, listener, move |request| self.clone().answer(request)).await
    }

    async fn answer(self, request: Request<Bytes>) -> Response<Bytes> {
        match request.uri().path() {
            "/healthz/ready" => {
                status(if self.is_ready().await { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
            }
            "/quitquitquit" => self.command(&request, || self.quit.notify_one()),
            "/drain" => self.command(&request, || {
                self.state().readiness.drain();
                self.drain.drain();
            }),
            _ => status(StatusCode::NOT_FOUND),
        }
    }

    /// Carries out what only a POST from this host may ask for.
    fn command(&self, request: &Request<Bytes>, carry_out: impl FnOnce()) -> Response<Bytes> {
        let peer = request.extensions().get::<ConnectionInfo>().and_then(|connection| connection.peer.tcp());
        if !peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
            return status(StatusCode::FORBIDDEN);
        }
        if request.method() != Method::POST {
            return status(StatusCode::METHOD_NOT_ALLOWED);
        }
        carry_out();
        let mut response = status(StatusCode::OK);
        *response.body_mut() = Bytes::from_static(b"OK");
        response
    }

    async fn is_ready(&self) -> bool {
        let bootstrap = self.look().await;
        let mut state = self.state();
        let decision = state.readiness.decide(&bootstrap);
        if state.readiness.changes_to(decision.is_ok()) {
            let reason = decision.as_ref().err().map(ToString::to_string);
            self.rt.emit_because(self.started, ReadinessChanged { ready: decision.is_ok(), reason });
        }
        decision.is_ok()
    }

    async fn look(&self) -> Bootstrap {
        let Some(path) = &self.settings.bootstrap else { return Bootstrap::Off };
        let known = self.state().files.clone();
        let files = match known {
            Some(files) => files,
            None => {
                let text = match self.rt.read(path).await {
                    Ok(text) => text,
                    Err(error) => return Bootstrap::Unreadable(format!("{}: {error}", path.display())),
                };
                match certificate_files(&text) {
                    Ok(files) => files,
                    Err(error) => return Bootstrap::Unreadable(format!("{}: {error}", path.display())),
                }
            }
        };
        let mut missing = Vec::new();
        for file in &files {
            if !self.rt.exists(file).await {
                missing.push(file.clone());
            }
        }
        self.state().files = Some(files);
        Bootstrap::Loaded { missing }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.readiness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn status(code: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = code;
    response
}

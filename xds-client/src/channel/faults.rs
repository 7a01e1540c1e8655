//! Faults on an RPC's way: the wait, and the end before anything was sent.

use http::HeaderMap;
use tokio::time::Instant;
use tonic::Status;

use super::Shared;
use super::call::{Failed, Response, within};
use super::events::RpcFault;
use super::selector::Selected;
use crate::cause::Cause;
use crate::fault::{Injection, MESSAGE};

/// Has an RPC meet the faults of its route, filter by filter; `Some` if it is to end with OK.
pub(super) async fn inject(
    shared: &Shared,
    selected: &Selected,
    method: &str,
    headers: &HeaderMap,
    deadline: Option<Instant>,
) -> Result<Option<Response>, Failed> {
    for policy in &selected.faults {
        let met = policy.judge(headers, &shared.pool.faults(), &mut shared.draws().fault);
        let Injection { delay, abort, .. } = met;
        if delay.is_none() && abort.is_none() {
            continue;
        }
        let event = RpcFault {
            target: shared.target.clone(),
            method: method.to_owned(),
            cluster: selected.cluster.name.clone(),
            delay_ms: delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            abort: abort.map(|code| format!("{code:?}")),
        };
        let event = shared.rt.emit_because(selected.event, event);
        if let Some(delay) = delay
            && within(deadline, tokio::time::sleep(delay)).await.is_none()
        {
            return Err(Failed::deadline("context deadline exceeded", event));
        }
        drop(met);
        match abort {
            None => {}
            Some(tonic::Code::Ok) => return Ok(Some(Status::ok("").into_http())),
            Some(code) => {
                return Err(Failed { status: Status::new(code, MESSAGE), cause: Cause::FaultInjected, event });
            }
        }
    }
    Ok(None)
}

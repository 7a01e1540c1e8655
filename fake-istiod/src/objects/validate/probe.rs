//! What the API server refuses of probes and hooks.
//!
//! Source: kubernetes `pkg/apis/core/validation/validation.go` (`validateProbe`, `validateLifecycle`).

use super::Check;
use crate::objects::names::is_header_name;
use crate::objects::probe::{LIFECYCLE_HANDLERS, ONE_LIFECYCLE_HANDLER, ONE_PROBE_HANDLER, PROBE_HANDLERS};
use crate::objects::{HttpGetAction, HttpScheme, Lifecycle, LifecycleHandler, Probe, ProbeHandler};

pub(super) fn probe_fields(check: &mut Check<'_>, path: &str, probe: &Probe, name: &str) {
    check.only_one(path, &PROBE_HANDLERS, ONE_PROBE_HANDLER);
    match &probe.handler {
        ProbeHandler::HttpGet(action) => {
            http_get(check, &format!("{path}.httpGet"), action);
            if action.scheme == HttpScheme::HTTPS {
                check.error("not-supported", &format!("{path}.httpGet.scheme"), "HTTPS probes are not supported yet");
            }
        }
        ProbeHandler::TcpSocket(action) => check.port_or_name(&format!("{path}.tcpSocket.port"), &action.port),
        ProbeHandler::Grpc(action) => check.port(&format!("{path}.grpc.port"), action.port),
        ProbeHandler::Exec(action) if action.command.is_empty() => {
            check.error("missing-field", &format!("{path}.exec.command"), "missing; what runs?");
        }
        ProbeHandler::Exec(_) => {}
    }
    if name != "readinessProbe" && probe.success_threshold != 1 {
        check.error("invalid-value", &format!("{path}.successThreshold"), format!("must be 1 for a {name}"));
    }
}

/// `grace` is how many seconds the pod's containers may take to end.
pub(super) fn lifecycle(check: &mut Check<'_>, path: &str, lifecycle: &Lifecycle, grace: u64) {
    for (name, handler) in [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)] {
        let path = format!("{path}.{name}");
        check.only_one(&path, &LIFECYCLE_HANDLERS, ONE_LIFECYCLE_HANDLER);
        match handler {
            Some(LifecycleHandler::Exec(action)) if action.command.is_empty() => {
                check.error("missing-field", &format!("{path}.exec.command"), "missing; what runs?");
            }
            Some(LifecycleHandler::HttpGet(action)) => http_get(check, &format!("{path}.httpGet"), action),
            Some(LifecycleHandler::Sleep(action)) if action.seconds > grace => {
                let message = format!(
                    "{} is too large; write at most {grace}, the pod's terminationGracePeriodSeconds",
                    action.seconds
                );
                check.error("out-of-range", &format!("{path}.sleep.seconds"), message);
            }
            Some(LifecycleHandler::Exec(_) | LifecycleHandler::Sleep(_)) | None => {}
        }
    }
}

fn http_get(check: &mut Check<'_>, path: &str, action: &HttpGetAction) {
    check.port_or_name(&format!("{path}.port"), &action.port);
    for (index, header) in action.http_headers.iter().enumerate().filter(|(_, header)| !is_header_name(&header.name)) {
        let message = format!("invalid header name {:?}; use letters, digits and dashes", header.name);
        check.error("invalid-name", &format!("{path}.httpHeaders[{index}].name"), message);
    }
}

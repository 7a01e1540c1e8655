//! `inject` and `eject`, `wait: {nacked: ...}`, and what is expected of `get: {config: ...}`.

use super::{open, refused, steps};

const CLUSTER: &str = "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster";

#[test]
fn resources_stand_in_the_step_or_in_a_file() {
    let fine = format!(
        "- inject: {{to: echo-v1, resource: {{{CLUSTER}, name: a}}}}\n\
         - inject: {{to: echo-v1/0, resource: [{{{CLUSTER}, name: a}}, {{{CLUSTER}, name: b, connect_timeout: 1.5s}}]}}\n\
         - eject: {{type: CDS, to: echo-v1}}\n- eject: all\n- wait: {{nacked: {{}}}}\n\
         - wait: {{nacked: {{type: [CDS, LDS], to: echo-v1}}, within: 5s}}\n\
         - get: {{config: echo-v1}}\n  expect: [{{status: ACKED}}, {{type: CDS, name: a, status: NACKED, version: none, error: x}}]\n\
         - together:\n  - {{at: 1s, inject: {{to: echo-v2, resource: {{{CLUSTER}, name: a}}}}}}\n  - {{at: 2s, eject: all}}"
    );
    if let Err(errors) = open(&steps(&fine)) {
        panic!("{errors:?}");
    }
}

#[test]
fn mistakes_within_a_resource_are_told_where_they_are() {
    refused(
        &steps(&format!(
            "- inject:\n    to: echo-v1\n    resource:\n      {CLUSTER}\n      name: a\n      conect_timeout: 1s\n      \
             type: EDSS\n      lbPolicy: FASTEST\n      transportSocket:\n        name: tls\n        typedConfig:\n          \
             \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContex\n"
        )),
        &[
            "s.yaml:13:7: steps[1].inject.resource.conect_timeout: unknown field; did you mean `connect_timeout`?",
            "s.yaml:14:13: steps[1].inject.resource.type: unknown value \"EDSS\"; did you mean `EDS`?",
            "s.yaml:15:17: steps[1].inject.resource.lbPolicy: unknown value \"FASTEST\"; expected ROUND_ROBIN, \
             LEAST_REQUEST, RING_HASH, RANDOM, MAGLEV, CLUSTER_PROVIDED or LOAD_BALANCING_POLICY_CONFIG",
            "s.yaml:19:20: steps[1].inject.resource.transportSocket.typedConfig.@type: unknown message type \
             \"envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContex\"; did you mean \
             `envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext`?",
        ],
    );
}

#[test]
fn a_step_injects_one_thing_into_clients_that_are_there() {
    refused(
        &steps(&format!(
            "- inject: {{to: echo-v1}}\n- inject: {{to: echo-v3, resource: {{{CLUSTER}, name: a}}}}\n\
             - inject: {{to: echo-v1, file: gone.json, resource: {{{CLUSTER}, name: a}}}}\n\
             - inject: {{to: echo-v1, type: CDS, resource: {{{CLUSTER}, name: a}}}}\n\
             - inject: {{to: echo-v1, resource: {{{CLUSTER}}}}}\n- inject: {{to: echo-v1, resource: {{name: a}}}}\n\
             - inject: {{to: echo-v1, resource: []}}\n- eject: {{}}\n\
             - inject: {{to: echo-v1, resource: {{\"@type\": type.googleapis.com/google.protobuf.Struct, value: {{}}}}}}"
        )),
        &[
            "s.yaml:8:11: steps[1].inject: nothing to inject; expected a `resource`, or a `file` with resources",
            "s.yaml:9:16: steps[2].inject.to: no workload `echo-v3` in namespace shop; did you mean `echo-v1`?",
            "s.yaml:10:31: steps[3].inject.file: `resource` and `file` exclude each other",
            "s.yaml:11:31: steps[4].inject.type: `type` chooses among a file's resources; a `resource` says its own \
             `@type`",
            "s.yaml:12:35: steps[5].inject.resource: the CDS resource has no name",
            "s.yaml:13:35: steps[6].inject.resource: no resource of xDS is here; expected messages with `@type`: \
             envoy.config.listener.v3.Listener, envoy.config.route.v3.RouteConfiguration, \
             envoy.config.cluster.v3.Cluster or envoy.config.endpoint.v3.ClusterLoadAssignment",
            "s.yaml:14:35: steps[7].inject.resource: expected a resource, or a list of them: mappings with `@type`, \
             found an empty list",
            "s.yaml:15:10: steps[8].eject: expected which responses; to take back all that was injected write \
             `eject: all`",
            "s.yaml:16:45: steps[9].inject.resource.@type: \"type.googleapis.com/google.protobuf.Struct\" is no type \
             of resource; expected envoy.config.listener.v3.Listener, envoy.config.route.v3.RouteConfiguration, \
             envoy.config.cluster.v3.Cluster or envoy.config.endpoint.v3.ClusterLoadAssignment",
        ],
    );
}

#[test]
fn what_clients_must_have_has_a_status() {
    refused(
        &steps(
            "- get: {config: echo-v1}\n  expect: {type: CDS}\n- get: {config: echo-v1}\n  expect: {status: ACKD}\n\
             - get: {config: echo-v1}\n  expect: [{status: none, error: x}]\n- get: pods\n  expect: {status: ACKED}\n\
             - wait: {nacked: {by: echo-v1}}\n- wait: {nacked: {}, converged: all}\n\
             - get: {config: echo-v1}\n  expect: {type: [CDS, EDS], status: ACKED}",
        ),
        &[
            "s.yaml:9:11: steps[1].expect: field `status` is missing",
            "s.yaml:11:20: steps[2].expect.status: unknown status \"ACKD\"; did you mean `ACKED`?",
            "s.yaml:13:34: steps[3].expect[0].error: `error` is about a resource, and `status: none` expects that there \
             is none",
            "s.yaml:15:11: steps[4].expect: only a `call`, a `stop`, `get: {config: ...}` and what changes objects have \
             something to expect",
            "s.yaml:16:19: steps[5].wait.nacked.by: write the workload whose clients reject it as `to`: the responses go \
             there",
            "s.yaml:17:18: steps[6].wait.nacked: a wait is for one thing; make it two steps",
            "s.yaml:19:18: steps[7].expect.type: expected one xDS type: LDS, RDS, CDS or EDS",
        ],
    );
}

#[test]
fn what_clients_tell_of_a_resource_goes_with_its_status() {
    refused(
        &steps(
            "- get: {config: echo-v1}\n  expect: [{status: ACKED, error: x}, {status: ACKED, version: a}]\n\
             - get: {config: echo-v1}\n  expect: [{status: REQUESTED, version: a}, {status: REQUESTED, version: none}]\n",
        ),
        &[
            "s.yaml:9:35: steps[1].expect[0].error: a client tells of an error with NACKED only, not with ACKED; leave \
             one of them out",
            "s.yaml:11:41: steps[2].expect[0].version: with REQUESTED no version is in use; write `version: none`, or \
             leave it out",
        ],
    );
}

#[test]
fn istiod_is_no_client_of_its_own() {
    let message = "istiod serves xDS and asks nobody for it: name a workload or a pod that is its client";
    refused(
        &steps(&format!(
            "- inject: {{to: istiod, resource: {{{CLUSTER}, name: a}}}}\n- eject: {{to: istio-system/istiod}}\n\
             - hold: {{to: istiod/0}}\n- wait: {{nacked: {{to: istiod}}}}"
        )),
        &[
            &format!("s.yaml:8:16: steps[1].inject.to: {message}"),
            &format!("s.yaml:9:15: steps[2].eject.to: {message}"),
            &format!("s.yaml:10:14: steps[3].hold.to: {message}"),
            &format!("s.yaml:11:23: steps[4].wait.nacked.to: {message}"),
        ],
    );
}

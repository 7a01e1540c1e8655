//! AuthorizationPolicies and what gRPC servers do about them (gRFC A41).

use hermesh::{Call, Mesh};
use hermesh_tests::manifests::{self, NAMESPACE, TARGET};
use hermesh_xds::{Cause, RpcDenied, RpcFinished};
use tonic::Code;

const MUTUAL_TLS: &str = "
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: echo-grpc}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: echo, namespace: echo-grpc}
spec: {host: echo, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
";

fn start(more: &str) -> Mesh {
    let mut mesh = hermesh::mesh().seed(11).namespace(NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1"]) + more).wait_ready();
    mesh
}

fn policy(name: &str, spec: &str) -> String {
    format!("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}}}\nspec: {spec}\n")
}

/// What one call comes to: nothing, or code and cause.
fn call(mesh: &mut Mesh, header: Option<(&str, &str)>) -> Option<(Code, Cause)> {
    let mut call = Call::new("echo-v1", TARGET);
    if let Some((name, value)) = header {
        call = call.header(name, value);
    }
    let failure = mesh.call(call).failure?;
    Some((failure.request_code.expect("it is known"), failure.cause.expect("it is known")))
}

const DENIED: Option<(Code, Cause)> = Some((Code::PermissionDenied, Cause::RbacDenied));

#[test]
fn a_server_lets_in_whom_a_policy_allows_by_identity() {
    let mut mesh = start(MUTUAL_TLS);
    mesh.wait_converged();
    assert_eq!(call(&mut mesh, None), None);
    for (source, expected) in [
        ("{principals: [cluster.local/ns/echo-grpc/sa/default]}", None),
        ("{principals: [cluster.local/ns/echo-grpc/sa/other]}", DENIED),
        ("{notPrincipals: [cluster.local/ns/echo-grpc/sa/default]}", DENIED),
        ("{namespaces: [\"echo*\"]}", None),
        ("{serviceAccounts: [default]}", None),
        ("{serviceAccounts: [other/default]}", DENIED),
        ("{requestPrincipals: [\"*\"]}", DENIED),
    ] {
        let spec = format!("{{rules: [{{from: [{{source: {source}}}]}}]}}");
        mesh.apply(policy("p", &spec)).wait_converged();
        assert_eq!(call(&mut mesh, None), expected, "{source}");
    }
}

#[test]
fn without_tls_nobody_has_an_identity() {
    let mut mesh = start("");
    for (spec, expected) in [
        ("{rules: [{from: [{source: {principals: [\"*\"]}}]}]}", DENIED),
        ("{rules: [{from: [{source: {notPrincipals: [\"*\"]}}]}]}", None),
        ("{action: DENY, rules: [{from: [{source: {notPrincipals: [\"*\"]}}]}]}", DENIED),
    ] {
        mesh.apply(policy("p", spec)).wait_converged();
        assert_eq!(call(&mut mesh, None), expected, "{spec}");
    }
}

#[test]
fn a_denied_call_leads_from_its_client_to_the_policy() {
    let mut mesh = start("");
    mesh.apply(policy("block", "{action: DENY, rules: [{when: [{key: \"request.headers[echo]\", values: [block]}]}]}"));
    mesh.wait_converged();
    assert_eq!(call(&mut mesh, Some(("echo", "block"))), DENIED);
    mesh.with_trace(|trace| {
        let (event, finished) = trace.of::<RpcFinished>().find(|(_, rpc)| *rpc.target == *TARGET).expect("one call");
        assert!(finished.message.ends_with("incoming RPC matched a deny policy \"echo-grpc-block-0\""));
        let (denial, denied) = trace.of::<RpcDenied>().last().expect("the server tells");
        assert_eq!(event.cause, Some(denial.seq));
        assert_eq!(denied.policy.as_deref(), Some("echo-grpc-block-0"));
    });
    let why = mesh.explain("echo-v1", TARGET);
    assert!(why.contains("the policy echo-grpc-block-0 denies it"), "{why}");
    assert!(why.contains("AuthorizationPolicy echo-grpc/block"), "{why}");
    assert_eq!(call(&mut mesh, None), None);
}

/// Connections that stand are told to finish when the policies change: the next call meets the new ones.
#[test]
fn a_policy_counts_for_the_next_call_and_its_deletion_too() {
    let mut mesh = start("");
    assert_eq!(call(&mut mesh, None), None);
    let deny = policy("nobody", "{action: DENY, rules: [{}]}");
    mesh.apply(deny.as_str()).wait_converged();
    assert_eq!(call(&mut mesh, None), DENIED);
    mesh.delete(deny.as_str()).wait_converged();
    assert_eq!(call(&mut mesh, None), None);
}

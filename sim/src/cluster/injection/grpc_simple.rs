//! The template `grpc-simple`: no agent, but an init container that writes a bootstrap which names istiod itself.
//!
//! So the application's gRPC clients talk to istiod without TLS. They have no certificates and no template for the
//! names of servers' listeners: such a pod calls through xDS, and cannot serve through it or take part in mTLS.

use std::path::Path;

use hermesh_istiod::objects::{Container, EmptyDirVolume, EnvVar, Volume, VolumeSource};
use hermesh_runtime::Runtime;

use super::Request;
use super::grpc_agent::{PROBERS, mount};
use super::overlay::Overlay;
use super::proxy_config::Effective;
use crate::engine::Exit;
use crate::image::Program;

/// The init container.
pub(super) const INIT: &str = "grpc-bootstrap-init";
pub(super) const IMAGE: &str = "busybox:1.28";
pub(super) const VOLUME: &str = "grpc-io-proxyless-bootstrap";
const FOLDER: &str = "/var/lib/grpc/data/";
/// What the application is told to read.
pub(crate) const BOOTSTRAP: &str = "/var/lib/grpc/data/bootstrap.json";

/// What the init container's shell runs. The parts around variables are quoted, the variables are not.
const SCRIPT: &str = r#"node="sidecar~${INSTANCE_IP}~${POD_NAME}.${POD_NAMESPACE}~cluster.local"
server="dns:///istiod.${ISTIO_NAMESPACE}.svc:15010"
echo '{"xds_servers": [{"server_uri": "'${server}'", "channel_creds": [{"type": "insecure"}],
"server_features": ["xds_v3"]}], "node": {"id": "'${node}'", "metadata": {"GENERATOR": "grpc"}}}' \
> /var/lib/grpc/data/bootstrap.json"#;

/// Chooses Istio's defects, as in the agent.
const PROFILE: &str = "HERMESH_PROFILE";

pub(super) fn render(effective: &Effective, request: &Request<'_>) -> Overlay {
    let mut init = Container {
        name: INIT.to_owned(),
        image: IMAGE.to_owned(),
        command: ["sh", "-c", SCRIPT].map(str::to_owned).into(),
        env: vec![
            EnvVar::from_field("INSTANCE_IP", "status.podIP"),
            EnvVar::from_field("POD_NAME", "metadata.name"),
            EnvVar::from_field("POD_NAMESPACE", "metadata.namespace"),
            // The template writes it as a block of text, which ends with a line break.
            EnvVar::new("ISTIO_NAMESPACE", format!("{}\n", request.values.istio_namespace)),
        ],
        volume_mounts: vec![mount(VOLUME, FOLDER)],
        ..Container::default()
    };
    init.env.extend(effective.metadata(PROFILE).map(|profile| EnvVar::new(PROFILE, profile)));
    Overlay {
        init_containers: vec![init],
        application: Container {
            env: vec![
                EnvVar::new("GRPC_XDS_BOOTSTRAP", BOOTSTRAP),
                EnvVar::new("GRPC_GO_LOG_VERBOSITY_LEVEL", "99"),
                EnvVar::new("GRPC_GO_LOG_SEVERITY_LEVEL", "info"),
            ],
            volume_mounts: vec![mount(VOLUME, FOLDER)],
            ..Container::default()
        },
        volumes: vec![Volume { name: VOLUME.to_owned(), source: VolumeSource::EmptyDir(EmptyDirVolume::default()) }],
        annotations: vec![(PROBERS.to_owned(), "false".to_owned())],
        ..Overlay::default()
    }
}

/// Whether a container reads the bootstrap that this template has written.
pub(crate) fn is_told_of(container: &Container) -> bool {
    let is_it =
        |variable: &EnvVar| variable.name == "GRPC_XDS_BOOTSTRAP" && variable.value.as_deref() == Some(BOOTSTRAP);
    container.env.iter().any(is_it)
}

/// What plays the shell of `container`, if that is the one which this template adds.
pub(crate) fn shell_of(container: &Container) -> Option<Program> {
    let is_script = container.command.get(2).is_some_and(|script| script == SCRIPT);
    is_script.then(|| Program::built_in(|process| async move { run(process.runtime()).await }))
}

/// Does what a shell does with the script.
async fn run(rt: Runtime) -> Exit {
    let var = |name: &str| rt.var(name).unwrap_or_default();
    let node = format!("sidecar~{}~{}.{}~cluster.local", var("INSTANCE_IP"), var("POD_NAME"), var("POD_NAMESPACE"));
    let server = match &*var(PROFILE) {
        // A shell splits a variable without quotes into words, and echo puts spaces between those.
        "istio" => format!("dns:///istiod.{}.svc:15010", var("ISTIO_NAMESPACE"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
        _ => format!("dns:///istiod.{}.svc:15010", var("ISTIO_NAMESPACE").trim()),
    };
    let bootstrap = format!(
        "{{\"xds_servers\": [{{\"server_uri\": \"{server}\", \"channel_creds\": [{{\"type\": \"insecure\"}}],\n\
         \"server_features\": [\"xds_v3\"]}}], \"node\": {{\"id\": \"{node}\", \"metadata\": {{\"GENERATOR\": \"grpc\"}}}}}}\n"
    );
    match rt.write(Path::new(BOOTSTRAP), bootstrap, 0o644).await {
        Ok(()) => Exit::code(0),
        Err(error) => Exit { code: 1, message: Some(format!("sh: can't create {BOOTSTRAP}: {error}")) },
    }
}

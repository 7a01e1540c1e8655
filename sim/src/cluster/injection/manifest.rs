//! Containers as a manifest has them: what says no more than Kubernetes' defaults is left out.

use hermesh_istiod::objects::{
    Container, ContainerPort, EnvVar, HttpGetAction, IntOrString, LifecycleHandler, Probe, ProbeHandler, VolumeMount,
};
use serde_json::{Map, Value, json};

/// A container.
pub(super) fn container(container: &Container) -> Value {
    // Whoever grows `Container` writes the new field here.
    let Container {
        name,
        image,
        command,
        args,
        env,
        ports,
        readiness_probe,
        liveness_probe,
        startup_probe,
        lifecycle,
        volume_mounts,
        restart_policy,
        resources,
    } = container;
    let mut amounts = Map::new();
    for (list, amount) in [("limits", &resources.limits), ("requests", &resources.requests)] {
        if !amount.is_empty() {
            amounts.insert(list.to_owned(), json!(amount));
        }
    }
    let hooks = [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)];
    let hooks = hooks.into_iter().filter_map(|(name, hook)| Some((name, handler(hook.as_ref()?))));
    let lifecycle = fields(hooks);
    let fields = fields([
        ("name", json!(name)),
        ("image", json!(image)),
        ("command", json!(command)),
        ("args", json!(args)),
        ("ports", ports.iter().map(port).collect()),
        ("env", env.iter().map(variable).collect()),
        ("volumeMounts", volume_mounts.iter().map(mount).collect()),
        ("livenessProbe", liveness_probe.as_ref().map_or(Value::Null, probe)),
        ("readinessProbe", readiness_probe.as_ref().map_or(Value::Null, probe)),
        ("startupProbe", startup_probe.as_ref().map_or(Value::Null, probe)),
        ("lifecycle", lifecycle),
        ("restartPolicy", restart_policy.map_or(Value::Null, |policy| json!(format!("{policy:?}")))),
    ]);
    let Value::Object(mut fields) = fields else { unreachable!("fields make an object") };
    fields.insert("resources".to_owned(), Value::Object(amounts));
    Value::Object(fields)
}

/// An object of those fields that say something.
fn fields<'a>(all: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let says_something = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(value) => *value,
        Value::Number(_) => true,
    };
    let said = all.into_iter().filter(|(_, value)| says_something(value));
    Value::Object(said.map(|(name, value)| (name.to_owned(), value)).collect())
}

fn port(port: &ContainerPort) -> Value {
    fields([
        ("containerPort", json!(port.container_port)),
        ("name", json!(port.name)),
        ("protocol", json!(format!("{:?}", port.protocol))),
    ])
}

fn variable(variable: &EnvVar) -> Value {
    let mut written = Map::from_iter([("name".to_owned(), json!(variable.name))]);
    if let Some(value) = &variable.value {
        written.insert("value".to_owned(), json!(value));
    }
    if let Some(source) = &variable.value_from {
        let field = source.field_ref.as_ref().map(|field| ("fieldRef", json!({"fieldPath": field.field_path})));
        let key = source.config_map_key_ref.as_ref().map(|reference| {
            let optional = json!(reference.optional);
            let key = [("name", json!(reference.name)), ("key", json!(reference.key)), ("optional", optional)];
            ("configMapKeyRef", fields(key))
        });
        written.insert("valueFrom".to_owned(), fields(field.into_iter().chain(key)));
    }
    Value::Object(written)
}

fn mount(mount: &VolumeMount) -> Value {
    fields([("name", json!(mount.name)), ("mountPath", json!(mount.mount_path)), ("readOnly", json!(mount.read_only))])
}

fn probe(probe: &Probe) -> Value {
    let (name, handler) = match &probe.handler {
        ProbeHandler::HttpGet(action) => ("httpGet", http_get(action)),
        ProbeHandler::TcpSocket(action) => {
            ("tcpSocket", fields([("host", json!(action.host)), ("port", int_or_string(&action.port))]))
        }
        ProbeHandler::Exec(action) => ("exec", json!({"command": action.command})),
        ProbeHandler::Grpc(action) => {
            ("grpc", fields([("port", json!(action.port)), ("service", json!(action.service))]))
        }
    };
    let default = Probe::new(probe.handler.clone());
    let unless = |value: u32, default: u32| if value == default { Value::Null } else { json!(value) };
    fields([
        (name, handler),
        ("initialDelaySeconds", unless(probe.initial_delay_seconds, default.initial_delay_seconds)),
        ("periodSeconds", unless(probe.period_seconds, default.period_seconds)),
        ("timeoutSeconds", unless(probe.timeout_seconds, default.timeout_seconds)),
        ("successThreshold", unless(probe.success_threshold, default.success_threshold)),
        ("failureThreshold", unless(probe.failure_threshold, default.failure_threshold)),
    ])
}

fn http_get(action: &HttpGetAction) -> Value {
    let scheme = format!("{:?}", action.scheme);
    let headers = action.http_headers.iter().map(|it| json!({"name": it.name, "value": it.value})).collect();
    fields([
        ("path", json!(action.path)),
        ("port", int_or_string(&action.port)),
        ("host", json!(action.host)),
        ("scheme", if scheme == "HTTP" { Value::Null } else { json!(scheme) }),
        ("httpHeaders", headers),
    ])
}

fn handler(handler: &LifecycleHandler) -> Value {
    match handler {
        LifecycleHandler::Exec(action) => json!({"exec": {"command": action.command}}),
        LifecycleHandler::HttpGet(action) => json!({"httpGet": http_get(action)}),
        LifecycleHandler::Sleep(action) => json!({"sleep": {"seconds": action.seconds}}),
    }
}

fn int_or_string(port: &IntOrString) -> Value {
    match port {
        IntOrString::Int(number) => json!(number),
        IntOrString::String(name) => json!(name),
    }
}

//! A container's arguments and environment, with what they refer to filled in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hermesh_istiod::objects::{ConfigMap, Container, EnvVar, Labels, Pod};

use super::expand::expand;

/// What a pod's fields are when its containers start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) pod_ip: IpAddr,
    pub(crate) host_ip: IpAddr,
    pub(crate) node: &'a str,
}

impl Facts<'_> {
    /// The text behind a `fieldPath`, such as `status.podIP` or `metadata.labels['app']`.
    pub(crate) fn field(&self, path: &str) -> Result<String, String> {
        let metadata = &self.pod.metadata;
        let entry = |map: &Labels, key: &str| map.get(key).cloned().unwrap_or_default();
        if let Some(key) = path.strip_prefix("metadata.labels['").and_then(|rest| rest.strip_suffix("']")) {
            return Ok(entry(&metadata.labels, key));
        }
        if let Some(key) = path.strip_prefix("metadata.annotations['").and_then(|rest| rest.strip_suffix("']")) {
            return Ok(entry(&metadata.annotations, key));
        }
        Ok(match path {
            "metadata.name" => metadata.name.clone(),
            "metadata.namespace" => metadata.namespace.clone(),
            "metadata.uid" => metadata.uid.clone(),
            "spec.nodeName" => self.node.to_owned(),
            "spec.serviceAccountName" => self.pod.spec.service_account().to_owned(),
            "status.podIP" | "status.podIPs" => self.pod_ip.to_string(),
            "status.hostIP" | "status.hostIPs" => self.host_ip.to_string(),
            _ => return Err(format!("fieldPath `{path}` is none that a container can refer to")),
        })
    }
}

/// The environment of `container`. `config_map` looks a ConfigMap up.
pub(crate) fn variables(
    container: &Container,
    facts: &Facts<'_>,
    config_map: impl Fn(&str) -> Option<Arc<ConfigMap>>,
) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::from([("HOSTNAME".to_owned(), facts.pod.hostname().to_owned())]);
    for variable in &container.env {
        if let Some(value) = value(variable, facts, &variables, &config_map)? {
            variables.insert(variable.name.clone(), value);
        }
    }
    Ok(variables)
}

fn value(
    variable: &EnvVar,
    facts: &Facts<'_>,
    earlier: &BTreeMap<String, String>,
    config_map: &impl Fn(&str) -> Option<Arc<ConfigMap>>,
) -> Result<Option<String>, String> {
    let name = &variable.name;
    if let Some(source) = &variable.value_from {
        if let Some(field) = &source.field_ref {
            return facts.field(&field.field_path).map(Some).map_err(|error| format!("env {name}: {error}"));
        }
        if let Some(key) = &source.config_map_key_ref {
            let map = config_map(&key.name);
            let why = match map.as_ref().map(|map| map.data.get(&key.key)) {
                Some(Some(value)) => return Ok(Some(value.clone())),
                _ if key.optional => return Ok(None),
                Some(None) => {
                    let namespace = &facts.pod.metadata.namespace;
                    format!("couldn't find key {} in ConfigMap {namespace}/{}", key.key, key.name)
                }
                None => format!("configmap {:?} not found", key.name),
            };
            return Err(format!("env {name}: {why}"));
        }
    }
    Ok(Some(variable.value.as_deref().map_or_else(String::new, |value| expand(value, earlier))))
}

/// The command line of `container`, without the program's name.
pub(crate) fn arguments(container: &Container, variables: &BTreeMap<String, String>) -> Vec<String> {
    let command = container.command.iter().skip(1);
    command.chain(&container.args).map(|argument| expand(argument, variables)).collect()
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::objects::{ConfigMapKeyReference, EnvVarSource};

    use super::*;

    fn pod() -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = "echo-x".to_owned();
        pod.metadata.namespace = "shop".to_owned();
        pod.metadata.labels.insert("app".to_owned(), "echo".to_owned());
        pod
    }

    fn facts(pod: &Pod) -> Facts<'_> {
        Facts { pod, pod_ip: [10, 244, 0, 2].into(), host_ip: [10, 0, 0, 1].into(), node: "node-1" }
    }

    fn from_config_map(optional: bool) -> EnvVar {
        let key = ConfigMapKeyReference { name: "settings".to_owned(), key: "mode".to_owned(), optional };
        let value_from = Some(EnvVarSource { field_ref: None, config_map_key_ref: Some(key) });
        EnvVar { name: "MODE".to_owned(), value: None, value_from }
    }

    #[test]
    fn fields_of_the_pod_and_earlier_variables_are_filled_in() {
        let container = Container {
            command: vec!["/greeter".to_owned(), "--ip=$(IP)".to_owned()],
            args: vec!["--domain".to_owned(), "$(NS).svc".to_owned(), "$(LATER)".to_owned()],
            env: vec![
                EnvVar::from_field("IP", "status.podIP"),
                EnvVar::from_field("NS", "metadata.namespace"),
                EnvVar::from_field("APP", "metadata.labels['app']"),
                EnvVar::from_field("SA", "spec.serviceAccountName"),
                EnvVar::new("TWICE", "$(APP)-$(APP)-$(UNSET)"),
            ],
            ..Container::default()
        };
        let pod = pod();
        let variables = variables(&container, &facts(&pod), |_| None).unwrap();
        let expected = [
            ("APP", "echo"),
            ("HOSTNAME", "echo-x"),
            ("IP", "10.244.0.2"),
            ("NS", "shop"),
            ("SA", "default"),
            ("TWICE", "echo-echo-$(UNSET)"),
        ];
        assert_eq!(variables, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(arguments(&container, &variables), ["--ip=10.244.0.2", "--domain", "shop.svc", "$(LATER)"]);
    }

    #[test]
    fn what_cannot_be_found_keeps_the_container_from_starting_unless_optional() {
        let pod = pod();
        let with = |variable| Container { env: vec![variable], ..Container::default() };
        let without = |_: &str| Some(Arc::default());
        for (required, optional, message) in [
            (
                variables(&with(from_config_map(false)), &facts(&pod), |_| None),
                variables(&with(from_config_map(true)), &facts(&pod), |_| None),
                "env MODE: configmap \"settings\" not found",
            ),
            (
                variables(&with(from_config_map(false)), &facts(&pod), without),
                variables(&with(from_config_map(true)), &facts(&pod), without),
                "env MODE: couldn't find key mode in ConfigMap shop/settings",
            ),
        ] {
            assert_eq!(required.unwrap_err(), message);
            assert!(!optional.unwrap().contains_key("MODE"), "{message}");
        }
        let odd = variables(&with(EnvVar::from_field("A", "spec.nodeNam")), &facts(&pod), |_| None).unwrap_err();
        assert!(odd.contains("`spec.nodeNam`"), "{odd}");
    }
}

//! Kubernetes's strategic merge, as far as injection needs it: lists of objects are joined by a key.

use hermesh_istiod::objects::{Container, Resources};

/// Adds to `own` what it lacks and `template` has; all else stays as the user wrote it.
pub(super) fn fill(own: &mut Container, template: &Container) {
    // Whoever grows `Container` decides here what injection does with the new field.
    let Container {
        name: _,
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
        // Only init containers have one.
        restart_policy: _,
        resources,
    } = template;
    if own.image.is_empty() {
        own.image.clone_from(image);
    }
    for (own, template) in [(&mut own.command, command), (&mut own.args, args)] {
        if own.is_empty() {
            own.clone_from(template);
        }
    }
    // An entry of the user's stands as a whole: none may get both `value` and `valueFrom`.
    fill_list(&mut own.env, env, |variable| variable.name.clone());
    fill_list(&mut own.ports, ports, |port| port.container_port);
    fill_list(&mut own.volume_mounts, volume_mounts, |mount| mount.mount_path.clone());
    for (own, template) in [
        (&mut own.readiness_probe, readiness_probe),
        (&mut own.liveness_probe, liveness_probe),
        (&mut own.startup_probe, startup_probe),
    ] {
        own.or_from(template);
    }
    if own.resources == Resources::default() {
        own.resources.clone_from(resources);
    }
    own.lifecycle.post_start.or_from(&lifecycle.post_start);
    own.lifecycle.pre_stop.or_from(&lifecycle.pre_stop);
}

/// Adds the entries of `template` whose key `own` does not have.
pub(super) fn fill_list<T: Clone, K: PartialEq>(own: &mut Vec<T>, template: &[T], key: impl Fn(&T) -> K) {
    for addition in template {
        if !own.iter().any(|present| key(present) == key(addition)) {
            own.push(addition.clone());
        }
    }
}

trait Fill {
    fn or_from(&mut self, template: &Self);
}

impl<T: Clone> Fill for Option<T> {
    fn or_from(&mut self, template: &Self) {
        if self.is_none() {
            self.clone_from(template);
        }
    }
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::objects::{EnvVar, VolumeMount};

    use super::*;

    fn mount(name: &str, path: &str) -> VolumeMount {
        VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only: false }
    }

    #[test]
    fn what_is_there_stays_and_what_lacks_is_added() {
        let mut own = Container {
            image: "mine".to_owned(),
            args: vec!["a".to_owned()],
            env: vec![EnvVar::new("A", "mine")],
            volume_mounts: vec![mount("x", "/x")],
            ..Container::default()
        };
        let template = Container {
            image: "theirs".to_owned(),
            command: vec!["run".to_owned()],
            args: vec!["b".to_owned(), "c".to_owned()],
            env: vec![EnvVar::new("A", "theirs"), EnvVar::new("B", "theirs")],
            volume_mounts: vec![mount("y", "/x"), mount("y", "/y")],
            ..Container::default()
        };
        fill(&mut own, &template);
        let expected = Container {
            image: "mine".to_owned(),
            command: vec!["run".to_owned()],
            args: vec!["a".to_owned()],
            env: vec![EnvVar::new("A", "mine"), EnvVar::new("B", "theirs")],
            volume_mounts: vec![mount("x", "/x"), mount("y", "/y")],
            ..Container::default()
        };
        assert_eq!(own, expected);
    }
}

//! A template filled in for one pod, and how it is laid over the pod: as a strategic merge, under which what the user
//! wrote stays.

use hermesh_istiod::objects::{Container, Pod, Volume};

use super::asks_for_templates_image;
use super::merge::{fill, fill_list};

/// A template filled in for one pod.
#[derive(Clone, Debug, Default)]
pub(super) struct Overlay {
    pub(super) init_containers: Vec<Container>,
    /// Those that the template brings along.
    pub(super) containers: Vec<Container>,
    /// What every other container gets.
    pub(super) application: Container,
    pub(super) volumes: Vec<Volume>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) annotations: Vec<(String, String)>,
    /// Whether its container mounts volumes that annotations name.
    pub(super) mounts_volumes: bool,
    /// Whether its containers start before the others.
    pub(super) first: bool,
}

impl Overlay {
    /// Lays it over `pod`, which was `original` before any template.
    pub(super) fn lay_over(&self, pod: &mut Pod, original: &Pod) {
        let is_own = |name: &str| self.containers.iter().any(|container| container.name == name);
        let is_applications =
            |name: &str| !is_own(name) && original.spec.containers.iter().any(|container| container.name == name);
        for container in &mut pod.spec.containers {
            if is_applications(&container.name) {
                fill(container, &self.application);
            }
        }
        for template in &self.init_containers {
            let containers = &mut pod.spec.init_containers;
            match containers.iter_mut().find(|container| container.name == template.name) {
                Some(own) => complete(own, template),
                None => containers.push(template.clone()),
            }
        }
        for template in &self.containers {
            let containers = &mut pod.spec.containers;
            let container = match containers.iter().position(|container| container.name == template.name) {
                Some(index) => {
                    let mut own = containers.remove(index);
                    complete(&mut own, template);
                    own
                }
                None => template.clone(),
            };
            containers.insert(if self.first { 0 } else { containers.len() }, container);
        }
        fill_list(&mut pod.spec.volumes, &self.volumes, |volume| volume.name.clone());
        pod.metadata.labels.extend(self.labels.clone());
        pod.metadata.annotations.extend(self.annotations.clone());
    }
}

/// Completes a container of the user's that has the name of one of the template's.
fn complete(own: &mut Container, template: &Container) {
    if asks_for_templates_image(&own.image) {
        own.image.clear();
    }
    fill(own, template);
}

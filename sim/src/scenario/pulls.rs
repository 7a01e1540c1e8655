//! `mesh.pulls`: how long it takes to pull images.

use std::collections::BTreeSet;

use schemars::JsonSchema;

use super::file::File;
use super::inventory::Objects;
use super::nodes;
use super::read::{At, Cursor, Problems, unknown};
use super::reader::at_most;
use super::schema::{PullTime, Text, Workload};
use super::target::Target;
use super::units::{Time, TimeRange};
use crate::cluster::ISTIOD;
use crate::image::{PULL_MAX, Pull, matches};

/// How long the pull of an image takes.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Pulled {
    /// The images, by glob: `registry.corp/*`.
    #[schemars(with = "Text")]
    pub image: At<String>,
    /// On which node; on all if left out.
    #[schemars(with = "Option<Text>")]
    pub node: Option<At<String>>,
    /// For the pods of which workload; for all if left out.
    #[schemars(with = "Option<Workload>")]
    pub workload: Option<At<Target>>,
    /// How long: a time, or a range from which the seed draws one for each pull.
    #[schemars(with = "PullTime")]
    pub takes: At<TimeRange>,
}

impl Pulled {
    /// The same for the registry. A workload without a namespace is in `namespace`.
    pub(super) fn pull(&self, namespace: &str) -> Pull {
        let mut pull = Pull::new(self.image.value.clone(), self.takes.value.0.clone());
        if let Some(node) = &self.node {
            pull = pull.on(node.value.clone());
        }
        if let Some(At { value: target, .. }) = &self.workload {
            let namespace = target.namespace.as_deref().unwrap_or(namespace);
            pull = pull.of(format!("{namespace}/{}", target.workload));
        }
        pull
    }
}

pub(super) fn pulls(field: &Cursor<'_>) -> Vec<Pulled> {
    const EXPECTED: &str = "a list of mappings such as `{image: \"registry.corp/*\", takes: 20s..30s}`";
    let items = field.items(EXPECTED).unwrap_or_default();
    items.iter().filter_map(pulled).collect()
}

fn pulled(cursor: &Cursor<'_>) -> Option<Pulled> {
    let mut fields = cursor.fields("a mapping such as `{image: \"registry.corp/*\", takes: 20s..30s}`")?;
    let image = fields.required("image").and_then(|field| field.text("an image, or a glob for several"));
    let takes = fields.required("takes").and_then(|field| {
        let range: At<TimeRange> = field.parsed("a time or a range such as `20s..30s`")?;
        at_most(&field, Time(*range.value.0.end()), Time(PULL_MAX))?;
        Some(range)
    });
    let node = fields.optional("node").and_then(|field| field.text("the name of a node"));
    let workload = fields.optional("workload").and_then(|field| {
        let target: At<Target> = field.parsed_text("a workload")?;
        if target.value.ordinal.is_some() || target.value.container.is_some() {
            field.error("bad-value", "images are pulled for workloads: leave pod and container out");
            return None;
        }
        Some(target)
    });
    fields.finish(&[]);
    Some(Pulled { image: image?, node, workload, takes: takes? })
}

/// Reports what pulls name and is not there. `objects` are all that the scenario deploys.
pub(super) fn check(file: &File, objects: &[&Objects], problems: &Problems) {
    let mesh = &file.mesh;
    let namespace = file.namespace.as_ref().map_or("default", |namespace| namespace.value.as_str());
    let known = nodes::of(mesh);
    let names: Vec<&str> = known.iter().map(|node| node.name.as_str()).collect();
    let (images, all): (Vec<_>, Vec<bool>) = objects.iter().map(|objects| objects.images()).unzip();
    let all = all.into_iter().all(|all| all);
    let is_wanted = |glob: &str| images.iter().flatten().any(|wanted| matches(glob, &wanted.image));
    // The image of the agent nobody has to write.
    let agent = format!("docker.io/istio/proxyv2:{}.0", mesh.istio.value);
    let is_istios = |glob: &str| matches(glob, &agent);
    let workloads: BTreeSet<(&str, &str)> = objects
        .iter()
        .flat_map(|objects| objects.named())
        .filter(|object| object.pod_spec().is_some())
        .map(|object| (object.metadata().namespace.as_str(), object.metadata().name.as_str()))
        .collect();
    let more = objects.iter().any(|objects| objects.more);
    for Pulled { image, node, workload, .. } in &mesh.pulls {
        let is_unknown = |node: &&At<String>| !names.contains(&node.value.as_str()) && !nodes::are_wrong(problems);
        if let Some(node) = node.as_ref().filter(is_unknown) {
            problems.error(&node.place, "unknown-node", unknown("node", &node.value, &names));
        }
        if all && !is_istios(&image.value) && !is_wanted(&image.value) {
            let message = format!("no container wants an image that matches {:?}; remove it", image.value);
            problems.error(&image.place, "unused-image", message);
        }
        if let Some(At { value, place }) = workload {
            let of = value.namespace.as_deref().unwrap_or(namespace);
            if value.workload == ISTIOD {
                let message = "istiod runs before the first step; to have it late, pause or restart it";
                problems.error(place, "unknown-workload", message.to_owned());
            } else if !more && !workloads.contains(&(of, value.workload.as_str())) {
                let here: Vec<&str> =
                    workloads.iter().filter(|(other, _)| *other == of).map(|(_, name)| *name).collect();
                let message = match here.as_slice() {
                    [] => format!("no manifest deploys anything in namespace {of}"),
                    here => unknown("workload", &value.workload, here),
                };
                problems.error(place, "unknown-workload", message);
            }
        }
    }
}

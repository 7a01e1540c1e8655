//! `mesh.pulls`: how long it takes to pull images, and how often that fails.

use std::collections::BTreeSet;

use schemars::JsonSchema;

use super::file::File;
use super::inventory::Objects;
use super::nodes;
use super::read::{At, Cursor, Problems, unknown};
use super::reader::at_most;
use super::schema::{PullFailures, PullTime, Text, Workload};
use super::target::Target;
use super::units::{Time, TimeRange};
use crate::cluster::ISTIOD;
use crate::image::{FAILURES_MAX, PULL_MAX, Pull, matches};

/// What becomes of pulls of an image.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, extend("anyOf" = [{"required": ["takes"]}, {"required": ["fails"]}]))]
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
    /// How long one takes: a time, or a range from which the seed draws one for each pull; as ever if left out.
    #[schemars(with = "Option<PullTime>")]
    pub takes: Option<At<TimeRange>>,
    /// How many fail on each node before that; none if left out.
    #[schemars(with = "Option<PullFailures>")]
    pub fails: Option<u32>,
}

impl Pulled {
    /// The same for the registry. A workload without a namespace is in `namespace`.
    pub(super) fn pull(&self, namespace: &str) -> Pull {
        let (image, fails) = (self.image.value.clone(), self.fails.unwrap_or_default());
        let mut pull = match &self.takes {
            Some(takes) => Pull::new(image, takes.value.0.clone()).fails(fails),
            None => Pull::failing(image, fails),
        };
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
    let has_either = fields.has("takes") || fields.has("fails");
    let takes = fields.optional("takes").and_then(|field| {
        let range: At<TimeRange> = field.parsed("a time or a range such as `20s..30s`")?;
        at_most(&field, Time(*range.value.0.end()), Time(PULL_MAX))?;
        Some(range)
    });
    let fails = fields.optional("fails").and_then(|field| field.integer(1, FAILURES_MAX.into()));
    let fails = fails.and_then(|fails| u32::try_from(fails.value).ok());
    if !has_either {
        cursor.error("missing-field", "expected `takes`, how long a pull takes, or `fails`, how many fail first");
    }
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
    Some(Pulled { image: image?, node, workload, takes, fails })
}

/// The image of agents in an installation with default values.
pub(super) fn agents_image(istio: &str) -> String {
    format!("docker.io/istio/proxyv2:{istio}.0")
}

/// Reports what pulls name and is not there. `objects` are all that the scenario deploys.
pub(super) fn check(file: &File, objects: &[&Objects], problems: &Problems) {
    let mesh = &file.mesh;
    let namespace = file.namespace.as_ref().map_or("default", |namespace| namespace.value.as_str());
    let known = nodes::of(mesh);
    let names: Vec<&str> = known.iter().map(|node| node.name.as_str()).collect();
    let agent = agents_image(mesh.istio.value);
    let (images, all): (Vec<_>, Vec<bool>) = objects.iter().map(|objects| objects.images(&agent)).unzip();
    let all = all.into_iter().all(|all| all);
    let is_wanted = |glob: &str| images.iter().flatten().any(|wanted| matches(glob, &wanted.image));
    // The image of the agent nobody has to write; a ProxyConfig decides its variant.
    let variants = ["", "-debug", "-distroless"].map(|variant| format!("{agent}{variant}"));
    let is_istios = |glob: &str| variants.iter().any(|image| matches(glob, image));
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

//! The shape of a scenario file, `hermesh/v1alpha1`: one set of types for the reader and for the JSON Schema.
//!
//! Reading reports every mistake in the shape of the file in one pass. Whether names mean something is checked
//! afterwards, in `check`.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use hermesh_xds::ResourceType;
use schemars::JsonSchema;

use super::changing::{self, Change};
use super::config::ConfigExpect;
use super::delays::{Delays, DelaysByWorkload};
use super::figures::Figures;
use super::inject::Inject;
use super::links::{Ends, LinkDeed, Lossy, Slow};
use super::machines;
use super::nodes::{NodesShape, Power};
use super::pulls;
use super::read::{At, Place};
use super::rejection::Rejection;
use super::schema::{
    self, AllWord, AnyExpect, AnyTarget, ApiVersion, BuiltInImage, CallCount, CallRate, CallTime, CallUrl, CauseWord,
    Code, Container, Headers, IstioVersion, Kind, LastingTime, Latency, LoadName, MachineName, Namespace, OneOrMany,
    OneOrMore, Pair, PerWorkload, Pod, ScalarText, Seed, Text, WaitTime,
};
use super::target::Target;
use super::traffic::{Load, LoadExpect};
use super::trouble::{self, Mended};
use super::units::{Calls, Percent, Time, TimeRange};
use super::xds;
use crate::cluster::NodeSpec;
use crate::mesh::Listed;

/// The version of the format that this Hermesh reads.
pub const API_VERSION: &str = "hermesh/v1alpha1";

/// Verbs, of which a step has one.
pub(super) const VERBS: [&str; 37] = [
    "apply",
    "delete",
    "scale",
    "label",
    "patch",
    "rollout",
    "wait",
    "get",
    "call",
    "load",
    "stop",
    "together",
    "kill",
    "restart",
    "pause",
    "resume",
    "power",
    "boot",
    "shutdown",
    "partition",
    "slow",
    "lossy",
    "jam",
    "reset",
    "disrupt",
    "clock",
    "expire",
    "fill",
    "tear",
    "heal",
    "inject",
    "eject",
    "hold",
    "release",
    "drop",
    "delay",
    "reorder",
];

/// Those that take their time, show something or are judged: they stand alone.
const ALONE: [&str; 6] = ["wait", "get", "call", "load", "stop", "together"];

/// Those that are done at once, which may be done together.
pub(super) static DEEDS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| VERBS.into_iter().filter(|verb| !ALONE.contains(verb)).collect());

/// Verbs of the format that this version does not play.
pub(super) const LATER: [&str; 1] = ["exec"];

/// The images that a scenario can name.
pub(super) const BUILT_IN_IMAGES: [&str; 3] = ["stand-in", "echo", "agent"];

/// The versions of Istio whose istiod, agent, injection and echo application are played.
pub(super) const ISTIO_VERSIONS: [&str; 1] = ["1.32"];

/// How many calls a step makes at most: each is held in memory until the step ends.
pub(super) const CALLS_MAX: u64 = 100_000;

/// How many calls a second a step makes at most.
pub(super) const RATE_MAX: u64 = 100_000;

/// The longest a wait may be or take: a week.
pub(super) const WAIT_MAX: Time = Time(Duration::from_secs(7 * 24 * 3600));

/// The longest a batch of calls may take: a day.
pub(super) const TIMEOUT_MAX: Time = Time(Duration::from_secs(24 * 3600));

/// The longest a packet may travel: a probe takes it four times and has a second. With more, nothing gets ready.
pub(super) const LATENCY_MAX: Time = Time(Duration::from_millis(200));

/// How long a wait may take that does not say.
pub(super) const WITHIN_DEFAULT: Time = Time(Duration::from_secs(60));

/// What happens to a mesh, step by step, and what must come of it.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields, title = "Hermesh scenario")]
pub(super) struct File {
    /// The format's version.
    #[schemars(with = "ApiVersion")]
    #[expect(dead_code, reason = "only the schema needs it: there is one value")]
    pub api_version: (),
    /// Always `Scenario`.
    #[schemars(with = "Kind")]
    #[expect(dead_code, reason = "only the schema needs it: there is one value")]
    pub kind: (),
    /// A short name, for reports.
    #[schemars(with = "Text")]
    pub name: At<String>,
    /// What the scenario shows, in a sentence.
    #[schemars(with = "Option<Text>")]
    pub about: Option<At<String>>,
    /// For objects and workloads that name none, like `kubectl -n`; `default` if left out.
    #[schemars(with = "Option<Namespace>")]
    pub namespace: Option<At<String>>,
    /// The seed of all random choices, unless `--seed` or HERMESH_SEED gives one; 1 if left out.
    #[schemars(with = "Option<Seed>")]
    pub seed: Option<At<u64>>,
    /// The mesh that is played.
    pub mesh: MeshOptions,
    /// What is done, strictly in this order.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
}

/// The mesh that is played.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MeshOptions {
    /// Whose istiod, agent, injection and echo application are played.
    #[schemars(with = "IstioVersion")]
    pub istio: At<&'static str>,
    /// Built-in images by glob: `"registry.corp/*": stand-in`.
    #[schemars(with = "BTreeMap<String, BuiltInImage>")]
    #[schemars(default)]
    pub images: Vec<(At<String>, At<&'static str>)>,
    /// How long a packet travels between two pods.
    #[schemars(with = "Option<Latency>")]
    pub latency: Option<At<TimeRange>>,
    /// How long containers take before their programs start, by workload: `web: {app: 5s, istio-proxy: 1s..3s}`.
    #[schemars(with = "DelaysByWorkload")]
    #[schemars(default)]
    pub delays: Delays,
    /// How long pulls of images take, where a node does not have them; the first entry that fits counts.
    #[schemars(default)]
    pub pulls: Vec<pulls::Pulled>,
    /// The nodes that pods run on: how many, or their labels by name; one, called `node-1`, if left out.
    #[schemars(with = "Option<NodesShape>")]
    pub nodes: Option<Vec<NodeSpec>>,
}

/// One thing to do, and for calls what must come of them.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, transform = schema::exactly_one_verb)]
pub(super) struct Step {
    /// A name for reports. Steps without a name belong to the named one before them.
    #[schemars(with = "Option<Text>")]
    pub name: Option<At<String>>,
    /// Manifests to apply: files, folders, or `-` for standard input.
    #[schemars(with = "Option<OneOrMany<Text>>")]
    pub apply: Option<Vec<At<String>>>,
    /// Manifests whose objects to delete.
    #[schemars(with = "Option<OneOrMany<Text>>")]
    pub delete: Option<Vec<At<String>>>,
    /// How many pods workloads are to have.
    #[schemars(with = "Option<changing::Scale>")]
    pub scale: Option<Vec<Change>>,
    /// Labels to give to objects, or with `null` to take away, as `kind/name`.
    #[schemars(with = "Option<changing::Label>")]
    pub label: Option<Vec<Change>>,
    /// What to change of an object: a JSON merge patch.
    #[schemars(with = "Option<changing::MergePatch>")]
    pub patch: Option<Vec<Change>>,
    /// Workloads whose pods are to be replaced by new ones.
    #[schemars(with = "Option<changing::Rollout>")]
    pub rollout: Option<Vec<Change>>,
    /// Let simulated time pass until something is so, or for a time.
    pub wait: Option<Wait>,
    /// Show something; checks nothing.
    pub get: Option<Get>,
    /// Have a workload call someone, as ForwardEcho does.
    pub call: Option<Call>,
    /// Begin to call someone at a steady rate over one channel.
    pub load: Option<Load>,
    /// The name of a load that is to end.
    #[schemars(with = "Option<LoadName>")]
    pub stop: Option<At<String>>,
    /// What must come of the call, or must have come of the load that is stopped; what clients
    /// have, of `get: {config: ...}`; `rejected` of what changes objects.
    #[schemars(with = "AnyExpect")]
    #[schemars(default)]
    pub expect: Expected,
    /// What to do at times of its own, on one clock that begins with the step.
    #[schemars(length(min = 1))]
    pub together: Option<Vec<Moment>>,
    /// Containers to kill (SIGKILL), as `workload/ordinal/container`.
    #[schemars(with = "Option<OneOrMore<Container>>")]
    pub kill: Option<Vec<At<Target>>>,
    /// Workloads, pods or containers to stop with SIGTERM and start again; `istiod` is known everywhere.
    #[schemars(with = "Option<OneOrMore<AnyTarget>>")]
    pub restart: Option<Vec<At<Target>>>,
    /// Workloads, pods or containers to pause (SIGSTOP).
    #[schemars(with = "Option<OneOrMore<AnyTarget>>")]
    pub pause: Option<Vec<At<Target>>>,
    /// Those that are to run again (SIGCONT).
    #[schemars(with = "Option<OneOrMore<AnyTarget>>")]
    pub resume: Option<Vec<At<Target>>>,
    /// Nodes whose power goes off, or on again.
    pub power: Option<Power>,
    /// A machine outside of the cluster to boot.
    pub boot: Option<machines::Boot>,
    /// The name of a machine to shut down.
    #[schemars(with = "Option<MachineName>")]
    pub shutdown: Option<At<String>>,
    /// Two workloads or pods between which no packet passes any more, or `from` whom `to` whom.
    pub partition: Option<Ends>,
    /// Between whom packets take longer from now on.
    pub slow: Option<Slow>,
    /// Between whom packets are lost from now on.
    pub lossy: Option<Lossy>,
    /// Two workloads or pods between which packets wait until the link is healed, or `from` whom `to` whom.
    pub jam: Option<Ends>,
    /// Two workloads or pods whose connections with each other end by RST.
    #[schemars(with = "Option<Pair>")]
    pub reset: Option<[At<Target>; 2]>,
    /// A service of istiod that answers late or with an error from now on.
    pub disrupt: Option<trouble::Disrupt>,
    /// Whose clock is wrong from now on, and by how much.
    pub clock: Option<trouble::Clock>,
    /// Whose service account tokens the kubelet replaces no more.
    pub expire: Option<trouble::Expire>,
    /// A volume that has no room from now on.
    pub fill: Option<trouble::Fill>,
    /// A volume to which the next writes stop in the middle.
    pub tear: Option<trouble::Tear>,
    /// Two workloads or pods whose link is mended, whatever is wrong with it, or what else is mended, or `all`.
    pub heal: Option<Heal>,
    /// After what time a fault ends by itself. The next step does not wait for that.
    #[schemars(with = "Option<LastingTime>")]
    pub r#for: Option<At<Time>>,
    /// Resources that clients get in the place of istiod's own.
    pub inject: Option<Inject>,
    /// Resources that were injected, to take back.
    #[schemars(with = "Option<xds::Ejected>")]
    pub eject: Option<xds::Release>,
    /// Responses of istiod to keep back, or packets of a link.
    pub hold: Option<xds::Hold>,
    /// Responses of istiod to let go, and to do nothing to any more; or the packets of a link.
    pub release: Option<xds::Release>,
    /// Responses of istiod to lose.
    pub drop: Option<xds::Drop>,
    /// Responses of istiod to delay.
    pub delay: Option<xds::Delay>,
    /// Responses of istiod to reverse.
    pub reorder: Option<xds::Reorder>,
    /// Where the step begins.
    #[schemars(skip)]
    pub place: Place,
    /// Where its verb stands.
    #[schemars(skip)]
    pub verb_place: Place,
    /// All of it, as JSON.
    #[schemars(skip)]
    pub written: serde_json::Value,
}

/// What a step expects.
#[derive(Clone, Debug, Default)]
pub(super) enum Expected {
    /// Nothing.
    #[default]
    Nothing,
    /// Of a `call`.
    OfCall(Box<Expect>),
    /// Of the load that is stopped.
    OfLoad(Vec<LoadExpect>),
    /// Of what xDS clients have.
    OfConfig(Vec<ConfigExpect>),
    /// Of what changes objects: that it is refused.
    Rejected(Rejection),
}

/// One of the things that are done together.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// When, since the beginning of the step; the seed draws from a range.
    pub at: At<TimeRange>,
    /// What: a step with one of the [`DEEDS`].
    pub step: Step,
}

/// What to wait for.
#[derive(Clone, Debug)]
pub(super) enum Wait {
    /// A length of simulated time.
    Time(At<Time>),
    /// Workloads' pods to be ready.
    Ready {
        /// Which workloads; none for all.
        workloads: Option<Vec<At<Target>>>,
        /// How long at most.
        within: Time,
    },
    /// Everything that was applied to be in use everywhere.
    Converged {
        /// How long at most.
        within: Time,
    },
    /// A client to reject what it got.
    Nacked {
        /// Responses of which types; of all if left out.
        types: Vec<ResourceType>,
        /// The workload or pod they went to; everybody if left out.
        to: Option<At<Target>>,
        /// How long at most.
        within: Time,
    },
}

/// What to show.
#[derive(Clone, Debug)]
pub(super) enum Get {
    /// The pods of the scenario's namespace, as `kubectl get pods` lists them.
    Pods,
    /// Nodes, or the objects of a kind in the scenario's namespace, as `kubectl get` lists them.
    Table(Listed),
    /// What the xDS clients of a workload or pod have asked for, accepted and rejected.
    Config {
        /// Whose.
        of: At<Target>,
        /// The resources themselves as well, as JSON.
        json: bool,
    },
}

/// A batch of calls by ForwardEcho.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Call {
    /// The workload that calls; its first pod does.
    #[schemars(with = "Pod")]
    pub from: At<Target>,
    /// Whom to call: `xds:///host:port`, `grpc://host:port` or `http://host:port/path`; several are called one after
    /// the other, `count` times each.
    #[schemars(with = "OneOrMany<CallUrl>")]
    pub url: Vec<At<String>>,
    /// How many calls; 1 if left out.
    #[schemars(with = "Option<CallCount>")]
    pub count: Option<At<u64>>,
    /// Calls a second; all at once if left out, at most 20 of them under way.
    #[schemars(with = "Option<CallRate>")]
    pub qps: Option<At<u64>>,
    /// Metadata to send; `Host` becomes the authority.
    #[schemars(with = "Headers")]
    #[schemars(default)]
    pub headers: Vec<(At<String>, String)>,
    /// The text to have echoed.
    #[schemars(with = "Option<ScalarText>")]
    pub message: Option<String>,
    /// Which lines of the output to show, as `grep` would; `Hostname` if left out.
    #[schemars(with = "Option<ScalarText>")]
    pub grep: Option<At<String>>,
    /// For the whole batch; 5s if left out.
    #[schemars(with = "Option<CallTime>")]
    pub timeout: Option<At<Time>>,
    /// A connection for each call instead of one for the batch.
    #[schemars(default)]
    pub new_connection_per_request: bool,
}

/// What must come of a call. All of it must hold.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1), transform = schema::success_or_failure)]
pub(super) struct Expect {
    /// `all`: every call succeeds.
    #[schemars(with = "Option<AllWord>")]
    pub ok: Option<Place>,
    /// How many calls each workload answers; workloads that are not named answer none.
    #[schemars(with = "Option<PerWorkload<Calls>>")]
    pub to: Option<At<ByWorkload<Calls>>>,
    /// Which share of the calls each workload answers, judged by exact binomial bounds.
    #[schemars(with = "Option<PerWorkload<Percent>>")]
    pub share: Option<At<ByWorkload<Percent>>>,
    /// The status code with which every call fails.
    #[schemars(with = "Option<Code>")]
    pub error: Option<At<&'static str>>,
    /// Why every call fails.
    #[schemars(with = "Option<CauseWord>")]
    pub cause: Option<At<&'static str>>,
    /// Figures that they keep to.
    #[schemars(flatten)]
    pub figures: Figures,
    /// How long all that may take to hold: the calls are made again, once a second, until it does.
    #[schemars(with = "Option<WaitTime>")]
    pub within: Option<At<Time>>,
    /// Where the expectations begin.
    #[schemars(skip)]
    pub place: Place,
}

/// Values by workload, in the order of the file.
pub(super) type ByWorkload<T> = Vec<(At<Target>, At<T>)>;

/// What to heal.
#[derive(Clone, Debug)]
pub(super) enum Heal {
    /// Every one.
    All,
    /// Those between these two.
    Pair(Box<[At<Target>; 2]>),
    /// Something that is no link.
    Other(Mended),
}

/// A step's verb with what it needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Action<'a> {
    /// `apply`
    Apply(&'a [At<String>]),
    /// `delete`
    Delete(&'a [At<String>]),
    /// `scale`, `label`, `patch` and `rollout`
    Change(&'a [Change]),
    /// `wait`
    Wait(&'a Wait),
    /// `get`
    Get(&'a Get),
    /// `call`
    Call(&'a Call),
    /// `load`
    Load(&'a Load),
    /// `stop`
    Stop(&'a At<String>),
    /// `together`
    Together(&'a [Moment]),
    /// `kill`
    Kill(&'a [At<Target>]),
    /// `restart`
    Restart(&'a [At<Target>]),
    /// `pause`
    Pause(&'a [At<Target>]),
    /// `resume`
    Resume(&'a [At<Target>]),
    /// `power`
    Power(&'a Power),
    /// `boot` and `shutdown`
    Machine(machines::Deed<'a>),
    /// `partition`, `slow`, `lossy`, `jam`, `reset`, `heal`; `hold` and `release` of links
    Link(LinkDeed<'a>),
    /// `disrupt`, `clock`, `expire`, `fill`, `tear`, and `heal` of what is no link
    Trouble(trouble::Deed<'a>),
    /// `inject`
    Inject(&'a Inject),
    /// One of `eject`, `hold`, `release`, `drop`, `delay` and `reorder`.
    Xds(xds::Deed<'a>),
}

impl File {
    /// All steps in the order of the file, each before those that are done together in it.
    pub(super) fn all_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().flat_map(Step::with_moments)
    }
}

impl Step {
    /// The step, then what is done together in it.
    pub(super) fn with_moments(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.together.iter().flatten().map(|moment| &moment.step))
    }

    /// What the step does. A step that was read without mistakes does exactly one thing.
    #[must_use]
    pub(super) fn action(&self) -> Option<Action<'_>> {
        let actions = [
            self.apply.as_deref().map(Action::Apply),
            self.delete.as_deref().map(Action::Delete),
            self.scale.as_deref().map(Action::Change),
            self.label.as_deref().map(Action::Change),
            self.patch.as_deref().map(Action::Change),
            self.rollout.as_deref().map(Action::Change),
            self.wait.as_ref().map(Action::Wait),
            self.get.as_ref().map(Action::Get),
            self.call.as_ref().map(Action::Call),
            self.load.as_ref().map(Action::Load),
            self.stop.as_ref().map(Action::Stop),
            self.together.as_deref().map(Action::Together),
            self.kill.as_deref().map(Action::Kill),
            self.restart.as_deref().map(Action::Restart),
            self.pause.as_deref().map(Action::Pause),
            self.resume.as_deref().map(Action::Resume),
            self.power.as_ref().map(Action::Power),
            machines::Deed::of(self).map(Action::Machine),
            self.partition.as_ref().map(LinkDeed::Partition).map(Action::Link),
            self.slow.as_ref().map(LinkDeed::Slow).map(Action::Link),
            self.lossy.as_ref().map(LinkDeed::Lossy).map(Action::Link),
            self.jam.as_ref().map(LinkDeed::Jam).map(Action::Link),
            LinkDeed::of_held(self).map(Action::Link),
            self.reset.as_ref().map(LinkDeed::Reset).map(Action::Link),
            trouble::Deed::of(self).map(Action::Trouble),
            self.heal.as_ref().map(LinkDeed::Heal).map(Action::Link),
            self.inject.as_ref().map(Action::Inject),
            xds::Deed::of(self).map(Action::Xds),
        ];
        actions.into_iter().flatten().next()
    }

    /// What the step expects of its call.
    #[must_use]
    pub(super) fn expect_of_call(&self) -> Option<&Expect> {
        match &self.expect {
            Expected::OfCall(expect) => Some(expect),
            Expected::Nothing | Expected::OfLoad(_) | Expected::OfConfig(_) | Expected::Rejected(_) => None,
        }
    }

    /// What the step expects of the load it stops.
    #[must_use]
    pub(super) fn expect_of_load(&self) -> &[LoadExpect] {
        match &self.expect {
            Expected::OfLoad(expect) => expect,
            Expected::Nothing | Expected::OfCall(_) | Expected::OfConfig(_) | Expected::Rejected(_) => &[],
        }
    }

    /// What the step expects of the configuration it shows.
    #[must_use]
    pub(super) fn expect_of_config(&self) -> &[ConfigExpect] {
        match &self.expect {
            Expected::OfConfig(expect) => expect,
            Expected::Nothing | Expected::OfCall(_) | Expected::OfLoad(_) | Expected::Rejected(_) => &[],
        }
    }

    /// That what the step does is expected to be refused.
    #[must_use]
    pub(super) fn rejection(&self) -> Option<&Rejection> {
        match &self.expect {
            Expected::Rejected(rejection) => Some(rejection),
            Expected::Nothing | Expected::OfCall(_) | Expected::OfLoad(_) | Expected::OfConfig(_) => None,
        }
    }
}

impl Expect {
    /// Whether the calls are to fail.
    #[must_use]
    pub(super) fn fails(&self) -> bool {
        self.error.is_some() || self.cause.is_some()
    }
}

impl Call {
    /// How many calls each URL gets.
    #[must_use]
    pub(super) fn count(&self) -> u64 {
        self.count.as_ref().map_or(1, |count| count.value)
    }

    /// How many calls there are in all.
    #[must_use]
    pub(super) fn total(&self) -> u64 {
        self.count() * self.url.len() as u64
    }
}

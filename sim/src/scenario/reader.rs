//! Reads the shape of a scenario from its tree, and reports every mistake in it.

use hermesh_istiod::yaml::{Key, Node, Value, listed};

use super::changing;
use super::config;
use super::delays;
use super::figures::figures;
use super::file::{
    API_VERSION, BUILT_IN_IMAGES, ByWorkload, CALLS_MAX, Call, Expect, Expected, File, Get, Heal, ISTIO_VERSIONS,
    LATENCY_MAX, LATER, MeshOptions, RATE_MAX, Step, TIMEOUT_MAX, VERBS, WAIT_MAX, WITHIN_DEFAULT, Wait,
};
use super::header;
use super::inject;
use super::links;
use super::machines;
use super::nodes;
use super::overlap;
use super::pulls;
use super::read::{At, Cursor, Fields, Place, unknown};
use super::rejection::{REJECTABLE, rejection};
use super::target::Target;
use super::together;
use super::traffic;
use super::trouble;
use super::units::{Time, TimeRange};
use super::words::{CAUSES, CODES};
use super::written::written;
use super::xds;
use crate::mesh::Listed;

/// Reads the document of a scenario. Mistakes go where `cursor` collects them; something empty takes their place in the
/// answer, which is there if what is left makes sense to look at further.
pub(super) fn read(cursor: &Cursor<'_>) -> Option<File> {
    let mut fields = cursor.fields("a scenario: a mapping with apiVersion, kind, name, mesh and steps")?;
    if let Some(field) = fields.required("apiVersion") {
        let version = field.text(API_VERSION).filter(|version| version.value != API_VERSION);
        if let Some(version) = version {
            let message = format!("unknown version {:?}; this Hermesh reads {API_VERSION}", version.value);
            field.error("unknown-version", message);
        }
    }
    if let Some(kind) = fields.required("kind") {
        kind.word("kind", &["Scenario"]);
    }
    let name = fields.required("name").and_then(|field| field.text("a name"));
    let about = fields.optional("about").and_then(|field| field.text("a sentence"));
    let namespace = fields.optional("namespace").and_then(|field| namespace(&field));
    let seed = fields.optional("seed").and_then(|field| field.integer(0, u64::MAX));
    let mesh = fields.required("mesh").and_then(|field| mesh(&field));
    let steps = fields.required("steps").and_then(|field| {
        let items = field.items("a list of steps")?;
        if items.is_empty() {
            field.error("empty", "expected at least one step");
        }
        Some(items.iter().filter_map(step).collect::<Vec<_>>())
    });
    fields.finish(&[]);
    let name = name.unwrap_or_else(|| At { value: String::new(), place: cursor.place() });
    let mesh = mesh.unwrap_or_else(|| MeshOptions {
        istio: some_istio(cursor),
        images: Vec::new(),
        latency: None,
        delays: Vec::new(),
        nodes: None,
        pulls: Vec::new(),
    });
    let file = File { api_version: (), kind: (), name, about, namespace, seed, mesh, steps: steps.unwrap_or_default() };
    overlap::check(&file, cursor.problems());
    Some(file)
}

fn namespace(field: &Cursor<'_>) -> Option<At<String>> {
    let namespace = field.text("a namespace")?;
    let dns_label = |text: &str| {
        text.len() <= 63
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !text.starts_with('-')
            && !text.ends_with('-')
    };
    if !dns_label(&namespace.value) {
        field.error("bad-value", format!("{:?} is no namespace: lower-case letters, digits and `-`", namespace.value));
        return None;
    }
    Some(namespace)
}

fn mesh(cursor: &Cursor<'_>) -> Option<MeshOptions> {
    let mut fields = cursor.fields("the mesh: a mapping with `istio`")?;
    let istio = fields.required("istio").and_then(|field| {
        let version = field.text("a version of Istio")?;
        match ISTIO_VERSIONS.iter().find(|known| **known == version.value) {
            Some(known) => Some(At { value: *known, place: version.place }),
            None => {
                let known = ISTIO_VERSIONS.join(" and ");
                field.error("unknown-version", format!("Istio {} is not played; {known} is", version.value));
                None
            }
        }
    });
    let images = fields.optional("images").and_then(|field| {
        let entries = field.entries("images by glob: a mapping such as \"registry.corp/*\": stand-in")?;
        let image =
            |(glob, field): (At<String>, Cursor<'_>)| Some((glob, field.word("built-in image", &BUILT_IN_IMAGES)?));
        Some(entries.into_iter().filter_map(image).collect())
    });
    let latency = fields.optional("latency").and_then(|field| {
        let range: At<TimeRange> = field.parsed("a time or a range such as `1ms..20ms`")?;
        at_most(&field, Time(*range.value.0.end()), LATENCY_MAX)?;
        Some(range)
    });
    let delays = fields.optional("delays").and_then(|field| delays::delays(&field)).unwrap_or_default();
    let nodes = fields.optional("nodes").and_then(|field| nodes::nodes(&field));
    let pulls = fields.optional("pulls").map(|field| pulls::pulls(&field)).unwrap_or_default();
    fields.finish(&[("profile", "the fidelity profile cannot be chosen in this version yet; every run plays `istio`")]);
    let istio = istio.unwrap_or_else(|| some_istio(cursor));
    Some(MeshOptions { istio, images: images.unwrap_or_default(), latency, delays, nodes, pulls })
}

/// What takes the place of a version of Istio that is wrong or missing.
fn some_istio(cursor: &Cursor<'_>) -> At<&'static str> {
    At { value: ISTIO_VERSIONS[0], place: cursor.place() }
}

fn step(cursor: &Cursor<'_>) -> Option<Step> {
    let mut fields = cursor.fields("a step: a mapping such as `apply: echo.yaml`")?;
    let place = cursor.place();
    let verbs: Vec<&str> = VERBS.into_iter().filter(|verb| fields.has(verb)).collect();
    let later = LATER.into_iter().find(|verb| fields.has_foreign(verb));
    match (verbs.as_slice(), later) {
        ([], None) => {
            match fields.only_unknown(&["name", "expect"]) {
                Some((verb, value)) => value.error_at(verb, "unknown-step", unknown("step", &verb.text, &VERBS)),
                None => {
                    let message = format!("the step does nothing; expected {}", listed(&VERBS));
                    cursor.error("unknown-step", message);
                }
            }
            return None;
        }
        ([_, second, ..], _) => {
            let field = fields.optional(second)?;
            let message = format!("a step does one thing, and this one has {} too; make it two steps", verbs[0]);
            field.error("two-verbs", message);
        }
        _ => {}
    }
    let verb_place =
        verbs.first().and_then(|verb| fields.optional(verb)).map_or_else(|| place.clone(), |verb| verb.place());
    let step = Step {
        name: fields.optional("name").and_then(|field| field.text("a name")),
        wait: fields.optional("wait").and_then(|field| wait(&field)),
        get: fields.optional("get").and_then(|field| get(&field)),
        call: fields.optional("call").and_then(|field| call(&field)),
        load: fields.optional("load").and_then(|field| traffic::load(&field)),
        stop: fields.optional("stop").and_then(|field| traffic::name(&field)),
        expect: fields.optional("expect").map_or(Expected::Nothing, |field| {
            if verbs.contains(&"stop") {
                return Expected::OfLoad(traffic::expectations(&field));
            }
            if verbs.iter().any(|verb| REJECTABLE.contains(verb)) {
                return rejection(&field);
            }
            if verbs.contains(&"get") && cursor.node.get("get").is_some_and(|get| get.get("config").is_some()) {
                return Expected::OfConfig(config::expectations(&field));
            }
            if later.is_none() && !verbs.contains(&"call") {
                field.error(
                    "nothing-to-expect",
                    "only a `call`, a `stop`, `get: {config: ...}` and what changes objects have something to expect",
                );
                return Expected::Nothing;
            }
            expect(&field).map_or(Expected::Nothing, |expect| Expected::OfCall(Box::new(expect)))
        }),
        together: fields.optional("together").and_then(|field| together::moments(&field)),
        ..deed(&mut fields, verb_place)
    };
    let later = LATER
        .map(|verb| (verb, format!("`{verb}` is a step of the format that this version of Hermesh does not play yet")));
    fields.finish(&later.iter().map(|(verb, message)| (*verb, message.as_str())).collect::<Vec<_>>());
    Some(step)
}

/// A step that does something at once.
pub(super) fn deed(fields: &mut Fields<'_>, verb_place: Place) -> Step {
    let (place, written) = (fields.cursor().place(), written(fields.cursor().node));
    Step {
        name: None,
        apply: fields.optional("apply").map(|field| texts(&field, "a file, a folder or `-`")),
        delete: fields.optional("delete").map(|field| texts(&field, "a file, a folder or `-`")),
        scale: fields.optional("scale").map(|field| changing::scale(&field)),
        label: fields.optional("label").map(|field| changing::label(&field)),
        patch: fields.optional("patch").map(|field| changing::patch(&field)),
        rollout: fields.optional("rollout").map(|field| changing::rollout(&field)),
        wait: None,
        get: None,
        call: None,
        load: None,
        stop: None,
        expect: Expected::Nothing,
        together: None,
        kill: fields.optional("kill").map(|field| targets(&field, "a container: workload/ordinal/container")),
        restart: fields.optional("restart").map(|field| targets(&field, "a workload, a pod or a container")),
        pause: fields.optional("pause").map(|field| targets(&field, "a workload, a pod or a container")),
        resume: fields.optional("resume").map(|field| targets(&field, "a workload, a pod or a container")),
        power: fields.optional("power").and_then(|field| nodes::power(&field)),
        boot: fields.optional("boot").and_then(|field| machines::boot(&field)),
        shutdown: fields.optional("shutdown").and_then(|field| machines::name(&field)),
        partition: fields.optional("partition").and_then(|field| links::ends(&field)),
        slow: fields.optional("slow").and_then(|field| links::slow(&field)),
        lossy: fields.optional("lossy").and_then(|field| links::lossy(&field)),
        jam: fields.optional("jam").and_then(|field| links::ends(&field)),
        reset: fields.optional("reset").and_then(|field| pair(&field, PAIR)),
        disrupt: fields.optional("disrupt").and_then(|field| trouble::disrupt(&field)),
        clock: fields.optional("clock").and_then(|field| trouble::clock(&field)),
        expire: fields.optional("expire").and_then(|field| trouble::expire(&field)),
        fill: fields.optional("fill").and_then(|field| trouble::fill(&field)),
        tear: fields.optional("tear").and_then(|field| trouble::tear(&field)),
        r#for: trouble::lasting(fields),
        heal: fields.optional("heal").and_then(|field| match (field.node.text(), field.node.entries()) {
            (Some("all"), _) => Some(Heal::All),
            (_, Some(_)) => trouble::mended(&field).map(Heal::Other),
            _ => pair(&field, PAIR).map(|pair| Heal::Pair(Box::new(pair))),
        }),
        inject: fields.optional("inject").and_then(|field| inject::inject(&field)),
        eject: fields.optional("eject").and_then(|field| xds::eject(&field)),
        hold: fields.optional("hold").and_then(|field| xds::hold(&field)),
        release: fields.optional("release").and_then(|field| xds::release(&field)),
        drop: fields.optional("drop").and_then(|field| xds::drop(&field)),
        delay: fields.optional("delay").and_then(|field| xds::delay(&field)),
        reorder: fields.optional("reorder").and_then(|field| xds::reorder(&field)),
        place,
        verb_place,
        written,
    }
}

/// What `get` knows by a word.
pub(super) fn gettable() -> Vec<&'static str> {
    std::iter::once("pods").chain(Listed::ALL.map(Listed::name)).collect()
}

fn get(cursor: &Cursor<'_>) -> Option<Get> {
    if !matches!(cursor.node.value, Value::Mapping(_)) {
        let word = cursor.word("thing to get", &gettable())?.value;
        return Some(Listed::ALL.into_iter().find(|listed| listed.name() == word).map_or(Get::Pods, Get::Table));
    }
    let mut fields = cursor.fields("`pods`, or a mapping such as `{config: web}`")?;
    let config = fields.required("config").and_then(|field| target(&field, "a workload or a pod"));
    let output = fields.optional("output").map(|field| field.word("output", &config::OUTPUTS));
    fields.finish(&[]);
    Some(Get::Config { of: config?, json: output.is_some() })
}

fn wait(cursor: &Cursor<'_>) -> Option<Wait> {
    const EXPECTED: &str = "a time such as `30s`, `{ready: all}`, `{converged: all}` or `{nacked: {type: CDS}}`";
    if !matches!(cursor.node.value, Value::Mapping(_)) {
        return time(cursor, EXPECTED, WAIT_MAX).map(Wait::Time);
    }
    let mut fields = cursor.fields(EXPECTED)?;
    let ready = fields.optional("ready");
    let converged = fields.optional("converged");
    let nacked = fields.optional("nacked");
    let within = fields.optional("within").and_then(|field| time(&field, "a time such as `60s`", WAIT_MAX));
    let within = within.map_or(WITHIN_DEFAULT, |within| within.value);
    let has_more = fields.has_unknown();
    fields.finish(&[("serving", "waiting for `serving` is not played by this version of Hermesh yet")]);
    if let Some(nacked) = nacked {
        if ready.is_some() || converged.is_some() {
            nacked.error("two-verbs", "a wait is for one thing; make it two steps");
            return None;
        }
        return xds::nacked(&nacked).map(|(types, to)| Wait::Nacked { types, to, within });
    }
    match (ready, converged) {
        (Some(_), Some(converged)) => {
            converged.error("two-verbs", "a wait is for `ready` or for `converged`; make it two steps");
            None
        }
        (Some(ready), None) if ready.node.text() == Some("all") => Some(Wait::Ready { workloads: None, within }),
        (Some(ready), None) => {
            let items = ready.one_or_many("a workload, or `all`");
            if let Some(all) = items.iter().find(|item| item.node.text() == Some("all")) {
                all.error("bad-value", "`all` stands alone, without a list: `ready: all`");
                return None;
            }
            let workloads = items.iter().filter_map(|item| target(item, "a workload, or `all`")).collect();
            Some(Wait::Ready { workloads: Some(workloads), within })
        }
        (None, Some(converged)) => {
            converged.word("extent", &["all"])?;
            Some(Wait::Converged { within })
        }
        // What stands there instead has been complained of.
        (None, None) if has_more => None,
        (None, None) => {
            cursor.error("missing-field", format!("nothing to wait for; expected {EXPECTED}"));
            None
        }
    }
}

fn call(cursor: &Cursor<'_>) -> Option<Call> {
    let mut fields = cursor.fields("a call: a mapping with `from` and `url`")?;
    let from = fields.required("from").and_then(|field| target(&field, "the workload that calls"));
    let url = fields.required("url").map(|field| texts(&field, "a URL such as `xds:///echo:7070`"));
    let count = fields.optional("count").and_then(|field| field.integer(1, CALLS_MAX));
    let qps = fields.optional("qps").and_then(|field| field.integer(1, RATE_MAX));
    let headers = fields.optional("headers").and_then(|field| headers(&field)).unwrap_or_default();
    let message = fields.optional("message").and_then(|field| field.scalar("a text")).map(|text| text.value);
    let grep = fields.optional("grep").and_then(|field| field.scalar("a text to look for"));
    let timeout = fields.optional("timeout").and_then(|field| positive_time(&field, TIMEOUT_MAX));
    let fresh = fields.optional("newConnectionPerRequest").and_then(|field| field.boolean());
    fields.finish(&[]);
    let new_connection_per_request = fresh.unwrap_or_default();
    Some(Call { from: from?, url: url?, count, qps, headers, message, grep, timeout, new_connection_per_request })
}

/// A time that is not longer than `longest`.
pub(super) fn time(field: &Cursor<'_>, expected: &str, longest: Time) -> Option<At<Time>> {
    let time: At<Time> = field.parsed(expected)?;
    at_most(field, time.value, longest)?;
    Some(time)
}

/// A time in which a call can end.
pub(super) fn positive_time(field: &Cursor<'_>, longest: Time) -> Option<At<Time>> {
    let time = time(field, "a time such as `5s`", longest)?;
    if time.value.0.is_zero() {
        field.error("out-of-range", "no call ends in no time; expected 1ms at least");
        return None;
    }
    Some(time)
}

pub(super) fn at_most(field: &Cursor<'_>, time: Time, longest: Time) -> Option<()> {
    if time > longest {
        field.error("out-of-range", format!("expected {longest} at most, found {time}"));
        return None;
    }
    Some(())
}

pub(super) fn headers(field: &Cursor<'_>) -> Option<Vec<(At<String>, String)>> {
    let entries = field.entries("headers: a mapping such as `end-user: jason`")?;
    let header = |(name, value): (At<String>, Cursor<'_>)| {
        if let Err(message) = header::name(&name.value) {
            value.error_in(&name.place, "bad-value", message);
        }
        let text = value.scalar("the header's value")?;
        if let Err(message) = header::value(&text.value) {
            value.error("bad-value", message);
        }
        Some((name, text.value))
    };
    Some(entries.into_iter().filter_map(header).collect())
}

fn expect(cursor: &Cursor<'_>) -> Option<Expect> {
    let mut fields = cursor.fields("what to expect: a mapping such as `{ok: all}`")?;
    if cursor.node.entries().is_some_and(|entries| entries.iter().all(|entry| entry.key.text == "within")) {
        cursor.error("empty", "expects nothing; write what must come of the call, such as `{ok: all}`");
    }
    let expect = Expect {
        ok: fields.optional("ok").and_then(|field| field.word("extent", &["all"])).map(|word| word.place),
        to: fields.optional("to").and_then(|field| by_workload(&field, "calls", "a number such as `2..3`")),
        share: fields.optional("share").and_then(|field| by_workload(&field, "shares", "a share such as `20%`")),
        error: fields.optional("error").and_then(|field| field.word("status code", CODES)),
        cause: fields.optional("cause").and_then(|field| field.word("cause", &CAUSES)),
        figures: figures(&mut fields),
        within: fields.optional("within").and_then(|field| time(&field, "a time such as `30s`", WAIT_MAX)),
        place: cursor.place(),
    };
    fields.finish(&[
        ("errors", "`errors` is for a load that is stopped; for a call write `ok: all`"),
        ("since", "`since` is for a load that is stopped"),
        ("throughout", "`throughout` is for a load that is stopped"),
    ]);
    Some(expect)
}

/// Whether a text is `spiffe://`, a trust domain and a path, by the characters that the SPIFFE ID standard allows (2.1
/// and 2.2).
pub(super) fn is_spiffe(text: &str) -> bool {
    let domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    let path = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    let mut parts = text.strip_prefix("spiffe://").unwrap_or_default().split('/');
    let of = |part: &str, allowed: &dyn Fn(char) -> bool| !part.is_empty() && part.chars().all(allowed);
    let trust_domain = parts.next().is_some_and(|part| of(part, &domain));
    let segments: Vec<&str> = parts.collect();
    trust_domain && !segments.is_empty() && segments.iter().all(|part| of(part, &path))
}

pub(super) fn by_workload<T: std::str::FromStr<Err = String>>(
    field: &Cursor<'_>,
    what: &str,
    expected: &str,
) -> Option<At<ByWorkload<T>>> {
    let entries = field.entries(&format!("{what} by workload: a mapping"))?;
    if entries.is_empty() {
        field.error("empty", format!("expected {what} by workload, found an empty mapping"));
    }
    let entry = |(key, value): (At<String>, Cursor<'_>)| {
        let parsed = value.parsed(expected);
        match key.value.parse() {
            Ok(target) => Some((At { value: target, place: key.place }, parsed?)),
            Err(message) => {
                value.error_in(&key.place, "bad-value", message);
                None
            }
        }
    };
    let whole = entries.len();
    let value: Vec<_> = entries.into_iter().filter_map(entry).collect();
    // Sums over a part would be nonsense.
    (value.len() == whole).then(|| At { value, place: field.place() })
}

fn texts(field: &Cursor<'_>, expected: &str) -> Vec<At<String>> {
    field.one_or_many(expected).iter().filter_map(|item| item.text(expected)).collect()
}

pub(super) fn target(field: &Cursor<'_>, expected: &str) -> Option<At<Target>> {
    field.parsed_text(expected)
}

pub(super) fn targets(field: &Cursor<'_>, expected: &str) -> Vec<At<Target>> {
    field.one_or_many(expected).iter().filter_map(|item| target(item, expected)).collect()
}

const PAIR: &str = "a list of two workloads or pods";

pub(super) fn pair(field: &Cursor<'_>, expected: &str) -> Option<[At<Target>; 2]> {
    let items = field.items(expected)?;
    if items.len() != 2 {
        field.error("wrong-length", format!("expected two workloads or pods, found {}", items.len()));
    }
    let targets: Vec<_> = items.iter().filter_map(|item| target(item, "a workload or a pod")).collect();
    targets.try_into().ok()
}

impl<'a> Fields<'a> {
    fn has_foreign(&self, name: &str) -> bool {
        self.node().get(name).is_some()
    }

    /// The one field that is not among `known`, if there is exactly one: its key, and its value.
    pub(super) fn only_unknown(&self, known: &[&str]) -> Option<(&'a Key, Cursor<'a>)> {
        let entries = self.node().entries().unwrap_or_default();
        let mut unknown = entries.iter().filter(|entry| !known.contains(&entry.key.text.as_str()));
        let first = unknown.next()?;
        unknown.next().is_none().then(|| (&first.key, self.cursor().entry(first)))
    }

    fn node(&self) -> &'a Node {
        self.cursor().node
    }
}

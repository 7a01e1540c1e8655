//! The JSON Schema of scenarios: it is the one checked in, the examples follow it, and it agrees with the reader.

use std::path::{Path, PathBuf};

use hermesh::scenario::{InputError, Scenario, schema};
use hermesh_istiod::yaml::{self, Meaning, Node};
use serde_json::Value;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/scenario.schema.json");
const SCENARIO_DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/scenario.md");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

#[expect(clippy::disallowed_methods, reason = "tests read files of the machine")]
fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// The first document of a file as JSON, as an editor would hand it to a validator.
fn instance(text: &str) -> Value {
    json(&yaml::parse("s.yaml", text).unwrap()[0].root)
}

/// What YAML's core schema makes of a node.
fn json(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Mapping(entries) => {
            entries.iter().map(|entry| (entry.key.text.clone(), json(&entry.value))).collect()
        }
        yaml::Value::Sequence(items) => items.iter().map(json).collect(),
        yaml::Value::Scalar(scalar) => match scalar.meaning() {
            Meaning::Null => Value::Null,
            Meaning::Bool(value) => value.into(),
            Meaning::Int(number) => u64::try_from(number)
                .map(Value::from)
                .or_else(|_| i64::try_from(number).map(Value::from))
                .unwrap_or_else(|_| (number as f64).into()),
            // JSON has no infinity; any number stands for it here.
            Meaning::Float(number) => number.clamp(f64::MIN, f64::MAX).into(),
            Meaning::LeadingZero => scalar.text.parse::<u64>().unwrap().into(),
            Meaning::String => scalar.text.as_str().into(),
        },
    }
}

#[test]
fn the_schema_that_is_checked_in_is_the_one_the_types_give() {
    let generated = format!("{:#}\n", schema());
    assert!(
        read(SCHEMA) == generated,
        "the schema has changed: run `cargo run -- schema > examples/scenario.schema.json`"
    );
}

#[test]
fn the_schema_is_a_valid_schema() {
    jsonschema::meta::validate(&schema()).unwrap();
}

#[test]
fn every_example_follows_the_schema_and_is_understood() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut scenarios = 0;
    for file in yaml_files(Path::new(EXAMPLES)) {
        let text = read(&file);
        if !text.lines().any(|line| line == "kind: Scenario") {
            continue;
        }
        scenarios += 1;
        let errors: Vec<String> = validator.iter_errors(&instance(&text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", file.display());
        if let Err(error) = Scenario::open(&file) {
            panic!("{error}");
        }
    }
    assert!(scenarios > 0, "there are examples");
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { yaml_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

const GOOD: &[&str] = &[
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {codes: {OK: 35..50, UNAVAILABLE: 0%..30%}, causes: {no-route: 1..3}, attempts: {0: 0..50, 1: all}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {latency: {p50: <5ms, p98: 1ms..20ms, max: >0s}, versions: {v1: 50}, callers: {nobody: 0..50, \"spiffe://a/b\": 0%..100%}, pods: 1..2}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {error: UNAVAILABLE, attempts: 0..1, latency: {max: <24h}}}",
    "{label: {namespace/default: {a: b}}, expect: rejected}",
    "{patch: {object: namespace/default, with: {spec: 5}}, expect: {rejected: unknown field}}",
    "scale: {istiod: 2, istio-system/istiod: 0}",
    "label: {namespace/default: {a: b, c: null, d: \"\"}, istio-system/svc/istiod: {e: f}}",
    "patch: {object: istio-system/deploy/istiod, with: {spec: {replicas: null}}}",
    "rollout: {restart: [istiod]}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {ok: all, within: 2m}}",
    "get: {config: cart/0}",
    "get: {config: cart, output: json}",
    "{disrupt: {service: ca, to: istiod, error: UNAVAILABLE, delay: 1s..5s}, for: 10m}",
    "{clock: {of: istiod/0, ahead: 25h}, for: 1ms}",
    "clock: {of: istiod, behind: 1s}",
    "{expire: {tokens: cart, in: 10m}, for: 1h}",
    "{fill: {volume: istio-data, of: cart}, for: 5s}",
    "tear: {volume: istio-data, of: cart, count: 1000}",
    "heal: {service: xds, to: istiod}",
    "heal: {volume: istio-data, of: cart}",
    "{pause: istiod, for: 5s}",
    "together: [{at: 1s, pause: istiod, for: 5s}]",
    "inject: {to: cart, resource: {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a}}",
    "inject: {to: cart/0, resource: [{\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a}]}",
    "eject: all",
    "eject: {type: CDS}",
    "wait: {nacked: {type: [CDS, LDS], to: cart}, within: 5s}",
    "{get: {config: cart}, expect: {type: CDS, status: ACKED}}",
    "{get: {config: cart}, expect: [{status: none}]}",
    "hold: {type: EDS, to: cart, for: 2s}",
    "release: {type: [CDS, EDS]}",
    "drop: {to: cart/0, count: 1000}",
    "delay: {by: 0s..168h}",
    "reorder: {count: 2}",
    "together: [{at: 0s, heal: all}, {at: 1s, heal: all}]",
    "together: [{at: 0s, restart: istiod}, {at: 1s..3s, kill: istiod/0/discovery}, {at: 168h, heal: all}]",
    "wait: 168h",
    "wait: {ready: istiod, within: 604800s}",
    "call: {from: istiod, url: \"xds:///istiod:15010\", count: 100000, qps: 100000, timeout: 86400000ms}",
    "wait: 5s",
    "wait: 1h2m3s4ms",
    "wait: {ready: istiod, within: 2m}",
    "wait: {converged: all}",
    "{name: a, get: pods}",
    "get: nodes",
    "power: {on: node-1}",
    "power: {off: [node-1]}",
    "restart: [istiod]",
    "kill: istiod/0/discovery",
    "heal: all",
    "{name: a, call: {from: istiod, url: \"xds:///a:1\"}, expect: {error: UNAVAILABLE, cause: no-route}}",
    "{call: {from: istiod, url: [\"xds:///istiod:15010\", \"grpc://istiod:443\"], count: 3, qps: 1, headers: {a: b}, timeout: 1s}, expect: {ok: all}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 100}, expect: {to: {istiod: 1..100}, share: {istiod: 100%}}}",
];

/// What the schema must refuse as the reader does.
const BAD: &[&str] = &[
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {latency: {p50: 5ms}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {latency: {p100: <5ms}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {latency: {p0: <5ms}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {latency: {max: <0s}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {latency: {max: <25h}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {latency: {}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {codes: {BROKEN: all}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {codes: {OK: some}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {codes: {OK: 101%}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {causes: {broken: all}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {attempts: all}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {attempts: {many: all}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {versions: {v1: }}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {callers: {me: all}}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {pods: all}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {codes: {OK: all}, ok: all}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {codes: {OK: all}, cause: no-route}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {versions: {v1: all}, error: ABORTED}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {callers: {nobody: all}, caller: \"spiffe://a/b\"}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {causes: {no-route: all}, ok: all}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 50}, expect: {pods: 1, error: ABORTED}}",
    "{stop: a, expect: {errors: none, codes: {OK: all}}}",
    "call: {from: istiod, url: \"xds:///a:1\", headers: {x-Bin: y}}",
    "{label: {namespace/default: {a: b}}, expect: refused}",
    "{label: {namespace/default: {a: b}}, expect: {rejected: 5}}",
    "{label: {namespace/default: {a: b}}, expect: {ok: all}}",
    "{rollout: {restart: istiod}, expect: rejected}",
    "scale: {}",
    "scale: {istiod: -1}",
    "scale: {istiod: 2147483648}",
    "scale: {istiod/0: 1}",
    "scale: istiod",
    "label: {istiod: {a: b}}",
    "label: {namespace/default: {}}",
    "label: {namespace/default: {a: 5}}",
    "label: {namespaces/default: {a: b}}",
    "patch: {object: namespace/default}",
    "patch: {object: namespace/default, with: {}}",
    "patch: {object: namespace/default, with: [a]}",
    "patch: {with: {a: b}}",
    "rollout: istiod",
    "rollout: {restart: all}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {within: 2m}}",
    "{stop: a, expect: [{errors: none, within: 5s}]}",
    "{stop: a, expect: [{errors: none, since: b, eventually: c}]}",
    "get: {config: cart/0/discovery}",
    "get: {config: cart, output: yaml}",
    "get: {output: json}",
    "get: {}",
    "disrupt: {service: ca}",
    "disrupt: {error: UNAVAILABLE}",
    "disrupt: {service: all, error: UNAVAILABLE}",
    "disrupt: {service: ca, error: OK}",
    "disrupt: {service: ca, delay: 0s}",
    "disrupt: ca",
    "clock: {of: istiod}",
    "clock: {of: istiod, ahead: 1s, behind: 1s}",
    "clock: {of: istiod, ahead: 0s}",
    "clock: {of: istiod/0/discovery, ahead: 1s}",
    "expire: istiod",
    "expire: {tokens: cart, in: 0s}",
    "fill: {of: istiod}",
    "tear: {volume: a, of: istiod, count: 0}",
    "heal: {}",
    "heal: {clock: istiod, tokens: cart}",
    "heal: {clock: istiod, to: istiod}",
    "{kill: istiod/0/discovery, for: 5s}",
    "{hold: {}, for: 5s}",
    "{tear: {volume: a, of: istiod}, for: 5s}",
    "{pause: istiod, for: 0s}",
    "{pause: istiod, for: 5}",
    "{wait: 5s, for: 5s}",
    "together: [{at: 1s, kill: istiod/0/discovery, for: 5s}]",
    "inject: {to: istiod}",
    "inject: {to: istiod, resource: {name: a}}",
    "inject: {to: istiod, resource: []}",
    "inject: {resource: {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a}}",
    "inject: {to: istiod/0/discovery, resource: {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a}}",
    "inject: {to: istiod, type: CDS, resource: {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a}}",
    "eject: {}",
    "wait: {nacked: all}",
    "wait: {nacked: {}, converged: all}",
    "{get: pods, expect: {status: ACKED}}",
    "{get: {config: cart}, expect: {type: CDS}}",
    "{get: {config: cart}, expect: {status: FINE}}",
    "{get: {config: cart}, expect: []}",
    "hold: {type: EDs}",
    "hold: {to: istiod/0/discovery}",
    "hold: {for: 169h}",
    "hold: {link: istiod}",
    "hold: {link: [istiod, istiod/0], type: EDS}",
    "hold: {link: [istiod, istiod/0], to: istiod}",
    "hold: {link: [istiod, istiod/0], for: 0s}",
    "release: {link: [istiod, istiod/0], to: istiod}",
    "release: {link: all}",
    "eject: {link: [istiod, istiod/0]}",
    "hold: all",
    "release: {}",
    "release: EDS",
    "drop: {count: 0}",
    "delay: {type: EDS}",
    "delay: {by: 0s}",
    "reorder: {count: 1}",
    "drop: {type: [CDS, CDS]}",
    "boot: {machine: a, group: b}",
    "boot: {machine: A, group: b, address: 1.2.3.4}",
    "boot: {machine: a, group: b, address: 1.2.3}",
    "boot: a",
    "shutdown: [a]",
    "shutdown: A",
    "partition: {from: istiod}",
    "partition: {from: istiod, to: istiod/0/discovery}",
    "jam: {between: [istiod, istiod]}",
    "reset: {from: istiod, to: istiod}",
    "slow: {between: [istiod], latency: 1s}",
    "slow: {from: istiod, between: [istiod, istiod], latency: 1s}",
    "slow: {latency: 1s}",
    "slow: [istiod, istiod]",
    "lossy: {from: istiod, loss: 10%}",
    "lossy: {loss: 10%}",
    "lossy: all",
    "together: []",
    "together: [{restart: istiod}]",
    "together: [{at: 1s}]",
    "together: [{at: 1s, wait: 5s}]",
    "together: [{at: 1s, restart: istiod, heal: all}]",
    "together: [{at: 169h, restart: istiod}]",
    "load: {name: a, from: istiod, url: \"grpc://istiod:15010\", qps: 1}",
    "load: {name: A, from: istiod, url: \"xds:///istiod:15010\", qps: 1}",
    "load: {name: a, from: istiod, url: \"xds:///istiod:15010\"}",
    "load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 10001}",
    "load: {name: a, from: istiod, url: [\"xds:///istiod:15010\"], qps: 1}",
    "{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}, expect: {errors: none}}",
    "{stop: a, expect: {ok: all}}",
    "{stop: a, expect: []}",
    "{stop: a, expect: {since: b}}",
    "{stop: a, expect: [{errors: none, since: b, throughout: c}]}",
    "{stop: a, expect: [{errors: none, cause: no-route}]}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {error: UNAVAILABLE, caller: \"spiffe://a/b\"}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {cause: no-route, ok: all}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {ok: , error: }}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {to: {}}}",
    "call: {from: istiod/0/discovery, url: \"xds:///istiod:15010\"}",
    "call: {from: istiod, url: \"xds:///istiod:15010\", message: \"\"}",
    "kill: istiod",
    "kill: istiod/0",
    "restart: all",
    "partition: [istiod, istiod]",
    "wait: 169h",
    "wait: {converged: all, within: 604801s}",
    "wait: {ready: istiod, within: 10081m}",
    "call: {from: istiod, url: \"xds:///istiod:15010\", count: 100001}",
    "call: {from: istiod, url: \"xds:///istiod:15010\", qps: 100001}",
    "call: {from: istiod, url: \"xds:///istiod:15010\", timeout: 25h}",
    "{}",
    "{name: , wait: 1s}",
    "{wait: 1s, expect: }",
    "call: {from: istiod, url: \"xds:///a:1\", count: }",
    "5s",
    "wait: 5",
    "wait: 5x",
    "wait: 1s1m",
    "wait: ''",
    "wait: {}",
    "wait: {ready: all, converged: all}",
    "wait: {ready: []}",
    "wait: {converged: some}",
    "wait: {ready: all, within: 60}",
    "wait: {ready: all, witin: 60s}",
    "wiat: 5s",
    "{wait: 5s, get: pods}",
    "{wait: 5s, expect: {ok: all}}",
    "{wait: 5s, nmae: a}",
    "get: node",
    "power: node-1",
    "power: {}",
    "power: {off: []}",
    "power: {off: node-1, on: node-1}",
    "power: {off: [node-1, node-1]}",
    "kill: []",
    "restart: {}",
    "partition: [istiod]",
    "partition: istiod",
    "heal: some",
    "load: {}",
    "call: {from: istiod}",
    "call: {url: \"xds:///a:1\"}",
    "call: {from: istiod, url: []}",
    "call: {from: istiod, url: \"ftp://a\"}",
    "call: {from: istiod, url: \"xds:///a:1\", count: 0}",
    "call: {from: istiod, url: \"xds:///a:1\", count: many}",
    "call: {from: istiod, url: \"xds:///a:1\", timeout: 5}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {}}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {ok: some}}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {error: BROKEN}}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {cause: broken}}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {share: {istiod: 100}}}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {to: {istiod: few}}}",
];

const ENVELOPES: [(&str, bool); 14] = [
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps:\n\
         - load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 10000, timeout: 1s}\n\
         - {name: b, wait: 1s}\n- stop: a\n  expect: [{errors: 0..3}, {throughout: b, cause: no-route}]\n",
        true,
    ),
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps:\n\
         - load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}\n\
         - stop: a\n  expect: {errors: none, to: {istiod: all}}\n",
        true,
    ),
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps:\n\
         - load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}\n\
         - stop: a\n  expect: {errors: all}\n",
        false,
    ),
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\", latency: 1ms..200ms}\nsteps: [{wait: 1s}]\n",
        true,
    ),
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\", latency: 1ms..2s}\nsteps: [{wait: 1s}]\n",
        false,
    ),
    ("apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]\n", true),
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nabout: x\nnamespace: a\nseed: 7\n\
         mesh: {istio: \"1.32\", latency: 1ms..2ms}\nsteps: [{wait: 1s}]\n",
        true,
    ),
    ("apiVersion: hermesh/v2\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]\n", false),
    ("apiVersion: hermesh/v1alpha1\nkind: Story\nname: t\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]\n", false),
    ("apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.31\"}\nsteps: [{wait: 1s}]\n", false),
    ("apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nsteps: [{wait: 1s}]\n", false),
    ("apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps: []\n", false),
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\", images: {a: b}}\nsteps: [{wait: 1s}]\n",
        false,
    ),
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nseed: -1\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]\n",
        false,
    ),
];

/// What is deployed where a step is good, beside istiod.
const CART: &str = "---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: app, image: registry.istio.io/testing/app:latest}]}
";

/// A scenario of this step.
fn scenario(step: &str) -> String {
    format!("apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {{istio: \"1.32\"}}\nsteps:\n- {step}\n")
}

#[test]
fn schema_and_reader_agree() {
    let with_cart = |step: &str| format!("{}{CART}", scenario(step));
    let corpus = GOOD.iter().map(|text| (with_cart(text), true)).chain(BAD.iter().map(|text| (with_cart(text), false)));
    let corpus = corpus.chain(ENVELOPES.iter().map(|(text, good)| ((*text).to_owned(), *good)));
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (text, good) in corpus {
        assert_eq!(validator.is_valid(&instance(&text)), good, "by the schema:\n{text}");
        let read = open(&text);
        assert_eq!(read.is_ok(), good, "by the reader:\n{text}{:?}", read.err());
    }
}

/// Where values stand in a scenario.
const FIELDS: &[&str] = &[
    "steps: [{get: {config: @}}]",
    "steps: [{hold: @}]",
    "steps: [{hold: {type: @, to: @, for: @}}]",
    "steps: [{hold: {link: @, for: @}}]",
    "steps: [{hold: {link: {from: istiod, to: istiod/0}, for: @}}]",
    "steps: [{release: @}]",
    "steps: [{release: {link: @}}]",
    "steps: [{drop: {type: [@], count: @}}]",
    "steps: [{delay: {by: @}}]",
    "steps: [{reorder: {count: @}}]",
    "steps: [{disrupt: @}]",
    "steps: [{disrupt: {service: @, to: @, error: INTERNAL}}]",
    "steps: [{disrupt: {service: ca, error: @}}]",
    "steps: [{disrupt: {service: ca, delay: @}}]",
    "steps: [{clock: {of: istiod, ahead: @}}]",
    "steps: [{expire: {tokens: @}}]",
    "steps: [{fill: {volume: @, of: istiod}}]",
    "steps: [{tear: {volume: a, of: istiod, count: @}}]",
    "steps: [{heal: {service: @}}]",
    "steps: [{pause: istiod, for: @}]",
    "steps: [{together: [{at: 1s, pause: istiod, for: @}]}]",
    "steps: [{power: @}]",
    "steps: [{power: {off: @}}]",
    "name: t\nmesh: {istio: \"1.32\", nodes: @}\nsteps: [{wait: 1s}]",
    "name: t\nmesh: {istio: \"1.32\", nodes: {a: @}}\nsteps: [{wait: 1s}]",
    "name: t\nmesh: {istio: \"1.32\", pulls: @}\nsteps: [{wait: 1s}]",
    "name: t\nmesh: {istio: \"1.32\", pulls: [{image: @, node: @, workload: @, takes: @, fails: @}]}\nsteps: [{wait: 1s}]",
    "steps: [{pause: @}]",
    "steps: [{resume: @}]",
    "steps: [{slow: {from: istiod, to: istiod/0, latency: @}}]",
    "steps: [{lossy: {from: istiod, to: istiod/0, loss: @}}]",
    "steps: [{slow: @}]",
    "steps: [{lossy: @}]",
    "steps: [{jam: @}]",
    "steps: [{reset: @}]",
    "steps: [{partition: {from: @, to: istiod}}]",
    "steps: [{slow: {between: @, latency: 1s}}]",
    "steps: [{together: [{at: @, heal: all}]}]",
    "steps: [{together: [{at: 1s, restart: @}]}]",
    "steps: [{load: {name: @, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a}]",
    "steps: [{load: {name: a, from: istiod, url: @, qps: 1}}, {stop: a}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: @}}, {stop: a}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: @}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {errors: @}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {errors: none, since: @}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {latency: @}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {latency: {max: @}}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {attempts: @}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {codes: @}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {codes: {OK: @}}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {causes: {no-route: @}}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {versions: {@: all}}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {callers: {@: all}}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {pods: @}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {caller: @}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {attempts: {@: all}}}]",
    "steps: [{load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}}, {stop: a, expect: {to: {istiod: @}}}]",
    "name: @\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]",
    "name: t\nabout: @\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]",
    "name: t\nnamespace: @\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]",
    "name: t\nseed: @\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]",
    "name: t\nmesh: {istio: @}\nsteps: [{wait: 1s}]",
    "name: t\nmesh: {istio: \"1.32\", latency: @}\nsteps: [{wait: 1s}]",
    "name: t\nmesh: {istio: \"1.32\", images: @}\nsteps: [{wait: 1s}]",
    "name: t\nmesh: {istio: \"1.32\", images: {\"*\": @}}\nsteps: [{wait: 1s}]",
    "steps: [{name: @, wait: 1s}]",
    "steps: [{apply: @}]",
    "steps: [{delete: @}]",
    "steps: [{wait: @}]",
    "steps: [{wait: {ready: @}}]",
    "steps: [{wait: {converged: @}}]",
    "steps: [{wait: {ready: istiod, within: @}}]",
    "steps: [{get: @}]",
    "steps: [{kill: @}]",
    "steps: [{restart: @}]",
    "steps: [{partition: @}]",
    "steps: [{partition: [istiod, @]}]",
    "steps: [{heal: @}]",
    "steps: [{call: {from: @, url: \"xds:///istiod:15010\"}}]",
    "steps: [{call: {from: istiod, url: @}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\", count: @}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\", headers: @}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\", headers: {a: @}}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\", headers: {@: a}}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\", message: @}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\", timeout: @}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\", newConnectionPerRequest: @}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {to: @}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {to: {istiod: @}}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {to: {@: all}}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {share: {istiod: @}}}]",
    "steps: [{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {caller: @}}]",
];

/// What may stand there, sensible in some places and in others not.
const VALUES: [&str; 96] = [
    "5",
    "0",
    "-1",
    "1.5",
    "18446744073709551615",
    "18446744073709551616",
    "\"5\"",
    "\"5..6\"",
    "5..99999999999999999999",
    "true",
    "True",
    "\"true\"",
    "yes",
    "null",
    "~",
    "\"\"",
    "\" \"",
    "\"a b\"",
    "\" 1s\"",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "[5]",
    "all",
    "[all]",
    "istiod",
    "[istiod]",
    "[istiod, istiod]",
    "istiod/0",
    "istiod/0/discovery",
    "[istiod/0, istiod/0]",
    "[istiod/0/discovery, istiod/0/discovery]",
    "istio-system/istiod",
    "istio-system/istiod/0/discovery",
    "a/b/c",
    "a/b/c/d",
    "istiod/",
    "/istiod",
    "istiod//0",
    "a/5",
    "a/+5",
    "a/all",
    "\"5/5/5\"",
    "\"-\"",
    "shop",
    "Shop",
    "-shop",
    "shop-",
    "shop.b",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "1s",
    "0s",
    "0h0m",
    "1m30s",
    "1ms..2ms",
    "201ms",
    "169h",
    "25h",
    "1d",
    "1s1m",
    "inf",
    "nan",
    ".inf",
    "20%",
    "100%",
    "0020.500%",
    "101%",
    "1.2345%",
    "\"1.32\"",
    "1.32",
    "stand-in",
    "pods",
    "xds:///istiod:15010",
    "xds:///istiod",
    "xds:///istiod:0",
    "xds:///istiod:65535",
    "xds:///istiod:65536",
    "xds:///istiod:015010",
    "xds:///istiod:15010/path",
    "xds://istiod:15010",
    "grpc://[::1]:80",
    "grpc://::1:80",
    "grpc://:80",
    "http://istiod:15010/a/b",
    "http://istiod:99999",
    "http:///a",
    "\"http://localhost/a b\"",
    "[\"xds:///istiod:15010\"]",
    "\":path\"",
    "x-é",
    "\"a\\nb\"",
    "spiffe://",
    "spiffe://td",
    "spiffe://td/ns/a/sa/b",
    "spiffe://TD/ns/a",
];

/// Codes of mistakes about names, files and numbers that lie elsewhere, of which no schema can know.
const BEYOND_SHAPES: [&str; 16] = [
    "no-client",
    "unknown-load",
    "unknown-node",
    "unknown-window",
    "never-stopped",
    "overlap",
    "unknown-volume",
    "unknown-workload",
    "unknown-host",
    "unreadable",
    "empty-folder",
    "impossible-count",
    "shares-sum",
    "too-few-calls",
    "namespace-not-found",
    "unused-image",
];

#[test]
fn schema_and_reader_agree_on_the_shape_of_every_value() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut differences = Vec::new();
    for field in FIELDS {
        let whole = match field.starts_with("steps") {
            true => format!("name: t\nmesh: {{istio: \"1.32\"}}\n{field}"),
            false => (*field).to_owned(),
        };
        for value in VALUES {
            let text = format!("apiVersion: hermesh/v1alpha1\nkind: Scenario\n{}\n", whole.replace('@', value));
            let Ok(documents) = yaml::parse("s.yaml", &text) else { continue };
            let by_schema = validator.is_valid(&json(&documents[0].root));
            let found = open(&text).err().map(|error| error.diagnostics).unwrap_or_default();
            let by_reader = found.iter().all(|found| BEYOND_SHAPES.contains(&found.code));
            if by_schema != by_reader {
                differences.push(format!("{field} with {value}: schema {by_schema}, reader {by_reader} {found:?}"));
            }
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// What only the reader refuses: each line of the list in `docs/scenario.md`, with steps that the schema takes.
const READER_ONLY: [(&str, &[&str]); 12] = [
    (
        "numbers in another notation than decimal digits, such as `0x10`, `1.0` or `+5`",
        &[
            "call: {from: istiod, url: \"xds:///istiod:15010\", count: 0x10}",
            "call: {from: istiod, url: \"xds:///istiod:15010\", count: 1.0}",
            "call: {from: istiod, url: \"xds:///istiod:15010\", qps: +5}",
            "{call: {from: istiod, url: \"xds:///istiod:15010\"}, expect: {to: {istiod: 0x1}}}",
        ],
    ),
    (
        "times that exceed their bound only as a sum, such as `167h61m`",
        &["wait: 168h1s", "wait: 167h61m", "call: {from: istiod, url: \"xds:///istiod:15010\", timeout: 24h1ms}"],
    ),
    (
        "ranges that are empty, such as `3..2`",
        &["{call: {from: istiod, url: \"xds:///istiod:15010\", count: 3}, expect: {to: {istiod: 3..2}}}"],
    ),
    ("a step's name that another step has", &["{name: again, wait: 1s}\n- {name: again, wait: 1s}"]),
    (
        "targets of one step that overlap and are not written alike, such as `[web, web/0]`",
        &[
            "restart: [istiod, istiod/0]",
            "kill: [istiod/0/discovery, istiod/00/discovery]",
            "partition: [istiod, istiod/0]",
            "heal: [istiod/0, istiod]",
        ],
    ),
    (
        "links from a workload or pod to itself, such as `{from: web, to: web}`",
        &["partition: {from: istiod, to: istiod}", "slow: {from: istiod, to: istiod, latency: 1s}"],
    ),
    (
        "names that mean nothing at their step: of workloads, pods, containers, nodes, other objects, hosts and their \
         ports, volumes, and images",
        &[
            "scale: {web: 1}",
            "power: {off: node-2}",
            "label: {service/web: {a: b}}",
            "wait: {ready: web}",
            "wait: {ready: all}",
            "restart: istiod/1",
            "kill: istiod/0/app",
            "partition: [istiod, all-of-them]",
            "call: {from: istiod, url: \"xds:///istiod:1\"}",
            "fill: {volume: a, of: istiod}",
        ],
    ),
    (
        "istiod as a client of its own",
        &[
            "inject: {to: istiod, resource: {\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: a}}",
            "hold: {to: istiod}",
            "wait: {nacked: {to: istiod}}",
            "get: {config: istiod}",
            "expire: {tokens: istiod}",
        ],
    ),
    (
        "what patches make of objects, and labels that are none",
        &[
            "patch: {object: istio-system/deployment/istiod, with: {spec: {replicas: many}}}",
            "label: {namespace/default: {a: \"b c\"}}",
        ],
    ),
    ("files that cannot be read, and all that is wrong with manifests", &["apply: none.yaml"]),
    (
        "expectations that no run can meet or every run meets, and more calls of all URLs together than a step makes",
        &[
            "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 3}, expect: {to: {istiod: 2}}}",
            "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 3}, expect: {share: {istiod: 50%}}}",
            "{call: {from: istiod, url: \"grpc://istiod:15010\"}, expect: {cause: no-route}}",
            "{call: {from: istiod, url: \"http://istiod:15010\"}, expect: {error: UNAVAILABLE}}",
            "call: {from: istiod, url: [\"xds:///istiod:15010\", \"xds:///istiod:15012\"], count: 60000}",
        ],
    ),
    (
        "loads that are never stopped, or not under way, and windows of steps that do not come between the two",
        &[
            "load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}",
            "stop: a",
            "load: {name: a, from: istiod, url: \"xds:///istiod:15010\", qps: 1}\n\
             - {stop: a, expect: {errors: none, since: b}}",
        ],
    ),
];

#[test]
fn what_only_the_reader_refuses_is_documented() {
    let documents = read(SCENARIO_DOCUMENT);
    let (_, section) = documents.split_once("### What the schema does not know\n").unwrap();
    let section = section.split("\n#").next().unwrap();
    let listed: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("- ")).collect();
    assert_eq!(listed, READER_ONLY.map(|(what, _)| what));
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for step in READER_ONLY.iter().flat_map(|(_, steps)| *steps) {
        let text = scenario(step);
        assert!(validator.is_valid(&instance(&text)), "by the schema:\n{text}");
        assert!(open(&text).is_err(), "by the reader:\n{text}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the test makes a file of the machine")]
fn open(text: &str) -> Result<Scenario, InputError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.yaml");
    std::fs::write(&path, text).unwrap();
    Scenario::open(path)
}

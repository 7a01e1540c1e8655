//! Every mistake in a scenario and its manifests in one pass, and none that only follows from another.

use super::{ECHO, HEADER, refused, steps};

/// A scenario of these steps, with the objects of `echo.yaml`, changed, in the same file.
fn with_own(steps: &str, objects: &str) -> String {
    format!("{HEADER}- apply: more\n{steps}\n---\n{objects}").replace("namespace: shop\n", "")
}

#[test]
fn an_unknown_caller_hides_no_unknown_host() {
    refused(
        &steps("- call: {from: ehco-v1, url: [\"xds:///ecoh:7070\", \"xds:///echo:7071\"]}"),
        &[
            "s.yaml:8:16: steps[1].call.from: no workload `ehco-v1` in namespace shop; did you mean `echo-v1`?",
            "s.yaml:8:31: steps[1].call.url[0]: no Service `ecoh` in namespace shop; did you mean `echo`?; if the call \
             is to fail, expect its `error`",
            "s.yaml:8:51: steps[1].call.url[1]: Service `echo` has no port 7071; expected 7070; if the call is to \
             fail, expect its `error`",
        ],
    );
    // Who calls from elsewhere means another Service by a short name.
    refused(
        &steps("- call: {from: istoid, url: \"xds:///istiod:15010\"}"),
        &["s.yaml:8:16: steps[1].call.from: no workload `istoid` in namespace shop; did you mean `istiod`?"],
    );
}

#[test]
fn objects_with_mistakes_are_there_by_name() {
    let calls = "\
- wait: {ready: [echo-v1, echo-v2]}
- call: {from: echo-v3, url: \"xds:///ecco:7070\"}
- delete: echo.yaml
- restart: echo-v1/0";
    for (good, wrong, error) in [
        ("port: 7070", "port: x", "17:30: spec.ports[0].port: expected a whole number, found a string (x)"),
        (
            "kind: Deployment",
            "kind: Deploymnt",
            "20:7: kind: no kind \"Deploymnt\" in version \"apps/v1\"; did you mean `Deployment`?",
        ),
        ("spec:\n  selector: {match", "sepc:\n  selector: {match", "22:1: sepc: unknown field; did you mean `spec`?"),
        ("{labels: {app: echo}}", "{labels: {app: 5}}", "25:30: spec.template.metadata.labels.app: expected a string"),
    ] {
        let objects = ECHO.replacen(good, wrong, 1);
        let text = with_own(calls, &objects);
        let Err(told) = super::open(&text) else { panic!("accepted:\n{text}") };
        assert_eq!(told.len(), 4, "{told:#?}");
        assert!(told.iter().any(|told| told.contains(error)), "{told:#?}");
        assert_eq!(
            told.into_iter().filter(|told| told.contains("steps[")).collect::<Vec<_>>(),
            [
                "s.yaml:8:16: steps[2].call.from: no workload `echo-v3` in namespace default; did you mean `echo-v1`?",
                "s.yaml:8:30: steps[2].call.url: no Service `ecco` in namespace default; did you mean `echo`?; if the \
                 call is to fail, expect its `error`",
                "s.yaml:10:12: steps[4].restart: workload `echo-v1` is not deployed at this step",
            ],
            "{wrong}"
        );
    }
}

#[test]
fn what_is_known_of_objects_with_mistakes_is_looked_at() {
    let objects = ECHO.replace("{labels: {app: echo}}", "{labels: {app: 5}}").replace("testing/app", "shop/app");
    let label = "spec.template.metadata.labels.app: expected a string, found a number (5); write it in quotes: \"5\"";
    let image = "spec.template.spec.containers[0].image: nothing plays image \"registry.istio.io/shop/app:latest\"; \
                 under `mesh.images` add `\"registry.istio.io/*\": stand-in`";
    refused(
        &with_own("- wait: {ready: all}", &objects),
        &[
            &format!("s.yaml:22:30: {label}"),
            &format!("s.yaml:26:16: {image}"),
            &format!("s.yaml:34:30: {label}"),
            &format!("s.yaml:38:16: {image}"),
        ],
    );
    // What their images are, nobody knows: no glob is superfluous.
    let globs = |text: &str| text.replace("\"1.32\"", "\"1.32\", images: {\"registry.corp/*\": stand-in}");
    refused(
        &globs(&with_own(
            "- wait: {ready: all}",
            &ECHO.replace("image: registry.istio.io/testing/app:latest", "imag: a"),
        )),
        &[
            "s.yaml:26:9: spec.template.spec.containers[0].imag: unknown field; did you mean `image`?",
            "s.yaml:38:9: spec.template.spec.containers[0].imag: unknown field; did you mean `image`?",
        ],
    );
    refused(
        &globs(&with_own("- wait: {ready: all}", ECHO)),
        &["s.yaml:4:32: mesh.images[\"registry.corp/*\"]: no container wants an image that matches \
           \"registry.corp/*\"; remove it"],
    );
}

#[test]
fn what_nobody_can_read_may_be_anything() {
    let steps = "- wait: {ready: web}\n- call: {from: web, url: \"xds:///web:80\"}";
    for (objects, error) in [
        ("kind: Deployment\nmetadata: {name: web}\n", "apiVersion: missing; every object needs one"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {nam: web}\nspec: {}\n", "metadata.nam: unknown field"),
    ] {
        let Err(told) = super::open(&with_own(steps, objects)) else { panic!("accepted:\n{objects}") };
        assert!(told.iter().any(|told| told.contains(error)), "{told:#?}");
        assert!(!told.iter().any(|told| told.contains("steps[")), "{told:#?}");
    }
    refused(
        &format!("{HEADER}- aply: [more, echo.yaml]\n- wait: {{ready: echo-v1}}"),
        &["s.yaml:7:3: steps[0].aply: unknown step \"aply\"; did you mean `apply`?"],
    );
    refused(
        &format!("{HEADER}- apply: [more, ehco.yaml]\n- wait: {{ready: echo-v1}}"),
        &["s.yaml:7:17: steps[0].apply[1]: no file or folder `ehco.yaml`; did you mean `echo.yaml`?"],
    );
    refused(
        &format!("{HEADER}- apply: [more, nginx.yaml]\n- wait: {{ready: all}}")
            .replace("\"1.32\"", "\"1.32\", images: {\"docker.io/*\": standin}"),
        &["s.yaml:5:47: mesh.images[\"docker.io/*\"]: unknown built-in image \"standin\"; did you mean `stand-in`?"],
    );
}

#[test]
fn mistakes_at_the_top_hide_none_further_down() {
    refused(
        "kind: Scenario\nnamespace: shop\nmesh: {istio: \"1.11\"}\nsteps:\n- apply: [more, echo.yaml]\n- restart: echo-v3\n",
        &[
            "s.yaml:1:1: field `apiVersion` is missing",
            "s.yaml:1:1: field `name` is missing",
            "s.yaml:3:15: mesh.istio: Istio 1.11 is not played; 1.32 is",
            "s.yaml:6:12: steps[1].restart: no workload `echo-v3` in namespace shop; did you mean `echo-v1`?",
        ],
    );
}

#[test]
fn a_missing_namespace_is_told_beside_other_mistakes() {
    refused(
        &format!("{HEADER}- apply: echo.yaml\n- wait: 60\n"),
        &[
            "s.yaml:4:12: namespace: no manifest creates namespace `shop`; apply a Namespace shop first",
            "s.yaml:8:9: steps[1].wait: expected a time with its unit, such as `60s` or `60ms`, found the bare number 60",
        ],
    );
}

#[test]
fn documents_may_begin_on_the_line_of_their_marker() {
    let scenario =
        "--- {apiVersion: hermesh/v1alpha1, kind: Scenario, name: a, mesh: {istio: \"1.32\"}, steps: [{wait: 1s}]}\n";
    refused(
        &format!(
            "{scenario}--- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}, data: {{a: 5}}}}\n---\nkind: x\n"
        ),
        &[
            "s.yaml:2:70: data.a: expected a string, found a number (5); write it in quotes: \"5\"",
            "s.yaml:4:1: apiVersion: missing; every object needs one, such as `apiVersion: v1`",
        ],
    );
    let own = |text: &str| super::open(text).unwrap().own.unwrap().iter().next().unwrap().text.clone();
    let object = "{apiVersion: v1, kind: Namespace, metadata: {name: a}}";
    assert_eq!(own(&format!("{scenario}--- {object}\n")).trim_start(), format!("{object}\n"));
}

#[test]
fn what_is_no_yaml_hides_nothing_else() {
    refused(
        &format!(
            "{HEADER}- apply: [more, echo.yaml]\n- wait: 60\nseed: 1\nseed: 2\n---\napiVersion: v1\nkind: ConfigMap\n\
             metadata: {{name: a}}\ndata: 5\n---\na: b: c\n"
        ),
        &[
            "s.yaml:8:9: steps[1].wait: expected a time with its unit, such as `60s` or `60ms`, found the bare number 60",
            "s.yaml:10:1: duplicate key `seed`; it is already at line 9",
            "s.yaml:15:7: data: expected a mapping, found a number (5)",
            "s.yaml:17:5: invalid YAML: mapping values are not allowed in this context; is a line indented too far, or \
             does a value with `: ` need quotes?",
        ],
    );
}

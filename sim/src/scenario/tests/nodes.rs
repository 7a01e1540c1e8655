//! `mesh.nodes`, `mesh.pulls` and `power`.

use super::{open, refused, refused_step, steps};

fn meshed(mesh: &str, more: &str) -> String {
    let text = steps(more);
    assert!(text.contains("istio: \"1.32\""), "{text}");
    text.replacen("istio: \"1.32\"", &format!("istio: \"1.32\"{mesh}"), 1)
}

#[test]
fn nodes_are_a_number_or_have_names_and_labels() {
    for nodes in ["2", "{node-2: {}}", "{a: {}, node-2: {topology.kubernetes.io/zone: b, rack: \"7\"}}"] {
        let text =
            meshed(&format!(", nodes: {nodes}"), "- power: {off: node-2}\n- power: {on: [node-2]}\n- get: nodes");
        open(&text).unwrap_or_else(|errors| panic!("{nodes}: {}", errors.join("\n")));
    }
}

#[test]
fn what_is_no_node_is_refused() {
    refused(
        &meshed(", nodes: {A: {}, b: {zone: '-'}, c: []}", "- power: {off: b}"),
        &[
            "s.yaml:5:31: mesh.nodes.A: \"A\" is no name of a node: lower-case letters, digits, `-` and `.`",
            "s.yaml:5:48: mesh.nodes.b.zone: \"-\" is no value of a label: up to 63 letters, digits, dashes, underscores \
             and dots, a letter or digit first and last",
            "s.yaml:5:57: mesh.nodes.c: expected the node's labels: a mapping such as `{topology.kubernetes.io/zone: a}`, \
             or `{}`, found a list",
        ],
    );
    refused(
        &meshed(", nodes: 101", "- wait: 1s"),
        &["s.yaml:5:30: mesh.nodes: expected a whole number from 1 to 100, found the number 101"],
    );
}

#[test]
fn power_goes_off_or_on_at_nodes_that_are_there() {
    refused_step(
        "- power: {off: node-2}",
        "s.yaml:8:16: steps[1].power.off: unknown node \"node-2\"; the mesh has one, node-1: `mesh: {nodes: 2}` gives it \
         more",
    );
    refused(
        &meshed(
            ", nodes: 2",
            "- power: {off: [node-1, node-1]}\n- power: {on: nod-1}\n- power: {off: node-1, on: node-2}\n- power: {}\n\
             - power: node-1\n- power: {of: node-1}\n- together:\n  - {at: 1s, power: {on: node-9}}",
        ),
        &[
            "s.yaml:8:25: steps[1].power.off[1]: `node-1` stands here twice",
            "s.yaml:9:15: steps[2].power.on: unknown node \"nod-1\"; did you mean `node-1`?",
            "s.yaml:10:28: steps[3].power.on: power goes off or on; make it two steps",
            "s.yaml:11:10: steps[4].power: expected `off` or `on` with the name of a node",
            "s.yaml:12:10: steps[5].power: expected a mapping such as `{off: node-2}` or `{on: node-2}`, found the text \
             \"node-1\"",
            "s.yaml:13:11: steps[6].power.of: unknown field; expected off or on",
            "s.yaml:15:26: steps[7].together[0].power.on: unknown node \"node-9\"; did you mean `node-1`?",
        ],
    );
}

#[test]
fn pulls_name_images_and_nodes_that_there_are() {
    let fine = "[{image: '*', takes: 1s..2s}, {image: '*/proxyv2:*', takes: 30s, node: node-1, workload: echo-v1}, \
                {image: '*', fails: 3}, {image: '*', fails: 1, takes: 5s}]";
    open(&meshed(&format!(", pulls: {fine}"), "- wait: 1s")).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    refused(
        &meshed(
            ", pulls: [{image: corp/x, takes: 1s}, {image: '*', takes: 25h}, {takes: 1s}, {image: '*', takes: 1s, \
             node: node-2}, {image: '*', takes: 1s, workload: echo-v1/0}, {image: '*', takes: 1s, workload: echo-v3}, \
             {image: '*'}, {image: '*', fails: 0}]",
            "- wait: 1s",
        ),
        &[
            "s.yaml:5:39: mesh.pulls[0].image: no container wants an image that matches \"corp/x\"; remove it",
            "s.yaml:5:79: mesh.pulls[1].takes: expected 24h at most, found 25h",
            "s.yaml:5:85: mesh.pulls[2]: field `image` is missing",
            "s.yaml:5:128: mesh.pulls[3].node: unknown node \"node-2\"; did you mean `node-1`?",
            "s.yaml:5:171: mesh.pulls[4].workload: images are pulled for workloads: leave pod and container out",
            "s.yaml:5:217: mesh.pulls[5].workload: unknown workload \"echo-v3\"; did you mean `echo-v1`?",
            "s.yaml:5:227: mesh.pulls[6]: expected `takes`, how long a pull takes, or `fails`, how many fail first",
            "s.yaml:5:261: mesh.pulls[7].fails: expected a whole number from 1 to 1000, found the number 0",
        ],
    );
}

#[test]
fn what_can_be_shown_is_a_closed_set_of_words() {
    for word in ["pods", "nodes", "deployments", "statefulsets", "jobs", "services", "endpoints"] {
        open(&steps(&format!("- get: {word}"))).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    }
    refused_step(
        "- get: endpoint",
        "s.yaml:8:8: steps[1].get: unknown thing to get \"endpoint\"; did you mean `endpoints`?",
    );
}

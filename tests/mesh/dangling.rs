//! Routes and rules for what does not exist: applied as in a cluster, with a warning that says where and what was
//! perhaps meant.

use hermesh::{Mesh, image};
use hermesh_tests::shop;

const RULE: &str = "\
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec:
  host: cart
  subsets:
  - {name: stable, labels: {version: v1}}
";

const ROUTE: &str = "\
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart}
spec:
  hosts: [cart]
  http:
  - route:
    - destination: {host: cart, subset: stabel}
";

/// The warnings of one apply.
fn warnings(mesh: &mut Mesh, yaml: &str) -> Vec<String> {
    let notes = mesh.try_apply(yaml).expect("it is applied").notes;
    notes.iter().filter(|note| note.code == "dangling").map(ToString::to_string).collect()
}

#[test]
fn all_documents_of_an_apply_are_in_before_anything_dangles() {
    let mut mesh = hermesh::mesh().seed(7).image("*", image::stand_in).start();
    let cart = [shop::service("cart"), shop::deployment("cart", "a", &[])].concat();
    let all = [ROUTE, RULE, &cart].concat().replace("stabel", "stable");
    assert_eq!(warnings(&mut mesh, &all), [] as [String; 0]);
}

#[test]
fn a_dangling_reference_is_told_once_and_again_when_it_comes_back() {
    let mut mesh = hermesh::mesh().seed(7).image("*", image::stand_in).start();
    let cart = shop::service("cart");
    let all = [&cart, RULE, ROUTE, &shop::deployment("cart", "a", &[])].concat();
    let told = ["inline:25:41: warning: spec.http[0].route[0].destination.subset: no DestinationRule for \
         cart.default.svc.cluster.local has a subset \"stabel\"; calls to it will fail; did you mean `stable`?"];
    assert_eq!(warnings(&mut mesh, &all), told);
    assert_eq!(warnings(&mut mesh, &all), [] as [String; 0]);
    assert_eq!(warnings(&mut mesh, &RULE.replace("stable", "stabel")), [] as [String; 0]);
    // Whoever takes the subset away is told of the route that wants it.
    assert_eq!(warnings(&mut mesh, RULE), told);

    mesh.delete(cart.as_str());
    let told = warnings(&mut mesh, &cart.replace("name: cart", "name: carts"));
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().all(|text| text.contains("there is no Service cart.default") && text.contains("`carts.")));
}

/// What there is; each row of the table adds something that refers to what there is not.
const SHOP: &str = "\
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: cart}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {colour: red}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart}
spec:
  selector: {matchLabels: {app: cart}}
  template:
    metadata: {labels: {app: cart, version: v1}}
    spec: {serviceAccountName: cart, containers: [{name: app, image: a}]}
";

/// Kind, what follows the name, where that leads nowhere, and what is said of it. `^` marks the place.
const TABLE: &[(&str, &str, &str)] = &[
    (
        "VirtualService",
        "{hosts: [^cat], http: [{route: [{destination: {host: cart}}]}]}",
        "spec.hosts[0]: there is no Service cat.default.svc.cluster.local: no call takes these routes; did you mean \
         `cart.default.svc.cluster.local`?",
    ),
    (
        "VirtualService",
        "{hosts: [cart], http: [{route: [{destination: {host: ^cat}}]}]}",
        "spec.http[0].route[0].destination.host: there is no Service cat.default.svc.cluster.local; did you mean \
         `cart.default.svc.cluster.local`?",
    ),
    (
        "VirtualService",
        "{hosts: [cart], http: [{route: [{destination: {host: cart, subset: ^v1}}]}]}",
        "spec.http[0].route[0].destination.subset: no DestinationRule for cart.default.svc.cluster.local has a subset \
         \"v1\"; calls to it will fail",
    ),
    (
        "VirtualService",
        "{hosts: [cart], http: [{route: [{destination: {host: cart, port: {number: ^7071}}}]}]}",
        "spec.http[0].route[0].destination.port.number: cart.default.svc.cluster.local has no port 7071; calls to it \
         will fail; it has 7070",
    ),
    (
        "DestinationRule",
        "{host: ^cat}",
        "spec.host: there is no Service cat.default.svc.cluster.local; did you mean `cart.default.svc.cluster.local`?",
    ),
    (
        "DestinationRule",
        "{host: cart, subsets: [{name: a, labels: {version: v1}}, {name: b, labels: ^{version: v2}}]}",
        "spec.subsets[1].labels: no workload of cart.default has the labels version=v2: calls to it will fail",
    ),
    (
        "DestinationRule",
        "{host: cart, workloadSelector: {matchLabels: ^{app: basket}}}",
        "spec.workloadSelector.matchLabels: no workload in namespace default has the labels app=basket: the rule is for \
         no client",
    ),
    (
        "AuthorizationPolicy",
        "{selector: {matchLabels: ^{app: carts}}, rules: [{}]}",
        "spec.selector.matchLabels: no workload in namespace default has the labels app=carts: it is for nobody; did \
         you mean `app: cart`?",
    ),
    (
        "PeerAuthentication",
        "{selector: {matchLabels: ^{app: basket}}, mtls: {mode: STRICT}}",
        "spec.selector.matchLabels: no workload in namespace default has the labels app=basket: it is for nobody",
    ),
    (
        "ProxyConfig",
        "{selector: {matchLabels: ^{app: basket}}}",
        "spec.selector.matchLabels: no workload in namespace default has the labels app=basket: it is for nobody",
    ),
    (
        "ServiceEntry",
        "{hosts: [a.b], resolution: STATIC, ports: [{number: 80, name: http}], workloadSelector: {labels: ^{app: vm}}}",
        "spec.workloadSelector.labels: no workload in namespace default has the labels app=vm: it has no endpoints",
    ),
    (
        "Service",
        "{selector: ^{app: cart, tier: web}, ports: [{port: 80}]}",
        "spec.selector: no workload in namespace default has the labels app=cart,tier=web: it has no endpoints",
    ),
    (
        "Deployment",
        "{selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {serviceAccountName: ^card, \
         containers: [{name: a, image: a}]}}}",
        "spec.template.spec.serviceAccountName: there is no ServiceAccount card in namespace default: its pods cannot be \
         made; did you mean `cart`?",
    ),
    (
        "StatefulSet",
        "{serviceName: cart, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: \
         {serviceAccount: ^nobody, containers: [{name: a, image: a}]}}}",
        "spec.template.spec.serviceAccount: there is no ServiceAccount nobody in namespace default: its pods cannot be \
         made",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: a}], volumes: [{name: a, configMap: {name: ^setting}}]}",
        "spec.volumes[0].configMap.name: there is no ConfigMap setting in namespace default: its pods stay in \
         ContainerCreating; did you mean `settings`?",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: a}], volumes: [{name: a, configMap: {name: settings, items: [{key: ^color, \
         path: a}]}}]}",
        "spec.volumes[0].configMap.items[0].key: ConfigMap settings has no key \"color\": its pods stay in \
         ContainerCreating; did you mean `colour`?",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: a}], volumes: [{name: a, projected: {sources: [{configMap: {name: ^none}}]}}]}",
        "spec.volumes[0].projected.sources[0].configMap.name: there is no ConfigMap none in namespace default: its pods \
         stay in ContainerCreating",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: a, env: [{name: A, valueFrom: {configMapKeyRef: {name: ^none, key: a}}}]}]}",
        "spec.containers[0].env[0].valueFrom.configMapKeyRef.name: there is no ConfigMap none in namespace default: its \
         container does not start (CreateContainerConfigError)",
    ),
    (
        "Pod",
        "{containers: [{name: a, image: a, env: [{name: A, valueFrom: {configMapKeyRef: {name: settings, key: ^size}}}]}]}",
        "spec.containers[0].env[0].valueFrom.configMapKeyRef.key: ConfigMap settings has no key \"size\": its container \
         does not start (CreateContainerConfigError)",
    ),
    (
        "StatefulSet",
        "{serviceName: ^carts, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: \
         {containers: [{name: a, image: a}]}}}",
        "spec.serviceName: there is no Service carts in namespace default: its pods have no names of their own; did you \
         mean `cart`?",
    ),
];

fn api_version(kind: &str) -> &'static str {
    match kind {
        "Pod" | "Service" => "v1",
        "Deployment" | "StatefulSet" => "apps/v1",
        "ProxyConfig" => "networking.istio.io/v1beta1",
        "AuthorizationPolicy" | "PeerAuthentication" => "security.istio.io/v1",
        _ => "networking.istio.io/v1",
    }
}

#[test]
fn each_reference_that_leads_nowhere_is_applied_and_told_of_once_where_it_stands() {
    for (kind, spec, said) in TABLE {
        let mut mesh = hermesh::mesh().seed(7).image("*", image::stand_in).start();
        assert_eq!(warnings(&mut mesh, &format!("{SHOP}{}", shop::service("cart"))), [""; 0]);
        let column = "spec: ".len() + spec.find('^').expect("each row has a mark") + 1;
        let spec = spec.replace('^', "");
        let yaml =
            format!("apiVersion: {}\nkind: {kind}\nmetadata: {{name: other}}\nspec: {spec}\n", api_version(kind));
        assert_eq!(warnings(&mut mesh, &yaml), [format!("inline:4:{column}: warning: {said}")], "{kind} {spec}");
        assert_eq!(warnings(&mut mesh, &yaml), [""; 0], "{kind} {spec}: it is told of once");
    }
}

#[test]
fn a_slice_for_no_service_is_told_of() {
    let mut mesh = hermesh::mesh().seed(7).image("*", image::stand_in).start();
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: a\n  labels: \
                 {kubernetes.io/service-name: cart}\naddressType: IPv4\nendpoints: [{addresses: [10.0.0.1]}]\n";
    assert_eq!(
        warnings(&mut mesh, slice),
        [
            "inline:5:40: warning: metadata.labels[\"kubernetes.io/service-name\"]: there is no Service cart in namespace \
         default: nobody is told of these endpoints"
        ]
    );
}

#[test]
fn what_others_write_or_set_is_not_missing() {
    let mut mesh = hermesh::mesh().seed(7).image("*", image::stand_in).start();
    let fine = "---
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: a}}
spec:
  containers:
  - name: a
    image: a
    env: [{name: A, valueFrom: {configMapKeyRef: {name: none, key: b, optional: true}}}]
  volumes:
  - {name: root, configMap: {name: istio-ca-root-cert}}
  - {name: none, configMap: {name: none, optional: true}}
---
apiVersion: v1
kind: Service
metadata: {name: a}
spec: {selector: {app: a, service.istio.io/canonical-name: a}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: by-hand}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: gateways}
spec: {hosts: [shop.example.com], gateways: [gateway], http: [{route: [{destination: {host: a}}]}]}
";
    assert_eq!(warnings(&mut mesh, fine), [""; 0]);
}

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
    let all = [ROUTE, RULE, &shop::service("cart")].concat().replace("stabel", "stable");
    assert_eq!(warnings(&mut mesh, &all), [] as [String; 0]);
}

#[test]
fn a_dangling_reference_is_told_once_and_again_when_it_comes_back() {
    let mut mesh = hermesh::mesh().seed(7).image("*", image::stand_in).start();
    let cart = shop::service("cart");
    let all = [&cart, RULE, ROUTE].concat();
    let told = ["inline:25:41: warning: spec.http[0].route[0].destination.subset: no DestinationRule for \
         cart.default.svc.cluster.local has a subset \"stabel\"; calls to it will fail; did you mean `stable`?"];
    assert_eq!(warnings(&mut mesh, &all), told);
    assert_eq!(warnings(&mut mesh, &all), [] as [String; 0]);
    assert_eq!(warnings(&mut mesh, &RULE.replace("stable", "stabel")), [] as [String; 0]);
    // Whoever takes the subset away is told of the route that wants it.
    assert_eq!(warnings(&mut mesh, RULE), told);

    mesh.delete(cart.as_str());
    let told = warnings(&mut mesh, &cart.replace("name: cart", "name: carts"));
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told.iter().all(|text| text.contains("there is no Service cart.default") && text.contains("`carts.")));
}

//! The folder that keeps the authority.

use std::path::Path;
use std::time::Duration;

use hermesh_istiod::ca::{AUDIENCE, ServiceAccount, TokenReview as _};
use hermesh_istiod::state::StateFolder;
use hermesh_runtime::{Runtime, os};

fn folder(rt: &Runtime, path: &Path) -> StateFolder {
    StateFolder::new(rt, path.to_owned())
}

#[tokio::test]
async fn the_authority_is_made_once_and_then_stays() {
    let (rt, place) = (os::runtime(), tempfile::tempdir().unwrap());
    let path = place.path().join("state");
    let made = folder(&rt, &path).root("cluster.local").await.unwrap();
    assert_eq!(folder(&rt, &path).root("cluster.local").await.unwrap(), made);
    assert_eq!(rt.read(path.join("root-cert.pem")).await.unwrap(), made.cert_pem);
    assert_eq!(rt.metadata(path.join("ca-key.pem")).await.unwrap().mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_token_that_one_process_makes_another_accepts() {
    let (rt, place) = (os::runtime(), tempfile::tempdir().unwrap());
    folder(&rt, place.path()).root("cluster.local").await.unwrap();
    let account = ServiceAccount::new("shop", "cart");
    let minted = folder(&rt, place.path()).tokens().await.unwrap().mint(&account, AUDIENCE, Duration::from_secs(60));
    let tokens = folder(&rt, place.path()).tokens().await.unwrap();
    assert_eq!(tokens.review(&minted, AUDIENCE).await.unwrap(), account);
}

#[tokio::test]
async fn what_is_wrong_with_a_folder_is_told_with_a_remedy() {
    let (rt, place) = (os::runtime(), tempfile::tempdir().unwrap());
    let wrong = async || folder(&rt, place.path()).tokens().await.map(drop).unwrap_err().to_string();
    let told = wrong().await;
    assert!(told.contains("holds no authority yet; start fake-istiod with it first"), "{told}");

    rt.write(place.path().join("ca-key.pem"), "no key", 0o600).await.unwrap();
    let told = wrong().await;
    assert!(told.contains("it has ca-key.pem but no root-cert.pem; remove"), "{told}");

    rt.write(place.path().join("root-cert.pem"), "no certificate", 0o644).await.unwrap();
    let told = wrong().await;
    assert!(told.contains("; remove ca-key.pem and root-cert.pem to begin with a new authority"), "{told}");
}

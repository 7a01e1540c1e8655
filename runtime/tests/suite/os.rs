//! The operating system as a runtime.

use std::io::ErrorKind;
use std::time::Duration;

use crate::common::loopback;
use hermesh_runtime::{Address, os};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn a_file_has_the_mode_asked_for_even_if_it_replaces_an_open_one() {
    let rt = os::runtime();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    rt.write(&path, "public", 0o666).await.unwrap();
    assert_eq!(rt.metadata(&path).await.unwrap().mode, 0o666, "whatever the umask");
    rt.write(&path, "private", 0o600).await.unwrap();
    let metadata = rt.metadata(&path).await.unwrap();
    assert_eq!((metadata.mode, metadata.len, metadata.is_dir), (0o600, 7, false));
    assert_eq!(rt.read(&path).await.unwrap(), "private");
    rt.set_mode(&path, 0o640).await.unwrap();
    assert_eq!(rt.metadata(&path).await.unwrap().mode, 0o640);
}

#[tokio::test]
async fn an_atomic_write_leaves_nothing_beside() {
    let rt = os::runtime();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bootstrap.json");
    rt.write_atomic(&path, "1", 0o644).await.unwrap();
    rt.write_atomic(&path, "2", 0o644).await.unwrap();
    assert_eq!(rt.read(&path).await.unwrap(), "2");
    assert_eq!(rt.list(folder.path()).await.unwrap(), [path]);
    let error = rt.write_atomic(folder.path().join("missing/file"), "3", 0o644).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn folders_and_links_behave_as_in_posix() {
    let rt = os::runtime();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    rt.create_dir_all(at("b/c"), 0o777).await.unwrap();
    assert_eq!(rt.metadata(at("b")).await.unwrap().mode & 0o777, 0o777, "whatever the umask");
    rt.create_dir_all(at("b/c"), 0o700).await.unwrap();
    assert_eq!(rt.metadata(at("b/c")).await.unwrap().mode & 0o777, 0o777, "it was there");
    rt.symlink("b/c", at("a")).await.unwrap();
    assert_eq!(rt.symlink("b/c", at("a")).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(rt.read_link(at("a")).await.unwrap(), std::path::Path::new("b/c"));
    assert!(rt.metadata(at("a")).await.unwrap().is_dir);
    assert_eq!(rt.list(folder.path()).await.unwrap(), [at("a"), at("b")]);
    rt.remove(at("a")).await.unwrap();
    assert!(rt.exists(at("b/c")).await, "only the link is gone");
    rt.remove(at("b/c")).await.unwrap();
    rt.rename(at("b"), at("d")).await.unwrap();
    assert_eq!(rt.list(folder.path()).await.unwrap(), [at("d")]);
}

#[tokio::test]
async fn sockets_know_their_addresses() {
    let rt = os::runtime();
    let folder = tempfile::tempdir().unwrap();
    for at in [loopback(), Address::Unix(folder.path().join("socket"))] {
        let mut listener = rt.listen(at).await.unwrap();
        let address = listener.local_address();
        assert_eq!(rt.listen(address.clone()).await.err().map(|error| error.kind()), Some(ErrorKind::AddrInUse));
        let (client, server) = tokio::join!(rt.connect(address.clone()), listener.accept());
        let (mut client, mut server) = (client.unwrap(), server.unwrap());
        assert_eq!((client.peer_address(), server.local_address()), (address.clone(), address));
        assert_eq!(client.local_address(), server.peer_address());
        client.write_all(b"ping").await.unwrap();
        client.shutdown().await.unwrap();
        let mut read = Vec::new();
        server.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, b"ping");
    }
}

#[tokio::test]
async fn names_resolve_or_are_not_found() {
    let rt = os::runtime();
    assert!(rt.resolve("localhost").await.unwrap().iter().all(|ip| ip.is_loopback()));
    assert_eq!(rt.resolve("127.0.0.9").await.unwrap(), [std::net::IpAddr::from([127, 0, 0, 9])]);
    assert!(rt.local_addresses().iter().all(|ip| !ip.is_loopback()));
    assert!(!rt.hostname().is_empty());
}

#[tokio::test]
async fn draws_repeat_within_a_process_and_differ_between_streams() {
    let rt = os::runtime();
    assert_eq!(rt.draws("a").next(), rt.draws("a").next());
    assert_ne!(rt.draws("a").next(), rt.draws("b").next());
    assert_ne!(rt.draws("a").next(), os::runtime().draws("a").next());
}

#[tokio::test]
async fn an_aborted_task_drops_what_it_holds() {
    let rt = os::runtime();
    let (held, mut dropped) = tokio::sync::oneshot::channel::<()>();
    let task = rt.spawn("test", async move {
        let _held = held;
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    assert!(dropped.try_recv().is_err_and(|error| error == tokio::sync::oneshot::error::TryRecvError::Empty));
    drop(task.abort_on_drop());
    assert!(dropped.await.is_err());
}

#[tokio::test]
async fn everyone_hears_of_sigterm_even_those_who_ask_later() {
    let rt = os::runtime();
    let first = rt.terminated();
    let kill = std::process::Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status().unwrap();
    assert!(kill.success());
    tokio::time::timeout(Duration::from_secs(10), first).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), rt.terminated()).await.unwrap();
}

#[test]
fn arguments_and_environment_are_the_processes() {
    let rt = os::with_args(vec!["proxy".to_owned(), "sidecar".to_owned()]);
    assert_eq!(rt.args(), ["proxy", "sidecar"]);
    assert!(rt.var("PATH").is_some());
    assert_eq!([rt.var("NO_SUCH_VARIABLE="), rt.var("")], [None, None]);
    assert!(rt.vars().is_sorted());
}

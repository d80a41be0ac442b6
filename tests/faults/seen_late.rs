//! Registries that show late, show what was, or show two states at once, under whole protocols.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use boxwright::adapter::registry::HttpRegistry;
use boxwright_testing::engine::{image, push};
use boxwright_testing::peer::{Reply, Seen, client};
use boxwright_testing::process::Server;
use boxwright_testing::proxy::{Fault, Proxy};
use serde_json::Value;

use crate::disk::{Disk, Tags};
use crate::scene::{BOXES, Contents, Ending, Run, Scenario, judge};

const MISSING: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;

/// A registry on which a scenario can begin.
struct Stage {
    server: Server,
    disk: Disk,
    contents: Contents,
    client: Arc<HttpRegistry>,
    scenario: Scenario,
}

impl Stage {
    async fn of(scenario: Scenario) -> Self {
        Self::on(Server::start(&[]), scenario).await
    }

    async fn on(server: Server, scenario: Scenario) -> Self {
        let (contents, client) = (Contents::new(), Arc::new(client()));
        let disk = Disk::of(server.directory());
        let stage = Self { server, disk, contents, client, scenario };
        let proxy = Proxy::to_part(&stage.server.host, "good", |_, _| Fault::None).await;
        stage.run(&proxy, "before").prepare(scenario).await;
        stage.disk.copy("good", "case");
        stage
    }

    fn run(&self, proxy: &Proxy, id: &str) -> Run<'_> {
        Run::new(&self.client, &proxy.host, &self.contents, id)
    }

    /// Returns what the scenario ends in without faults.
    async fn good(&self) -> Tags {
        let proxy = Proxy::to_part(&self.server.host, "good", |_, _| Fault::None).await;
        assert_eq!(self.run(&proxy, "one").act(self.scenario).await.done, Ok(()));
        self.disk.tags("good").unwrap()
    }

    /// Lets the scenario run with a script, and checks that nothing is wrong after.
    async fn act(&self, script: impl FnMut(&Seen, usize) -> Fault + Send + 'static) -> (Ending, Tags) {
        let good = self.good().await;
        let before = self.disk.tags("case").unwrap();
        let proxy = Proxy::to_part(&self.server.host, "case", script).await;
        let ending = self.run(&proxy, "one").act(self.scenario).await;
        let after = self.disk.tags("case").unwrap();
        judge(self.scenario, &self.contents, (&before, &after, &good), &ending).unwrap();
        (ending, after)
    }
}

/// Answers the first `reads` reads of each manifest after its PUT by `stale`.
fn after_puts(
    reads: usize,
    mut stale: impl FnMut(&Seen) -> Option<Fault>,
) -> impl FnMut(&Seen, usize) -> Fault {
    let mut left: BTreeMap<String, usize> = BTreeMap::new();
    move |seen, _| {
        if !seen.target.contains("/manifests/") {
            return Fault::None;
        }
        if seen.method == "PUT" {
            left.insert(seen.target.clone(), reads);
            return Fault::None;
        }
        match left.get_mut(&seen.target) {
            Some(left) if *left > 0 => {
                *left -= 1;
                stale(seen).unwrap_or(Fault::None)
            }
            _ => Fault::None,
        }
    }
}

/// 25: that a tag cannot be seen yet after it was written does not make it missing: nothing is
/// built again, and the run ends well.
#[tokio::test]
async fn tags_that_show_late() {
    for scenario in [Scenario::Build, Scenario::Promote] {
        let stage = Stage::of(scenario).await;
        let struck = Arc::new(AtomicUsize::new(0));
        let strikes = Arc::clone(&struck);
        let script = after_puts(2, move |_| {
            strikes.fetch_add(1, Ordering::Relaxed);
            Some(Fault::Instead(Reply::new(404).body(MISSING)))
        });
        let (ending, _) = stage.act(script).await;
        assert_eq!(ending.done, Ok(()), "{scenario:?}");
        assert_eq!(ending.built.len(), if scenario == Scenario::Build { 2 } else { 0 });
        assert!(struck.load(Ordering::Relaxed) >= 6, "{struck:?}");
    }
}

/// 26: a tag that still shows what it held before is read again.
#[tokio::test]
async fn tags_that_show_what_they_held() {
    let stage = Stage::of(Scenario::Promote).await;
    let old = stage.contents.tag(false, "base");
    let old = stage.disk.tags("case").unwrap()["base"][&old].clone();
    let struck = Arc::new(AtomicUsize::new(0));
    let strikes = Arc::clone(&struck);
    let bytes = stage.disk.blob(&old).unwrap();
    let script = after_puts(2, move |seen| {
        if seen.target != "/v2/base/manifests/main" {
            return None;
        }
        strikes.fetch_add(1, Ordering::Relaxed);
        let (bytes, digest) = (bytes.clone(), old.to_string());
        Some(Fault::change(move |reply| {
            reply.set("docker-content-digest", Some(&digest));
            if !reply.body.is_empty() {
                reply.body = bytes;
            }
        }))
    });
    let (ending, _) = stage.act(script).await;
    assert_eq!(ending.done, Ok(()));
    assert_eq!(struck.load(Ordering::Relaxed), 2);
}

/// 26: a tag that shows a third value was moved by somebody else, who is not written over.
#[tokio::test]
async fn tags_that_somebody_else_moved() {
    let stage = Stage::of(Scenario::Promote).await;
    let proxy = Proxy::to_part(&stage.server.host, "case", |_, _| Fault::None).await;
    let third = image(&BTreeMap::new(), "third");
    let third = push(&*stage.client, &proxy.repository("base"), &"third".parse().unwrap(), third).await;
    let disk = Disk::of(stage.server.directory());
    let moved = third.clone();
    let proxy = Proxy::to_part(&stage.server.host, "case", move |seen, _| {
        // Between our PUT and the look at what it did.
        if seen.line() == "GET /v2/base/manifests/main" {
            disk.set("case/base", "main", &moved);
        }
        Fault::None
    })
    .await;
    let ending = stage.run(&proxy, "one").act(stage.scenario).await;
    let why = ending.done.unwrap_err();
    assert!(why.contains("somebody else") && why.contains(third.hex()), "{why}");
    let after = stage.disk.tags("case").unwrap();
    assert_eq!(after["base"]["main"], third);
    assert!(!after["ledger"].contains_key("set.main.2"));
}

/// Cuts the answers to `tags/list` of one repository into pages of one tag, as registries of
/// the measured kind never do by themselves; `before` is called with the tag that a page is to
/// come after.
fn paged(repository: &str, mut before: impl FnMut(&str) + Send) -> impl FnMut(&Seen, usize) -> Fault + Send {
    let path = format!("/v2/{repository}/tags/list");
    move |seen, _| {
        if !seen.target.starts_with(&path) {
            return Fault::None;
        }
        let last = seen.target.split_once("last=").map_or(String::new(), |(_, last)| last.to_owned());
        before(&last);
        let path = path.clone();
        Fault::change(move |reply| {
            let mut page: Value = serde_json::from_slice(&reply.body).unwrap();
            let mut tags: Vec<String> = serde_json::from_value(page["tags"].clone()).unwrap();
            tags.sort();
            tags.retain(|tag| *tag > last);
            if tags.len() > 1 {
                tags.truncate(1);
                reply.set("link", Some(&format!("<{path}?n=1&last={}>; rel=\"next\"", tags[0])));
            }
            page["tags"] = tags.into();
            reply.body = page.to_string().into_bytes();
        })
    }
}

/// 24: a lease that is written while the ledger is listed, behind the page that was just read,
/// is seen by the second look: what it keeps is not deleted.
#[tokio::test]
async fn a_lease_that_slips_between_two_pages_keeps_its_images() {
    // A sweep looks twice, and lists the ledger twice each time.
    for listing in [1, 3] {
        a_lease_slips_into(listing).await;
    }
}

async fn a_lease_slips_into(listing: usize) {
    let stage = Stage::of(Scenario::Sweep).await;
    // A run that takes its lease, as the registry will show it in a moment.
    let proxy = Proxy::to_part(&stage.server.host, "case", |_, _| Fault::None).await;
    let lease = stage.run(&proxy, "other").lease(true).await;
    let digest = stage.disk.tags("case").unwrap()["ledger"][&lease].clone();
    stage.disk.remove("case/ledger", &lease);
    let good = stage.good().await;
    assert!(BOXES.iter().all(|name| !good[*name].contains_key(&stage.contents.tag(true, name))));
    let before = stage.disk.tags("case").unwrap();
    let (disk, looks) = (Disk::of(stage.server.directory()), Arc::new(AtomicUsize::new(0)));
    let looked = Arc::clone(&looks);
    let script = paged("ledger", move |last| {
        looked.fetch_add(usize::from(last.is_empty()), Ordering::Relaxed);
        if last.starts_with("over.") && looked.load(Ordering::Relaxed) == listing {
            disk.set("case/ledger", &lease, &digest);
        }
    });
    let proxy = Proxy::to_part(&stage.server.host, "case", script).await;
    let ending = stage.run(&proxy, "one").act(stage.scenario).await;
    assert_eq!(ending.done, Ok(()));
    let after = stage.disk.tags("case").unwrap();
    for name in BOXES {
        assert_eq!(before[name], after[name], "{ending:?}");
    }
    assert!(ending.deleted.is_empty() && looks.load(Ordering::Relaxed) > listing, "{ending:?}");
}

/// 24: the same sweep deletes what no lease keeps, pages or not.
#[tokio::test]
async fn pages_hide_nothing_from_a_sweep() {
    let stage = Stage::of(Scenario::Sweep).await;
    let mut scripts = ["ledger", "base", "build"].map(|name| paged(name, |_| {}));
    let (ending, after) = stage
        .act(move |seen, number| {
            let faults = scripts.iter_mut().map(|script| script(seen, number));
            faults.filter(|fault| !matches!(fault, Fault::None)).last().unwrap_or(Fault::None)
        })
        .await;
    assert_eq!((ending.done, ending.deleted.len()), (Ok(()), 2));
    assert!(BOXES.iter().all(|name| after[*name].contains_key("main")));
}

/// 38: a registry that has collected a blob which everybody takes to be there refuses a record;
/// the blob is brought again and the run goes on.
#[tokio::test]
async fn blobs_that_were_collected_are_brought_again() {
    let stage = Stage::of(Scenario::Hit).await;
    // A ledger without records, as a cleaning by hand leaves it.
    let proxy = Proxy::to_part(&stage.server.host, "case", |_, _| Fault::None).await;
    stage.run(&proxy, "hand").drop_records().await;
    let proxy = Proxy::to_part(&stage.server.host, "good", |_, _| Fault::None).await;
    stage.run(&proxy, "hand").drop_records().await;
    stage.server.collect();
    let proxy = Proxy::to_part(&stage.server.host, "case", |_, _| Fault::None).await;
    let ending = stage.run(&proxy, "one").act(Scenario::Hit).await;
    assert_eq!((ending.done, ending.built.len()), (Ok(()), 0));
    let lines = proxy.lines();
    assert!(lines.iter().any(|line| line == "POST /v2/ledger/blobs/uploads/"), "{lines:#?}");
    let puts = lines.iter().filter(|line| line.starts_with("PUT /v2/ledger/manifests/lease.")).count();
    assert_eq!(puts, 2, "{lines:#?}");
    assert!(stage.disk.tags("case").unwrap()["ledger"].contains_key("run.one.1"));
}

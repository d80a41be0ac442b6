//! DeleteSupport where registries have their own ways: each is played by a fake that follows its
//! public documentation. None of them was run against the real thing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boxwright::adapter::credentials::{Credential, Credentials, Secret};
use boxwright::adapter::registry::{HostConfig, HostSettings};
use boxwright::model::{Digest, Provider, Repository, Tag};
use boxwright::port::{DeleteSupport, Deleted, Registry};
use boxwright_testing::peer::{Reply, declared_client, limits, manifest, status, untrusted};

use crate::provider_fake::{Fake, Trouble};

const OWN: [Provider; 9] = [
    Provider::Ghcr,
    Provider::Harbor,
    Provider::GitLab,
    Provider::Quay,
    Provider::Zot,
    Provider::Acr,
    Provider::DockerHub,
    Provider::Google,
    Provider::Ecr,
];

fn doomed() -> Tag {
    "doomed".parse().unwrap()
}

#[track_caller]
fn refused(outcome: Deleted, why: &str) {
    assert!(matches!(&outcome, Deleted::Refused { why: said } if said.contains(why)), "{outcome:?}");
}

/// 27: one tag goes, and its image and the other tag stay.
#[tokio::test]
async fn one_tag_goes_at_every_provider() {
    for provider in OWN {
        let fake = Fake::new(provider).await;
        let client = fake.client();
        let expect = match provider {
            Provider::Ghcr | Provider::Ecr => DeleteSupport::Manifests,
            _ => DeleteSupport::Tags,
        };
        assert_eq!(client.deleting(&fake.at).await.unwrap(), expect, "{provider}");
        assert_eq!(client.untag(&fake.at, &doomed()).await.unwrap(), Deleted::Gone, "{provider}");
        assert_eq!(fake.tags(), ["other", "release"], "{provider}");
        assert_eq!(fake.store.lock().unwrap().manifests.len(), 2, "{provider}: no throwaway is left");
        assert!(fake.holds(), "{provider}");
        assert_eq!(client.untag(&fake.at, &doomed()).await.unwrap(), Deleted::NotFound, "{provider}");
    }
}

/// 27, 28: an image goes with its tags and nothing else, and is gone the second time.
#[tokio::test]
async fn an_image_goes_at_every_provider() {
    for provider in OWN {
        let fake = Fake::new(provider).await;
        let client = fake.client();
        assert_eq!(client.delete(&fake.at, &fake.digest).await.unwrap(), Deleted::Gone, "{provider}");
        assert_eq!((fake.tags(), fake.holds()), (vec!["other".to_owned()], false), "{provider}");
        assert_eq!(client.delete(&fake.at, &fake.digest).await.unwrap(), Deleted::NotFound, "{provider}");
    }
}

/// 72: what a provider will not delete is a fact, and no failure.
#[tokio::test]
async fn refusals_are_facts_at_every_provider() {
    for (provider, why) in [
        (Provider::Ghcr, "5000 downloads"),
        (Provider::Harbor, "referenced by others"),
        (Provider::DockerHub, "still referenced"),
        (Provider::Google, "referenced by an image"),
        (Provider::Ecr, "ImageReferencedByManifestList"),
    ] {
        let fake = Fake::new(provider).await;
        fake.need(fake.digest.as_str());
        refused(fake.client().delete(&fake.at, &fake.digest).await.unwrap(), why);
        assert!(fake.holds(), "{provider}");
    }
    for provider in [Provider::Zot, Provider::Acr] {
        let fake = Fake::new(provider).await;
        fake.need(fake.digest.as_str());
        let outcome = fake.client().delete(&fake.at, &fake.digest).await.unwrap();
        assert_eq!((outcome, fake.tags().len()), (Deleted::Unsupported, 3), "{provider}");
    }
    let locked = Fake::new(Provider::Acr).await;
    locked.need("doomed");
    refused(locked.client().untag(&locked.at, &doomed()).await.unwrap(), "disallowed on this tag");
    assert_eq!(locked.tags().len(), 3);
}

/// 28: after an answer that says nothing it is looked up what has happened.
#[tokio::test]
async fn unknown_outcomes_are_looked_up_at_every_provider() {
    for provider in OWN {
        let fake = Fake::new(provider).await;
        fake.edit(|store| store.trouble = Trouble::Before);
        let outcome = fake.client().delete(&fake.at, &fake.digest).await;
        assert!(outcome.is_err() && fake.holds(), "{provider}: {outcome:?}");
        assert_eq!(fake.tags().len(), 3, "{provider}");
        fake.edit(|store| {
            store.trouble = Trouble::After;
            if provider == Provider::DockerHub || provider == Provider::Google {
                store.tags.retain(|tag, _| tag == "other");
            }
        });
        let outcome = fake.client().delete(&fake.at, &fake.digest).await;
        assert_eq!((outcome.unwrap(), fake.holds()), (Deleted::Gone, false), "{provider}");
    }
}

/// 27: without what a provider's own API takes nothing is tried, and why is said.
#[tokio::test]
async fn what_cannot_be_deleted_is_said() {
    let fake = Fake::new(Provider::Ecr).await;
    let client = fake.client_with(Credentials::anonymous());
    assert_eq!(client.deleting(&fake.at).await.unwrap(), DeleteSupport::Nothing);
    let why = "AWS_SECRET_ACCESS_KEY are not set; a lifecycle policy";
    refused(client.untag(&fake.at, &doomed()).await.unwrap(), why);
    refused(client.delete(&fake.at, &fake.digest).await.unwrap(), why);
    assert_eq!(fake.peer.count(), 0);
    for provider in [Provider::Ghcr, Provider::Harbor, Provider::DockerHub] {
        let fake = Fake::new(provider).await;
        let client = fake.client_with(Credentials::anonymous());
        assert_eq!(client.deleting(&fake.at).await.unwrap(), DeleteSupport::Nothing, "{provider}");
    }
}

/// A provider's usual place is not shown what belongs to some other host.
#[tokio::test]
async fn credentials_go_to_no_place_that_was_not_declared() {
    for provider in [Provider::Ghcr, Provider::DockerHub] {
        let fake = Fake::new(provider).await;
        let credential = Credential::Bearer(Secret::new("hunter2"));
        let settings = HostSettings { provider: Some(provider), ..HostSettings::default() };
        let declared = HostConfig { hosts: BTreeMap::from([(fake.peer.host.clone(), settings)]) };
        let client = declared_client(Credentials::given(&fake.peer.host, credential), declared, limits());
        // Docker Hub's is needed only once its registry has refused.
        let error = match provider {
            Provider::Ghcr => client.delete(&fake.at, &fake.digest).await.unwrap_err(),
            _ => client.untag(&fake.at, &doomed()).await.unwrap_err(),
        };
        assert!(error.to_string().contains("declares no `api`"), "{error}");
    }
}

/// A token of Docker Hub's is shown for the repository alone that it was asked for: another one may
/// be another user's, or on another host.
#[tokio::test]
async fn hubs_tokens_are_each_repositorys_own() {
    let fake = Fake::new(Provider::DockerHub).await;
    let client = fake.client();
    let other = Repository::new(&fake.peer.host, "acme/tools/more").unwrap();
    for (repository, tag, asked) in [(&fake.at, "doomed", 1), (&other, "other", 2), (&fake.at, "release", 2)]
    {
        let tag = tag.parse().unwrap();
        assert_eq!(client.untag(repository, &tag).await.unwrap(), Deleted::Gone, "{tag}");
        let lines = fake.peer.lines();
        assert_eq!(lines.iter().filter(|line| line.contains("auth/token")).count(), asked, "{tag}");
    }
}

/// 27: Harbor would delete an index with its untagged children, which is more than was asked for.
#[tokio::test]
async fn harbor_keeps_an_index() {
    let fake = Fake::new(Provider::Harbor).await;
    fake.edit(|store| store.indexes.insert(manifest().digest().to_string()));
    refused(fake.client().delete(&fake.at, &fake.digest).await.unwrap(), "untagged children");
    assert!(fake.holds() && !fake.peer.lines().iter().any(|line| line.starts_with("DELETE")));
}

/// 72: a package keeps its last tagged version, and the tag that was to go keeps its image.
#[tokio::test]
async fn github_keeps_the_last_tagged_version() {
    let fake = Fake::new(Provider::Ghcr).await;
    fake.edit(|store| (store.untag("other"), store.untag("release")));
    let client = fake.client();
    refused(client.delete(&fake.at, &fake.digest).await.unwrap(), "last tagged version");
    refused(client.untag(&fake.at, &doomed()).await.unwrap(), "last tagged version");
    assert_eq!(fake.store.lock().unwrap().tags["doomed"], fake.digest.as_str());
}

#[tokio::test]
async fn github_is_asked_page_by_page_wherever_the_package_is() {
    for (account, place) in [
        (("Organization", ""), "orgs/acme"),
        (("User", "acme"), "user"),
        (("User", "ann"), "users/acme"),
        (("User", ""), "users/acme"),
    ] {
        let fake = Fake::new(Provider::Ghcr).await;
        fake.edit(|store| {
            store.account = account;
            (0..150)
                .for_each(|number| drop(store.add(format!("{number}").as_bytes(), &format!("t{number}"))));
        });
        let client = fake.client();
        assert_eq!(client.delete(&fake.at, &fake.digest).await.unwrap(), Deleted::Gone, "{account:?}");
        let pages = |lines: &[String]| lines.iter().filter(|line| line.contains("&page=")).count();
        assert_eq!(pages(&fake.peer.lines()), 2);
        // What has been listed is not listed again.
        let other = Digest::of(b"7");
        assert_eq!(client.delete(&fake.at, &other).await.unwrap(), Deleted::Gone);
        let lines = fake.peer.lines();
        assert_eq!(pages(&lines), 2);
        let front = format!("DELETE /gh/{place}/packages/container/tools%2Fbox/versions/");
        assert!(lines.iter().any(|line| *line == format!("{front}1")), "{lines:?}");
    }
}

/// A 403 that names a time is a limit: it is waited for as long as it says, which is told, and is
/// no refusal.
#[tokio::test]
async fn githubs_limits_are_waited_for() {
    let limit = |status| Reply::new(status).body(r#"{"message":"rate limit"}"#);
    let date = "Sat, 21 Nov 2026 07:44:00 GMT";
    let secondary = limit(403).header("Retry-After", 3);
    let ends =
        |reply: Reply, at: &str| reply.header("X-RateLimit-Remaining", 0).header("X-RateLimit-Reset", at);
    // Three seconds after the date.
    let primary = |status| ends(limit(status), "1795247043").header("Date", date);
    // Longer than other requests let themselves be told to wait.
    assert!(limits().longest_wait < Duration::from_secs(3));
    let waits = [secondary, primary(403), primary(429)].map(async |limit| {
        let fake = Fake::new(Provider::Ghcr).await;
        fake.edit(|store| store.limits.push(("DELETE", limit.clone())));
        let told = Arc::new(Mutex::new(Vec::new()));
        let listener = told.clone();
        let client = fake.client().telling(Arc::new(move |wait| listener.lock().unwrap().push(wait)));
        assert_eq!(client.delete(&fake.at, &fake.digest).await.unwrap(), Deleted::Gone);
        let seen = fake.peer.seen();
        let times: Vec<_> = seen.iter().filter(|seen| seen.method == "DELETE").map(|seen| seen.at).collect();
        assert_eq!(times.len(), 2);
        assert!(times[1] - times[0] >= Duration::from_millis(2950), "{limit:?}");
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].why, format!("{}, as it asked", limit.status));
    });
    futures_util::future::join_all(waits).await;
}

/// Whom a token belongs to is not concluded from a limit, nor is a refusal.
#[tokio::test]
async fn limits_are_no_answers() {
    let date = "Sat, 21 Nov 2026 07:44:00 GMT";
    let limit = || {
        let reply = Reply::new(403).header("Date", date).header("X-RateLimit-Remaining", 0);
        reply.header("X-RateLimit-Reset", "1795247041").body(r#"{"message":"rate limit"}"#)
    };
    let fake = Fake::new(Provider::Ghcr).await;
    fake.edit(|store| {
        store.account = ("User", "acme");
        // Its last try is limited as well.
        store.limits = (0..5).map(|_| ("GET user", limit())).collect();
    });
    let client = fake.client();
    let failed = client.delete(&fake.at, &fake.digest).await;
    status(failed, 403);
    assert_eq!(client.delete(&fake.at, &fake.digest).await.unwrap(), Deleted::Gone);
    assert!(
        fake.peer.lines().iter().any(|line| line.contains("/gh/user/packages/")),
        "{:?}",
        fake.peer.lines()
    );
}

/// 28: GitHub answers 404 where a version is gone, and where a right is missing.
#[tokio::test]
async fn githubs_404_is_not_taken_at_its_word() {
    let fake = Fake::new(Provider::Ghcr).await;
    let client = fake.client();
    // Lists it, and somebody else deletes it.
    client.delete(&fake.at, &Digest::of(br#"{"schemaVersion":2,"other":1}"#)).await.unwrap();
    fake.edit(|store| store.delete(manifest().digest().as_str()));
    assert_eq!(client.delete(&fake.at, &fake.digest).await.unwrap(), Deleted::NotFound);
    let hidden = Fake::new(Provider::Ghcr).await;
    hidden.edit(|store| store.ids.remove(manifest().digest().as_str()));
    untrusted(hidden.client().delete(&hidden.at, &hidden.digest).await, "is not in it, but in the registry");
    assert!(hidden.holds());
}

/// What was deleted at GitHub comes back with its tags; elsewhere, and of what this client did
/// not delete, nothing does.
#[tokio::test]
async fn github_brings_back_what_was_deleted() {
    let fake = Fake::new(Provider::Ghcr).await;
    let client = fake.client();
    assert!(client.restores(&fake.at));
    assert!(!client.restore(&fake.at, &fake.digest).await.unwrap());
    client.delete(&fake.at, &fake.digest).await.unwrap();
    assert!(!fake.holds());
    assert!(client.restore(&fake.at, &fake.digest).await.unwrap());
    assert_eq!((fake.tags().len(), fake.holds()), (3, true));
    let quay = Fake::new(Provider::Quay).await;
    assert!(!quay.client().restores(&quay.at));
}

/// 27: nothing is guessed from answers: a host that was not declared gets the distribution API.
#[tokio::test]
async fn a_host_nobody_knows_gets_the_distribution_api() {
    let mut fake = Fake::new(Provider::Ghcr).await;
    fake.provider = Provider::Distribution;
    let client = fake.client();
    assert_eq!(client.deleting(&fake.at).await.unwrap(), DeleteSupport::Nothing);
    assert_eq!(client.delete(&fake.at, &fake.digest).await.unwrap(), Deleted::Unsupported);
    assert!(fake.peer.lines().iter().all(|line| line.contains(" /v2/")));
}

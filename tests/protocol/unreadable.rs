//! Records that cannot be read, or that are not what their tags say: they may have kept anything,
//! and nothing but deletion stops for them.

use boxwright::adapter::memory::Verb;
use boxwright::exec::CleanOptions;
use boxwright::model::{Key, Lease, MediaType, RawManifest, Record, Span, Timestamp};
use boxwright::port::{Registry, RegistryReader};
use boxwright::retention::{Unreadable, Until};

use super::clean::check_stands;
use super::clean_faults::{lease, prepared, put_record};
use super::net::{done, tag};
use super::world::{DAY, World, repository, sweeping};

/// Sweeps where `lint` would be deleted and something is wrong with the ledger: everything else is
/// done all the same. Returns whether it was deleted, and what is said of the records.
async fn swept(spoil: impl FnOnce(&World)) -> (bool, Vec<Unreadable>) {
    let world = prepared().await;
    spoil(&world);
    let newer = world.with_content("v3");
    newer.run("newer").build().await.unwrap();
    for lease in world.records("lease.").iter().filter(|at| at.as_str().contains(".newer.")) {
        let digest = world.at("ledger", lease).unwrap();
        done(world.net.memory.delete(&repository("ledger"), &digest)).unwrap();
    }
    let marked = world.records("over.").len();
    world.net.memory.clear_log();
    let report = world.run("sweep").clean().await.unwrap();
    assert_eq!(world.records("over.").len(), marked + 4, "marking goes on");
    let is_gone = world.stands("lint").is_none();
    assert_eq!(is_gone, world.log().iter().any(|asked| asked.verb == Verb::Delete));
    (is_gone, report.clean.unreadable.into_iter().collect())
}

fn altered(lease: &Lease, from: &str, to: &str) -> RawManifest {
    let text = String::from_utf8(lease.to_manifest().bytes().to_vec()).unwrap();
    assert!(text.contains(from));
    RawManifest::new(MediaType::OciManifest, text.replace(from, to))
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_read_stops_deletions_until_it_would_have_ended() {
    let check = async |raw: fn(&Lease) -> RawManifest, seconds: u64, why: Option<&str>| {
        let mut expiry = None;
        let (is_gone, found) = swept(|world| {
            let lease = lease(world, seconds);
            expiry = Some(lease.expiry);
            put_record(world, lease.tag().unwrap().as_str(), &raw(&lease));
        })
        .await;
        assert_eq!(is_gone, why.is_none());
        let found: Vec<_> = found.iter().map(|one| (one.stops, one.why.as_str())).collect();
        match (why, &found[..]) {
            (None, []) => {}
            (Some(why), [(stops, said)]) => {
                assert_eq!(*stops, expiry.map(Until::Expiry));
                assert!(said.contains(why), "{said}");
            }
            other => panic!("{other:?}"),
        }
    };
    check(|lease| altered(lease, "keys", "what"), 3600, Some("cannot be read")).await;
    check(|lease| altered(lease, "keys", "what"), 31 * DAY, Some("cannot be read")).await;
    // One that has ended, or claims to last for ever, has kept nothing.
    check(|lease| altered(lease, "keys", "what"), 0, None).await;
    check(|lease| altered(lease, "keys", "what"), 40 * DAY, None).await;
    check(|lease| altered(lease, "lease.v1", "set.v1"), 3600, Some("not a lease record")).await;
    check(
        |lease| Lease { keys: vec![], run: "x".parse().unwrap(), ..lease.clone() }.to_manifest(),
        3600,
        Some("says that it stands at lease."),
    )
    .await;
    let index = |_: &Lease| RawManifest::new(MediaType::OciIndex, r#"{"schemaVersion":2,"manifests":[]}"#);
    check(index, 3600, Some("not a lease record")).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_with_other_keys_than_its_tag_was_made_for_is_unreadable() {
    let (is_gone, found) = swept(|world| {
        let mut lease = lease(world, 3600);
        lease.nonce = Lease::nonce("4f4f4f4f", &lease.keys, Default::default());
        lease.keys.clear();
        put_record(world, lease.tag().unwrap().as_str(), &lease.to_manifest());
    })
    .await;
    assert!(!is_gone && found[0].why.contains("not the one that its tag was made for"), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_set_or_plan_that_cannot_be_read_stops_deletions_until_it_is_forgotten() {
    for name in ["set.main.9", "plan.main.9", "set.new.1"] {
        let (is_gone, found) =
            swept(|world| put_record(world, name, &lease(world, 3600).to_manifest())).await;
        let found: Vec<_> = found.iter().map(|one| (one.tag.as_str(), one.stops)).collect();
        assert_eq!((is_gone, &found[..]), (false, &[(name, Some(Until::Forgotten))][..]));
    }
    // A promotion that was finished needs its plan no longer.
    let (is_gone, found) =
        swept(|world| put_record(world, "plan.main.1", &lease(world, 3600).to_manifest())).await;
    assert!(is_gone && found.is_empty(), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn what_keeps_nothing_is_set_aside_by_name() {
    let key = Key::of(b"nothing's");
    let names =
        ["lease.v2.20990101T000000Z.r.0", "pin.ec", "latest", "ends.main.1", &format!("over.{key}.g0")];
    for name in names {
        let (is_gone, found) =
            swept(|world| put_record(world, name, &lease(world, 3600).to_manifest())).await;
        let found: Vec<_> = found.iter().map(|one| (one.tag.as_str(), one.stops)).collect();
        assert_eq!((is_gone, &found[..]), (true, &[(name, None)][..]));
    }
}

/// A delete takes every tag of its digest along: a record that somebody gave a second tag is not
/// deleted for what that tag says.
#[tokio::test(start_paused = true)]
async fn old_records_are_removed_without_what_else_is_there() {
    let world = prepared().await;
    let [set] = world.records("set.").try_into().unwrap();
    let kept = world.at("ledger", &set);
    let raw = done(world.net.memory.get(&repository("ledger"), &set.clone().into())).unwrap().unwrap();
    let old = format!("lease.{}.x.0", Timestamp::from_unix(1));
    for name in [old.as_str(), "run.x.1", "plan.main.0", &format!("inputs.{}", world.key("lint"))] {
        put_record(&world, name, &raw);
    }
    let later = CleanOptions { records: Span::default(), ..sweeping() };
    for _ in 0..4 {
        world.run("sweep").clean_with(&later).await.unwrap();
        world.pass(2 * DAY).await;
    }
    assert_eq!(world.stands("lint"), None);
    assert_eq!(world.at("ledger", &set), kept);
    assert_eq!(world.at("ledger", &tag(&old)), None);
    check_stands(&world, &["base", "build", "test"]);
}

//! boxwright's protocols at work on a real registry, with an engine that really pushes: the
//! scenarios that are replayed with faults, and what each may come to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use boxwright::adapter::registry::HttpRegistry;
use boxwright::exec::{
    BuildOptions, CleanOptions, Deletion, Event, LedgerWriter, Outcome, PromoteError, PromoteOptions,
    PromotionSource, RegistryPorts, ResolvedBox, RunContext, build, clean, observe_all, promote,
};
use boxwright::model::{Digest, Keep, Purpose, Repository, Rules, Source, Span, Tag};
use boxwright::plan::State;
use boxwright::port::{Clock, Registry, RegistryReader};
use boxwright_testing::engine::FakeEngine;
use boxwright_testing::project::boxes;
use tokio_util::sync::CancellationToken;

use crate::disk::Tags;

pub const BOXES: [&str; 2] = ["base", "build"];

/// What boxwright is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// One box stands and one does not: a plan.
    Probe,
    /// Nothing stands: both boxes are built and pushed.
    Build,
    /// Both stand: nothing is built.
    Hit,
    /// The second set of images takes the first one's place.
    Promote,
    /// What nothing keeps is condemned.
    Condemn,
    /// What was condemned is deleted.
    Sweep,
}

/// What came of it.
#[derive(Debug)]
pub struct Ending {
    /// Whether it was done, or why not.
    pub done: Result<(), String>,
    /// Whether it says that it stopped after some tags had moved.
    pub is_partly: bool,
    /// What a probe saw.
    pub seen: BTreeMap<String, State>,
    /// The digests that were reported to stand.
    pub reported: BTreeMap<String, Digest>,
    /// The boxes that were built.
    pub built: Vec<String>,
    /// What was reported to be deleted, as `repository:tag`.
    pub deleted: BTreeSet<String>,
    /// Everything that was told.
    pub told: String,
}

/// Two contents of one project.
pub struct Contents {
    first: Vec<ResolvedBox>,
    second: Vec<ResolvedBox>,
}

impl Contents {
    pub fn new() -> Self {
        let of = |content| boxes("r.example", content, &BOXES);
        Self { first: of("v1"), second: of("v2") }
    }

    /// The tag of a box in one of the contents.
    pub fn tag(&self, is_second: bool, name: &str) -> String {
        let boxes = if is_second { &self.second } else { &self.first };
        boxes.iter().find(|keyed| keyed.wanted.name == name).unwrap().wanted.tag.tag().to_string()
    }
}

/// One process of boxwright, as far as a registry can tell.
pub struct Run<'a> {
    registry: Arc<HttpRegistry>,
    host: String,
    contents: &'a Contents,
    setting: RunContext,
    clock: QuickClock,
    events: Mutex<Vec<Event>>,
}

/// A clock on which each look takes a second, so that nobody waits.
struct QuickClock(AtomicU64);

impl Clock for QuickClock {
    fn elapsed(&self) -> Duration {
        Duration::from_secs(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

impl<'a> Run<'a> {
    pub fn new(registry: &Arc<HttpRegistry>, host: &str, contents: &'a Contents, id: &str) -> Self {
        let setting = RunContext {
            registry: host.to_owned(),
            ledger: Repository::new(host, "ledger").unwrap(),
            run: id.parse().unwrap(),
            attempt: 1,
            lease: Span::from_seconds(2 * 86_400),
            by: None,
            source: Source { revision: Some("c0ffee".to_owned()), ..Source::default() },
        };
        let (registry, clock) = (Arc::clone(registry), QuickClock(AtomicU64::new(0)));
        Self { registry, host: host.to_owned(), contents, setting, clock, events: Mutex::default() }
    }

    /// Brings a registry from nothing to where the scenario begins.
    pub async fn prepare(&self, scenario: Scenario) {
        let done = |ending: Ending| ending.done.unwrap();
        match scenario {
            Scenario::Build => {}
            Scenario::Probe => {
                let base = self.boxes(false).into_iter().filter(|keyed| keyed.wanted.name == "base");
                done(self.build(base.collect()).await);
            }
            Scenario::Hit => done(self.build(self.boxes(false)).await),
            Scenario::Promote => {
                done(self.build(self.boxes(false)).await);
                done(self.promote(false).await);
                done(self.build(self.boxes(true)).await);
            }
            Scenario::Condemn | Scenario::Sweep => {
                done(self.build(self.boxes(false)).await);
                done(self.promote(false).await);
                done(self.build(self.boxes(true)).await);
                self.drop_leases().await;
                if scenario == Scenario::Sweep {
                    done(self.clean(Span::default()).await);
                }
            }
        }
    }

    pub async fn act(&self, scenario: Scenario) -> Ending {
        match scenario {
            Scenario::Probe => self.probe().await,
            Scenario::Build | Scenario::Hit => self.build(self.boxes(false)).await,
            Scenario::Promote => self.promote(true).await,
            Scenario::Condemn => self.clean(Span::default()).await,
            // After every grace, and before a lease ends.
            Scenario::Sweep => self.clean(Span::from_seconds(3600)).await,
        }
    }

    /// The boxes of one content, as they are kept here.
    fn boxes(&self, is_second: bool) -> Vec<ResolvedBox> {
        let boxes = if is_second { &self.contents.second } else { &self.contents.first };
        let mut boxes = boxes.clone();
        for keyed in &mut boxes {
            keyed.wanted.repository = Repository::new(&self.host, &keyed.wanted.name).unwrap();
        }
        boxes
    }

    /// The same inputs give the same digest: what was deleted comes back under its old name.
    fn engine(&self, boxes: &[ResolvedBox]) -> FakeEngine<HttpRegistry> {
        let engine = FakeEngine::new(Arc::clone(&self.registry), boxes);
        engine.set(|script| script.is_reproducible = true);
        engine
    }

    fn ports(&self) -> RegistryPorts<'_> {
        RegistryPorts::new(&*self.registry, &self.clock)
    }

    fn emit(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn ending(&self, done: Result<(), String>) -> Ending {
        Ending {
            done,
            is_partly: false,
            seen: BTreeMap::new(),
            reported: BTreeMap::new(),
            built: Vec::new(),
            deleted: BTreeSet::new(),
            told: format!("{:?}", self.events.lock().unwrap()),
        }
    }

    async fn probe(&self) -> Ending {
        let boxes = self.boxes(false).into_iter();
        let wanted: Vec<_> = boxes.map(|keyed| (keyed.wanted, keyed.spec.platform)).collect();
        let seen = observe_all(&*self.registry, &self.setting.ledger, &wanted).await;
        let seen: BTreeMap<_, _> = seen.into_iter().map(|(name, seen)| (name, seen.state)).collect();
        let unknown = seen.values().find_map(|state| match state {
            State::Unknown(error) => Some(error.to_string()),
            _ => None,
        });
        Ending { seen, ..self.ending(unknown.map_or(Ok(()), Err)) }
    }

    async fn build(&self, boxes: Vec<ResolvedBox>) -> Ending {
        let engine = self.engine(&boxes);
        let options =
            BuildOptions { jobs: 2, wait: Span::from_seconds(1), no_cache: false, fail_fast: false };
        let emit = |event| self.emit(event);
        let (ports, cancel) = (self.ports(), CancellationToken::new());
        let result = build(ports, engine.ports(), &self.setting, &boxes, &options, &emit, &cancel).await;
        let built = engine.built();
        match result {
            Err(error) => Ending { built, ..self.ending(Err(chain(&error))) },
            Ok(report) => {
                let missing = report.missing().map(|(name, one)| format!("{name}: {}", one.reason)).next();
                let used = report.boxes.iter().filter(|(_, one)| {
                    matches!(one.outcome, Outcome::Used | Outcome::Built) && one.digest.is_some()
                });
                let reported = used.map(|(name, one)| (name.clone(), one.digest.clone().unwrap())).collect();
                Ending { built, reported, ..self.ending(missing.map_or(Ok(()), Err)) }
            }
        }
    }

    async fn promote(&self, is_second: bool) -> Ending {
        let boxes = self.boxes(is_second);
        let options = PromoteOptions {
            tag: "main".parse().unwrap(),
            channel: "main".to_owned(),
            immutable: false,
            allow_older: false,
            keep: None,
            shown: None,
            apply: true,
        };
        let emit = |event| self.emit(event);
        let result = promote(
            self.ports(),
            &self.setting,
            PromotionSource::Built(&boxes),
            &options,
            &emit,
            &CancellationToken::new(),
        )
        .await;
        let is_partly = matches!(result, Err(PromoteError::Partly { .. }));
        Ending { is_partly, ..self.ending(result.map(drop).map_err(|error| chain(&error))) }
    }

    async fn clean(&self, ahead: Span) -> Ending {
        let only = Some("main".parse().unwrap());
        let rules = Rules { last: Some(1), only, ..Rules::default() };
        let options = CleanOptions {
            repositories: BOXES.map(|name| Repository::new(&self.host, name).unwrap()).to_vec(),
            policies: vec![boxwright::retention::ChannelPolicy {
                name: "main".to_owned(),
                pattern: regex::Regex::new("^main$").unwrap(),
                keep: Keep::Rules(rules),
            }],
            grace: Span::from_seconds(600),
            records: Span::from_seconds(30 * 86_400),
            ahead,
            apply: true,
            ..CleanOptions::default()
        };
        let emit = |event| self.emit(event);
        match clean(self.ports(), &self.setting, &options, &emit, &CancellationToken::new()).await {
            Err(error) => self.ending(Err(chain(&error))),
            Ok(report) => {
                let all = report.clean.delete.iter().zip(&report.deletions);
                let failed = all.clone().find(|(_, ending)| **ending != Deletion::Done);
                let done = failed.map_or(Ok(()), |(doomed, ending)| Err(format!("{doomed:?}: {ending:?}")));
                // What a record says that could not be read is left for the next sweep, and named.
                let aside = &report.clean.unreadable;
                let done =
                    if aside.is_empty() { done } else { done.and(Err(format!("set aside: {aside:?}"))) };
                let gone = all.filter(|(_, ending)| **ending == Deletion::Done);
                let name =
                    |seen: &boxwright::model::TaggedDigest| format!("{}:{}", seen.repository, seen.tag);
                let deleted = gone.map(|(doomed, _)| name(&doomed.seen)).collect();
                Ending { deleted, ..self.ending(done) }
            }
        }
    }

    /// Takes a lease on the boxes of a content; returns its tag.
    pub async fn lease(&self, is_second: bool) -> String {
        let keys = self.boxes(is_second).iter().map(|keyed| keyed.wanted.key().clone()).collect();
        let ledger = LedgerWriter::new(self.ports(), &self.setting.ledger).unwrap();
        let held = ledger.lease(&self.setting, Purpose::Building, keys, &self.clock).await;
        let held = held.unwrap().held().unwrap();
        held.lease.tag().unwrap().to_string()
    }

    async fn drop_leases(&self) {
        self.drop("lease.").await;
    }

    /// Deletes all records.
    pub async fn drop_records(&self) {
        self.drop("").await;
    }

    async fn drop(&self, kind: &str) {
        let ledger = &self.setting.ledger;
        let list = self.registry.tags(ledger).await.unwrap();
        for tag in list.tags.iter().filter(|tag| tag.as_str().starts_with(kind)) {
            let digest = self.registry.head(ledger, &Tag::clone(tag).into()).await.unwrap().unwrap();
            self.registry.delete(ledger, &digest).await.unwrap();
        }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Checks what one scenario came to; `good` is what it comes to without a fault.
///
/// # Errors
/// What is wrong, for there is something that must never be, faults or not.
pub fn judge(
    scenario: Scenario,
    contents: &Contents,
    (before, after, good): (&Tags, &Tags, &Tags),
    ending: &Ending,
) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("{what}; {ending:?}\nbefore {before:?}\nafter {after:?}"));
    match scenario {
        Scenario::Probe => {
            let stands = before["base"].get(&contents.tag(false, "base"));
            let is_right = |(name, state): (&String, &State)| match state {
                State::Unknown(_) => true,
                State::Present { digest, .. } => name == "base" && Some(digest) == stands,
                State::Missing => name == "build",
                State::Broken { .. } => false,
            };
            if !ending.seen.iter().all(is_right) || ending.seen.len() != 2 {
                return wrong("a state that is not so");
            }
            if before != after {
                return wrong("a probe changed something");
            }
        }
        Scenario::Build => {
            let is_within = |(name, tags): (&String, &BTreeMap<String, Digest>)| {
                tags.iter().all(|(tag, digest)| good.get(name).and_then(|tags| tags.get(tag)) == Some(digest))
            };
            if !images(after).iter().all(is_within) {
                return wrong("something stands that was not to be built");
            }
            let mut built = ending.built.clone();
            built.sort_unstable();
            built.dedup();
            if built.len() != ending.built.len() {
                return wrong("something was built twice");
            }
        }
        Scenario::Hit => {
            if !ending.built.is_empty() || images(after) != images(before) {
                return wrong("what stood was built again");
            }
        }
        Scenario::Promote => {
            let moved = BOXES.iter().filter(|name| after[**name]["main"] == good[**name]["main"]).count();
            let stayed = BOXES.iter().filter(|name| after[**name]["main"] == before[**name]["main"]).count();
            if moved + stayed != BOXES.len() || without_main(after) != without_main(before) {
                return wrong("a tag stands where it never should");
            }
            let is_recorded = after["ledger"].contains_key("set.main.2");
            if is_recorded && moved != BOXES.len() {
                return wrong("a promotion is recorded that did not happen");
            }
            if ending.done.is_ok() && !is_recorded {
                return wrong("a promotion is reported that did not happen");
            }
            if ending.done.is_err() && moved > 0 && !ending.is_partly {
                return wrong("tags moved, and nobody says so");
            }
        }
        Scenario::Condemn | Scenario::Sweep => {
            for name in BOXES {
                let doomed = contents.tag(true, name);
                let is_gone = !after[name].contains_key(&doomed);
                if is_gone && scenario == Scenario::Condemn {
                    return wrong("something was deleted in the run that condemned it");
                }
                if before[name]
                    .iter()
                    .any(|(tag, digest)| *tag != doomed && after[name].get(tag) != Some(digest))
                {
                    return wrong("something is gone that is kept");
                }
                let is_reported = ending.deleted.iter().any(|one| *one == format!("{name}:{doomed}"));
                if is_reported && !is_gone {
                    return wrong("a deletion is reported that did not happen");
                }
            }
        }
    }
    for (name, digest) in &ending.reported {
        if after.get(name).and_then(|tags| tags.get(&contents.tag(false, name))) != Some(digest) {
            return wrong("an image is reported that does not stand");
        }
    }
    if ending.done.is_ok() && !is_same(after, good) {
        return wrong("done is reported, and the state is another one");
    }
    match &ending.done {
        Err(why) if why.trim().is_empty() => wrong("a failure says nothing"),
        _ => Ok(()),
    }
}

/// Tells whether a state is what the scenario is for.
pub fn is_reached(scenario: Scenario, contents: &Contents, tags: &Tags) -> bool {
    let stands = |name: &str, tag: &str| tags.get(name).and_then(|tags| tags.get(tag));
    let has = |is_second: bool, name: &&str| stands(name, &contents.tag(is_second, name));
    match scenario {
        Scenario::Probe => has(false, &"base").is_some() && has(false, &"build").is_none(),
        Scenario::Build | Scenario::Hit => BOXES.iter().all(|name| has(false, name).is_some()),
        Scenario::Promote => {
            let is_moved = |name: &&str| has(true, name).is_some() && stands(name, "main") == has(true, name);
            BOXES.iter().all(is_moved) && stands("ledger", "set.main.2").is_some()
        }
        Scenario::Condemn => {
            let tombstones = tags["ledger"].keys().filter(|tag| tag.starts_with("over.")).count();
            tombstones == 2 && BOXES.iter().all(|name| has(true, name).is_some())
        }
        Scenario::Sweep => BOXES.iter().all(|name| has(true, name).is_none() && has(false, name).is_some()),
    }
}

/// Tells whether two states have the same images and the same records, but for those that
/// belong to one run and those that only explain.
pub fn is_same(one: &Tags, other: &Tags) -> bool {
    let records = |tags: &Tags| -> BTreeSet<String> {
        let lasting = |tag: &&String| ["lease.", "run.", "inputs."].iter().all(|kind| !tag.starts_with(kind));
        tags.get("ledger").into_iter().flat_map(BTreeMap::keys).filter(lasting).cloned().collect()
    };
    images(one) == images(other) && records(one) == records(other)
}

fn images(tags: &Tags) -> Tags {
    let images = tags.iter().filter(|(name, tags)| *name != "ledger" && !tags.is_empty());
    images.map(|(name, tags)| (name.clone(), tags.clone())).collect()
}

fn without_main(tags: &Tags) -> Tags {
    let mut tags = images(tags);
    tags.values_mut().for_each(|tags| drop(tags.remove("main")));
    tags
}

//! A project of four boxes, the registry they are kept in, and the runs that work on it:
//! `test` stands on `build`, which stands on `base`, as does `lint`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use boxwright::adapter::memory::{Asked, Verb};
use boxwright::exec::{
    BuildError, BuildOptions, BuildReport, CleanError, CleanOptions, CleanReport, Event, History, Ledger,
    PromoteError, PromoteOptions, PromoteReport, PromotionSource, RegistryPorts, ResolvedBox, RunContext,
    build, clean, history, promote,
};
use boxwright::model::{
    Digest, Generation, Keep, Key, Lease, Record, RecordTag, Repository, Rules, Source, Span, Tag, Timestamp,
};
use boxwright::plan::{Rollback, rollback};
use boxwright::port::{Reference, Registry, RegistryReader, RegistryWriter};
use boxwright::retention::ChannelPolicy;
use boxwright_testing::engine::FakeEngine;
use boxwright_testing::project::boxes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::net::{FakeClock, Net, done};

pub const HOST: &str = "r.example";

/// The registry, the project, and everybody's view of time.
pub struct World {
    pub net: Arc<Net>,
    pub boxes: Vec<ResolvedBox>,
    began: Instant,
}

impl World {
    pub fn new() -> Self {
        Self::of(&["base", "build", "lint", "test"])
    }

    /// A world in which only these boxes are asked for.
    pub fn of(names: &[&str]) -> Self {
        Self { boxes: boxes(HOST, "v1", names), net: Arc::new(Net::new()), began: Instant::now() }
    }

    /// The same registry with another content of the base box.
    pub fn with_content(&self, content: &str) -> Self {
        let names: Vec<&str> = self.boxes.iter().map(|keyed| keyed.wanted.name.as_str()).collect();
        Self { boxes: boxes(HOST, content, &names), net: Arc::clone(&self.net), began: self.began }
    }

    /// The same project on a copy of the registry, as it is after the last request.
    pub fn copy(&self) -> Self {
        Self { boxes: self.boxes.clone(), net: Arc::new(self.net.copy()), began: self.began }
    }

    /// This project on another one's registry.
    pub fn beside(&self, other: &World) -> Self {
        Self { boxes: self.boxes.clone(), net: Arc::clone(&other.net), began: self.began }
    }

    pub fn run(&self, id: &str) -> Run<'_> {
        Run {
            world: self,
            engine: FakeEngine::new(Arc::clone(&self.net.memory), &self.boxes),
            clock: FakeClock(self.began),
            setting: RunContext {
                registry: HOST.to_owned(),
                ledger: repository("ledger"),
                run: id.parse().unwrap(),
                attempt: 1,
                lease: Span::from_seconds(2 * 86_400),
                by: None,
                source: Source { revision: Some("c0ffee".to_owned()), ..Source::default() },
            },
            build: BuildOptions { jobs: 2, wait: Span::from_seconds(600), no_cache: false, fail_fast: false },
            shut: None,
            events: Mutex::default(),
        }
    }

    pub fn keyed(&self, name: &str) -> &ResolvedBox {
        self.boxes.iter().find(|keyed| keyed.wanted.name == name).unwrap()
    }

    pub fn key(&self, name: &str) -> Key {
        self.keyed(name).wanted.key().clone()
    }

    pub fn tag(&self, name: &str, generation: u32) -> Tag {
        self.keyed(name).wanted.tag.with_generation(Generation(generation)).tag()
    }

    /// Returns what a tag points to.
    pub fn at(&self, repository_name: &str, tag: &Tag) -> Option<Digest> {
        done(self.net.memory.head(&repository(repository_name), &tag.clone().into())).unwrap()
    }

    /// Returns what stands under a box's content tag.
    pub fn stands(&self, name: &str) -> Option<Digest> {
        self.at(name, &self.tag(name, 0))
    }

    /// Puts a box's image of generation 0 under another tag as well.
    pub fn retag(&self, name: &str, tag: &str) -> Digest {
        let from = Reference::Tag(self.tag(name, 0));
        let raw = done(self.net.memory.get(&repository(name), &from)).unwrap().unwrap();
        done(self.net.memory.put(&repository(name), &super::net::tag(tag).into(), &raw)).unwrap();
        raw.digest().clone()
    }

    /// Returns the ledger's tags that begin with `kind`.
    pub fn records(&self, kind: &str) -> Vec<Tag> {
        let list = done(self.net.memory.tags(&repository("ledger"))).unwrap();
        list.tags.into_iter().filter(|tag| tag.as_str().starts_with(kind)).collect()
    }

    pub fn record<R: Record>(&self, tag: &Tag) -> R {
        let raw = done(self.net.memory.get(&repository("ledger"), &tag.clone().into())).unwrap().unwrap();
        R::from_manifest(&raw).unwrap()
    }

    pub fn write<R: Record>(&self, tag: &Tag, record: &R) {
        let ledger = repository("ledger");
        done(self.net.memory.put_blob(&ledger, bytes::Bytes::from_static(b"{}"))).unwrap();
        done(self.net.memory.put(&ledger, &tag.clone().into(), &record.to_manifest())).unwrap();
    }

    pub fn leases(&self) -> Vec<Lease> {
        self.records("lease.").iter().map(|tag| self.record(tag)).collect()
    }

    /// Gives up all leases, as if they had ended.
    pub fn drop_leases(&self) {
        let ledger = repository("ledger");
        for tag in self.records("lease.") {
            let digest = self.at("ledger", &tag).unwrap();
            done(self.net.memory.delete(&ledger, &digest)).unwrap();
        }
    }

    pub fn tombstone_tag(&self, name: &str, generation: u32) -> Tag {
        let generation = Generation(generation);
        RecordTag::Over { key: self.key(name), generation }.tag().unwrap()
    }

    /// Returns the requests since the log was cleared.
    pub fn log(&self) -> Vec<Asked> {
        self.net.memory.log()
    }

    /// Lets time pass for everybody.
    pub async fn pass(&self, seconds: u64) {
        tokio::time::sleep(std::time::Duration::from_secs(seconds)).await;
    }
}

pub fn repository(name: &str) -> Repository {
    Repository::new(HOST, name).unwrap()
}

/// One run of boxwright.
pub struct Run<'w> {
    pub world: &'w World,
    pub engine: FakeEngine,
    pub clock: FakeClock,
    pub setting: RunContext,
    pub build: BuildOptions,
    /// Why it writes nothing.
    pub shut: Option<&'static str>,
    events: Mutex<Vec<Event>>,
}

impl Run<'_> {
    pub fn ports(&self) -> RegistryPorts<'_> {
        let ports = RegistryPorts::new(&*self.world.net.far, &self.clock);
        match self.shut {
            Some(why) => RegistryPorts { writer: Err(why), ..ports },
            None => ports,
        }
    }

    pub async fn build(&self) -> Result<BuildReport, BuildError> {
        self.build_until(&CancellationToken::new()).await
    }

    pub async fn build_until(&self, cancel: &CancellationToken) -> Result<BuildReport, BuildError> {
        let emit = |event| self.events.lock().unwrap().push(event);
        let (ports, engine) = (self.ports(), self.engine.ports());
        build(ports, engine, &self.setting, &self.world.boxes, &self.build, &emit, cancel).await
    }

    pub async fn promote(&self, tag: &str) -> Result<PromoteReport, PromoteError> {
        self.promote_with(&to(tag)).await
    }

    pub async fn promote_with(&self, options: &PromoteOptions) -> Result<PromoteReport, PromoteError> {
        self.promote_until(options, &CancellationToken::new()).await
    }

    pub async fn promote_until(
        &self,
        options: &PromoteOptions,
        cancel: &CancellationToken,
    ) -> Result<PromoteReport, PromoteError> {
        let emit = |event| self.events.lock().unwrap().push(event);
        promote(
            self.ports(),
            &self.setting,
            PromotionSource::Built(&self.world.boxes),
            options,
            &emit,
            cancel,
        )
        .await
    }

    /// Promotes the last promotion of another tag.
    pub async fn promote_from(
        &self,
        from: &str,
        options: &PromoteOptions,
    ) -> Result<PromoteReport, PromoteError> {
        let past = self.history(from).await;
        let taken = Rollback::of(past.sets[0].clone());
        promote(
            self.ports(),
            &self.setting,
            PromotionSource::Recorded(&taken),
            options,
            &|_| {},
            &CancellationToken::new(),
        )
        .await
    }

    /// Brings back what stood under a tag before.
    pub async fn roll_back(&self, tag: &str) -> Result<PromoteReport, PromoteError> {
        let past = self.history(tag).await;
        let back = rollback(&past.sets, &past.unfinished).expect("something stood before");
        let options = PromoteOptions { allow_older: true, ..to(tag) };
        promote(
            self.ports(),
            &self.setting,
            PromotionSource::Recorded(&back),
            &options,
            &|_| {},
            &CancellationToken::new(),
        )
        .await
    }

    pub async fn history(&self, tag: &str) -> History {
        let ledger = repository("ledger");
        history(Ledger::new(&*self.world.net.far, &ledger), &tag.parse().unwrap()).await.unwrap()
    }

    pub async fn clean(&self) -> Result<CleanReport, CleanError> {
        self.clean_with(&sweeping()).await
    }

    pub async fn clean_with(&self, options: &CleanOptions) -> Result<CleanReport, CleanError> {
        self.clean_until(options, &CancellationToken::new()).await
    }

    pub async fn clean_until(
        &self,
        options: &CleanOptions,
        cancel: &CancellationToken,
    ) -> Result<CleanReport, CleanError> {
        let emit = |event| self.events.lock().unwrap().push(event);
        clean(self.ports(), &self.setting, options, &emit, cancel).await
    }

    /// Returns what was told, as text.
    pub fn told(&self) -> String {
        format!("{:?}", self.events.lock().unwrap())
    }

    /// Sets when the commit was made that this run is on.
    pub fn on_revision(mut self, revision: &str, time: i64) -> Self {
        self.setting.source.revision = Some(revision.to_owned());
        self.setting.source.time = Some(Timestamp::from_unix(time));
        self
    }
}

/// A promotion to a tag that may move.
pub fn to(tag: &str) -> PromoteOptions {
    PromoteOptions {
        tag: tag.parse().unwrap(),
        channel: "main".to_owned(),
        immutable: false,
        allow_older: false,
        keep: None,
        shown: None,
        apply: true,
    }
}

pub const DAY: u64 = 86_400;

/// A sweep of all boxes' repositories.
pub fn sweeping() -> CleanOptions {
    CleanOptions {
        repositories: ["base", "build", "lint", "test"].map(repository).to_vec(),
        policies: vec![policy("main", "main", only_main())],
        grace: Span::from_seconds(DAY),
        settle: Span::from_seconds(60),
        records: Span::from_seconds(30 * DAY),
        apply: true,
        ..CleanOptions::default()
    }
}

/// What is kept of the tags that a pattern matches.
pub fn policy(name: &str, pattern: &str, rules: Rules) -> ChannelPolicy {
    let pattern = regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
    ChannelPolicy { name: name.to_owned(), pattern, keep: Keep::Rules(rules) }
}

/// The last promotion of `main`, and replaced ones for a day.
fn only_main() -> Rules {
    let only = Some("main".parse().unwrap());
    Rules { last: Some(1), grace: Span::from_seconds(DAY), only, ..Rules::default() }
}

/// Returns each box's digest and what became of it.
pub fn outcome(report: &BuildReport) -> Vec<(&str, &'static str)> {
    report.boxes.iter().map(|(name, one)| (name.as_str(), one.outcome.word())).collect()
}

pub fn digests(report: &BuildReport) -> BTreeMap<String, Digest> {
    report.boxes.iter().filter_map(|(name, one)| Some((name.clone(), one.digest.clone()?))).collect()
}

/// Returns the requests that would change something.
pub fn writes(log: &[Asked]) -> Vec<&Asked> {
    log.iter().filter(|asked| matches!(asked.verb, Verb::Put | Verb::PutBlob | Verb::Delete)).collect()
}

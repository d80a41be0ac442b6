//! The reference model of a registry: docker-registry 2.8.2's semantics as measured, in memory.
//!
//! The same contract suite runs on this and on the real one (`tests/contract.rs`), so that
//! what is tested on it holds outside. Knobs beside it set the clock, switch writes off and
//! break requests on demand; a log tells what was asked.
//!
//! Semantics worth knowing: a DELETE by digest takes all tags along; a PUT whose blobs or
//! children are missing is refused; there is no compare-and-swap; blobs belong to a repository.

mod serves;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;

use crate::adapter::locked::locked;
use crate::model::{Descriptor, Digest, Document, RawManifest, Repository, Span, Tag, Timestamp};
use crate::port::{Failure, Reference, RegistryError, RegistryResult};

/// The methods of [`Registry`](crate::port::Registry).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Verb {
    Now,
    Head,
    Get,
    Put,
    Tags,
    Referrers,
    DeleteSupport,
    Delete,
    HasBlob,
    PutBlob,
    OpenBlob,
    GetBlob,
}

/// One logged request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What was asked for.
    pub verb: Verb,
    /// Where; `None` for [`Verb::Now`].
    pub repository: Option<Repository>,
    /// The tag or digest, if the verb has one.
    pub reference: Option<String>,
}

/// When an injected failure strikes.
#[derive(Debug)]
pub enum Fault {
    /// The request is not carried out.
    Before(Failure),
    /// The request is carried out and its answer lost.
    After(Failure),
}

type Rule = Box<dyn FnMut(&Asked) -> Option<Fault> + Send>;

/// What lies between a registry and whoever asks it.
#[async_trait]
pub trait Passage: Send + Sync {
    /// Has a request carried out by `act`, once at most; who asks `beneath` passes nothing.
    async fn pass(&self, asked: &Asked, beneath: &MemoryRegistry, act: &mut (dyn FnMut() + Send));
}

/// A registry in memory, any number of hosts in one.
pub struct MemoryRegistry {
    state: Arc<Mutex<State>>,
    passage: Option<Arc<dyn Passage>>,
}

struct State {
    now: Timestamp,
    stores: BTreeMap<Repository, Store>,
    log: Vec<Asked>,
    queued: VecDeque<(Verb, Option<Repository>, Fault)>,
    rule: Option<Rule>,
    read_only: bool,
    deletes: bool,
    /// What is listed as referring to something, beside what tags list.
    referring: Vec<(Digest, Descriptor)>,
    /// What is never deleted.
    refused: Option<Digest>,
    /// What was deleted, with its tags, where that can be brought back.
    deleted: Option<Vec<(Repository, RawManifest, Vec<Tag>)>>,
}

#[derive(Clone, Default)]
struct Store {
    manifests: BTreeMap<Digest, RawManifest>,
    tags: BTreeMap<Tag, Digest>,
    blobs: BTreeMap<Digest, Bytes>,
}

impl Store {
    fn resolve(&self, at: &Reference) -> Option<&RawManifest> {
        let digest = match at {
            Reference::Tag(tag) => self.tags.get(tag)?,
            Reference::Digest(digest) => digest,
        };
        self.manifests.get(digest)
    }

    fn has(&self, document: &Document) -> bool {
        match document {
            Document::Image(image) => {
                let mut parts = std::iter::once(&image.config).chain(&image.layers);
                parts.all(|part| self.blobs.contains_key(&part.digest))
            }
            Document::Index(index) => {
                index.manifests.iter().all(|child| self.manifests.contains_key(&child.digest))
            }
        }
    }
}

impl Default for MemoryRegistry {
    fn default() -> Self {
        Self::new()
    }
}

/// Controls for tests.
impl MemoryRegistry {
    /// Makes an empty registry at 2026-01-01 00:00 UTC.
    pub fn new() -> Self {
        let state = State {
            now: Timestamp::from_unix(1_767_225_600),
            stores: BTreeMap::new(),
            log: Vec::new(),
            queued: VecDeque::new(),
            rule: None,
            read_only: false,
            deletes: true,
            referring: Vec::new(),
            refused: None,
            deleted: None,
        };
        Self { state: Arc::new(Mutex::new(state)), passage: None }
    }

    /// Puts the same registry behind a passage.
    pub fn behind(&self, passage: Arc<dyn Passage>) -> Self {
        Self { state: Arc::clone(&self.state), passage: Some(passage) }
    }

    /// Makes another registry that holds the same at the same time, without log and faults.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        let state = self.state();
        {
            let mut other = copy.state();
            (other.now, other.stores) = (state.now, state.stores.clone());
            (other.read_only, other.deletes) = (state.read_only, state.deletes);
            other.referring.clone_from(&state.referring);
        }
        copy
    }

    /// Sets the registry's time.
    pub fn set_now(&self, now: Timestamp) {
        self.state().now = now;
    }

    /// Moves the registry's time on.
    pub fn advance(&self, span: Span) {
        let mut state = self.state();
        state.now = state.now.after(span);
    }

    /// Refuses all writes, as a read-only registry does.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().read_only = read_only;
    }

    /// Switches deletion on or off.
    pub fn set_deletes(&self, deletes: bool) {
        self.state().deletes = deletes;
    }

    /// Lists this from now on as referring to `subject`, as a registry that keeps such lists does.
    pub fn refer(&self, subject: &Digest, referrer: Descriptor) {
        self.state().referring.push((subject.clone(), referrer));
    }

    /// Deletes this one never.
    pub fn refuse(&self, digest: Digest) {
        self.state().refused = Some(digest);
    }

    /// Keeps what is deleted from now on, so that it can be brought back.
    pub fn keep_deleted(&self) {
        self.state().deleted = Some(Vec::new());
    }

    /// Loses a blob, as a registry's own garbage collection may.
    pub fn lose_blob(&self, repository: &Repository, digest: &Digest) {
        if let Some(store) = self.state().stores.get_mut(repository) {
            store.blobs.remove(digest);
        }
    }

    /// Loses a manifest but not its tags, as an interrupted deletion may.
    pub fn lose_manifest(&self, repository: &Repository, digest: &Digest) {
        if let Some(store) = self.state().stores.get_mut(repository) {
            store.manifests.remove(digest);
        }
    }

    /// Loses a tag but not what it points to, as somebody else may remove one.
    pub fn lose_tag(&self, repository: &Repository, tag: &Tag) {
        if let Some(store) = self.state().stores.get_mut(repository) {
            store.tags.remove(tag);
        }
    }

    /// Holds a manifest unchecked, as another registry may have taken it.
    pub fn hold(&self, repository: &Repository, tag: &Tag, manifest: RawManifest) {
        let mut state = self.state();
        let store = state.stores.entry(repository.clone()).or_default();
        store.tags.insert(tag.clone(), manifest.digest().clone());
        store.manifests.insert(manifest.digest().clone(), manifest);
    }

    /// Breaks the next request of this kind, in `repository` or anywhere; faults queue up.
    pub fn break_next(&self, verb: Verb, repository: Option<&Repository>, fault: Fault) {
        self.state().queued.push_back((verb, repository.cloned(), fault));
    }

    /// Asks `rule` about each request from now on, queued faults first. It must not call the
    /// registry.
    pub fn break_when(&self, rule: impl FnMut(&Asked) -> Option<Fault> + Send + 'static) {
        self.state().rule = Some(Box::new(rule));
    }

    /// Ends all injected faults.
    pub fn mend(&self) {
        let mut state = self.state();
        state.queued.clear();
        state.rule = None;
    }

    /// Returns all requests so far, failed ones included.
    pub fn log(&self) -> Vec<Asked> {
        self.state().log.clone()
    }

    /// Forgets the log.
    pub fn clear_log(&self) {
        self.state().log.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// Lets a request pass, and has it answered.
    async fn serve<T: Send>(
        &self,
        verb: Verb,
        repository: Option<&Repository>,
        reference: Option<String>,
        act: impl FnOnce(&mut State) -> Result<T, Failure> + Send,
    ) -> RegistryResult<T> {
        let asked = Asked { verb, repository: repository.cloned(), reference };
        let Some(passage) = &self.passage else { return self.answer(&asked, act) };
        let (mut act, mut outcome) = (Some(act), None);
        let mut once = || {
            if let Some(act) = act.take() {
                outcome = Some(self.answer(&asked, act));
            }
        };
        let beneath = Self { state: Arc::clone(&self.state), passage: None };
        passage.pass(&asked, &beneath, &mut once).await;
        let lost = || Failure::Unreachable { detail: "it did not pass".to_owned() };
        outcome.unwrap_or_else(|| Err(RegistryError { request: asked.request(), failure: lost() }))
    }

    /// Logs a request, carries it out by `act` and breaks it where a fault says so.
    fn answer<T>(
        &self,
        asked: &Asked,
        act: impl FnOnce(&mut State) -> Result<T, Failure>,
    ) -> RegistryResult<T> {
        let mut state = self.state();
        let fault = state.fault(asked);
        state.log.push(asked.clone());
        let outcome = match fault {
            Some(Fault::Before(failure)) => Err(failure),
            Some(Fault::After(failure)) => act(&mut state).and(Err(failure)),
            None => act(&mut state),
        };
        outcome.map_err(|failure| RegistryError { request: asked.request(), failure })
    }
}

impl Asked {
    fn request(&self) -> String {
        let at = self.repository.as_ref().map(Repository::to_string).unwrap_or_default();
        let request = format!("{:?} {at} {}", self.verb, self.reference.as_deref().unwrap_or_default());
        request.trim_end().to_owned()
    }
}

impl State {
    fn fault(&mut self, asked: &Asked) -> Option<Fault> {
        let fits = |(verb, repository, _): &(Verb, Option<Repository>, Fault)| {
            *verb == asked.verb && (repository.is_none() || *repository == asked.repository)
        };
        if let Some(at) = self.queued.iter().position(fits) {
            return self.queued.remove(at).map(|(_, _, fault)| fault);
        }
        self.rule.as_mut().and_then(|rule| rule(asked))
    }

    fn writable(&mut self, repository: &Repository) -> Result<&mut Store, Failure> {
        if self.read_only {
            return Err(unsupported());
        }
        Ok(self.stores.entry(repository.clone()).or_default())
    }
}

fn unsupported() -> Failure {
    Failure::Unsupported { detail: "UNSUPPORTED: The operation is unsupported.".to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::port::{RegistryReader as _, RegistryWriter as _, TagList};

    fn lost() -> Failure {
        Failure::Unreachable { detail: "lost".to_owned() }
    }

    #[tokio::test]
    async fn faults_strike_before_or_after_the_effect() {
        let registry = MemoryRegistry::new();
        let (a, b): (Repository, Repository) =
            ("r.example/a".parse().unwrap(), "r.example/b".parse().unwrap());
        registry.break_next(Verb::PutBlob, Some(&a), Fault::Before(lost()));
        registry.break_next(Verb::PutBlob, Some(&a), Fault::After(lost()));
        let blob = Bytes::from_static(b"x");
        let digest = Digest::of(&blob);
        registry.put_blob(&b, blob.clone()).await.unwrap();
        let error = registry.put_blob(&a, blob.clone()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("PutBlob r.example/a {digest}: no answer: lost"));
        assert!(!registry.has_blob(&a, &digest).await.unwrap());
        registry.put_blob(&a, blob.clone()).await.unwrap_err();
        assert!(registry.has_blob(&a, &digest).await.unwrap());
        registry.put_blob(&a, blob).await.unwrap();
        assert_eq!(registry.log().iter().filter(|asked| asked.verb == Verb::PutBlob).count(), 4);
    }

    #[tokio::test]
    async fn rules_see_each_request_until_mended() {
        let registry = MemoryRegistry::new();
        let a: Repository = "r.example/a".parse().unwrap();
        registry.break_when(|asked| (asked.verb == Verb::Tags).then(|| Fault::Before(lost())));
        registry.tags(&a).await.unwrap_err();
        registry.tags(&a).await.unwrap_err();
        registry.now("r.example").await.unwrap();
        registry.mend();
        assert_eq!(registry.tags(&a).await.unwrap(), TagList::default());
        registry.clear_log();
        assert!(registry.log().is_empty());
    }

    #[tokio::test]
    async fn the_clock_stands_until_it_is_moved() {
        let registry = MemoryRegistry::new();
        registry.set_now(Timestamp::from_unix(1000));
        registry.advance(Span::from_seconds(5));
        assert_eq!(registry.now("r.example").await.unwrap().unix(), 1005);
    }
}

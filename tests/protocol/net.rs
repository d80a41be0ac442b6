//! The registry as the protocols under test see it: the reference model behind a network
//! that has a clock, takes its time and lets a test act between two requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use boxwright::adapter::memory::{Asked, Fault, MemoryRegistry, Verb};
use boxwright::adapter::untag::by_throwaway;
use boxwright::model::{Descriptor, Digest, RawManifest, Repository, Span, Tag, Timestamp};
use boxwright::port::{
    Blob, BlobSource, BlobStream, Clock, Deleted, Deleting, Failure, Pushed, Reference, Registry,
    RegistryError, TagList,
};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;

type Deletions = Vec<(Repository, RawManifest, Vec<Tag>)>;
type Hook = Box<dyn FnMut(&Asked, &MemoryRegistry) + Send>;

/// Where a process is killed: before or after the effect of one of its writes.
pub struct Gate {
    at: usize,
    is_after: bool,
    writes: AtomicUsize,
    reached: Notify,
}

impl Gate {
    pub fn new(at: usize, is_after: bool) -> Self {
        Self { at, is_after, writes: AtomicUsize::new(0), reached: Notify::new() }
    }

    /// Returns how many writes have begun.
    pub fn writes(&self) -> usize {
        self.writes.load(Ordering::SeqCst)
    }

    /// Runs `work` until it is killed; returns what it came to if it was not.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.reached.notified() => None,
            end = work => Some(end),
        }
    }
}

/// The gate that everybody's writes pass, if there is one.
#[derive(Clone, Default)]
pub struct Gates(Arc<Mutex<Option<Arc<Gate>>>>);

impl Gates {
    pub fn set(&self, gate: &Arc<Gate>) {
        *self.0.lock().unwrap() = Some(Arc::clone(gate));
    }

    /// Carries a write out, unless its process is killed at it.
    pub async fn pass<T>(&self, write: impl Future<Output = T>) -> T {
        let Some(gate) = self.0.lock().unwrap().clone() else { return write.await };
        let is_here = gate.writes.fetch_add(1, Ordering::SeqCst) == gate.at;
        if is_here && !gate.is_after {
            gate.reached.notify_one();
            std::future::pending::<()>().await;
        }
        let done = write.await;
        if is_here {
            gate.reached.notify_one();
            std::future::pending::<()>().await;
        }
        done
    }
}

/// A registry and the time that passes on it.
pub struct Net {
    pub gates: Gates,
    pub memory: Arc<MemoryRegistry>,
    began: Instant,
    base: Timestamp,
    hook: Mutex<Option<Hook>>,
    /// What the registry lists as referring to something.
    referring: Mutex<Vec<(Digest, Descriptor)>>,
    /// What is never deleted.
    refused: Mutex<Option<Digest>>,
    /// What was deleted, with its tags, where that can be brought back.
    deleted: Mutex<Option<Deletions>>,
    /// How long each request takes, one after the other and then from the start.
    latency: Mutex<(Vec<Duration>, usize)>,
}

impl Net {
    pub fn new() -> Self {
        Self::over(MemoryRegistry::new())
    }

    /// The same registry on its own, as it is after the last request.
    pub fn copy(&self) -> Self {
        let copy = Self::over(self.memory.copy());
        copy.referring.lock().unwrap().clone_from(&self.referring.lock().unwrap());
        copy
    }

    fn over(memory: MemoryRegistry) -> Self {
        let memory = Arc::new(memory);
        let base = done(memory.now("r.example")).unwrap();
        memory.clear_log();
        let (hook, latency) = (Mutex::new(None), Mutex::new((vec![Duration::ZERO], 0)));
        let (refused, deleted) = (Mutex::new(None), Mutex::new(None));
        Self {
            gates: Gates::default(),
            memory,
            began: Instant::now(),
            base,
            hook,
            referring: Mutex::default(),
            refused,
            deleted,
            latency,
        }
    }

    /// Keeps what is deleted from now on, so that it can be brought back.
    pub fn keep_deleted(&self) {
        *self.deleted.lock().unwrap() = Some(Vec::new());
    }

    /// Lists this from now on as referring to `subject`, as a registry that keeps such lists does.
    pub fn refer(&self, subject: &Digest, raw: &RawManifest) {
        let entry = serde_json::json!({
            "mediaType": raw.media_type().as_str(), "digest": raw.digest(), "size": raw.bytes().len(),
        });
        let entry = serde_json::from_value(entry).unwrap();
        self.referring.lock().unwrap().push((subject.clone(), entry));
    }

    /// Deletes this one never.
    pub fn refuse(&self, digest: Digest) {
        *self.refused.lock().unwrap() = Some(digest);
    }

    fn note_deleted(&self, repository: &Repository, digest: &Digest) {
        let Some(deleted) = &mut *self.deleted.lock().unwrap() else { return };
        let Ok(Some(raw)) = done(self.memory.get(repository, &digest.clone().into())) else { return };
        let mut tags: Vec<Tag> = done(self.memory.tags(repository)).unwrap().tags.into_iter().collect();
        tags.retain(|tag| {
            done(self.memory.head(repository, &tag.clone().into())).unwrap().as_ref() == Some(digest)
        });
        deleted.push((repository.clone(), raw, tags));
    }

    /// Calls `hook` before each request from now on; what it does itself goes unseen.
    pub fn before_each(&self, hook: impl FnMut(&Asked, &MemoryRegistry) + Send + 'static) {
        *self.hook.lock().unwrap() = Some(Box::new(hook));
    }

    /// Calls `act` before the request that `is_wanted` names, once.
    pub fn before(
        &self,
        is_wanted: impl Fn(&Asked) -> bool + Send + 'static,
        act: impl FnOnce(&MemoryRegistry) + Send + 'static,
    ) {
        let mut act = Some(act);
        self.before_each(move |asked, memory| {
            if is_wanted(asked)
                && let Some(act) = act.take()
            {
                act(memory);
            }
        });
    }

    /// Lets requests take these times in turn.
    pub fn set_latency(&self, milliseconds: &[u64]) {
        let times = milliseconds.iter().map(|time| Duration::from_millis(*time)).collect();
        *self.latency.lock().unwrap() = (times, 0);
    }

    /// Fails the request of this number, from 0, counted from now.
    pub fn fail_nth(&self, number: usize, failure: fn() -> Failure) {
        let mut count = 0;
        self.memory.break_when(move |_| {
            count += 1;
            (count == number + 1).then(|| Fault::Before(failure()))
        });
    }

    /// Carries out no request from that number on, as if the process had been killed; the
    /// first of them is carried out before if `after`.
    pub fn kill_at(&self, number: usize, after: bool) {
        let mut count = 0;
        self.memory.break_when(move |_| {
            count += 1;
            match count {
                _ if count <= number => None,
                _ if count == number + 1 && after => Some(Fault::After(gone())),
                _ => Some(Fault::Before(gone())),
            }
        });
    }

    /// Returns the registry's time.
    pub fn today(&self) -> Timestamp {
        self.base.after(Span::from_seconds(self.began.elapsed().as_secs()))
    }

    async fn pass(&self, verb: Verb, repository: Option<&Repository>, reference: Option<String>) {
        let time = {
            let (times, next) = &mut *self.latency.lock().unwrap();
            *next += 1;
            times[*next % times.len()]
        };
        tokio::time::sleep(time).await;
        self.memory.set_now(self.today());
        let asked = Asked { verb, repository: repository.cloned(), reference };
        // The hook may set another one; it is put back only if it did not.
        let Some(mut hook) = self.hook.lock().unwrap().take() else { return };
        hook(&asked, &self.memory);
        self.hook.lock().unwrap().get_or_insert(hook);
    }
}

/// Ends a call of the model, which never waits.
pub fn done<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("the model never waits")
}

pub fn gone() -> Failure {
    Failure::Unreachable { detail: "connection refused".to_owned() }
}

pub fn too_many() -> Failure {
    Failure::Status { status: 429, detail: "TOOMANYREQUESTS".to_owned() }
}

pub fn unavailable() -> Failure {
    Failure::Status { status: 503, detail: "UNAVAILABLE".to_owned() }
}

pub fn denied() -> Failure {
    Failure::Denied { detail: "DENIED".to_owned() }
}

/// This machine's clock: it goes on with the registry's.
pub struct FakeClock(pub Instant);

impl Clock for FakeClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[async_trait]
impl Registry for Net {
    async fn now(&self, host: &str) -> Result<Timestamp, RegistryError> {
        self.pass(Verb::Now, None, None).await;
        self.memory.now(host).await
    }

    async fn head(&self, repository: &Repository, at: &Reference) -> Result<Option<Digest>, RegistryError> {
        self.pass(Verb::Head, Some(repository), Some(at.to_string())).await;
        self.memory.head(repository, at).await
    }

    async fn get(
        &self,
        repository: &Repository,
        at: &Reference,
    ) -> Result<Option<RawManifest>, RegistryError> {
        self.pass(Verb::Get, Some(repository), Some(at.to_string())).await;
        self.memory.get(repository, at).await
    }

    async fn put(
        &self,
        repository: &Repository,
        at: &Reference,
        manifest: &RawManifest,
    ) -> Result<(), RegistryError> {
        self.pass(Verb::Put, Some(repository), Some(at.to_string())).await;
        self.gates.pass(self.memory.put(repository, at, manifest)).await
    }

    async fn tags(&self, repository: &Repository) -> Result<TagList, RegistryError> {
        self.pass(Verb::Tags, Some(repository), None).await;
        self.memory.tags(repository).await
    }

    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        self.pass(Verb::Referrers, Some(repository), Some(subject.to_string())).await;
        let mut listed = self.memory.referrers(repository, subject).await?;
        let all = self.referring.lock().unwrap().clone();
        for (_, entry) in all.into_iter().filter(|(of, _)| of == subject) {
            // What is gone is no longer listed.
            if self.memory.copy().head(repository, &entry.digest.clone().into()).await?.is_some() {
                listed.push(entry);
            }
        }
        Ok(listed)
    }

    async fn deleting(&self, repository: &Repository) -> Result<Deleting, RegistryError> {
        self.pass(Verb::Deleting, Some(repository), None).await;
        self.memory.deleting(repository).await
    }

    /// In its single steps, like everything else.
    async fn untag(&self, repository: &Repository, tag: &Tag) -> Result<Deleted, RegistryError> {
        let delete = async |digest: Digest| self.delete(repository, &digest).await;
        by_throwaway(self, repository, tag, delete).await
    }

    async fn delete(&self, repository: &Repository, digest: &Digest) -> Result<Deleted, RegistryError> {
        self.pass(Verb::Delete, Some(repository), Some(digest.to_string())).await;
        if self.refused.lock().unwrap().as_ref() == Some(digest) {
            return Ok(Deleted::Refused { why: "more than 5000 downloads".to_owned() });
        }
        self.note_deleted(repository, digest);
        self.gates.pass(self.memory.delete(repository, digest)).await
    }

    fn restores(&self, _: &Repository) -> bool {
        self.deleted.lock().unwrap().is_some()
    }

    async fn restore(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        let deleted = self.deleted.lock().unwrap().take().unwrap();
        let is_it =
            |(at, raw, _): &&(Repository, RawManifest, Vec<Tag>)| at == repository && raw.digest() == digest;
        let found = deleted.iter().find(is_it);
        for tag in found.iter().flat_map(|(_, _, tags)| tags) {
            let (_, raw, _) = found.unwrap();
            self.memory.put(repository, &tag.clone().into(), raw).await?;
        }
        let was_there = found.is_some();
        *self.deleted.lock().unwrap() = Some(deleted);
        Ok(was_there)
    }

    async fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        self.pass(Verb::HasBlob, Some(repository), Some(digest.to_string())).await;
        self.memory.has_blob(repository, digest).await
    }

    async fn push_blob(
        &self,
        repository: &Repository,
        blob: &dyn BlobSource,
        mount: Option<&Repository>,
    ) -> Result<Pushed, RegistryError> {
        self.pass(Verb::PutBlob, Some(repository), None).await;
        self.gates.pass(self.memory.push_blob(repository, blob, mount)).await
    }

    async fn open_blob(
        &self,
        repository: &Repository,
        blob: &Blob,
        from: u64,
    ) -> Result<Option<BlobStream<'_, RegistryError>>, RegistryError> {
        self.pass(Verb::OpenBlob, Some(repository), Some(blob.digest.to_string())).await;
        self.memory.open_blob(repository, blob, from).await
    }

    async fn get_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.pass(Verb::GetBlob, Some(repository), Some(digest.to_string())).await;
        self.memory.get_blob(repository, digest, limit).await
    }
}

/// Tells whether a request asks for this in this repository.
pub fn is(asked: &Asked, verb: Verb, repository: &str, reference: &str) -> bool {
    asked.verb == verb
        && asked.repository.as_ref().is_some_and(|at| at.name() == repository)
        && asked.reference.as_deref().is_some_and(|at| at.starts_with(reference))
}

pub fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

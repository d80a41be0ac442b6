//! The registry as the protocols under test see it: the reference model behind a network
//! that has a clock, takes its time and lets a test act between two requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use boxwright::adapter::memory::{Asked, Fault, MemoryRegistry, Passage, Verb};
use boxwright::model::{Span, Tag, Timestamp};
use boxwright::port::{Clock, Failure, RegistryReader};
use futures_util::FutureExt;
use tokio::sync::Notify;
use tokio::time::Instant;

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
    /// The registry as nothing lies before it.
    pub memory: Arc<MemoryRegistry>,
    /// The same, behind the network.
    pub far: Arc<MemoryRegistry>,
    wire: Arc<Wire>,
}

/// The network between.
struct Wire {
    gates: Gates,
    began: Instant,
    base: Timestamp,
    hook: Mutex<Option<Hook>>,
    /// How long each request takes, one after the other and then from the start.
    latency: Mutex<(Vec<Duration>, usize)>,
}

impl Net {
    pub fn new() -> Self {
        Self::over(MemoryRegistry::new())
    }

    /// The same registry on its own, as it is after the last request.
    pub fn copy(&self) -> Self {
        Self::over(self.memory.copy())
    }

    fn over(memory: MemoryRegistry) -> Self {
        let base = done(memory.now("r.example")).unwrap();
        memory.clear_log();
        let gates = Gates::default();
        let wire = Arc::new(Wire {
            gates: gates.clone(),
            began: Instant::now(),
            base,
            hook: Mutex::new(None),
            latency: Mutex::new((vec![Duration::ZERO], 0)),
        });
        let far = Arc::new(memory.behind(wire.clone()));
        Self { gates, memory: Arc::new(memory), far, wire }
    }

    /// Calls `hook` before each request from now on; what it does itself goes unseen.
    pub fn before_each(&self, hook: impl FnMut(&Asked, &MemoryRegistry) + Send + 'static) {
        *self.wire.hook.lock().unwrap() = Some(Box::new(hook));
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
        *self.wire.latency.lock().unwrap() = (times, 0);
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
        self.wire.today()
    }
}

impl Wire {
    fn today(&self) -> Timestamp {
        self.base.after(Span::from_seconds(self.began.elapsed().as_secs()))
    }
}

#[async_trait]
impl Passage for Wire {
    async fn pass(&self, asked: &Asked, beneath: &MemoryRegistry, act: &mut (dyn FnMut() + Send)) {
        let time = {
            let (times, next) = &mut *self.latency.lock().unwrap();
            *next += 1;
            times[*next % times.len()]
        };
        tokio::time::sleep(time).await;
        beneath.set_now(self.today());
        // The hook may set another one; it is put back only if it did not.
        let hook = self.hook.lock().unwrap().take();
        if let Some(mut hook) = hook {
            hook(asked, beneath);
            self.hook.lock().unwrap().get_or_insert(hook);
        }
        match asked.verb {
            Verb::Put | Verb::PutBlob | Verb::Delete => self.gates.pass(async { act() }).await,
            _ => act(),
        }
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

/// Tells whether a request asks for this in this repository.
pub fn is(asked: &Asked, verb: Verb, repository: &str, reference: &str) -> bool {
    asked.verb == verb
        && asked.repository.as_ref().is_some_and(|at| at.name() == repository)
        && asked.reference.as_deref().is_some_and(|at| at.starts_with(reference))
}

pub fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

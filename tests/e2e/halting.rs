//! A proxy between boxwright and a registry that halts the world at one of its writes, or does
//! something else at a request.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use boxwright_testing::peer::Seen;
use boxwright_testing::proxy::{Fault, Proxy};
use boxwright_testing::witness::Registry;
use boxwright_testing::world::World;

/// The proxy; the project's registry is at its address.
pub struct Halting {
    pub host: String,
    gate: Arc<Gate>,
    proxy: Proxy,
    /// Ends with everything in it.
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The write to halt at, from 0, and whether after the registry has answered it.
    at: Option<(usize, bool)>,
    writes: usize,
    is_halted: bool,
}

impl Gate {
    /// Waits until the process behind it is dead.
    fn halt(&self) {
        let mut state = self.state.lock().unwrap();
        state.is_halted = true;
        self.changed.notify_all();
        while state.is_halted {
            state = self.changed.wait(state).unwrap();
        }
    }
}

/// Tells whether a request writes or deletes a manifest.
pub fn is_write(seen: &Seen) -> bool {
    matches!(seen.method.as_str(), "PUT" | "DELETE") && seen.target.contains("/manifests/")
}

impl Halting {
    pub fn before(registry: &Registry) -> Self {
        let gate: Arc<Gate> = Arc::default();
        let halting = gate.clone();
        Self::scripted(registry, gate, move |seen| {
            if !is_write(seen) {
                return Fault::None;
            }
            let number = {
                let mut state = halting.state.lock().unwrap();
                state.writes += 1;
                (state.writes - 1, state.at)
            };
            match number {
                (here, Some((at, false))) if here == at => {
                    halting.halt();
                    // The engine goes on with what it was asked for.
                    let is_engine = seen.header("user-agent").is_some_and(|name| name.starts_with("docker/"));
                    if is_engine { Fault::None } else { Fault::Reset }
                }
                (here, Some((at, true))) if here == at => {
                    let halting = halting.clone();
                    Fault::change(move |_| halting.halt())
                }
                _ => Fault::None,
            }
        })
    }

    /// A proxy that answers each request as `script` says.
    pub fn with(registry: &Registry, script: impl FnMut(&Seen) -> Fault + Send + 'static) -> Self {
        Self::scripted(registry, Arc::default(), script)
    }

    fn scripted(
        registry: &Registry,
        gate: Arc<Gate>,
        mut script: impl FnMut(&Seen) -> Fault + Send + 'static,
    ) -> Self {
        // What halts holds a thread.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        let proxy = runtime.block_on(Proxy::start(&registry.host, move |seen, _| script(seen)));
        Self { host: proxy.host.clone(), gate, proxy, _runtime: runtime }
    }

    /// The writes so far, as `METHOD target`.
    pub fn writes(&self) -> Vec<String> {
        self.proxy.seen().iter().filter(|seen| is_write(seen)).map(Seen::line).collect()
    }

    /// Runs a command and kills it with SIGKILL at a write, before the registry sees it or `after`
    /// it has answered; tells whether the command came that far.
    pub fn kill_at(&self, world: &World, arguments: &[&str], at: usize, after: bool) -> bool {
        *self.gate.state.lock().unwrap() = State { at: Some((at, after)), ..State::default() };
        let mut running = world.start(arguments);
        let began = Instant::now();
        let is_killed = loop {
            let state = self.gate.state.lock().unwrap();
            let (state, _) = self.gate.changed.wait_timeout(state, Duration::from_millis(20)).unwrap();
            if state.is_halted {
                drop(state);
                running.child().kill().unwrap();
                running.child().wait().unwrap();
                break true;
            }
            drop(state);
            if running.child().try_wait().unwrap().is_some() {
                running.end().good();
                break false;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{arguments:?} at write {at}");
        };
        *self.gate.state.lock().unwrap() = State::default();
        self.gate.changed.notify_all();
        is_killed
    }
}

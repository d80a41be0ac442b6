//! BuildKit's progress messages, as build events.

use std::collections::BTreeMap;

use bollard::moby::buildkit::v1::{StatusResponse, Vertex};
use bytes::Bytes;

use crate::port::{BuildEvent, StepState};

/// How BuildKit words a step that another one's failure ended.
const CANCELED: &str = "context canceled";

/// What is known of the steps of a build.
#[derive(Default)]
pub struct Trace {
    steps: BTreeMap<String, Known>,
    failed: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Known {
    Started,
    Ended,
}

impl Trace {
    /// Reads one message; each change of a step's state is told once.
    pub fn read(&mut self, message: StatusResponse, events: &dyn Fn(BuildEvent)) {
        for vertex in message.vertexes {
            self.vertex(vertex, events);
        }
        for log in message.logs {
            events(BuildEvent::Log { id: log.vertex, bytes: Bytes::from(log.msg) });
        }
    }

    /// Returns the name of the step that made the build fail, if one did.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    fn vertex(&mut self, vertex: Vertex, events: &dyn Fn(BuildEvent)) {
        let Vertex { digest: id, name, cached, started, completed, error, .. } = vertex;
        let known = self.steps.get(&id).copied();
        let tell = |state| events(BuildEvent::Step { id: id.clone(), name: name.clone(), state });
        let ended = completed.is_some() || !error.is_empty();
        if started.is_some() && known.is_none() && !cached {
            tell(StepState::Started);
        }
        if ended && known != Some(Known::Ended) {
            tell(match (error.is_empty(), cached) {
                (false, _) => StepState::Failed { error: error.clone() },
                (true, true) => StepState::Cached,
                (true, false) => StepState::Done,
            });
        }
        if !error.is_empty() && !error.contains(CANCELED) && self.failed.is_none() {
            self.failed = Some(name);
        }
        if ended {
            self.steps.insert(id, Known::Ended);
        } else if started.is_some() {
            self.steps.entry(id).or_insert(Known::Started);
        }
    }
}

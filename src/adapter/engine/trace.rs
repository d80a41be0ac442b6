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
            events(BuildEvent::Log {
                id: log.vertex,
                bytes: Bytes::from(log.msg),
                is_error: log.stream == 2,
            });
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Mutex;

    use bollard::moby::buildkit::v1::VertexLog;

    use super::*;

    /// A step's message; upper-case letters say what is known: Started, Completed, cAched.
    fn vertex(id: &str, known: &str, error: &str) -> StatusResponse {
        let at = |letter| known.contains(letter).then(Default::default);
        let vertex = Vertex {
            digest: id.to_owned(),
            name: format!("step {id}"),
            started: at('S'),
            completed: at('C'),
            cached: known.contains('A'),
            error: error.to_owned(),
            ..Default::default()
        };
        StatusResponse { vertexes: vec![vertex], ..Default::default() }
    }

    fn told(messages: Vec<StatusResponse>) -> (Vec<(String, StepState)>, Option<String>) {
        let events = Mutex::new(Vec::new());
        let mut trace = Trace::default();
        for message in messages {
            trace.read(message, &|event| {
                if let BuildEvent::Step { id, state, .. } = event {
                    events.lock().unwrap().push((id, state));
                }
            });
        }
        (events.into_inner().unwrap(), trace.failed().map(str::to_owned))
    }

    #[test]
    fn each_state_is_told_once() {
        let messages = vec![
            vertex("a", "", ""),
            vertex("a", "S", ""),
            vertex("a", "S", ""),
            vertex("b", "SCA", ""),
            vertex("a", "SC", ""),
            vertex("a", "SC", ""),
            vertex("c", "SC", ""),
        ];
        let expect = [
            ("a", StepState::Started),
            ("b", StepState::Cached),
            ("a", StepState::Done),
            ("c", StepState::Started),
            ("c", StepState::Done),
        ];
        let expect: Vec<_> = expect.map(|(id, state)| (id.to_owned(), state)).into();
        assert_eq!(told(messages), (expect, None));
    }

    #[test]
    fn the_step_that_failed_is_not_one_that_was_canceled() {
        let messages = vec![
            vertex("a", "SC", "context canceled"),
            vertex("b", "SC", "exit code: 3"),
            vertex("c", "SC", "late"),
        ];
        let (events, failed) = told(messages);
        assert_eq!(failed.unwrap(), "step b");
        assert!(events.contains(&("b".to_owned(), StepState::Failed { error: "exit code: 3".to_owned() })));
    }

    #[test]
    fn logs_keep_their_bytes() {
        let log = VertexLog { vertex: "a".to_owned(), msg: b"\xff\r".to_vec(), ..Default::default() };
        let events = Mutex::new(Vec::new());
        let message = StatusResponse { logs: vec![log], ..Default::default() };
        Trace::default().read(message, &|event| events.lock().unwrap().push(event));
        let expect =
            BuildEvent::Log { id: "a".to_owned(), bytes: Bytes::from_static(b"\xff\r"), is_error: false };
        assert_eq!(events.into_inner().unwrap(), [expect]);
    }
}

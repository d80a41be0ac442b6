//! What a build printed, step by step: the last lines of the step that failed are told with the error.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::exec::build::secrets::MakeError;
use crate::exec::failure::{FailedStep, Failure};
use crate::exec::keys::ResolvedBox;
use crate::inputs::{At, step_at};
use crate::model::{Explained, Explanation, chain, output_line, printable};
use crate::port::{BuildEvent, EngineError, StepState};

/// How many lines of a step are kept.
const LINES: usize = 20;
/// The longest part of a line that is kept, in bytes.
const LINE: usize = 2000;
/// How much of an instruction a message holds, in characters.
const INSTRUCTION: usize = 100;

/// A build that ended at a step.
#[derive(Debug, thiserror::Error)]
#[error("{}", words(name, at.as_ref(), error))]
struct AtStep {
    /// The step, as the engine names it.
    name: String,
    at: Option<At>,
    error: MakeError,
}

impl Explained for AtStep {
    fn explain(&self) -> Explanation<'_> {
        let place = self.at.as_ref().map(|at| (&*at.file, at.line));
        Explanation { place, ..self.error.explain() }
    }
}

fn words(name: &str, at: Option<&At>, error: &MakeError) -> String {
    let instruction = name.split_once("] ").map_or(name, |(_, instruction)| instruction);
    let instruction = printable(instruction, INSTRUCTION);
    match (error, at) {
        (MakeError::Engine(EngineError::BuildFailed { detail, .. }), Some(at)) => {
            format!("{at}: {instruction}: {}", code(detail))
        }
        (MakeError::Engine(EngineError::DiskFull { .. }), _) => {
            format!("{}; `docker system df` says what takes it", chain(error))
        }
        (MakeError::Late { .. }, Some(at)) => format!("{at}: {instruction}: {}", chain(error)),
        _ => chain(error),
    }
}

/// Places an error of a build that told `tail` what it did.
pub(super) fn failure(error: MakeError, keyed: &ResolvedBox, tail: Tail) -> Failure {
    let Some(Step { name, last, lines, .. }) = tail.end() else { return error.into() };
    let at = step_at(&keyed.source, &name);
    let error = AtStep { name: name.clone(), at: at.clone(), error }.into();
    Failure { error, step: Some(FailedStep { name, at, last: last.into(), lines }) }
}

/// What a failed command's error says beside the command itself.
fn code(detail: &str) -> &str {
    let told = detail.rfind("exit code: ").map(|at| &detail[at..]);
    let is_code = |told: &&str| told["exit code: ".len()..].bytes().all(|byte| byte.is_ascii_digit());
    told.filter(is_code).unwrap_or(detail)
}

/// Keeps the last lines of every step of one build that is not done.
#[derive(Default)]
pub(super) struct Tail(Mutex<Steps>);

impl Tail {
    /// Takes in what the build tells.
    pub fn event(&self, event: &BuildEvent) {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        steps.clock += 1;
        let Steps { running, failed, clock } = &mut *steps;
        match event {
            BuildEvent::Step { id, name, state: StepState::Started } => {
                let step = running.entry(id.clone()).or_default();
                (step.name, step.heard) = (name.clone(), *clock);
            }
            BuildEvent::Step { id, state: StepState::Done | StepState::Cached, .. } => {
                running.remove(id);
            }
            BuildEvent::Step { id, name, state: StepState::Failed { .. } } => {
                let mut step = running.remove(id).unwrap_or_default();
                step.name.clone_from(name);
                // What fails after the first one fails because of it.
                failed.get_or_insert(step);
            }
            BuildEvent::Log { id, bytes, .. } => {
                if let Some(step) = running.get_mut(id) {
                    step.heard = *clock;
                    step.take(bytes);
                }
            }
        }
    }

    /// Returns the step that failed, else the one that was heard of last.
    fn end(self) -> Option<Step> {
        let Steps { running, failed, .. } = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut step = failed.or_else(|| running.into_values().max_by_key(|step| step.heard))?;
        step.close();
        Some(step)
    }
}

#[derive(Default)]
struct Steps {
    running: BTreeMap<String, Step>,
    failed: Option<Step>,
    /// Counts events, to tell which step was heard of last.
    clock: u64,
}

#[derive(Default)]
struct Step {
    name: String,
    last: VecDeque<String>,
    lines: usize,
    /// The line that is not ended yet.
    open: Vec<u8>,
    heard: u64,
}

impl Step {
    fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE.saturating_sub(self.open.len());
            self.open.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.close();
            }
        }
    }

    /// Ends the line that is open.
    fn close(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let line = String::from_utf8_lossy(&self.open).into_owned();
        self.open.clear();
        self.lines += 1;
        if self.last.len() == LINES {
            self.last.pop_front();
        }
        self.last.push_back(printable(&output_line(&line), LINE));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn step(id: &str, state: StepState) -> BuildEvent {
        BuildEvent::Step { id: id.to_owned(), name: format!("step {id}"), state }
    }

    fn log(id: &str, text: &str) -> BuildEvent {
        let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
        BuildEvent::Log { id: id.to_owned(), bytes, is_error: false }
    }

    fn end(events: &[BuildEvent]) -> Option<Step> {
        let tail = Tail::default();
        events.iter().for_each(|event| tail.event(event));
        tail.end()
    }

    #[test]
    fn the_last_lines_of_the_step_that_failed() {
        let mut events = vec![step("a", StepState::Started), step("b", StepState::Started)];
        events.extend((1..=30).map(|line| log("a", &format!("{line}\n"))));
        events.push(log("b", "other\n"));
        events.push(log("a", "1%\r50%\r100%\x1b[0m"));
        events.push(step("a", StepState::Failed { error: "exit code: 1".to_owned() }));
        events.push(step("b", StepState::Failed { error: "context canceled".to_owned() }));
        let failed = end(&events).unwrap();
        assert_eq!((failed.name.as_str(), failed.lines), ("step a", 31));
        let last: Vec<&str> = failed.last.iter().map(String::as_str).collect();
        assert_eq!(last.len(), 20);
        assert_eq!((last[0], last[18], last[19]), ("12", "30", "100%"));
    }

    #[test]
    fn a_build_that_was_stopped_ends_at_the_step_that_was_heard_of_last() {
        let events = [
            step("a", StepState::Started),
            step("b", StepState::Started),
            log("a", "half a"),
            log("a", " line"),
            step("b", StepState::Done),
        ];
        let running = end(&events).unwrap();
        assert_eq!((running.name.as_str(), running.last[0].as_str()), ("step a", "half a line"));
        assert!(end(&[step("a", StepState::Started), step("a", StepState::Cached)]).is_none());
        for (first, last) in [("a", "b"), ("b", "a")] {
            let both = [step("a", StepState::Started), step("b", StepState::Started)];
            let events = [&both[..], &[log(first, "x\n"), log(last, "y\n")]].concat();
            assert_eq!(end(&events).unwrap().name, format!("step {last}"));
        }
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = "x".repeat(3 * LINE);
        let events = [step("a", StepState::Started), log("a", &long), log("a", "\nnext\n")];
        let running = end(&events).unwrap();
        let last: Vec<usize> = running.last.iter().map(String::len).collect();
        assert_eq!((last, running.lines), (vec![LINE, 4], 2));
    }

    #[test]
    fn of_a_failed_command_the_code_alone_is_said() {
        let process = |code: &str| format!("process \"/bin/sh -c a\" did not complete: exit code: {code}");
        assert_eq!(code(&process("7")), "exit code: 7");
        assert_eq!(code("echo exit code: 1 failed"), "echo exit code: 1 failed");
        assert_eq!(code("no such file"), "no such file");
    }
}

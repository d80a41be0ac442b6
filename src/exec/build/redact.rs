//! Keeps the values of secrets out of what a build tells: events and errors.
//!
//! A value is found wherever the pieces of a step's output are cut: what could be the
//! beginning of a value is held back until it is known, or until the step ends. A value that
//! a step prints in another form, such as base64, is not known again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use crate::model::SecretValue;
use crate::port::{BuildEvent, EngineError, StepState};

/// What stands in a value's place.
const MASK: &[u8] = b"***";
/// The shortest line of a value of several lines that is looked for by itself, in bytes.
const SHORTEST_LINE: usize = 4;

/// Masks the values of one build's secrets.
pub(crate) struct Redactor {
    patterns: Vec<Vec<u8>>,
    /// By step, and whether it is the step's standard error.
    streams: Mutex<BTreeMap<(String, bool), Stream>>,
}

impl Redactor {
    /// Looks for these values: each as it is without its final line break, and each of its lines.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a SecretValue>) -> Self {
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        for value in values {
            let value = value.expose().trim_ascii();
            let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            let lines = lines.filter(|line| line.len() >= SHORTEST_LINE);
            patterns.extend(std::iter::once(value).chain(lines).map(<[u8]>::to_vec));
        }
        patterns.retain(|pattern| !pattern.is_empty());
        patterns.sort();
        patterns.dedup();
        Self { patterns, streams: Mutex::default() }
    }

    /// Passes an event on, masked; what a step had held back comes before its end.
    pub fn event(&self, event: BuildEvent, emit: &dyn Fn(BuildEvent)) {
        if self.patterns.is_empty() {
            return emit(event);
        }
        match event {
            BuildEvent::Log { id, bytes, is_error } => {
                let known = {
                    let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
                    streams.entry((id.clone(), is_error)).or_default().push(&self.patterns, &bytes, false)
                };
                log(id, is_error, known, emit);
            }
            BuildEvent::Step { id, name, state } => {
                if state != StepState::Started {
                    self.flush(&id, emit);
                }
                let state = match state {
                    StepState::Failed { error } => StepState::Failed { error: self.text(&error) },
                    other => other,
                };
                emit(BuildEvent::Step { id, name: self.text(&name), state });
            }
        }
    }

    /// Passes on what is still held back, at the end of the build.
    pub fn finish(&self, emit: &dyn Fn(BuildEvent)) {
        let steps: Vec<String> = {
            let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
            streams.keys().map(|(id, _)| id.clone()).collect()
        };
        for id in steps {
            self.flush(&id, emit);
        }
    }

    /// Masks what the engine said.
    pub fn error(&self, error: EngineError) -> EngineError {
        match error {
            EngineError::BuildFailed { step, detail } => {
                EngineError::BuildFailed { step: self.text(&step), detail: self.text(&detail) }
            }
            EngineError::Transfer { action, reference, detail, is_denied } => {
                EngineError::Transfer { action, reference, detail: self.text(&detail), is_denied }
            }
            EngineError::DiskFull { detail } => EngineError::DiskFull { detail: self.text(&detail) },
            EngineError::Engine { action, detail } => {
                EngineError::Engine { action, detail: self.text(&detail) }
            }
            // These come before the build, or from this machine.
            other @ (EngineError::Unreachable { .. }
            | EngineError::TooOld { .. }
            | EngineError::Context(_)
            | EngineError::Interrupted) => other,
        }
    }

    fn flush(&self, id: &str, emit: &dyn Fn(BuildEvent)) {
        for is_error in [false, true] {
            let rest = {
                let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
                streams
                    .remove(&(id.to_owned(), is_error))
                    .map(|mut stream| stream.push(&self.patterns, b"", true))
            };
            log(id.to_owned(), is_error, rest.unwrap_or_default(), emit);
        }
    }

    fn text(&self, text: &str) -> String {
        let masked = Stream::default().push(&self.patterns, text.as_bytes(), true);
        String::from_utf8_lossy(&masked).into_owned()
    }
}

fn log(id: String, is_error: bool, bytes: Vec<u8>, emit: &dyn Fn(BuildEvent)) {
    if !bytes.is_empty() {
        emit(BuildEvent::Log { id, bytes: Bytes::from(bytes), is_error });
    }
}

/// The output of one step.
#[derive(Default)]
struct Stream {
    /// What is held back.
    held: Vec<u8>,
    /// How many of its first bytes belong to a value that was found before them.
    covered: usize,
}

impl Stream {
    /// Takes a piece; returns what is known by now.
    fn push(&mut self, patterns: &[Vec<u8>], piece: &[u8], is_end: bool) -> Vec<u8> {
        self.held.extend_from_slice(piece);
        let mut out = Vec::with_capacity(self.held.len());
        let mut at = 0;
        while let Some((&byte, rest)) = self.held.get(at..).and_then(|rest| Some((rest.first()?, rest))) {
            let patterns = beginning_with(patterns, byte);
            let could_begin = |pattern: &Vec<u8>| pattern.len() > rest.len() && pattern.starts_with(rest);
            if !is_end && patterns.iter().any(could_begin) {
                break;
            }
            // Values may overlap: all that any of them covers is masked, once.
            let found = patterns.iter().filter(|pattern| rest.starts_with(pattern));
            let length = found.map(Vec::len).max().unwrap_or(0);
            if length > 0 && self.covered == 0 {
                out.extend_from_slice(MASK);
            }
            self.covered = self.covered.max(length);
            match self.covered.checked_sub(1) {
                Some(left) => self.covered = left,
                None => out.push(byte),
            }
            at += 1;
        }
        self.held.drain(..at);
        out
    }
}

/// The patterns that begin with a byte, out of sorted ones.
fn beginning_with(patterns: &[Vec<u8>], byte: u8) -> &[Vec<u8>] {
    let before = |limit: u8| patterns.partition_point(|pattern| pattern.first() < Some(&limit));
    let end = byte.checked_add(1).map_or(patterns.len(), before);
    patterns.get(before(byte)..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redactor(values: &[&str]) -> Redactor {
        let values: Vec<_> = values.iter().map(|value| SecretValue::new(value.as_bytes())).collect();
        Redactor::new(&values)
    }

    /// What is told of these pieces of one step's output, and after its end.
    fn check(values: &[&str], pieces: &[&str], expect: &str) {
        let redactor = redactor(values);
        let told = Mutex::new(Vec::new());
        let emit = |event| {
            if let BuildEvent::Log { bytes, .. } = event {
                told.lock().unwrap().extend_from_slice(&bytes);
            }
        };
        for piece in pieces {
            let bytes = Bytes::copy_from_slice(piece.as_bytes());
            redactor.event(BuildEvent::Log { id: "a".to_owned(), bytes, is_error: false }, &emit);
        }
        let step = |state| BuildEvent::Step { id: "a".to_owned(), name: String::new(), state };
        redactor.event(step(StepState::Done), &emit);
        let told = told.into_inner().unwrap();
        assert_eq!(String::from_utf8(told).unwrap(), expect, "{values:?} {pieces:?}");
    }

    #[test]
    fn values_are_masked_wherever_they_stand() {
        check(&["hunter2"], &["a hunter2 b\n"], "a *** b\n");
        check(&["hunter2"], &["hunter2hunter2\n"], "******\n");
        check(&["hunter2\n"], &["=hunter2;"], "=***;");
        check(&["hunter2"], &["hunter1 hunter"], "hunter1 hunter");
        check(&["aab"], &["aaab"], "a***");
        check(&[""], &["nothing to hide"], "nothing to hide");
        check(&["\n"], &["a\nb"], "a\nb");
        check(&[], &["x"], "x");
        check(&["b", "a", "ab"], &["bcab"], "***c***");
        check(&["é"], &["caf\u{e9}"], "caf***");
    }

    #[test]
    fn a_value_of_several_lines_is_masked_line_by_line() {
        let key = "-----BEGIN\nfirst line\r\n}\nsecond line\n";
        check(&[key], &["x second line y } first line\n"], "x *** y } ***\n");
        check(&[key], &["-----BEGIN\nfirst line\r\n}\nsecond line"], "***");
    }

    #[test]
    fn overlapping_values_are_masked_as_one() {
        check(&["abcdef", "defghi"], &["<abcdefghi>"], "<***>");
        check(&["abcd", "abcdefgh"], &["abcdefgh abcdef"], "*** ***ef");
        check(&["abcdef", "cd"], &["abcdef cd"], "*** ***");
    }

    #[test]
    fn a_value_is_found_however_its_output_is_cut() {
        let text = "one hunter2, two hunter2\nhunt";
        let expect = "one ***, two ***\nhunt";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                check(&["hunter2"], &[&text[..first], &text[first..second], &text[second..]], expect);
            }
        }
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        check(&["hunter2"], &bytes.iter().map(String::as_str).collect::<Vec<_>>(), expect);
        check(&["abcdef", "defghi"], &["abcde", "f", "gh", "i"], "***");
    }

    #[test]
    fn only_what_could_be_a_value_waits() {
        let redactor = redactor(&["hunter2"]);
        let told = Mutex::new(Vec::new());
        let emit = |event| told.lock().unwrap().push(event);
        let log = |id: &str, text: &str| BuildEvent::Log {
            is_error: false,
            id: id.to_owned(),
            bytes: Bytes::copy_from_slice(text.as_bytes()),
        };
        redactor.event(log("a", "line\nno line end, hun"), &emit);
        redactor.event(log("b", "ter2"), &emit);
        assert_eq!(*told.lock().unwrap(), [log("a", "line\nno line end, "), log("b", "ter2")]);
        redactor.finish(&emit);
        assert_eq!(told.lock().unwrap()[2..], [log("a", "hun")]);
    }

    #[test]
    fn names_and_errors_are_masked() {
        let redactor = redactor(&["hunter2"]);
        let told = Mutex::new(Vec::new());
        let state = StepState::Failed { error: "exit hunter2".to_owned() };
        let step = BuildEvent::Step { id: "a".to_owned(), name: "RUN hunter2".to_owned(), state };
        redactor.event(step, &|event| told.lock().unwrap().push(event));
        let word = || "say hunter2".to_owned();
        let errors = [
            EngineError::BuildFailed { step: word(), detail: word() },
            EngineError::Transfer {
                action: "push",
                reference: String::new(),
                detail: word(),
                is_denied: false,
            },
            EngineError::DiskFull { detail: word() },
            EngineError::Engine { action: "build", detail: word() },
        ]
        .map(|error| format!("{:?}", redactor.error(error)));
        let all = format!("{told:?} {errors:?}");
        assert!(!all.contains("hunter2"), "{all}");
        assert_eq!(all.matches("***").count(), 7, "{all}");
    }
}

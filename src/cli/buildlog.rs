//! The logs of builds: a file for each box while it is built, kept only if that fails.
//!
//! What is written was masked before. A disk that takes no log fails no build: then there is
//! none, and whatever a failed step printed is shown whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use tempfile::NamedTempFile;

use crate::exec::Event;
use crate::port::{BuildEvent, StepState};

/// How many logs are kept, those of builds that run included.
const KEPT: usize = 100;

/// Writes logs below one directory.
#[derive(Default)]
pub struct BuildLogs {
    directory: Option<PathBuf>,
    open: Mutex<BTreeMap<String, Log>>,
}

struct Log {
    /// It goes with this, unless it was kept.
    file: Option<NamedTempFile>,
    kept: Option<PathBuf>,
    /// Names of steps by id.
    steps: BTreeMap<String, String>,
    /// The step that printed last, and whether its line is ended.
    last: Option<(String, bool)>,
}

impl BuildLogs {
    /// Keeps the logs of failed builds in `directory`.
    pub fn in_directory(directory: PathBuf) -> Self {
        Self { directory: Some(directory), ..Self::default() }
    }

    /// Takes in what happened.
    pub fn event(&self, event: &Event) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Building { name, .. } => {
                let file = self.directory.as_ref().and_then(|directory| create(directory, name).ok());
                let log = Log { file, kept: None, steps: BTreeMap::new(), last: None };
                open.insert(name.clone(), log);
            }
            Event::Build { name, event } => {
                if let Some(log) = open.get_mut(name) {
                    log.event(event);
                }
            }
            Event::Built { name, .. } => drop(open.remove(name)),
            Event::Failed { name, .. } => {
                if let Some(log) = open.get_mut(name)
                    && let Some(file) = log.file.take()
                {
                    log.kept = file.keep().ok().map(|(_, path)| path);
                }
            }
            _ => {}
        }
    }

    /// Returns where the log of a box stands, if one does.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let log = open.get(name)?;
        log.kept.clone().or_else(|| Some(log.file.as_ref()?.path().to_owned()))
    }
}

/// Makes a log that only this user can read, and takes the oldest ones away.
fn create(directory: &Path, name: &str) -> std::io::Result<NamedTempFile> {
    fs::create_dir_all(directory)?;
    prune(directory)?;
    tempfile::Builder::new().prefix(&format!("{name}-")).suffix(".log").tempfile_in(directory)
}

fn prune(directory: &Path) -> std::io::Result<()> {
    let mut logs: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let written = path.metadata().and_then(|found| found.modified());
            logs.push((written.unwrap_or(SystemTime::UNIX_EPOCH), path));
        }
    }
    logs.sort();
    for (_, path) in logs.iter().rev().skip(KEPT - 1) {
        // Another run may have been quicker.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

impl Log {
    fn event(&mut self, event: &BuildEvent) {
        let mut out = Vec::new();
        match event {
            BuildEvent::Step { id, name, state } => {
                self.steps.insert(id.clone(), name.clone());
                let state = match state {
                    StepState::Started => String::new(),
                    StepState::Done => " done".to_owned(),
                    StepState::Cached => " cached".to_owned(),
                    StepState::Failed { error } => format!(" failed: {error}"),
                };
                self.end_line(&mut out);
                out.extend_from_slice(format!("== {name}{state}\n").as_bytes());
                self.last = state.is_empty().then(|| (id.clone(), true));
            }
            BuildEvent::Log { id, bytes, .. } => {
                // Steps run beside each other: whoever prints is named when that changes.
                if self.last.as_ref().is_none_or(|(last, _)| last != id) {
                    self.end_line(&mut out);
                    let name = self.steps.get(id).map_or("?", String::as_str);
                    out.extend_from_slice(format!("== {name}\n").as_bytes());
                }
                out.extend_from_slice(bytes);
                self.last = Some((id.clone(), bytes.ends_with(b"\n")));
            }
        }
        if let Some(file) = &mut self.file
            && file.write_all(&out).is_err()
        {
            // A log that lacks something is none.
            self.file = None;
        }
    }

    fn end_line(&self, out: &mut Vec<u8>) {
        if matches!(self.last, Some((_, false))) {
            out.push(b'\n');
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::Digest;
    use crate::port::EngineError;

    fn name() -> String {
        "a".to_owned()
    }

    fn feed(logs: &BuildLogs, events: Vec<BuildEvent>) {
        logs.event(&Event::Building { name: name(), reason: String::new(), entries: 0 });
        for event in events {
            logs.event(&Event::Build { name: name(), event });
        }
    }

    fn step(id: &str, state: StepState) -> BuildEvent {
        BuildEvent::Step { id: id.to_owned(), name: format!("step {id}"), state }
    }

    fn log(id: &str, text: &'static str) -> BuildEvent {
        BuildEvent::Log { id: id.to_owned(), bytes: text.into(), is_error: false }
    }

    #[test]
    fn a_failed_build_leaves_its_log_and_a_good_one_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let logs = BuildLogs::in_directory(directory.path().join("logs"));
        let events = vec![
            step("1", StepState::Started),
            step("2", StepState::Started),
            log("1", "half"),
            log("2", "other\n"),
            log("1", "rest\n"),
            step("1", StepState::Failed { error: "exit code: 1".to_owned() }),
        ];
        feed(&logs, events);
        logs.event(&Event::Failed { name: name(), failure: EngineError::Interrupted.into() });
        let path = logs.path("a").unwrap();
        let expect = "== step 1\n== step 2\n== step 1\nhalf\n== step 2\nother\n== step 1\nrest\n\
            == step 1 failed: exit code: 1\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expect);
        feed(&logs, vec![log("1", "x")]);
        let digest = Digest::of(b"");
        logs.event(&Event::Built { name: name(), digest, adopted: false, seconds: 0.0 });
        assert_eq!(logs.path("a"), None);
        drop(logs);
        let left: Vec<_> = fs::read_dir(directory.path().join("logs")).unwrap().flatten().collect();
        assert_eq!(left.iter().map(|entry| entry.path()).collect::<Vec<_>>(), [path]);
    }

    #[test]
    fn the_oldest_logs_go() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: String| directory.path().join(name);
        for age in 0..KEPT + 5 {
            let file = fs::File::create(at(format!("{age}.log"))).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000 - age as u64);
            file.set_modified(time).unwrap();
        }
        fs::write(at("else".to_owned()), "").unwrap();
        let log = create(directory.path(), "a").unwrap();
        assert!(log.path().file_name().unwrap().to_str().unwrap().starts_with("a-"));
        let left = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, KEPT + 1);
        assert!(at(format!("{}.log", KEPT - 2)).exists() && !at(format!("{}.log", KEPT - 1)).exists());
    }

    #[test]
    fn without_a_place_there_is_no_log() {
        let logs = BuildLogs::in_directory(PathBuf::from("/dev/null/logs"));
        feed(&logs, vec![log("1", "x")]);
        assert_eq!(logs.path("a"), None);
        assert_eq!(BuildLogs::default().path("a"), None);
    }
}

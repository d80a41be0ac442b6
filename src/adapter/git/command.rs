//! What every git is started with.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use super::Unread;

/// How long a git that works on this machine may take. A repository can hold pipes in the place
/// of files, which git would read for ever.
const LIMIT: Duration = Duration::from_secs(300);

/// Settings that hold whatever any configuration says. Those of the repository under build are
/// not read at all; these are for the user's own.
const SETTINGS: [&str; 11] = [
    "safe.bareRepository=explicit",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.untrackedCache=false",
    "core.pager=cat",
    "advice.detachedHead=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "maintenance.auto=false",
    "gc.auto=0",
    "log.showSignature=false",
];

/// Variables that say where the user's own configuration is.
const OWN: [&str; 4] = ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM", "GIT_EXEC_PATH"];

/// Variables by which a user says, for this one call, how to reach a remote and whom to believe.
const REACH: [&str; 12] = [
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_ASKPASS",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "GIT_SSL_CERT_PASSWORD_PROTECTED",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_HTTP_USER_AGENT",
];

/// A git that is yet to be told what to do: no configuration but the user's and the system's, no
/// repository but the one that it is given, and of the environment's own `GIT_` variables only
/// what says where that configuration is.
#[derive(Debug)]
pub struct Git {
    hidden: Vec<String>,
    variables: Vec<(OsString, OsString)>,
    reaches_out: bool,
}

impl Git {
    /// For a repository at `directory`, which is a git directory of ours.
    pub(super) fn over(directory: &Path, top: &Path, index: &Path, hidden: &[String]) -> Self {
        let variables = [("GIT_DIR", directory), ("GIT_WORK_TREE", top), ("GIT_INDEX_FILE", index)]
            .map(|(name, path)| (OsString::from(name), path.as_os_str().to_owned()));
        Self { hidden: hidden.to_vec(), variables: variables.into(), reaches_out: false }
    }

    /// For the user's own configuration, and no repository.
    pub(in crate::adapter) fn of_the_user(hidden: &[String]) -> Self {
        let nowhere = (OsString::from("GIT_DIR"), OsString::from("/dev/null/none"));
        Self { hidden: hidden.to_vec(), variables: vec![nowhere], reaches_out: true }
    }

    /// Lets it reach remotes by these protocols, as `GIT_ALLOW_PROTOCOL` lists them.
    pub(in crate::adapter) fn reaching(mut self, protocols: &str) -> Self {
        self.variables.push(("GIT_ALLOW_PROTOCOL".into(), protocols.into()));
        self.reaches_out = true;
        self
    }

    /// Adds settings of git, after those that the environment has; no other process sees them.
    pub(in crate::adapter) fn configured(mut self, settings: &[(String, String)]) -> Self {
        let count = std::env::var("GIT_CONFIG_COUNT").ok().and_then(|count| count.parse().ok());
        let mut count: usize = count.unwrap_or_default();
        for (key, value) in settings {
            self.variables.push((format!("GIT_CONFIG_KEY_{count}").into(), key.into()));
            self.variables.push((format!("GIT_CONFIG_VALUE_{count}").into(), value.into()));
            count += 1;
        }
        self.variables.push(("GIT_CONFIG_COUNT".into(), count.to_string().into()));
        self
    }

    /// Writes the command.
    pub(in crate::adapter) fn command(&self, arguments: &[impl AsRef<OsStr>]) -> Command {
        let mut command = Command::new("git");
        for (name, _) in std::env::vars_os().filter(|(name, _)| !self.keeps(name)) {
            command.env_remove(name);
        }
        command.args(SETTINGS.iter().flat_map(|setting| ["-c", setting]));
        command
            .args(arguments)
            // A `.` in the PATH is not the repository's, and neither is what git could find here.
            .current_dir("/")
            // A status must not write the index: another git may be at work.
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_REPLACE_OBJECTS", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("LC_ALL", "C")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        if !self.reaches_out {
            command.env("GIT_ALLOW_PROTOCOL", "").env("GIT_NO_LAZY_FETCH", "1");
        }
        command
    }

    fn keeps(&self, name: &OsStr) -> bool {
        let Some(name) = name.to_str() else { return true };
        let is_configuration =
            || name.starts_with("GIT_CONFIG_KEY_") || name.starts_with("GIT_CONFIG_VALUE_");
        let is_kept = !name.starts_with("GIT_")
            || OWN.contains(&name)
            || (self.reaches_out && (REACH.contains(&name) || is_configuration()));
        is_kept && !self.hidden.iter().any(|hidden| hidden == name)
    }

    /// Runs it on this machine; returns what it printed. `top` is for the error.
    pub(super) fn output(
        &self,
        action: &'static str,
        top: &Path,
        arguments: &[impl AsRef<OsStr>],
    ) -> Result<Vec<u8>, Unread> {
        let failed = |how: String| Unread::Failed { top: PathBuf::from(top), action, how };
        let mut command = self.command(arguments);
        // A group of its own, so that what it starts ends with it.
        command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Unread::NoProgram,
            _ => failed(format!("cannot be run: {error}")),
        })?;
        let output = within(child, LIMIT).map_err(|error| failed(format!("was cut off: {error}")))?;
        match output.status.code() {
            Some(0) => Ok(output.stdout),
            Some(code) => Err(failed(format!("ended with {code}"))),
            None => Err(failed(format!("took longer than {} s, or was killed", LIMIT.as_secs()))),
        }
    }
}

/// Tells whether there is a git in the PATH.
pub(super) fn is_installed() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join("git").is_file())
}

/// Waits for a process, and kills it and its group after a while.
fn within(child: Child, limit: Duration) -> io::Result<Output> {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let (done, waiting) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if let (Err(mpsc::RecvTimeoutError::Timeout), Some(group)) = (waiting.recv_timeout(limit), group)
            {
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
        });
        let output = child.wait_with_output();
        drop(done);
        output
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_ended_with_all_it_started() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & sleep 60"]).process_group(0).stdout(Stdio::piped());
        let output = within(command.spawn().unwrap(), Duration::from_millis(100)).unwrap();
        assert_eq!(output.status.code(), None);
    }

    #[test]
    fn of_gits_own_variables_few_are_kept() {
        let check = |git: &Git, name: &str, expect| assert_eq!(git.keeps(name.as_ref()), expect, "{name}");
        let here = Path::new("/x");
        let git = Git::over(here, here, here, &["SECRET".to_owned()]);
        for (name, local, remote) in [
            ("PATH", true, true),
            ("SSH_AUTH_SOCK", true, true),
            ("SECRET", false, false),
            ("GIT_CONFIG_GLOBAL", true, true),
            ("GIT_SSH_COMMAND", false, true),
            ("GIT_CONFIG_COUNT", false, true),
            ("GIT_CONFIG_KEY_0", false, true),
            ("GIT_DIR", false, false),
            ("GIT_EXTERNAL_DIFF", false, false),
            ("GIT_PROXY_COMMAND", false, false),
            ("GIT_ALTERNATE_OBJECT_DIRECTORIES", false, false),
            ("GIT_NEW_AND_UNKNOWN", false, false),
        ] {
            check(&git, name, local);
            check(&Git::over(here, here, here, &["SECRET".to_owned()]).reaching("https"), name, remote);
        }
    }
}

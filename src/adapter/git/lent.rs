//! A git directory of ours that is lent what stands in somebody's repository.
//!
//! Objects come by an alternate, refs and the files beside them by links, `HEAD` as a copy. The
//! `config` is ours: of the repository's own it holds what says how its files and objects are
//! stored, from a list, and nothing else. So whatever a repository's configuration can name, or
//! will be able to name in a later git, is not run.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{fs, io};

use tempfile::TempDir;

use super::find::read;
use super::index::is_whole;
use super::{Git, Repository, Unread};

/// What is taken over from a repository's configuration: words and numbers that name nothing.
const TAKEN: [&str; 16] = [
    "core.autocrlf",
    "core.bigfilethreshold",
    "core.checkstat",
    "core.eol",
    "core.filemode",
    "core.ignorecase",
    "core.precomposeunicode",
    "core.protecthfs",
    "core.protectntfs",
    "core.sparsecheckout",
    "core.sparsecheckoutcone",
    "core.symlinks",
    "core.trustctime",
    "extensions.objectformat",
    "extensions.refstorage",
    "index.sparse",
];

/// The git directory; gone when it is dropped.
#[derive(Debug)]
pub(super) struct Lent {
    directory: TempDir,
    top: PathBuf,
    index: PathBuf,
}

/// A repository's own configuration, as keys in lower case (but for the middle part) and values.
pub(super) type Settings = Vec<(String, String)>;

impl Lent {
    /// Lends a repository.
    pub(super) fn of(repository: &Repository, hidden: &[String]) -> Result<Self, Unread> {
        let settings = settings(repository, hidden)?;
        let failed = |error: io::Error| Unread::Failed {
            top: repository.top.clone(),
            action: "init",
            how: format!("has no directory to work in: {error}"),
        };
        let directory = tempfile::Builder::new().prefix("boxwright-git-").tempdir().map_err(failed)?;
        let index = repository.own.join("index");
        let lent = Self { directory, top: repository.top.clone(), index };
        lent.fill(repository, &settings).map_err(failed)?;
        for name in ["HEAD", "FETCH_HEAD", "ORIG_HEAD", "shallow"] {
            let from = if name == "shallow" { &repository.common } else { &repository.own };
            lent.copy(&from.join(name), name)?;
        }
        for path in [lent.index.clone(), repository.common.join("packed-refs")] {
            is_plain(&path)?;
        }
        let is_long =
            settings.iter().any(|(key, value)| key == "extensions.objectformat" && value == "sha256");
        let broken = |why| Unread::Broken { path: lent.index.clone(), why };
        match fs::read(&lent.index) {
            Ok(bytes) if is_whole(&bytes, if is_long { 32 } else { 20 }) => Ok(lent),
            Ok(_) => Err(broken("is not whole")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(lent),
            Err(_) => Err(broken("cannot be read")),
        }
    }

    fn fill(&self, repository: &Repository, settings: &Settings) -> io::Result<()> {
        let (own, common, to) = (&repository.own, &repository.common, self.path());
        for directory in ["objects/info", "info"] {
            fs::create_dir_all(to.join(directory))?;
        }
        // By a link, since an alternate's path cannot hold every character.
        symlink(common.join("objects"), to.join("lent"))?;
        let lent = to.join("lent");
        fs::write(to.join("objects/info/alternates"), [lent.as_os_str().as_bytes(), b"\n"].concat())?;
        for (from, name) in [
            (common, "refs"),
            (common, "packed-refs"),
            (common, "reftable"),
            (common, "logs"),
            (common, "info/exclude"),
            (common, "info/attributes"),
            (own, "info/sparse-checkout"),
        ] {
            if from.join(name).exists() {
                symlink(from.join(name), to.join(name))?;
            }
        }
        // Where the index is split, the other part stands beside it.
        for entry in fs::read_dir(own)?.flatten() {
            let name = entry.file_name();
            if name.as_bytes().starts_with(b"sharedindex.") && entry.file_type()?.is_file() {
                symlink(entry.path(), to.join(name))?;
            }
        }
        fs::write(to.join("config"), config(settings))
    }

    fn copy(&self, from: &Path, name: &str) -> Result<(), Unread> {
        let broken = |_| Unread::Broken { path: from.to_owned(), why: "cannot be read" };
        match read(from).map_err(broken)? {
            Some(bytes) => fs::write(self.path().join(name), bytes).map_err(broken),
            None => Ok(()),
        }
    }

    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns a git at work in it, on the repository's own work tree and index.
    pub(super) fn git(&self, hidden: &[String]) -> Git {
        Git::over(self.path(), &self.top, &self.index, hidden)
    }

    /// Returns a git at work in it, on a work tree at `top` with an index of its own.
    pub(super) fn git_at(&self, top: &Path, hidden: &[String]) -> Git {
        Git::over(self.path(), top, &self.path().join("index"), hidden)
    }

    /// Makes a repository of it whose work tree is at `top`, on this commit.
    pub(super) fn on(&self, top: &Path, commit: &str) -> io::Result<Repository> {
        fs::write(self.path().join("HEAD"), format!("{commit}\n"))?;
        let own = self.path().to_owned();
        Ok(Repository { top: top.to_owned(), common: own.clone(), own })
    }

    /// Adds a setting to its configuration, whose parts must be plain words.
    pub(super) fn set(&self, section: &str, key: &str, value: &str) -> io::Result<()> {
        use std::io::Write;
        let mut config = fs::OpenOptions::new().append(true).open(self.path().join("config"))?;
        writeln!(config, "[{section}]\n\t{key} = {}", escaped(value))
    }
}

/// Fails where something else stands in the place of a file, or a link to some other one.
fn is_plain(path: &Path) -> Result<(), Unread> {
    match path.canonicalize() {
        Ok(real) if real.is_file() && real.file_name() == path.file_name() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(Unread::Broken { path: path.to_owned(), why: "is no file of a repository" }),
    }
}

/// Reads a repository's own configuration, without what it includes. Nothing of it acts on the
/// git that reads it.
pub(super) fn settings(repository: &Repository, hidden: &[String]) -> Result<Settings, Unread> {
    let mut settings = Vec::new();
    for path in [repository.common.join("config"), repository.own.join("config.worktree")] {
        let broken = |_| Unread::Broken { path: path.clone(), why: "cannot be read" };
        let Some(bytes) = read(&path).map_err(broken)? else { continue };
        let copy = tempfile::NamedTempFile::new().map_err(broken)?;
        fs::write(copy.path(), bytes).map_err(broken)?;
        let at = copy.path().display().to_string();
        let words = ["config", "--null", "--no-includes", "--file", at.as_str(), "--list"];
        let listed = Git::of_the_user(hidden).output("config --list", &repository.top, &words)?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        settings.extend(listed.split('\0').filter(|entry| !entry.is_empty()).map(|entry| {
            // A key without `=` is true.
            let (key, value) = entry.split_once('\n').unwrap_or((entry, "true"));
            (key.to_owned(), value.to_owned())
        }));
    }
    Ok(settings)
}

/// Writes a configuration with what is taken over, and the format that it asks for.
fn config(settings: &Settings) -> String {
    let taken = |key: &str| {
        let found = settings.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        found.filter(|value| value.len() <= 40 && value.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    };
    let is_extended = TAKEN.iter().any(|key| key.starts_with("extensions.") && taken(key).is_some());
    let mut text = format!("[core]\n\trepositoryformatversion = {}\n\tbare = false\n", u8::from(is_extended));
    for key in TAKEN {
        if let (Some(value), Some((section, name))) = (taken(key), key.split_once('.')) {
            text.push_str(&format!("[{section}]\n\t{name} = {value}\n"));
        }
    }
    text
}

/// A value as a configuration takes it.
fn escaped(value: &str) -> String {
    let clean: String = value.chars().filter(|c| !c.is_control()).collect();
    format!("\"{}\"", clean.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_configuration_words_are_taken_and_no_commands() {
        let settings = |pairs: &[(&str, &str)]| -> Settings {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let text = config(&settings(&[
            ("core.autocrlf", "input"),
            ("core.autocrlf", "true"),
            ("core.eol", "lf\n[core]\n\tfsmonitor = touch ran"),
            ("core.fsmonitor", "touch ran"),
            ("filter.x.clean", "touch ran"),
            ("include.path", "/elsewhere"),
            ("extensions.objectformat", "sha256"),
        ]));
        assert!(text.contains("repositoryformatversion = 1\n"), "{text}");
        assert!(text.contains("autocrlf = true\n") && text.contains("objectformat = sha256\n"), "{text}");
        for absent in ["input", "eol", "touch", "filter", "include"] {
            assert!(!text.contains(absent), "{absent}: {text}");
        }
        assert!(config(&Settings::new()).contains("repositoryformatversion = 0\n"));
    }
}

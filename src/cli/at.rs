//! `build --at`: the project as another revision has it.
//!
//! Whoever builds a stranger's revision lends it a machine and the right to push. Secrets, the ssh
//! agent and the host's network are lent only to what was looked at (`--lend-secrets`), and then no
//! more than the present configuration has: another registry or other secrets are refused.

use std::collections::BTreeSet;
use std::path::Path;

use super::args::Global;
use super::computed::hidden;
use super::error::CliError;
use super::hosts;
use super::loaded::FILE;
use super::session::{self, Loaded};
use super::terminal::{Terminal, ask};
use crate::adapter::git::{Checkout, RevisionError};
use crate::config::Project;
use crate::exec::ResolvedBox;
use crate::model::{SecretSource, printable};

/// Checks out `revision` and loads the configuration that stands there at the place of ours.
/// What was checked out is gone when the first value is dropped.
pub async fn load(global: &Global, revision: &str) -> Result<(Checkout, Loaded), CliError> {
    let here = session::load(global)?;
    let (root, hidden, name) = (here.root.clone(), hidden(&here.project), revision.to_owned());
    let remotes = hosts::own(|name| std::env::var_os(name))?.remotes;
    let work = move || Checkout::new(&root, &name, &remotes, &hidden);
    let checkout = tokio::task::spawn_blocking(work).await.map_err(|_| CliError::CutOff)??;
    let below = here.root.strip_prefix(checkout.top()).unwrap_or(&here.root);
    let file = global.file.as_ref().and_then(|file| file.file_name()).unwrap_or(FILE.as_ref());
    let mut there = session::load_at(global, checkout.tree().join(below).join(file))?;
    if let Some(what) = asks_for_more(&here.project, &there.project) {
        return Err(CliError::OtherTrust { revision: revision.to_owned(), what });
    }
    there.home = here.home;
    there.repository = Some(checkout.repository().clone());
    Ok((checkout, there))
}

/// Why secrets are withheld from a revision, and what to do about it.
pub const LENDS_NONE: (&str, &str) = (
    "--at lends none",
    "read what it changes, then `--lend-secrets` lends it secrets, ssh agent and host network",
);

/// Shows what a revision changes of what decides over secrets, and asks where somebody can answer.
pub fn may_lend(
    checkout: &Checkout,
    loaded: &Loaded,
    boxes: &[ResolvedBox],
    revision: &str,
    terminal: Terminal,
) -> Result<bool, CliError> {
    let changes = checkout.changes().map_err(RevisionError::from)?;
    let revision = printable(revision, 120);
    terminal.warn(&format!("{revision} is lent secrets, the ssh agent and the host's network; in it are"));
    // Where links lead is what is read.
    let real = |file: &Path| {
        let path = loaded.root.join(file);
        path.canonicalize().unwrap_or(path)
    };
    let files = boxes.iter().map(|keyed| keyed.spec.dockerfile.as_path()).chain([loaded.file.as_path()]);
    let named = |file: &Path| real(file).strip_prefix(checkout.tree()).map(|path| path.display().to_string());
    let decisive: BTreeSet<String> = files.filter_map(|file| named(file).ok()).collect();
    for file in &decisive {
        let change = changes.iter().find(|change| change.path == *file);
        let what = match change.map(|change| change.lines) {
            None => "as it is here".to_owned(),
            Some(None) => "changed".to_owned(),
            Some(Some((new, gone))) => format!("+{new} -{gone}"),
        };
        terminal.warn(&format!("  {}  {what}", printable(file, 200)));
    }
    let others = changes.iter().filter(|change| !decisive.contains(&change.path)).count();
    if others > 0 {
        terminal.warn(&format!(
            "  and {others} other {} differing from here",
            if others == 1 { "file" } else { "files" }
        ));
    }
    Ok(!terminal.can_ask() || ask(terminal, "lend it all that?"))
}

/// Says what a configuration would be given that the present one is not.
fn asks_for_more(here: &Project, there: &Project) -> Option<String> {
    if here.registry != there.registry || here.ledger != there.ledger {
        return Some("names another registry or ledger".to_owned());
    }
    let granted: Vec<(&String, &SecretSource)> = secrets(here).collect();
    let more = secrets(there).find(|secret| !granted.contains(secret));
    if let Some((id, _)) = more {
        return Some(format!("takes the secret `{id}` from where the present one does not"));
    }
    let ssh = |project: &Project| project.boxes.iter().any(|spec| !spec.ssh.is_empty());
    (ssh(there) && !ssh(here)).then(|| "asks for the ssh agent".to_owned())
}

fn secrets(project: &Project) -> impl Iterator<Item = (&String, &SecretSource)> {
    project.boxes.iter().flat_map(|spec| &spec.secrets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn check(there: &str, expect: Option<&str>) {
        let here = "registry = \"r.example.org/x\"\n[box.a]\nsecrets = { s = { env = \"S\" } }\n";
        let [here, there] = [here, there].map(|text| parse("b.toml", text).unwrap());
        let what = asks_for_more(&here, &there);
        assert_eq!(what.is_some(), expect.is_some(), "{what:?}");
        assert!(what.unwrap_or_default().contains(expect.unwrap_or_default()));
    }

    #[test]
    fn a_revision_is_given_no_more_than_the_present_one() {
        let start = "registry = \"r.example.org/x\"\n";
        check(&format!("{start}[box.a]\nsecrets = {{ s = {{ env = \"S\" }} }}\n[box.b]\n"), None);
        check(&format!("{start}[box.b]\n"), None);
        check("registry = \"evil.example.org/x\"\n[box.a]\n", Some("registry"));
        check(&format!("ledger = \"other\"\n{start}[box.a]\n"), Some("ledger"));
        check(&format!("{start}[box.a]\nsecrets = {{ s = {{ file = \"~/.netrc\" }} }}\n"), Some("`s`"));
        check(&format!("{start}[box.a]\nsecrets = {{ t = {{ env = \"S\" }} }}\n"), Some("`t`"));
        check(&format!("{start}[box.a]\nssh = true\n"), Some("ssh agent"));
    }
}

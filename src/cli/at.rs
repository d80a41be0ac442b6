//! `build --at`: the project as another revision has it.
//!
//! Whoever builds a stranger's revision lends it a machine and the right to push. It is not lent
//! more than the present configuration has: another registry or other secrets are refused.

use super::args::Global;
use super::error::CliError;
use super::session::{self, FILE, Loaded, hidden};
use crate::adapter::revision::{self, Checkout, RevisionError};
use crate::config::Project;
use crate::model::SecretSource;

/// Checks out `revision` and loads the configuration that stands there at the place of ours.
/// What was checked out is gone when the first value is dropped.
pub async fn load(global: &Global, revision: &str) -> Result<(Checkout, Loaded), CliError> {
    let here = session::load(global)?;
    let (root, hidden, name) = (here.root.clone(), hidden(&here.project), revision.to_owned());
    let work = move || {
        let top = revision::root(&root, &hidden)?;
        Ok::<_, RevisionError>((top, Checkout::new(&root, &name, &hidden)?))
    };
    let (top, checkout) = tokio::task::spawn_blocking(work).await.map_err(|_| CliError::CutOff)??;
    let below = here.root.strip_prefix(&top).unwrap_or(&here.root);
    let file = global.file.as_ref().and_then(|file| file.file_name()).unwrap_or(FILE.as_ref());
    let mut there = session::load_at(global, checkout.tree().join(below).join(file))?;
    if let Some(what) = asks_for_more(&here.project, &there.project) {
        return Err(CliError::OtherTrust { revision: revision.to_owned(), what });
    }
    there.home = here.home;
    Ok((checkout, there))
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

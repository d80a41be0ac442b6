//! The configuration and what follows from it: everything that can be wrong without an engine
//! or a registry.

use std::path::PathBuf;
use std::sync::Arc;

use super::check::{Check, bounded, many};
use crate::adapter::credentials::Credentials;
use crate::adapter::registry::HostConfig;
use crate::cli::args::{Boxes, Global, Push};
use crate::cli::ci::{self, Trust};
use crate::cli::error::CliError;
use crate::cli::{hosts, session};
use crate::config::RegistryChoice;
use crate::exec::ResolvedBox;

/// What the other checks begin with; whatever is broken is not there.
pub struct Found {
    /// The configuration.
    pub loaded: Option<session::Loaded>,
    /// All boxes with their keys.
    pub keyed: Option<Vec<ResolvedBox>>,
    /// Credentials, where their settings can be used.
    pub credentials: Option<Arc<Credentials>>,
    /// What is declared about hosts, where it can be read.
    pub declared: Option<HostConfig>,
    pub trust: Trust,
}

/// Reads everything.
pub async fn look(global: &Global) -> (Vec<Check>, Found) {
    let mut checks = Vec::new();
    let loaded = match session::load(global) {
        Ok(loaded) => {
            let project = &loaded.project;
            let boxes = match project.boxes.len() {
                1 => "1 box".to_owned(),
                count => format!("{count} boxes"),
            };
            let channels = many(project.channels.len(), "channel");
            let text = format!("{boxes}, {channels}, in {}", loaded.root.display());
            checks.push(Check::ok("configuration", text));
            Some(loaded)
        }
        Err(error) => {
            checks.push(problem("configuration", &error));
            None
        }
    };
    let mut keyed = None;
    if let Some(loaded) = &loaded {
        let (check, keys) = bounded("keys", keys(loaded, global)).await.unwrap_or_else(|late| (late, None));
        checks.push(check);
        keyed = keys;
    }
    if let Some(loaded) = &loaded {
        checks.push(bounded("git", revision(loaded)).await.unwrap_or_else(|late| late));
    }
    let declared = match hosts::own(|name| std::env::var_os(name)) {
        Ok(own) => Some(own.declared),
        Err(error) => {
            checks.push(problem("hosts.toml", &error));
            None
        }
    };
    let trust = match ci::observe() {
        Ok(ci) => ci.trust,
        Err(error) => {
            checks.push(problem("trust", &error));
            Trust::Unknown("BOXWRIGHT_TRUST cannot be read".to_owned())
        }
    };
    let credentials = match session::credentials(global.registry.as_deref()) {
        Ok(credentials) => {
            let hidden = loaded.as_ref().map(|loaded| session::hidden(&loaded.project));
            let lending = session::lending(&trust, Push::Auto);
            Some(Arc::new(credentials.hiding(hidden.unwrap_or_default()).lending(lending)))
        }
        Err(error) => {
            checks.push(problem("credentials", &error));
            None
        }
    };
    (checks, Found { loaded, keyed, credentials, declared, trust })
}

async fn keys(loaded: &session::Loaded, global: &Global) -> (Check, Option<Vec<ResolvedBox>>) {
    let all =
        Boxes { names: loaded.project.boxes.iter().map(|spec| spec.name.clone()).collect(), channel: None };
    let keyed = match loaded.choose(&all) {
        Ok(specs) => session::compute_keys(loaded, specs, &loaded.offline_registry(), global).await,
        Err(error) => Err(error),
    };
    match keyed {
        Ok(keyed) => {
            let entries: usize = keyed.iter().map(ResolvedBox::entries).sum();
            let text = format!("{}, context entries: {entries}", many(keyed.len(), "key"));
            (Check::ok("keys", text), Some(keyed))
        }
        Err(error) => (problem("keys", &error), None),
    }
}

/// Looks whether git can say what the boxes are built from.
async fn revision(loaded: &session::Loaded) -> Check {
    match session::worktree(loaded).await {
        Err(error) => problem("git", &error),
        Ok(Err(unread)) => {
            let finding = format!("the revision is unknown: {unread}");
            Check::warning("git", finding, format!("{}; until then `promote` refuses", unread.remedy()))
        }
        Ok(Ok(tree)) if tree.root.is_none() => {
            Check::ok("git", "there is no repository: promotions say no revision")
        }
        Ok(Ok(tree)) if tree.source.revision.is_none() => Check::ok("git", "there is no commit yet"),
        Ok(Ok(tree)) => Check::ok("git", format!("the revision is {}", tree.source)),
    }
}

fn problem(check: &'static str, error: &CliError) -> Check {
    let remedy = error.explain().hint;
    let problem = Check::problem(check, error.exit_code(), error.text(), "");
    Check { remedy, ..problem }
}

impl Found {
    /// Returns the directory of the embedded store, if images are kept there.
    pub fn store(&self) -> Option<PathBuf> {
        let loaded = self.loaded.as_ref()?;
        let is_embedded = loaded.project.registry == RegistryChoice::Embedded;
        is_embedded.then(|| loaded.home.join(session::HOME))
    }
}

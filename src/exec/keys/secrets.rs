//! The secrets and ssh agents that a box declares: where its Dockerfile mounts them, and that no file
//! of theirs is sent with a context.

use std::collections::BTreeSet;
use std::path::Path;

use crate::config::BoxSpec;
use crate::exec::keys::error::KeysError;
use crate::exec::keys::keyed::ResolvedBox;
use crate::inputs::{Analysis, Secret};
use crate::model::{Entry, SecretSource};
use crate::port::Context;

/// Checks that a box declares what its build cannot do without.
pub(crate) fn declared(spec: &BoxSpec, analysis: &Analysis) -> Result<(), KeysError> {
    let undeclared = |mount: &Secret, what| KeysError::Undeclared {
        name: spec.name.clone(),
        at: mount.at.clone(),
        what,
        id: mount.name.clone(),
    };
    let missing = |mount: &&Secret| mount.required && !is_open(mount);
    for mount in analysis.secrets.iter().filter(missing) {
        if !spec.secrets.contains_key(&mount.name) {
            return Err(undeclared(mount, "secret"));
        }
    }
    for mount in analysis.ssh.iter().filter(missing) {
        if !spec.ssh.contains(&mount.name) {
            return Err(undeclared(mount, "ssh agent"));
        }
    }
    Ok(())
}

/// Checks that no file of a secret is sent with a context: its digest would enter the key,
/// and its bytes could enter the image.
pub(crate) fn outside_context(
    context: &dyn Context,
    spec: &BoxSpec,
    top: &Path,
    root: &Path,
    entries: &[Entry],
) -> Result<(), KeysError> {
    use std::os::unix::ffi::OsStrExt;
    for (id, source) in &spec.secrets {
        let SecretSource::File(path) = source else { continue };
        let Some(real) = context.resolve(&top.join(path)) else { continue };
        let Ok(below) = real.strip_prefix(root) else { continue };
        if entries.iter().any(|entry| entry.path.as_bytes() == below.as_os_str().as_bytes()) {
            let (name, id, path) = (spec.name.clone(), id.clone(), path.clone());
            return Err(KeysError::SecretSent { name, id, path });
        }
    }
    Ok(())
}

/// A mount whose id only the build knows.
fn is_open(mount: &Secret) -> bool {
    mount.name.contains('$')
}

impl ResolvedBox {
    /// Returns the secrets that its build mounts and the box declares.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (&String, &SecretSource)> {
        let mounts = &self.analysis.secrets;
        let is_any = mounts.iter().any(is_open);
        let mounted = move |id: &str| is_any || mounts.iter().any(|mount| mount.name == id);
        self.spec.secrets.iter().filter(move |(id, _)| mounted(id))
    }

    /// Returns the ids under which its build mounts an ssh agent and the box declares one.
    pub(crate) fn agents(&self) -> BTreeSet<String> {
        let mounts = &self.analysis.ssh;
        let is_any = mounts.iter().any(is_open);
        let mounted = |id: &&String| is_any || mounts.iter().any(|mount| mount.name == **id);
        self.spec.ssh.iter().filter(mounted).cloned().collect()
    }

    /// Returns what is declared and never mounted, as remarks.
    pub(crate) fn unmounted(&self) -> Vec<String> {
        let used: BTreeSet<&String> = self.secrets().map(|(id, _)| id).collect();
        let secrets = self.spec.secrets.keys().filter(|id| !used.contains(id));
        let agents = self.agents();
        let ssh = self.spec.ssh.iter().filter(|id| !agents.contains(*id));
        secrets
            .map(|id| format!("nothing mounts the secret `{id}`"))
            .chain(ssh.map(|id| format!("nothing mounts the ssh agent `{id}`")))
            .collect()
    }
}

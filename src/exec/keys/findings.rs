//! What a person should know of a box before building it, short of errors.

use std::collections::BTreeSet;

use crate::exec::keys::git;
use crate::exec::keys::keyed::ResolvedBox;
use crate::inputs::FindingKind;
use crate::model::printable;
use crate::port::Special;

/// A remark about one box.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Remark {
    /// What it is about.
    pub kind: FindingKind,
    /// The file, if it is about one.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
    /// The remark, as a lower-case fragment.
    pub text: String,
}

impl ResolvedBox {
    /// Returns the remarks that the configuration does not silence; `differing` are the inputs
    /// that are not as committed.
    pub fn remarks(&self, differing: &[String]) -> Vec<Remark> {
        let file = self.source.name();
        let mut remarks = Vec::new();
        for found in &self.analysis.findings {
            // An argument of the configuration is in the manifest, or it is an error or unused.
            if found.line > 0 {
                let (file, line) = (Some(file.to_owned()), Some(found.line));
                let text = say(found.kind, &printable(&found.text, 200));
                remarks.push(Remark { kind: found.kind, file, line, text });
            }
        }
        let used: BTreeSet<&str> = self.analysis.images.iter().map(|found| found.origin.name()).collect();
        for name in self.spec.contexts.keys().filter(|name| !used.contains(name.as_str())) {
            let (kind, file) = (FindingKind::UnusedContext, Some(file.to_owned()));
            remarks.push(Remark { kind, file, line: None, text: say(kind, &printable(name, 80)) });
        }
        let plain = |kind: FindingKind, file: Option<String>, text| Remark { kind, file, line: None, text };
        let file = || Some(file.to_owned());
        remarks
            .extend(self.unmounted().into_iter().map(|text| plain(FindingKind::UnusedSecret, file(), text)));
        remarks
            .extend(self.local_notes().into_iter().map(|text| plain(FindingKind::LocalSource, file(), text)));
        let repositories = git::all(&self.manifest.entries);
        if !repositories.is_empty() {
            let kind = FindingKind::GitDirectory;
            remarks.push(Remark { kind, file: None, line: None, text: say(kind, &repositories.join(", ")) });
        }
        for Special { path, kind } in &self.special {
            let text = format!("`{path}` is a {kind}, which no build context can hold; it is left out");
            remarks.push(plain(FindingKind::SpecialFile, None, text));
        }
        if let Some(first) = differing.first() {
            let kind = FindingKind::Dirty;
            let names = match differing.len() - 1 {
                0 => printable(first, 120),
                more => format!("{} and {more} more", printable(first, 120)),
            };
            remarks.push(Remark { kind, file: None, line: None, text: say(kind, &names) });
        }
        remarks.retain(|remark| !self.spec.allow.contains(&remark.kind));
        remarks
    }
}

fn say(kind: FindingKind, about: &str) -> String {
    match kind {
        FindingKind::SecretArgument => {
            format!("{about} looks like a secret; arguments and variables are stored in the image")
        }
        FindingKind::LatestImage => {
            format!("{about} names no version; `boxwright lock --update` takes whatever is newest")
        }
        FindingKind::UncheckedAdd => {
            format!("adds {about} as it is at build time; --checksum holds its content")
        }
        FindingKind::Unknown => {
            format!(
                "nothing is known about {about}, so the whole context counts; the engine's frontend may take it"
            )
        }
        FindingKind::GitClone => {
            format!("clones {about} as it is at build time; a git pin given as an argument holds a revision")
        }
        FindingKind::Download => {
            format!("downloads {about} as it is at build time; ADD --checksum holds its content")
        }
        FindingKind::CacheMount => {
            format!(
                "mounts the cache {about}, which outlives the build; what it holds is in no key, so two builds of one key may differ"
            )
        }
        FindingKind::UnusedContext => format!("nothing uses the context `{about}`"),
        FindingKind::UnusedSecret | FindingKind::LocalSource | FindingKind::SpecialFile => about.to_owned(),
        FindingKind::GitDirectory => {
            format!("{about} may be another one in each clone; name `**/.git` in .dockerignore")
        }
        FindingKind::Dirty => format!("not as committed: {about}"),
    }
}

//! Where symbolic links of a context lead, by text alone: fsutil's `FollowLinks`, which decides
//! what docker sends.
//!
//! An absolute target begins at the context, and nothing leads above it. Deliberately absent: how
//! links are read.

use std::collections::BTreeMap;

use crate::inputs::golang;

/// How many links one path may lead through (continuity, `fs.RootPath`).
const LINKS: usize = 255;
/// How many names are looked at for one context.
const STEPS: usize = 5_000_000;

/// Reads a link of a context.
type Read<'a> = &'a mut dyn FnMut(&[u8]) -> Option<Box<[u8]>>;

/// The links of a context.
pub struct Links<'a> {
    read: Read<'a>,
    known: BTreeMap<Vec<u8>, Option<Box<[u8]>>>,
    steps: usize,
}

/// The way that a path leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// The links on it.
    pub links: Vec<Vec<u8>>,
    /// Where it ends, the empty path for the context itself; nothing if it never does.
    pub end: Option<Vec<u8>>,
}

/// More names than are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

impl<'a> Links<'a> {
    /// Links that `read` reads: it is given a path below no link, and returns the target if a
    /// link stands there.
    pub fn new(read: Read<'a>) -> Self {
        Self { read, known: BTreeMap::new(), steps: 0 }
    }

    fn target(&mut self, path: &[u8]) -> Option<Box<[u8]>> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let target = (self.read)(path);
        self.known.insert(path.to_vec(), target.clone());
        target
    }

    /// Follows a clean path.
    pub(super) fn follow(&mut self, path: &[u8]) -> Result<Way, TooMany> {
        let mut way = Way::default();
        let mut rest = reversed(path);
        let mut current: Vec<u8> = Vec::new();
        while let Some(name) = rest.pop() {
            self.steps += 1;
            if self.steps > STEPS {
                return Err(TooMany);
            }
            let above = current.len();
            if above > 0 {
                current.push(b'/');
            }
            current.extend_from_slice(&name);
            let Some(target) = self.target(&current) else { continue };
            if way.links.len() == LINKS {
                return Ok(way);
            }
            let target = match target.first() {
                Some(b'/') => target.to_vec(),
                _ => [b"/", &current[..above], b"/", &target[..]].concat(),
            };
            rest.extend(reversed(&golang::clean(&target)));
            way.links.push(std::mem::take(&mut current));
        }
        way.end = Some(current);
        Ok(way)
    }
}

/// The names of a path, the first one last.
fn reversed(path: &[u8]) -> Vec<Vec<u8>> {
    let names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    names.rev().map(<[u8]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_as_docker_follows_them() {
        let links: &[(&str, &str)] = &[
            ("link", "real/file"),
            ("chain", "link2"),
            ("link2", "./link"),
            ("dir", "real"),
            ("real/up", "../other"),
            ("abs", "/real/file"),
            ("out", "../../etc/passwd"),
            ("self", "self"),
            ("a", "b"),
            ("b", "a/x"),
            ("root", "."),
            ("real/root", "/"),
            ("dots", "nowhere/../real"),
            ("real/deep/back", ".."),
        ];
        for (path, through, end) in [
            ("plain", &[][..], Some("plain")),
            ("link", &["link"], Some("real/file")),
            ("chain", &["chain", "link2", "link"], Some("real/file")),
            ("dir/file", &["dir"], Some("real/file")),
            ("dir/up/x", &["dir", "real/up"], Some("other/x")),
            ("abs", &["abs"], Some("real/file")),
            ("out", &["out"], Some("etc/passwd")),
            ("root", &["root"], Some("")),
            ("root/link", &["root", "link"], Some("real/file")),
            ("real/root", &["real/root"], Some("")),
            // By text: what stands at `nowhere` does not matter.
            ("dots/x", &["dots"], Some("real/x")),
            ("dir/deep/back/file", &["dir", "real/deep/back"], Some("real/file")),
        ] {
            let mut read = |path: &[u8]| {
                let found = links.iter().find(|(name, _)| name.as_bytes() == path);
                found.map(|(_, target)| target.as_bytes().into())
            };
            let way = Links::new(&mut read).follow(path.as_bytes()).unwrap();
            let shown = |path: &Vec<u8>| String::from_utf8_lossy(path).into_owned();
            assert_eq!(way.links.iter().map(shown).collect::<Vec<_>>(), through, "{path}");
            assert_eq!(way.end.as_ref().map(shown).as_deref(), end, "{path}");
        }
        for path in ["self", "a", "a/y", "b"] {
            let mut read = |path: &[u8]| {
                let found = links.iter().find(|(name, _)| name.as_bytes() == path);
                found.map(|(_, target)| target.as_bytes().into())
            };
            assert_eq!(Links::new(&mut read).follow(path.as_bytes()).unwrap().end, None, "{path}");
        }
    }

    #[test]
    fn all_of_a_context_s_links_take_a_bounded_time() {
        let deep = "d/".repeat(1_000);
        let target = format!("/{deep}l");
        let mut read = |path: &[u8]| path.ends_with(b"/l").then(|| target.as_bytes().into());
        let mut links = Links::new(&mut read);
        let path = format!("{deep}l");
        let ends = (0..1_000).find(|_| links.follow(path.as_bytes()) == Err(TooMany));
        assert!(ends.is_some());
    }
}

//! `boxwright.lock`: what floating inputs were resolved to, once, for all boxes.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::document::{ConfigError, Section, Source};
use super::project::{Pin, PinSource};
use crate::model::{Digest, ImageName};

/// The resolved values of pins and outside images.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// Pins by name.
    pub pins: BTreeMap<String, LockedPin>,
    /// The digests of outside images by their names.
    pub images: BTreeMap<ImageName, Digest>,
}

/// A pin's value, and what it was resolved from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPin {
    /// What was asked: fields and their texts, as in the configuration.
    pub asked: BTreeMap<&'static str, String>,
    /// What it gave: a commit, or a digest.
    pub value: String,
}

const HEAD: &str =
    "# What floating inputs were resolved to. Written by `boxwright lock`; commit it.\n\nversion = 1\n";

impl Lock {
    /// Reads `boxwright.lock`; `file` is the name errors give it.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let source = Source { file, text };
        let document = source.parse()?;
        let root = Section::root(source, &document);
        let version = root.need("version")?;
        if version.count()? != 1 {
            return Err(version.error("this lock was written by a newer boxwright"));
        }
        root.allow(&["version", "pin", "image"])?;
        let mut lock = Self::default();
        for (name, section) in root.sections("pin")? {
            // What was asked says what it gave: of git a commit, of all else a digest.
            let given = if section.field("git").is_some() { "commit" } else { "digest" };
            section.allow(&["git", "ref", "image", "url", given])?;
            let mut asked = BTreeMap::new();
            for key in ["git", "ref", "image", "url"] {
                if let Some(field) = section.field(key) {
                    asked.insert(key, field.str()?.to_owned());
                }
            }
            let field = section.need(given)?;
            let value = match given {
                "commit" => commit(field.str()?).ok_or_else(|| field.error("expected a commit in full"))?,
                _ => field.parse::<Digest>()?.to_string(),
            };
            lock.pins.insert(name.to_owned(), LockedPin { asked, value });
        }
        for (name, section) in root.sections("image")? {
            section.allow(&["digest"])?;
            let image = name.parse().map_err(|error| section.error(format!("{error}")))?;
            lock.images.insert(image, section.need("digest")?.parse()?);
        }
        Ok(lock)
    }

    /// Writes the file; the same lock gives the same text.
    pub fn to_text(&self) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let mut out = HEAD.to_owned();
        for (name, pin) in &self.pins {
            let _ = writeln!(out, "\n[pin.{}]", super::init::key(name));
            for (key, text) in &pin.asked {
                let _ = writeln!(out, "{key} = {}", quoted(text));
            }
            let word = if pin.asked.contains_key("git") { "commit" } else { "digest" };
            let _ = writeln!(out, "{word} = {}", quoted(&pin.value));
        }
        for (image, digest) in &self.images {
            let _ = writeln!(out, "\n[image.{}]\ndigest = \"{digest}\"", quoted(&image.to_string()));
        }
        out
    }

    /// Returns a pin's value if it was resolved from what the configuration asks now.
    pub fn pin(&self, pin: &Pin) -> Option<&str> {
        let locked = self.pins.get(&pin.name)?;
        (Some(&locked.asked) == pin.source.asked().as_ref()).then_some(locked.value.as_str())
    }
}

impl PinSource {
    /// Returns what a floating pin asks; nothing for one that stands in files.
    pub fn asked(&self) -> Option<BTreeMap<&'static str, String>> {
        match self {
            Self::Files { .. } => None,
            Self::Git { url, reference } => {
                Some(BTreeMap::from([("git", url.clone()), ("ref", reference.clone())]))
            }
            Self::Image(name) => Some(BTreeMap::from([("image", name.to_string())])),
            Self::Url(url) => Some(BTreeMap::from([("url", url.clone())])),
        }
    }
}

/// Accepts a commit in full: 40 hex digits, or 64 in a SHA-256 repository.
fn commit(text: &str) -> Option<String> {
    let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && matches!(text.len(), 40 | 64)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Place;

    const TEXT: &str = r#"# What floating inputs were resolved to. Written by `boxwright lock`; commit it.

version = 1

[pin.ec]
git = "https://example.com/ec.git"
ref = "main"
commit = "0123456789012345678901234567890123456789"

[image."docker.io/library/debian:12"]
digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
"#;

    #[test]
    fn reads_and_writes_the_same_text() {
        let lock = Lock::parse("boxwright.lock", TEXT).unwrap();
        assert_eq!(lock.to_text(), TEXT);
        assert_eq!(lock.images[&"debian:12".parse().unwrap()], Digest::of(b"abc"));
    }

    #[test]
    fn a_pin_that_asks_for_something_else_is_not_locked() {
        let lock = Lock::parse("boxwright.lock", TEXT).unwrap();
        let pin = |reference: &str| Pin {
            file_at: Place::default(),
            value_at: Place::default(),
            name: "ec".to_owned(),
            source: PinSource::Git {
                url: "https://example.com/ec.git".to_owned(),
                reference: reference.to_owned(),
            },
        };
        assert_eq!(lock.pin(&pin("main")).unwrap().len(), 40);
        assert_eq!(lock.pin(&pin("release")), None);
    }

    const VALUE: &str =
        "digest = \"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"";

    #[test]
    fn damage_is_named() {
        for (from, to, line) in [
            ("version = 1", "version = 2", 3),
            ("0123456789012345678901234567890123456789", "0123", 8),
            ("sha256:ba", "sha256:xx", 11),
            ("debian:12", "Debian:12", 10),
            ("ref =", "reef =", 7),
            ("commit = \"0123456789012345678901234567890123456789\"", VALUE, 8),
            ("git = \"https://example.com/ec.git\"\nref", "url", 7),
        ] {
            let error = Lock::parse("boxwright.lock", &TEXT.replace(from, to)).unwrap_err();
            assert_eq!(error.line, line, "{error}");
        }
    }
}

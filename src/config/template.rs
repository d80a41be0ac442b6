//! Texts with pins in them: `{pin.ec}` and, shortened to eight characters, `{pin.ec:8}`.

use std::collections::BTreeMap;

/// A text in which pins stand for their values. Braces that do not begin `{pin.` are
/// plain text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Pin { name: String, length: Option<usize> },
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{{pin.{text}` is not a pin; expected {{pin.NAME}} or {{pin.NAME:LENGTH}}")]
pub struct TemplateError {
    text: String,
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{pin.") {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let error = || TemplateError { text: after.chars().take(40).collect() };
            let (inside, behind) = after.split_once('}').ok_or_else(error)?;
            let (name, length) = match inside.split_once(':') {
                Some((name, length)) => {
                    let length = length.parse().ok().filter(|length| *length > 0).ok_or_else(error)?;
                    (name, Some(length))
                }
                None => (inside, None),
            };
            if name.is_empty() {
                return Err(error());
            }
            parts.push(Part::Pin { name: name.to_owned(), length });
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// Returns the names of the pins in it.
    pub fn pins(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Pin { name, .. } => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// Puts the pins' values in; a pin without a value is left out, which the check that
    /// every named pin exists makes impossible.
    pub fn fill(&self, pins: &BTreeMap<String, String>) -> String {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Pin { name, length } => {
                    let value = pins.get(name).map_or("", String::as_str);
                    out.extend(value.chars().take(length.unwrap_or(usize::MAX)));
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_pins_and_leaves_other_braces_alone() {
        let pins = BTreeMap::from([("ec".to_owned(), "0123456789abcdef".to_owned())]);
        for (text, expect) in [
            ("{pin.ec}", "0123456789abcdef"),
            ("r-{pin.ec:8}-x{pin.ec:2}", "r-01234567-x01"),
            ("{\"a\": {}}", "{\"a\": {}}"),
            ("", ""),
        ] {
            assert_eq!(Template::parse(text).unwrap().fill(&pins), expect);
        }
        for bad in ["{pin.", "{pin.}", "{pin.ec:0}", "{pin.ec:x}", "{pin.ec:}"] {
            assert!(Template::parse(bad).is_err(), "{bad}");
        }
    }
}

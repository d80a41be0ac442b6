//! The value of a pin inside a document of the repository.

use regex::Regex;

use super::pin_error::PinError;

/// How to find a pin's value in a file.
#[derive(Debug, Clone)]
pub enum PinFormat {
    /// The whole text, surrounding white space aside.
    Text,
    /// The first group of a regular expression, or its whole match.
    Pattern(Regex),
    /// A field of a TOML document, named by its path.
    Toml(Vec<String>),
    /// A field of a JSON document, named by its path.
    Json(Vec<String>),
    /// A field of a YAML document, named by its path; its text as it stands.
    Yaml(Vec<String>),
}

/// The longest value, in bytes.
const LONGEST: usize = 1024;

/// Reads a pin's value out of a document.
pub fn extract(document: &[u8], format: &PinFormat) -> Result<String, PinError> {
    let text = std::str::from_utf8(document).map_err(|_| PinError::NotText)?;
    let value = match format {
        PinFormat::Text => text.trim().to_owned(),
        PinFormat::Pattern(pattern) => {
            let found = pattern.captures(text).ok_or_else(|| PinError::NoMatch(pattern.to_string()))?;
            found.get(1).or_else(|| found.get(0)).map_or("", |group| group.as_str()).to_owned()
        }
        PinFormat::Toml(path) => {
            let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
                let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                let (line, start) =
                    (before.matches('\n').count() + 1, before.rfind('\n').map_or(0, |end| end + 1));
                let column = before[start..].chars().count() + 1;
                PinError::Syntax { line, column, message: error.message().replace('\n', ", ") }
            })?;
            from_toml(&toml::Value::Table(table), path)?
        }
        PinFormat::Json(path) => {
            let value = serde_json::from_str(text).map_err(|error| {
                let (line, message) = (error.line(), error.to_string());
                // The message ends with the place, whose column counts bytes.
                let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(what, _)| what);
                let before = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
                let before = before.bytes().take(error.column().saturating_sub(1));
                let column = before.filter(|byte| byte & 0xc0 != 0x80).count() + 1;
                PinError::Syntax { line, column, message: message.to_owned() }
            })?;
            from_json(&value, path)?
        }
        PinFormat::Yaml(path) => super::yaml::field(text, path)?,
    };
    if value.is_empty() || value.contains(['\n', '\r']) {
        return Err(PinError::NotOneLine);
    }
    if value.len() > LONGEST {
        return Err(PinError::TooLong(LONGEST));
    }
    Ok(value)
}

fn from_toml(document: &toml::Value, path: &[String]) -> Result<String, PinError> {
    let mut at = document;
    for name in path {
        let next = match at {
            toml::Value::Array(items) => name.parse().ok().and_then(|index: usize| items.get(index)),
            _ => at.get(name.as_str()),
        };
        at = next.ok_or_else(|| PinError::Missing(path.join(".")))?;
    }
    match at {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => Ok(at.to_string()),
        toml::Value::Array(_) => Err(PinError::NotScalar { field: path.join("."), found: "a list" }),
        toml::Value::Table(_) => Err(PinError::NotScalar { field: path.join("."), found: "a table" }),
    }
}

fn from_json(document: &serde_json::Value, path: &[String]) -> Result<String, PinError> {
    let mut at = document;
    for name in path {
        let next = match at {
            serde_json::Value::Array(items) => name.parse().ok().and_then(|index: usize| items.get(index)),
            _ => at.get(name.as_str()),
        };
        at = next.ok_or_else(|| PinError::Missing(path.join(".")))?;
    }
    match at {
        serde_json::Value::String(text) => Ok(text.clone()),
        serde_json::Value::Number(_) | serde_json::Value::Bool(_) => Ok(at.to_string()),
        serde_json::Value::Null => Err(PinError::Missing(path.join("."))),
        serde_json::Value::Array(_) => Err(PinError::NotScalar { field: path.join("."), found: "a list" }),
        serde_json::Value::Object(_) => {
            Err(PinError::NotScalar { field: path.join("."), found: "an object" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('.').map(str::to_owned).collect()
    }

    fn check(document: &str, format: PinFormat, expect: Result<&str, PinError>) {
        assert_eq!(extract(document.as_bytes(), &format), expect.map(str::to_owned), "{document}");
    }

    #[test]
    fn finds_a_value_in_every_format() {
        check("leanprover/lean4:v4.21\n", PinFormat::Text, Ok("leanprover/lean4:v4.21"));
        let cargo = "[dependencies.noirc_driver]\ngit = \"x\"\nrev = \"abc\"\n";
        check(cargo, PinFormat::Toml(path("dependencies.noirc_driver.rev")), Ok("abc"));
        check("a = [1, 2]", PinFormat::Toml(path("a.1")), Ok("2"));
        check(r#"{"a":{"b":[{"c":"d"}]}}"#, PinFormat::Json(path("a.b.0.c")), Ok("d"));
        let pattern = Regex::new(r"version (\S+)").unwrap();
        check("x\nversion 1.2\n", PinFormat::Pattern(pattern), Ok("1.2"));
    }

    #[test]
    fn says_where_a_document_ends_to_be_one() {
        let at = |document: &str, format: PinFormat| match extract(document.as_bytes(), &format) {
            Err(PinError::Syntax { line, column, message }) => format!("{line}:{column}: {message}"),
            other => format!("{other:?}"),
        };
        assert_eq!(at("{bad", PinFormat::Json(path("a"))), "1:2: key must be a string");
        assert_eq!(at("{\"é\":\n\"é\" x}", PinFormat::Json(path("a"))), "2:5: expected `,` or `}`");
        let toml = at("a = 1\nb = \n", PinFormat::Toml(path("a")));
        assert!(toml.starts_with("2:"), "{toml}");
        let yaml = at("a: 1\nb: [\n", PinFormat::Yaml(path("c")));
        assert!(yaml.starts_with("3:1: ") && !yaml.contains(" at byte"), "{yaml}");
    }

    #[test]
    fn says_what_is_missing() {
        check("a = 1", PinFormat::Toml(path("a.b")), Err(PinError::Missing("a.b".to_owned())));
        let table = PinError::NotScalar { field: "a".to_owned(), found: "a table" };
        check("a.b = 1", PinFormat::Toml(path("a")), Err(table));
        check("{}", PinFormat::Json(path("a")), Err(PinError::Missing("a".to_owned())));
        check(" \n", PinFormat::Text, Err(PinError::NotOneLine));
        check("a\nb", PinFormat::Text, Err(PinError::NotOneLine));
    }
}

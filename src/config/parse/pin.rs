//! `[pin.NAME]`: where a named revision stands.

use regex::Regex;

use super::fields::{expression, inside};
use crate::config::document::{ConfigError, Field, Section};
use crate::config::pin::PinFormat;
use crate::config::project::{Pin, PinSource};

pub(super) fn pin(name: &str, section: &Section<'_>) -> Result<(String, Pin), ConfigError> {
    section.allow(&["file", "also", "field", "pattern", "git", "ref", "image", "url"])?;
    let kinds = ["file", "git", "image", "url"];
    let named: Vec<&str> = kinds.into_iter().filter(|key| section.field(key).is_some()).collect();
    let [kind] = named.as_slice() else {
        return Err(section.error(format!("[{}] needs one of file, git, image and url", section.name)));
    };
    let belongs = match *kind {
        "file" => &["file", "also", "field", "pattern"][..],
        "git" => &["git", "ref"],
        other => &[other][..],
    };
    if let Some((key, span, _)) = section.fields().find(|(key, ..)| !belongs.contains(key)) {
        return Err(section.source.error(span, format!("`{key}` does not go with `{kind}`")));
    }
    let source = match *kind {
        "git" => {
            let url = section.need("git")?;
            let reference = section.need("ref")?;
            PinSource::Git { url: argument(&url)?, reference: argument(&reference)? }
        }
        "image" => PinSource::Image(section.need("image")?.parse()?),
        "url" => {
            let url = section.need("url")?;
            let text = argument(&url)?;
            if !text.starts_with("https://") && !text.starts_with("http://") {
                return Err(url.error("expected an http or https address"));
            }
            PinSource::Url(text)
        }
        _ => files(section)?,
    };
    let place = |keys: &[&str]| {
        let field = keys.iter().find_map(|key| section.field(key));
        field.map(|field| field.place()).unwrap_or_default()
    };
    let (file_at, value_at) = (place(&["file"]), place(&["field", "pattern", "file"]));
    Ok((name.to_owned(), Pin { name: name.to_owned(), source, file_at, value_at }))
}

/// A text that is handed to another program: not empty, no option, no control characters.
pub(super) fn argument(field: &Field<'_>) -> Result<String, ConfigError> {
    let text = field.str()?;
    if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(field.error(format!(
            "`{}` must not be empty, begin with `-` or hold control characters",
            field.name
        )));
    }
    Ok(text.to_owned())
}

fn files(section: &Section<'_>) -> Result<PinSource, ConfigError> {
    let mut files = vec![inside(&section.need("file")?)?];
    if let Some(also) = section.field("also") {
        for item in also.list()? {
            files.push(inside(&item)?);
        }
    }
    let format = match (section.field("field"), section.field("pattern")) {
        (Some(_), Some(pattern)) => {
            return Err(pattern.error("`field` and `pattern` cannot both say where the value stands"));
        }
        (None, Some(pattern)) => PinFormat::Pattern(regex(&pattern)?),
        (None, None) => PinFormat::Text,
        (Some(field), None) => {
            let path: Vec<String> = field.str()?.split('.').map(str::to_owned).collect();
            let extension = files[0].extension().and_then(|extension| extension.to_str());
            match extension {
                Some("toml" | "lock") => PinFormat::Toml(path),
                Some("json") => PinFormat::Json(path),
                Some("yaml" | "yml") => PinFormat::Yaml(path),
                _ => {
                    let mut error = field.error("`field` needs a .toml, .json or .yaml file");
                    error.hint = Some("for other files say `pattern = '…'`, a regular expression".to_owned());
                    return Err(error);
                }
            }
        }
    };
    Ok(PinSource::Files { files, format })
}

pub(super) fn regex(field: &Field<'_>) -> Result<Regex, ConfigError> {
    expression(field.str()?).map_err(|error| {
        let reason = error.to_string();
        field.error(format!("`{}`: {}", field.name, reason.lines().last().unwrap_or_default()))
    })
}

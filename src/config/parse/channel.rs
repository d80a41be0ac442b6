//! `[channel.NAME]`: which tags it has, and what is kept of its promotions.

use regex::Regex;

use super::fields::expression;
use super::pin::{argument, regex as read_regex};
use crate::config::document::{ConfigError, Field, Section};
use crate::config::project::Channel;
use crate::model::{Keep, Key, RefRule, Rules, Span, Tag};

/// What a replaced promotion has at least, unless the channel says otherwise.
const GRACE: Span = Span::from_seconds(86_400);

pub(super) fn channel(name: &str, section: &Section<'_>) -> Result<(String, Channel), ConfigError> {
    section.allow(&["tag", "keep", "immutable"])?;
    let field = section.need("tag")?;
    let text = field.str()?;
    let only = (regex::escape(text) == text).then(|| field.parse::<Tag>()).transpose()?;
    read_regex(&field)?;
    let pattern = anchored(&field)?;
    let content_tag = format!("k-{}", Key::of(b""));
    if pattern.is_match(&content_tag) {
        return Err(
            field.error(format!("`{}` would also match content tags such as {content_tag}", field.name))
        );
    }
    let immutable = section.field("immutable").map_or(Ok(false), |field| field.bool())?;
    let keep = match section.field("keep") {
        Some(field) => keep(&field, &pattern, only)?,
        None => Keep::Forever,
    };
    Ok((name.to_owned(), Channel { name: name.to_owned(), pattern, keep, immutable }))
}

fn anchored(field: &Field<'_>) -> Result<Regex, ConfigError> {
    expression(&format!("^(?:{})$", field.str()?)).map_err(|error| field.error(error.to_string()))
}

/// Reads `"forever"`, `"30d"`, or a table of rules.
fn keep(field: &Field<'_>, pattern: &Regex, only: Option<Tag>) -> Result<Keep, ConfigError> {
    let rules = Rules { grace: GRACE, min: 1, only, ..Rules::default() };
    if field.is_str() {
        let text = field.str()?;
        if text == "forever" {
            return Ok(Keep::Forever);
        }
        let Ok(age) = text.parse() else {
            let mut error =
                field.error(format!("`{}` is neither \"forever\" nor a length of time", field.name));
            error.hint =
                Some("write \"forever\", \"30d\", or rules such as { last = 3, grace = \"1d\" }".to_owned());
            return Err(error);
        };
        return Ok(Keep::Rules(Rules { age: Some(age), ..rules }));
    }
    let section = field.section()?;
    section.allow(&["last", "grace", "for", "min", "semver", "ref", "git", "tags"])?;
    if !["last", "for", "semver", "ref", "tags"].iter().any(|key| section.field(key).is_some()) {
        let mut error = field.error(format!("`{}` has no rule that keeps anything", field.name));
        error.hint = Some("it needs one of last, for, semver, ref and tags".to_owned());
        return Err(error);
    }
    let positive = |field: Field<'_>| match field.count()? {
        0 => Err(field.error(format!("`{}` must be at least 1", field.name))),
        count => Ok(count),
    };
    let git_ref = section.field("ref").map(|field| git_ref(&field, &section, pattern)).transpose()?;
    if git_ref.is_none()
        && let Some(git) = section.field("git")
    {
        return Err(git.error(format!("`{}` goes with `ref`", git.name)));
    }
    Ok(Keep::Rules(Rules {
        last: section.field("last").map(positive).transpose()?,
        grace: section.field("grace").map_or(Ok(GRACE), |field| field.parse())?,
        age: section.field("for").map(|field| field.parse()).transpose()?,
        min: section.field("min").map_or(Ok(rules.min), |field| field.count())?,
        versions: section.field("semver").map(|field| field.parse()).transpose()?,
        git_ref,
        tags: section.field("tags").map(|field| anchored(&field)).transpose()?,
        only: rules.only,
    }))
}

fn git_ref(field: &Field<'_>, section: &Section<'_>, pattern: &Regex) -> Result<RefRule, ConfigError> {
    let template = argument(field)?;
    if !template.starts_with("refs/") {
        let mut error = field.error(format!("`{}` must be a full ref name", field.name));
        error.hint = Some("such as \"refs/heads/{tag}\"".to_owned());
        return Err(error);
    }
    if !template.contains('{') {
        return Err(field.error(format!("`{}` names the same ref for every tag", field.name)));
    }
    let remote = section.field("git").map_or(Ok("origin".to_owned()), |field| argument(&field))?;
    Ok(RefRule { remote, template, pattern: pattern.clone() })
}

//! Tag lists, page by page (distribution-spec, "Listing Tags"; RFC 8288 for `Link`).

use std::collections::{BTreeSet, HashSet};

use reqwest::header::LINK;
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::address;
use super::answer::Answer;
use super::client::{HttpRegistry, Right};
use super::request::Request;
use crate::model::{Repository, Tag, printable};
use crate::port::{RegistryError, TagList};

/// Tags asked for at a time; some registries give fewer, some give all.
const PAGE: usize = 1000;

/// The longest page, in bytes: 100,000 of the longest tags.
const PAGE_LIMIT: usize = 16 * 1024 * 1024;

/// The longest list, in bytes: all its pages together are held in memory.
const LIST_LIMIT: usize = 4 * PAGE_LIMIT;

impl HttpRegistry {
    pub(super) async fn list_tags(&self, repository: &Repository) -> Result<TagList, RegistryError> {
        let mut first = self.request(Method::GET, repository, "tags/list")?.url;
        first.set_query(Some(&format!("n={PAGE}")));
        let mut seen = HashSet::from([first.clone()]);
        let (mut names, mut length) = (BTreeSet::new(), 0);
        let mut url = first.clone();
        loop {
            let request = Request::new(Method::GET, url).limit(PAGE_LIMIT);
            let answer = self.send(request, repository, Right::Pull).await?;
            if seen.len() == 1 && answer.is_absent()? {
                return Ok(TagList::default());
            }
            let page = read(&answer)?;
            length += answer.body.len();
            if length > LIST_LIMIT {
                return Err(answer.untrusted(format!("its pages are longer than {LIST_LIMIT} bytes")));
            }
            let known = names.len();
            let (count, last) = (page.len(), page.last().cloned());
            names.extend(page);
            url = match (next(&answer)?, last) {
                (Some(next), _) => next,
                // A full page need not be the last one, whatever a registry forgets to say.
                // One that gives everything at a time gives the same again, and that ends it.
                (None, Some(last)) if count == PAGE && names.len() > known => {
                    let mut next = first.clone();
                    next.query_pairs_mut().append_pair("last", &last);
                    next
                }
                (None, _) => return Ok(sorted(names)),
            };
            if !seen.insert(url.clone()) {
                return Err(answer.untrusted("its pages lead in a circle"));
            }
            if seen.len() > self.authorizer.wire.limits().pages {
                return Err(answer.untrusted(format!("more than {} pages", seen.len() - 1)));
            }
        }
    }
}

#[derive(Deserialize)]
struct Page {
    name: Option<String>,
    tags: Option<Vec<String>>,
}

fn read(answer: &Answer) -> Result<Vec<String>, RegistryError> {
    if answer.status != StatusCode::OK {
        return Err(answer.failure());
    }
    match serde_json::from_slice(&answer.body) {
        Ok(Page { name: None, tags: None }) => Err(answer.untrusted("it is not a list of tags")),
        Ok(page) => Ok(page.tags.unwrap_or_default()),
        Err(error) => Err(answer.untrusted(format!("it is not a list of tags: {error}"))),
    }
}

/// Returns the next page's URL, which must be on the same server.
pub(super) fn next(answer: &Answer) -> Result<Option<Url>, RegistryError> {
    let mut links = Vec::new();
    for value in answer.headers.get_all(LINK) {
        links.push(value.to_str().map_err(|_| answer.untrusted("its Link is no text"))?);
    }
    let Some(target) = links.into_iter().find_map(next_target) else { return Ok(None) };
    match answer.url.join(target) {
        Ok(url) if address::same_origin(&url, &answer.url) => Ok(Some(url)),
        _ => {
            let target = printable(&answer.shown.taken_out_of(target), 120);
            Err(answer.untrusted(format!("its next page is elsewhere: {target}")))
        }
    }
}

/// Finds the target of `rel="next"` in `<target>; param=value, <target>; …`.
fn next_target(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, from)) = rest.split_once('<') {
        let (target, after) = from.split_once('>')?;
        let params = after.split('<').next().unwrap_or_default().trim_end().trim_end_matches(',');
        let is_next = params.split(';').any(|param| {
            let (name, value) = param.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .trim()
                    .trim_matches('"')
                    .split_ascii_whitespace()
                    .any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target);
        }
        rest = after;
    }
    None
}

fn sorted(names: BTreeSet<String>) -> TagList {
    let mut list = TagList::default();
    for name in names {
        match name.parse::<Tag>() {
            Ok(tag) => drop(list.tags.insert(tag)),
            Err(_) => list.invalid.push(printable(&name, 128)),
        }
    }
    list
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn links_are_read() {
        let check = |header, expect| assert_eq!(next_target(header), expect, "{header}");
        check(r#"</v2/a/tags/list?last=b&n=2>; rel="next""#, Some("/v2/a/tags/list?last=b&n=2"));
        check("<x>;rel=next", Some("x"));
        check(r#"<p>; rel="prev", <n?a=1,2;b>; title="t"; rel="last next""#, Some("n?a=1,2;b"));
        check(r#"<p>; rel="previous""#, None);
        check(r#"<p>; rel="nextish""#, None);
        check("<p", None);
        check("", None);
    }

    #[test]
    fn invalid_names_are_kept_apart() {
        let list = sorted(["b", "a", "../x", "\u{1b}[2J"].map(str::to_owned).into());
        let tags: Vec<_> = list.tags.iter().map(Tag::as_str).collect();
        assert_eq!(tags, ["a", "b"]);
        assert_eq!(list.invalid, ["\\u{1b}[2J", "../x"]);
    }
}

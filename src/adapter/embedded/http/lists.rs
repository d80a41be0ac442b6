//! Lists (distribution-spec, "Listing Tags", "Listing Referrers").

use std::collections::BTreeMap;

use axum::http::{HeaderName, StatusCode, header};
use oci_client::manifest::ImageIndexEntry;
use serde_json::json;

use super::answer::{Answer, Refusal, answer};
use super::app::{App, blocking};
use crate::adapter::embedded::index::Name;
use crate::adapter::embedded::store::Referrer;
use crate::model::{Descriptor, Digest, RawManifest};

/// Lists tags in their byte order, `n` at a time after `last`.
pub async fn tags(app: &App, name: Name, query: &BTreeMap<String, String>) -> Result<Answer, Refusal> {
    let most = match query.get("n").map(|text| text.parse::<usize>()) {
        None => usize::MAX,
        Some(Ok(most)) => most,
        Some(Err(_)) => {
            let message = "n must be a number of tags";
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "PAGINATION_NUMBER_INVALID", message));
        }
    };
    let (store, asked) = (app.store.clone(), name.clone());
    let Some(mut tags) = blocking(move || store.tags(&asked)).await? else {
        let message = format!("no repository {name}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message));
    };
    if let Some(last) = query.get("last") {
        tags.retain(|tag| tag.as_str() > last.as_str());
    }
    let is_cut = tags.len() > most;
    tags.truncate(most);
    // An empty page has no last tag, so it gets no link either, as the specification wants.
    let link = tags
        .last()
        .filter(|_| is_cut)
        .map(|last| (header::LINK, format!("</v2/{name}/tags/list?n={most}&last={last}>; rel=\"next\"")));
    let tags: Vec<&str> = tags.iter().map(crate::model::Tag::as_str).collect();
    let body = json!({ "name": name.as_str(), "tags": tags });
    let kind = (header::CONTENT_TYPE, "application/json".to_owned());
    answer(StatusCode::OK, [kind].into_iter().chain(link), body.to_string())
}

/// Lists what refers to a manifest, as an index; an empty one where nothing does.
pub async fn referrers(
    app: &App,
    name: Name,
    subject: Digest,
    query: &BTreeMap<String, String>,
) -> Result<Answer, Refusal> {
    let store = app.store.clone();
    let mut found = blocking(move || store.referrers(&name, &subject)).await?;
    let wanted = query.get("artifactType");
    if let Some(wanted) = wanted {
        found.retain(|referrer| referrer.artifact_type.as_ref() == Some(wanted));
    }
    let manifests = found.into_iter().map(|Referrer { digest, kind, artifact_type, annotations }| {
        let described = Descriptor::new(kind.media_type.as_str(), digest, kind.size);
        let annotations = Some(annotations).filter(|annotations| !annotations.is_empty());
        ImageIndexEntry { artifact_type, annotations, ..described.into() }
    });
    let index = RawManifest::of_index(manifests.collect());
    let kind = (header::CONTENT_TYPE, index.media_type().to_string());
    let filter = wanted.map(|_| (HeaderName::from_static("oci-filters-applied"), "artifactType".to_owned()));
    answer(StatusCode::OK, [kind].into_iter().chain(filter), index.bytes().clone())
}

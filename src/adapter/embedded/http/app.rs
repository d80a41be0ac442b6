//! What the handlers share: the store, what a request asks for, and work that blocks.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::StatusCode;

use super::answer::Refusal;
use crate::adapter::embedded::key::Key;
use crate::adapter::embedded::upload::Sessions;
use crate::adapter::embedded::{EmbeddedError, Store};

/// Called with `METHOD path status` for each request that was answered.
pub type OnRequest = Arc<dyn Fn(&str) + Send + Sync>;

/// What requests share.
#[derive(Clone)]
pub(super) struct App {
    pub store: Store,
    pub key: Key,
    pub sessions: Arc<Sessions>,
    pub on_request: Option<OnRequest>,
}

/// Reads the query; of a name given twice the last value counts.
pub(super) fn query(request: &Request) -> Result<BTreeMap<String, String>, Refusal> {
    let query = request.uri().query().unwrap_or_default();
    let url = reqwest::Url::parse(&format!("http://localhost/?{query}"))
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, "UNSUPPORTED", error.to_string()))?;
    Ok(url.query_pairs().into_owned().collect())
}

/// Runs file work on a blocking thread.
pub(super) async fn blocking<T, E>(work: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Refusal>
where
    T: Send + 'static,
    E: Into<Refusal> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(EmbeddedError::CutOff.into()),
    }
}

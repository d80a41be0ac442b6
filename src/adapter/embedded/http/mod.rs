//! The distribution API over HTTP: requests are read into model values, the store does the
//! work on blocking threads, answers are written.
//!
//! Everybody on the same machine can reach loopback, so a request has to show the key of this run;
//! and a browser can, so one for another host (DNS rebinding) or from a web page (`Origin`) is
//! turned away before that.

mod answer;
mod app;
mod blobs;
mod lists;
mod manifests;
mod route;
mod uploads;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};

use self::answer::{Answer, Refusal, answer};
use self::app::{App, query};
use self::route::{Route, route};
use super::Store;
use super::key::Key;
use crate::model::is_loopback;

pub use self::app::OnRequest;

/// Builds the service.
pub fn app(store: Store, key: Key, on_request: Option<OnRequest>) -> Router {
    Router::new().fallback(respond).with_state(App { store, key, sessions: Arc::default(), on_request })
}

async fn respond(State(app): State<App>, request: Request) -> Answer {
    let asked = app.on_request.as_ref().map(|_| format!("{} {}", request.method(), request.uri()));
    let mut answer = dispatch(&app, request).await.unwrap_or_else(Refusal::into_answer);
    answer.headers_mut().insert(
        HeaderName::from_static("docker-distribution-api-version"),
        HeaderValue::from_static("registry/2.0"),
    );
    if let (Some(on_request), Some(asked)) = (&app.on_request, asked) {
        on_request(&format!("{asked} {}", answer.status().as_u16()));
    }
    answer
}

async fn dispatch(app: &App, request: Request) -> Result<Answer, Refusal> {
    check_origin(&request)?;
    if !app.key.opens(request.headers()) {
        return Err(Refusal::unauthorized());
    }
    // The router drops the body of an answer to HEAD and keeps its Content-Length.
    let is_head = request.method() == Method::HEAD;
    let method = if is_head { Method::GET } else { request.method().clone() };
    match (route(request.uri().path())?, method) {
        (Route::Root, Method::GET) => {
            answer(StatusCode::OK, [(header::CONTENT_TYPE, "application/json".to_owned())], "{}")
        }
        (Route::Root, _) => Err(Refusal::method("GET, HEAD")),
        (Route::Manifest(name, at), Method::GET) => manifests::read(app, name, at).await,
        (Route::Manifest(name, at), Method::PUT) => manifests::write(app, name, at, request).await,
        (Route::Manifest(name, at), Method::DELETE) => manifests::delete(app, name, at).await,
        (Route::Manifest(..), _) => Err(Refusal::method("GET, HEAD, PUT, DELETE")),
        (Route::Blob(_, digest), Method::GET) if is_head => blobs::probe(app, digest).await,
        (Route::Blob(_, digest), Method::GET) => blobs::read(app, digest, request.headers()).await,
        (Route::Blob(..), _) => Err(Refusal::method("GET, HEAD")),
        (Route::Uploads(name), Method::POST) => uploads::begin(app, name, request).await,
        (Route::Uploads(_), _) => Err(Refusal::method("POST")),
        (Route::Upload(name, id), Method::GET) => uploads::status(app, name, id).await,
        (Route::Upload(name, id), Method::PATCH) => uploads::extend(app, name, id, request).await,
        (Route::Upload(name, id), Method::PUT) => uploads::finish(app, name, id, request).await,
        (Route::Upload(name, id), Method::DELETE) => uploads::cancel(app, name, id).await,
        (Route::Upload(..), _) => Err(Refusal::method("GET, HEAD, PATCH, PUT, DELETE")),
        (Route::Tags(name), Method::GET) => lists::tags(app, name, &query(&request)?).await,
        (Route::Tags(_), _) => Err(Refusal::method("GET, HEAD")),
        (Route::Referrers(name, subject), Method::GET) => {
            lists::referrers(app, name, subject, &query(&request)?).await
        }
        (Route::Referrers(..), _) => Err(Refusal::method("GET, HEAD")),
    }
}

/// Lets only requests pass that were meant for loopback and not made by a web page.
fn check_origin(request: &Request) -> Result<(), Refusal> {
    let denied = |message| Err(Refusal::new(StatusCode::FORBIDDEN, "DENIED", message));
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let named = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
        (Some(Ok(host)), None) => host,
        _ => return denied("exactly one Host header is needed"),
    };
    let authority = request.uri().authority().map(axum::http::uri::Authority::as_str);
    if !is_loopback(named) || !authority.is_none_or(is_loopback) {
        return denied("this registry answers only to loopback host names");
    }
    if request.headers().contains_key(header::ORIGIN) {
        return denied("this registry does not answer to web pages");
    }
    Ok(())
}

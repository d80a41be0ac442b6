//! What is known of one server for as long as the process lives, and one exchange with it.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Method, StatusCode};
use tokio::time::Instant;

use super::answer::Answer;
use super::broken::Broken;
use super::clock::RegistryClock;
use super::gate::{ConcurrencyLimit, Pass};
use super::limits::Limits;
use super::login::Login;
use super::request::{Request, SMALL};
use super::rest::{BodyStream, before};
use super::retry::Budget;
use super::shown::SentSecrets;
use crate::adapter::locked::locked;

pub(super) struct Host {
    /// Its name, as in references.
    pub(super) name: String,
    pub(super) clock: RegistryClock,
    pub(super) login: Login,
    /// It answers no HEAD of manifests.
    pub(super) cannot_head: AtomicBool,
    /// It keeps no lists of referrers.
    pub(super) no_referrers: AtomicBool,
    /// It deletes tags alone, as was seen.
    pub(super) deletes_tags: AtomicBool,
    pub(super) gate: Arc<ConcurrencyLimit>,
    pub(super) budget: Budget,
    client: Client,
    /// Nothing is sent before this moment, because the registry asked so in these words.
    hold: Mutex<Option<(Instant, String)>>,
    /// Since when connections are refused.
    down: Mutex<Option<Instant>>,
    /// Until when waits have been told of.
    told: Mutex<Option<Instant>>,
}

impl Host {
    pub(super) fn new(name: String, client: Client, limits: &Limits) -> Self {
        Self {
            name,
            clock: RegistryClock::default(),
            login: Login::default(),
            cannot_head: AtomicBool::new(false),
            no_referrers: AtomicBool::new(false),
            deletes_tags: AtomicBool::new(false),
            gate: ConcurrencyLimit::new(limits.connections),
            budget: Budget::new(limits.retries),
            client,
            hold: Mutex::default(),
            down: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// Returns until when the registry wants to be left alone, and why.
    pub(super) fn held(&self) -> Option<(Instant, String)> {
        locked(&self.hold).clone()
    }

    /// Leaves the registry alone for so long.
    pub(super) fn hold(&self, span: Duration, why: String) {
        let until = Instant::now() + span;
        let mut hold = locked(&self.hold);
        if hold.as_ref().is_none_or(|(other, _)| *other < until) {
            *hold = Some((until, why));
        }
    }

    /// The patience with a host that refuses connections is shared by all its requests:
    /// two hundred of them must not wait one after the other.
    pub(super) fn wait_while_down(&self, limits: &Limits) -> Option<Duration> {
        let since = *locked(&self.down).get_or_insert_with(Instant::now);
        (since.elapsed() < limits.refused).then(|| limits.refused / 8)
    }

    /// Tells whether a wait until then is news: of many requests that wait for one host one
    /// says so.
    pub(super) fn is_news(&self, until: Instant) -> bool {
        let mut told = locked(&self.told);
        let is_news = told.is_none_or(|told| until > told + Duration::from_millis(500));
        if is_news {
            *told = Some(until);
        }
        is_news
    }

    /// Sends a request once and reads the answer.
    ///
    /// What is streamed, either way, has no pass while it is: its one end may wait for its other.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        pass: Option<Pass>,
        idle: Duration,
    ) -> Result<Answer, Broken> {
        let Request { method, url, headers, body, .. } = request.clone();
        let mut sending = self.client.request(method.clone(), url.clone()).headers(headers);
        if matches!(method, Method::PUT | Method::POST | Method::PATCH) {
            sending = sending.body(body.into_body());
        }
        // Whoever fills a pipe sees to it that the request goes on.
        let response = match request.is_piped() {
            true => sending.send().await?,
            false => before(idle, sending.send()).await??,
        };
        *locked(&self.down) = None;
        let (status, headers) = (response.status(), response.headers().clone());
        match (status, &pass) {
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(pass)) => {
                pass.pushed_back()
            }
            (status, Some(pass)) if !status.is_server_error() => pass.answered(),
            _ => {}
        }
        let (body, shown) = (Bytes::new(), SentSecrets::by(request));
        let mut answer = Answer { method, url, status, headers, body, rest: None, shown, scope: None };
        let mut rest = BodyStream::new(response, idle);
        match request.limit {
            None if status.is_success() => answer.rest = Some(rest),
            limit => {
                let limit = limit.filter(|_| status.is_success()).unwrap_or(SMALL);
                answer.body = rest.whole(limit, status.is_success()).await?;
            }
        }
        self.clock.observe(&answer);
        Ok(answer)
    }
}

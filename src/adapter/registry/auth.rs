//! Authorization: anonymous, Basic, or a token for each scope.
//!
//! Nothing is sent before the registry asks for it; from then on its way of asking is
//! remembered, so that each further scope costs one token request and no 401. Credentials
//! travel only to the registry they were looked up for, and to its token service
//! ([`super::realm`]). Over plain http they travel only to hosts that are plain by
//! declaration or loopback (rule S2; loopback counts as declared).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;

use super::answer::Answer;
use super::challenge::{self, Challenge};
use super::host::Host;
use super::login::{Scheme, Token};
use super::request::Request;
use super::wire::Transport;
use super::{address, realm};
use crate::adapter::credentials::{Credential, Credentials, Secret};
use crate::adapter::locked::locked;
use crate::model::printable;
use crate::port::{Failure, RegistryError};

/// The shortest time a token is taken to live; the token specification sets it, because
/// some services say less, or nothing (docs.docker.com, "Token Response Fields").
const SHORTEST_LIFE: u64 = 60;

/// Sends requests with the authorization that they need.
pub(super) struct Authorizer {
    pub(super) wire: Transport,
    pub(super) credentials: Arc<Credentials>,
    pub(super) realms: BTreeMap<String, String>,
}

impl Authorizer {
    /// Sends `request`; a 401 is answered once by fresh authorization for `scope`, words that
    /// are separated by spaces. Of a piped body nothing is left to send: its 401 is returned,
    /// and what is sent next has the fresh authorization.
    pub(super) async fn send(
        &self,
        request: &Request,
        scope: &str,
        deadline: Instant,
    ) -> Result<Answer, RegistryError> {
        let host = self.wire.host(&request.url)?;
        let first = self.authorization(&host, request, scope, None, deadline).await?;
        let answer = self.wire.send(&with(request, first.as_ref()), deadline).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(challenge) = challenge::read(&answer.headers) else { return Ok(answer) };
        let scheme = self.checked(challenge, request, &answer)?;
        *locked(&host.login.scheme) = Some(scheme);
        let second = self.authorization(&host, request, scope, first.as_ref(), deadline).await?;
        if second.is_none() || second == first || request.is_piped() {
            return Ok(answer);
        }
        self.wire.send(&with(request, second.as_ref()), deadline).await
    }

    fn checked(
        &self,
        challenge: Challenge,
        request: &Request,
        answer: &Answer,
    ) -> Result<Scheme, RegistryError> {
        let Challenge::Bearer { realm, service } = challenge else { return Ok(Scheme::Basic) };
        match realm::check(&realm, &request.url, &self.realms) {
            Ok(realm) => Ok(Scheme::Bearer { realm, service }),
            Err(why) => {
                let realm = printable(&answer.shown.taken_out_of(&realm), 120);
                Err(answer.untrusted(format!("token service {realm} is refused: {why}")))
            }
        }
    }

    /// Returns the header to send; `stale` is one that has just been turned down.
    async fn authorization(
        &self,
        host: &Host,
        request: &Request,
        scope: &str,
        stale: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let Some(scheme) = locked(&host.login.scheme).clone() else { return Ok(None) };
        let registry = address::host(&request.url);
        // Behind it may be a program's run: large, and rarely needed.
        let credential = Box::pin(self.credentials.lookup(&registry, repository_of(scope))).await;
        let header = match (scheme, credential.map_err(|failure| request.error(failure))?) {
            (Scheme::Basic, Credential::Basic { user, password }) => basic_header(&user, &password),
            (Scheme::Basic, _) => return Ok(None),
            (Scheme::Bearer { .. }, Credential::Bearer(token)) => {
                secret_header(&format!("Bearer {}", token.expose()))
            }
            (Scheme::Bearer { realm, service }, credential) => {
                let slot = locked(&host.login.tokens).entry(scope.to_owned()).or_default().clone();
                // Of many tasks that need this token, one fetches it.
                let mut slot = slot.lock().await;
                if let Some(token) = slot.as_ref()
                    && Some(&token.header) != stale
                    && Instant::now() < token.until
                {
                    return Ok(Some(token.header.clone()));
                }
                let is_guarded = self.wire.guards(&request.url, &realm);
                let asking = token_request(realm, service, scope, &credential).guarded(is_guarded);
                let token = self.fetch(asking, deadline).await?;
                return Ok(Some(slot.insert(token).header.clone()));
            }
        };
        let unfit = || Failure::Credentials { detail: "a user, password or token no header can hold".into() };
        header.ok_or_else(|| request.error(unfit())).map(Some)
    }

    pub(super) async fn fetch(&self, request: Request, deadline: Instant) -> Result<Token, RegistryError> {
        let answer = self.wire.send(&request, deadline).await?;
        if answer.status != StatusCode::OK {
            return Err(answer.failure());
        }
        let unfit = || answer.untrusted("it holds no token");
        let body: TokenBody = serde_json::from_slice(&answer.body).map_err(|_| unfit())?;
        let text = body.token.or(body.access_token).filter(|text| !text.is_empty()).ok_or_else(unfit)?;
        let header = secret_header(&format!("Bearer {text}")).ok_or_else(unfit)?;
        // A day is as good as forever here, and cannot overflow.
        let life = body.expires_in.unwrap_or(0).clamp(SHORTEST_LIFE, 86_400);
        Ok(Token { header, until: Instant::now() + Duration::from_secs(life) })
    }
}

/// Returns the repository that rights are for, the first one if there are several.
fn repository_of(scope: &str) -> Option<&str> {
    scope.strip_prefix("repository:")?.split(':').next()
}

/// Builds the token request: GET with Basic (docs.docker.com, "Token Authentication
/// Specification"), or the OAuth2 POST for an identity token.
pub(super) fn token_request(
    mut realm: Url,
    service: Option<String>,
    scope: &str,
    credential: &Credential,
) -> Request {
    let mut params: Vec<(&str, &str)> = Vec::new();
    if let Some(service) = &service {
        params.push(("service", service));
    }
    params.extend(scope.split_ascii_whitespace().map(|scope| ("scope", scope)));
    if let Credential::IdentityToken(token) = credential {
        params.extend([("grant_type", "refresh_token"), ("client_id", "boxwright")]);
        params.push(("refresh_token", token.expose()));
        // A URL's query is the one place at hand that encodes forms.
        let mut form = realm.clone();
        form.set_query(None);
        form.query_pairs_mut().extend_pairs(params);
        let body = Bytes::from(form.query().unwrap_or_default().to_owned());
        return Request::new(Method::POST, realm).body("application/x-www-form-urlencoded", body);
    }
    realm.query_pairs_mut().extend_pairs(params);
    let request = Request::new(Method::GET, realm);
    let Credential::Basic { user, password } = credential else { return request };
    with(&request, basic_header(user, password).as_ref())
}

fn with(request: &Request, authorization: Option<&HeaderValue>) -> Request {
    match authorization {
        Some(value) => request.clone().header(AUTHORIZATION, value.clone()),
        None => request.clone(),
    }
}

pub(super) fn basic_header(user: &str, password: &Secret) -> Option<HeaderValue> {
    let pair = STANDARD.encode(format!("{user}:{}", password.expose()));
    secret_header(&format!("Basic {pair}"))
}

pub(super) fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[derive(Deserialize)]
struct TokenBody {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

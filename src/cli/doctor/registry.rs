//! The registry: whether it answers, who one is to it, and what one may do there.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};

use super::check::{Check, State, bounded};
use super::settings::Found;
use crate::adapter::credentials::{Credentials, Origin};
use crate::adapter::embedded::{EmbeddedServer, PortChoice};
use crate::adapter::registry::{AwsKeys, Greeting, HostConfig, HttpRegistry, Limits};
use crate::cli::ci::Trust;
use crate::cli::error::{CliError, exit};
use crate::cli::figures::duration;
use crate::cli::session::Loaded;
use crate::config::RegistryChoice;
use crate::model::{Repository, Span, Tag, Timestamp};
use crate::port::{DeleteSupport, Failure, Registry as _, RegistryError, RegistryReader as _};
use crate::protocol::MARGIN;

/// A helper that takes longer than this holds up every command.
const SLOW: Duration = Duration::from_secs(2);
/// Clocks further apart than this trouble tokens and certificates.
const APART: u64 = 60;
/// How far apart the answers of one registry may date themselves.
const SPREAD: u64 = 5;
/// How often the time is asked for.
const SAMPLES: usize = 4;
/// Repositories that are asked about at once.
const AT_ONCE: usize = 8;

pub async fn look(found: &Found) -> Vec<Check> {
    let Some(loaded) = &found.loaded else { return Vec::new() };
    let (Some(credentials), Some(declared)) = (&found.credentials, &found.declared) else {
        return vec![];
    };
    let mut server = None;
    let registry = match &loaded.project.registry {
        RegistryChoice::Remote(registry) => registry.clone(),
        RegistryChoice::Embedded => match open(found).await {
            Ok(Some(opened)) => server.insert(opened).addr().to_string(),
            Ok(None) => {
                let text = "embedded, and nothing is kept there yet: the first build makes it";
                return vec![Check::ok("registry", text)];
            }
            Err(error) => {
                let remedy =
                    "does another command serve it? else move .boxwright away; its images are built again";
                return vec![Check::problem("registry", exit::FAILED, error.text(), remedy)];
            }
        },
    };
    let credentials = match &server {
        Some(server) => Arc::new(Credentials::anonymous().with_own(registry.clone(), server.credential())),
        None => Arc::clone(credentials),
    };
    let checks = at(&registry, loaded, credentials, declared.clone(), &found.trust).await;
    if let Some(server) = server {
        server.stop().await;
    }
    checks
}

/// Serves the embedded store, if there is one.
async fn open(found: &Found) -> Result<Option<EmbeddedServer>, CliError> {
    match found.store().filter(|home| home.join("registry").exists()) {
        Some(home) => Ok(Some(EmbeddedServer::start(&home, PortChoice::Remembered, None).await?)),
        None => Ok(None),
    }
}

async fn at(
    registry: &str,
    loaded: &Loaded,
    credentials: Arc<Credentials>,
    declared: HostConfig,
    trust: &Trust,
) -> Vec<Check> {
    let names = loaded.project.boxes.iter().map(|spec| spec.repository.as_str());
    let names = std::iter::once(loaded.project.ledger.as_str()).chain(names);
    let mut repositories: Vec<Repository> = Vec::new();
    for name in names {
        match Repository::new(registry, name) {
            Ok(repository) if repositories.contains(&repository) => {}
            Ok(repository) => repositories.push(repository),
            Err(error) => {
                let remedy = "mend `registry`, `ledger` or `repository` in boxwright.toml";
                return vec![Check::problem("registry", exit::USAGE, error.to_string(), remedy)];
            }
        }
    }
    let Some(host) = repositories.first().map(|first| first.host().to_owned()) else { return Vec::new() };
    // A person waits: what does not answer soon is told, not waited for.
    let limits =
        Limits { tries: 2, refused: Duration::ZERO, deadline: Duration::from_secs(8), ..Limits::default() };
    let client = match HttpRegistry::new(Arc::clone(&credentials), declared, limits) {
        Ok(client) => client.signing(AwsKeys::from_environment(|name| std::env::var(name).ok())),
        Err(error) => {
            let remedy = "mend `ca`, `client-certificate` and `client-key` in hosts.toml";
            return vec![Check::problem("registry", exit::USAGE, CliError::from(error).text(), remedy)];
        }
    };
    let greeted = bounded("registry", greet(&client, &host, &repositories[0])).await;
    let (check, greeting) = greeted.unwrap_or_else(|late| (late, None));
    let mut checks = vec![check];
    let known = bounded("credentials", origin(&credentials, &repositories[0], registry))
        .await
        .unwrap_or_else(|late| late);
    let can_ask = known.code == exit::DONE;
    checks.push(known);
    let Some(greeting) = greeting else { return checks };
    checks.push(bounded("clock", clock(&client, &host, greeting)).await.unwrap_or_else(|late| late));
    if can_ask {
        let client = &client;
        checks.push(pull(client, &repositories).await);
        // Whoever may not even read is told so once.
        if checks.last().is_some_and(|pull| pull.state == State::Ok) {
            checks.push(push(client, &repositories, trust).await);
            checks.push(delete(client, &repositories, trust).await);
        }
    }
    checks
}

async fn greet(client: &HttpRegistry, host: &str, repository: &Repository) -> (Check, Option<Greeting>) {
    let (greeting, remedy) = match client.greet(host).await {
        Err(error) => return (unreachable(&error, host), None),
        Ok(greeting) => {
            (greeting, "is it a registry? `registry` in boxwright.toml has no https:// and no /v2/")
        }
    };
    let Greeting { status, api, url, .. } = &greeting;
    if !matches!(status, 200 | 401) {
        let finding = format!("{url} answers {status}");
        let code = if matches!(status, 429 | 500..) { exit::UNREACHABLE } else { exit::USAGE };
        return (Check::problem("registry", code, finding, remedy), None);
    }
    let api = api.as_deref().unwrap_or("no API version named");
    let provider = client.provider_of(repository);
    let finding = format!("{url} answers ({api}), treated as {provider}");
    let is_here =
        ["http://127.", "http://localhost", "http://[::1]"].iter().any(|here| url.starts_with(here));
    let check = if url.starts_with("https://") || is_here {
        Check::ok("registry", finding)
    } else {
        let remedy =
            "credentials and images travel in the open; take `plain-http` out of hosts.toml if it has TLS";
        Check::warning("registry", format!("{finding}, without TLS"), remedy)
    };
    (check, Some(greeting))
}

fn unreachable(error: &RegistryError, host: &str) -> Check {
    let detail = error.to_string().to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    let remedy = if says(&["corrupt message", "invalidcontenttype", "wrong version"]) {
        format!(
            "it speaks no TLS: [host.\"{host}\"] with `plain-http = true` in hosts.toml, if that is meant"
        )
    } else if says(&["certificate", "unknownissuer"]) {
        format!("[host.\"{host}\"] with `ca = \"/path/to/ca.pem\"` in hosts.toml trusts its issuer")
    } else if says(&["dns", "lookup", "resolve"]) {
        "is the name right? `registry` in boxwright.toml, or --registry".to_owned()
    } else if says(&["proxy"]) {
        "HTTPS_PROXY and NO_PROXY decide, and `proxy = false` in hosts.toml goes past them".to_owned()
    } else {
        "is it running, and can this machine reach it? `registry` in boxwright.toml names it".to_owned()
    };
    Check::problem("registry", exit::UNREACHABLE, error.to_string(), remedy)
}

async fn origin(credentials: &Credentials, repository: &Repository, registry: &str) -> Check {
    let (began, host) = (Instant::now(), repository.host());
    let found = credentials.origin(host, Some(repository.name())).await;
    if let (Ok(_), Some(why)) = (&found, credentials.withheld(host, repository.name(), registry)) {
        return Check::warning("credentials", why, "what only the repository names is shown nothing");
    }
    let took = began.elapsed();
    match found {
        Ok(Origin::Helper { program, file }) if took > SLOW => Check::warning(
            "credentials",
            format!("{program} took {}, named by {}", duration(took.as_secs_f64()), file.display()),
            "every command that logs in waits so long; `docker login` without the helper would not",
        ),
        Ok(Origin::Helper { program, file }) => {
            Check::ok("credentials", format!("for {host} from {program}, named by {}", file.display()))
        }
        Ok(Origin::Variables(names)) => Check::ok("credentials", format!("for {host} from {names}")),
        Ok(Origin::File(file)) if is_open(&file) => Check::warning(
            "credentials",
            format!("for {host} from {}, which others on this machine can read", file.display()),
            format!("`chmod 600 {}`", file.display()),
        ),
        Ok(Origin::File(file)) => Check::ok("credentials", format!("for {host} from {}", file.display())),
        Ok(Origin::Own) => Check::ok("credentials", "for the embedded registry, made for this run"),
        Ok(Origin::Nowhere) => Check::ok("credentials", format!("none for {host}: it is met anonymously")),
        Err(failure) => {
            let remedy = match failure.to_string() {
                text if text.contains("is not in PATH") => {
                    "install the helper, or take it out of `credsStore` or `credHelpers` and `docker login` again"
                }
                text if text.contains("no answer within") => {
                    "it waits for something, perhaps a locked keyring; run it by hand: `echo HOST | docker-credential-NAME get`"
                }
                text if text.contains("docker-credential-") => {
                    "run it by hand to see why: `echo HOST | docker-credential-NAME get`"
                }
                _ => "mend or remove the file; `docker login` writes a new one",
            };
            Check::problem("credentials", exit::USAGE, failure.to_string(), remedy)
        }
    }
}

fn is_open(file: &Path) -> bool {
    file.metadata().is_ok_and(|found| found.permissions().mode() & 0o077 != 0)
}

/// How far a registry's time is from this machine's, in seconds; positive if it is ahead.
fn ahead(date: Option<Timestamp>) -> Option<i64> {
    let here = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    Some(date?.unix() - i64::try_from(here).ok()?)
}

/// Compares the registry's clock with ours, and its answers with each other: more than one
/// machine may answer for it.
async fn clock(client: &HttpRegistry, host: &str, first: Greeting) -> Check {
    let mut seen: Vec<i64> = ahead(first.date).into_iter().collect();
    for _ in 1..SAMPLES {
        seen.extend(client.greet(host).await.ok().and_then(|greeting| ahead(greeting.date)));
    }
    judged(&seen)
}

fn judged(seen: &[i64]) -> Check {
    let (Some(least), Some(most)) = (seen.iter().min(), seen.iter().max()) else {
        let remedy = "leases need its `Date`; a proxy before it may take that away";
        return Check::problem("clock", exit::UNREACHABLE, "the registry does not tell its time", remedy);
    };
    let (spread, apart) = (most.abs_diff(*least), least.abs().max(most.abs()).unsigned_abs());
    let of = |seconds| Span::from_seconds(seconds);
    let (margin, span) = (MARGIN, of(apart));
    if spread > SPREAD {
        let finding = format!("answers of the registry are up to {} apart from each other", of(spread));
        let remedy = format!(
            "more than one machine answers for it, and their clocks differ; leases allow for {margin} at most: set them by NTP"
        );
        return match spread >= margin.seconds() {
            true => Check::problem("clock", exit::FAILED, finding, remedy),
            false => Check::warning("clock", finding, remedy),
        };
    }
    let side = if *least < 0 { "behind" } else { "ahead of" };
    let finding = format!("the registry's is {span} {side} this machine's");
    let remedy = "set the wrong one by NTP (`timedatectl`); leases go by the registry's alone, tokens and certificates by both";
    if apart >= margin.seconds() {
        let finding = format!("{finding}, more than the {margin} that a lease leaves before its end");
        Check::problem("clock", exit::FAILED, finding, remedy)
    } else if apart > APART {
        Check::warning("clock", finding, remedy)
    } else if apart < 2 {
        Check::ok("clock", "the registry's and this machine's agree")
    } else {
        Check::ok("clock", finding)
    }
}

/// Asks about every repository at once; returns how many were asked, and the first failure.
async fn each<F: Future<Output = Result<T, RegistryError>>, T>(
    check: &'static str,
    repositories: &[Repository],
    ask: impl Fn(Repository) -> F,
) -> Result<Vec<T>, Check> {
    let all = stream::iter(repositories.to_vec()).map(ask).buffered(AT_ONCE).collect::<Vec<_>>();
    let answers = bounded(check, all).await?;
    let (count, failed) = (answers.len(), answers.iter().filter(|answer| answer.is_err()).count());
    let mut good = Vec::new();
    for answer in answers {
        good.push(answer.map_err(|error| refused(check, &error, failed, count))?);
    }
    Ok(good)
}

fn refused(check: &'static str, error: &RegistryError, failed: usize, count: usize) -> Check {
    let (code, remedy) = match &error.failure {
        Failure::Unauthorized { .. } => (
            exit::REFUSED,
            "the user or password is wrong, or there is none: `docker login HOST`, or BOXWRIGHT_REGISTRY_USERNAME and BOXWRIGHT_REGISTRY_PASSWORD with BOXWRIGHT_REGISTRY, which says for whom they are",
        ),
        Failure::Denied { .. } if check == "push" => (
            exit::REFUSED,
            "present boxes are used, missing ones cannot be built; give this account the right to push",
        ),
        Failure::Denied { .. } => (exit::REFUSED, "this account lacks that right; another one may have it"),
        Failure::Unsupported { .. } => {
            (exit::REFUSED, "it is read-only: present boxes are used, missing ones cannot be built")
        }
        Failure::Credentials { .. } => (exit::USAGE, "see credentials"),
        Failure::Status { .. }
        | Failure::Unreachable { .. }
        | Failure::Untrusted { .. }
        | Failure::TooLong { .. }
        | Failure::Source { .. } => {
            (exit::UNREACHABLE, "try again; if it stays so, ask whoever runs the registry")
        }
    };
    let finding = format!("fails for {failed} of {count} repositories: {error}");
    Check::problem(check, code, finding, remedy)
}

async fn pull(client: &HttpRegistry, repositories: &[Repository]) -> Check {
    let absent: Tag = match "boxwright-doctor".parse() {
        Ok(tag) => tag,
        Err(_) => unreachable!("it is a tag"),
    };
    let ask = async |repository: Repository| client.head(&repository, &absent.clone().into()).await.map(drop);
    match each("pull", repositories, ask).await {
        Ok(asked) => Check::ok("pull", format!("{} repositories can be read", asked.len())),
        Err(check) => check,
    }
}

async fn push(client: &HttpRegistry, repositories: &[Repository], trust: &Trust) -> Check {
    if let Some(why) = trust.why() {
        return Check::ok("push", format!("not tried, for this run is not trusted: {why}"));
    }
    let ask = async |repository: Repository| client.try_upload(&repository).await;
    match each("push", repositories, ask).await {
        Ok(asked) => {
            let left = asked.iter().filter(|is_cancelled| !**is_cancelled).count();
            let text = format!("an upload was begun and given up in {} repositories", asked.len());
            match left {
                0 => Check::ok("push", text),
                left => {
                    Check::ok("push", format!("{text}; {left} of them the registry lets expire by itself"))
                }
            }
        }
        Err(check) => check,
    }
}

async fn delete(client: &HttpRegistry, repositories: &[Repository], trust: &Trust) -> Check {
    if let Some(why) = trust.why() {
        return Check::ok("delete", format!("not tried, for this run is not trusted: {why}"));
    }
    let ask = async |repository: Repository| client.deleting(&repository).await;
    let keeps = "`clean` keeps everything there, and says so";
    match each("delete", repositories, ask).await {
        Ok(answers) if answers.contains(&DeleteSupport::Nothing) => Check::warning(
            "delete",
            "this registry, or this account, deletes nothing",
            format!(
                "{keeps}; docs/registries.md says what each provider needs (distribution: `delete: enabled: true`)"
            ),
        ),
        Ok(answers) if answers.iter().all(|one| *one == DeleteSupport::Tags) => {
            Check::ok("delete", "tags alone and manifests, as far as can be told without deleting")
        }
        Ok(_) => Check::ok(
            "delete",
            "manifests with all their tags, as far as can be told without deleting; a single tag goes with a stand-in",
        ),
        Err(check) => Check::warning(
            "delete",
            check.finding,
            format!("{keeps}; building and promoting need no such right"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_judged_by_the_margin_of_leases() {
        let margin = i64::try_from(MARGIN.seconds()).unwrap();
        for (seen, state, part) in [
            (&[0, -1][..], State::Ok, "agree"),
            (&[59, 60], State::Ok, "the registry's is 1m ahead of this"),
            (&[-61], State::Warning, "61s behind"),
            (&[margin], State::Problem, "more than the 10m that"),
            (&[-margin, -margin], State::Problem, "10m behind"),
            (&[0, 6], State::Warning, "6s apart from each other"),
            (&[0, margin], State::Problem, "10m apart"),
            (&[], State::Problem, "does not tell its time"),
        ] {
            let check = judged(seen);
            assert_eq!(check.state, state, "{seen:?}");
            assert!(check.finding.contains(part), "{}", check.finding);
        }
    }
}

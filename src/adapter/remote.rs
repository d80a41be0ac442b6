//! What outside sources hold now: git refs by the user's `git`, addresses by HTTP.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::StreamExt;
use reqwest::Url;
use reqwest::header::LOCATION;

use super::git::{self, AllowedRemotes, Git, Origin};
use super::registry::Guard;
use crate::model::{Digest, chain, printable};
use crate::port::{Remote, RemoteError};

/// How long a git remote may take to list its refs.
const GIT_LIMIT: Duration = Duration::from_secs(60);
/// How long an address may take to answer and between two pieces, and a list to its end.
const HTTP_LIMIT: Duration = Duration::from_secs(60);
/// How little may come in that time of what has no limit, in bytes.
const LEAST: u64 = 64 * 1024;
/// How many redirects are followed.
const REDIRECTS: usize = 5;

/// Reaches what a repository names, where the [`Guard`] and the user's own configuration let it.
#[derive(Clone)]
pub struct Remotes {
    hidden: Vec<String>,
    allowed: AllowedRemotes,
    guard: Guard,
    /// Where names of git remotes are looked up.
    root: PathBuf,
    limit: Duration,
}

impl Remotes {
    /// Lets git see all of the environment but the variables in `hidden`, and go where `allowed`
    /// and `guard` say. The names of remotes are those of the repository that `root` is in.
    pub fn new(hidden: Vec<String>, allowed: AllowedRemotes, guard: Guard, root: PathBuf) -> Self {
        Self { hidden, allowed, guard, root, limit: HTTP_LIMIT }
    }
}

#[async_trait]
impl Remote for Remotes {
    async fn commit(&self, url: &str, reference: &str) -> Result<Option<String>, RemoteError> {
        // The peeled form of a tag is asked for too: it is the commit behind the tag.
        let lines = self.ls_remote(url, &[reference, &format!("{reference}^{{}}")]).await?;
        choose(&lines, reference).map_err(|detail| failed(url, detail))
    }

    async fn refs(&self, url: &str) -> Result<BTreeSet<String>, RemoteError> {
        let lines = self.ls_remote(url, &[]).await?;
        let name = |line: &str| line.split_once('\t').map(|(_, name)| name.to_owned());
        let refs: Option<BTreeSet<String>> = lines.lines().map(name).collect();
        // A repository without any ref has lost them, or is not the one that was meant.
        refs.filter(|refs| !refs.is_empty()).ok_or_else(|| failed(url, "it lists no refs".to_owned()))
    }

    async fn text(&self, url: &str, limit: usize) -> Result<String, RemoteError> {
        let mut bytes = Vec::new();
        let fetch = self.fetch(url, |piece| {
            bytes.extend_from_slice(piece);
            if bytes.len() > limit { Err(format!("it serves more than {limit} bytes")) } else { Ok(()) }
        });
        tokio::time::timeout(self.limit, fetch)
            .await
            .map_err(|_| failed(url, format!("it took longer than {:?}", self.limit)))??;
        String::from_utf8(bytes).map_err(|_| failed(url, "it serves no text".to_owned()))
    }

    async fn checksum(&self, url: &str) -> Result<Digest, RemoteError> {
        let mut hash = sha2::Sha256::default();
        self.fetch(url, |piece| {
            sha2::Digest::update(&mut hash, piece);
            Ok(())
        })
        .await?;
        Ok(Digest::from_sha256(sha2::Digest::finalize(hash).into()))
    }
}

impl Remotes {
    /// Lists refs, outside any repository: what the address leads to is asked with nothing but the
    /// user's own configuration.
    async fn ls_remote(&self, url: &str, patterns: &[&str]) -> Result<String, RemoteError> {
        let origin = self.origin(url).await?;
        let route = self.allowed.check(&origin.url).map_err(|error| refused(&origin.url, &error))?;
        // A remote of this clone is where it came from: whoever cloned it has been there.
        let is_known = route.is_allowed || Origin::is_name(url);
        let settings = match is_known {
            // Where it leads to would have to be looked at as the address was.
            true => vec!["http.followRedirects=false".to_owned()],
            false => self.guard.git(&origin.url).await.map_err(|error| match error.is_lost() {
                true => failed(&origin.url, error.to_string()),
                false => refused(&origin.url, &error),
            })?,
        };
        match self.list(&origin, &origin.url, &settings, patterns).await {
            // GitLab sends everybody there who leaves the ending out.
            Err(error) if error.is_redirect() && !origin.url.ends_with(".git") => self
                .list(&origin, &format!("{}.git", origin.url), &settings, patterns)
                .await
                .map_err(|_| error),
            result => result,
        }
    }

    async fn list(
        &self,
        origin: &Origin,
        url: &str,
        settings: &[String],
        patterns: &[&str],
    ) -> Result<String, RemoteError> {
        let git = Git::of_the_user(&self.hidden).reaching(&self.allowed.protocols());
        let git = git.configured(&origin.headers);
        let settings: Vec<&str> = settings.iter().flat_map(|setting| ["-c", setting.as_str()]).collect();
        let command = git.command(&[&settings[..], &["ls-remote", "--", url], patterns].concat());
        let run = tokio::process::Command::from(command).kill_on_drop(true).output();
        let output = tokio::time::timeout(GIT_LIMIT, run)
            .await
            .map_err(|_| failed(url, format!("no answer within {} s", GIT_LIMIT.as_secs())))?
            .map_err(|error| failed(url, format!("git cannot be run: {error}")))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.replace(url, &without_login(url));
            return Err(failed(url, one_line(&said)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Finds what a name such as `origin` stands for; an address stands for itself.
    async fn origin(&self, url: &str) -> Result<Origin, RemoteError> {
        if !Origin::is_name(url) {
            return Ok(Origin::plain(url));
        }
        let (root, hidden, name) = (self.root.clone(), self.hidden.clone(), url.to_owned());
        let find = move || match git::find(&root, &hidden)? {
            Some(repository) => Origin::of(&repository, &name, &hidden),
            None => Ok(None),
        };
        let found = tokio::task::spawn_blocking(find).await;
        match found.map_err(|_| failed(url, "it was cut off".to_owned()))? {
            Ok(Some(origin)) => Ok(origin),
            Ok(None) => Err(failed(url, "it is neither an address nor the name of a remote here".to_owned())),
            Err(error) => Err(failed(url, format!("{error}; {}", error.remedy()))),
        }
    }

    /// Asks an address, and whatever it leads to; each may be looked at by the guard first.
    async fn answer(&self, url: &str) -> Result<reqwest::Response, RemoteError> {
        let broken = |error: reqwest::Error| failed(url, printable(&chain(&error.without_url()), 400));
        let mut at = Url::parse(url).map_err(|error| failed(url, error.to_string()))?;
        for _ in 0..=REDIRECTS {
            let refused = |why| match without_login(at.as_str()) {
                other if other == without_login(url) => failed(url, why),
                other => failed(url, format!("it leads to {other}: {why}")),
            };
            let client = self.guard.client(&at).map_err(refused)?;
            let mut asking = client.get(at.clone());
            // What is in front of a host is shown to that host, and to none that it leads to.
            if !at.username().is_empty() {
                asking = asking.basic_auth(at.username(), at.password());
            }
            let answer = asking.send().await.map_err(broken)?;
            match redirect(&answer).map_err(|why| failed(url, why))? {
                Some(next) => at = next,
                None => return Ok(answer),
            }
        }
        Err(failed(url, "too many redirects".to_owned()))
    }

    /// Hands on what an address serves, piece by piece and to its end.
    async fn fetch(
        &self,
        url: &str,
        mut take: impl FnMut(&[u8]) -> Result<(), String> + Send,
    ) -> Result<(), RemoteError> {
        let broken = |error: reqwest::Error| failed(url, printable(&chain(&error.without_url()), 400));
        let silent = |_| failed(url, format!("no answer within {:?}", self.limit));
        let answer = tokio::time::timeout(self.limit, self.answer(url)).await.map_err(silent)??;
        // A part of something is not it.
        if answer.status() != reqwest::StatusCode::OK {
            return Err(failed(url, format!("it answered {}", answer.status())));
        }
        let (expected, mut size) = (answer.content_length(), 0);
        let mut body = answer.bytes_stream();
        let (mut since, mut before) = (Instant::now(), 0);
        while let Some(piece) = tokio::time::timeout(self.limit, body.next()).await.map_err(silent)? {
            let piece = piece.map_err(broken)?;
            size += piece.len() as u64;
            take(&piece).map_err(|detail| failed(url, detail))?;
            if since.elapsed() >= self.limit {
                if size - before < LEAST {
                    return Err(failed(
                        url,
                        format!("it serves less than {LEAST} bytes in {:?}", self.limit),
                    ));
                }
                (since, before) = (Instant::now(), size);
            }
        }
        if expected.is_some_and(|expected| expected != size) {
            return Err(failed(url, "it ended early".to_owned()));
        }
        Ok(())
    }
}

/// Where an answer leads; never from https to anything else.
fn redirect(answer: &reqwest::Response) -> Result<Option<Url>, String> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let to = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
    let to = to.and_then(|to| answer.url().join(to).ok()).ok_or("it leads elsewhere, but not where to")?;
    let is_secure = to.scheme() == "https" || (to.scheme() == "http" && answer.url().scheme() == "http");
    if is_secure { Ok(Some(to)) } else { Err("it leads to an insecure place".to_owned()) }
}

fn failed(url: &str, detail: String) -> RemoteError {
    RemoteError { source_name: without_login(url), detail, is_refused: false }
}

fn refused(url: &str, error: &dyn std::fmt::Display) -> RemoteError {
    RemoteError { source_name: without_login(url), detail: error.to_string(), is_refused: true }
}

impl RemoteError {
    /// Tells whether git was sent elsewhere, as it words it.
    fn is_redirect(&self) -> bool {
        ["301", "302", "307", "308"]
            .iter()
            .any(|code| self.detail.contains(&format!("returned error: {code}")))
    }
}

/// What git said, on one line.
fn one_line(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    printable(&lines.join("; "), 400)
}

/// Chooses among the lines of `git ls-remote`: the ref by its full name, a branch, a tag, in
/// git's own order of preference the other way round (a branch is what one means by `main`).
fn choose(lines: &str, reference: &str) -> Result<Option<String>, String> {
    let find = |name: &str| {
        let found = lines.lines().filter_map(|line| line.split_once('\t')).find(|(_, at)| *at == name);
        found.map(|(commit, _)| commit.to_owned())
    };
    let tag = format!("refs/tags/{reference}");
    let branch = find(&format!("refs/heads/{reference}"));
    let tag = find(&format!("{tag}^{{}}")).or_else(|| find(&tag));
    if branch.is_some() && tag.is_some() && branch != tag {
        return Err(format!(
            "{reference} is a branch and a tag; write refs/heads/{reference} or refs/tags/{reference}"
        ));
    }
    let full = find(&format!("{reference}^{{}}")).or_else(|| find(reference));
    let commit = full.or(branch).or(tag);
    let is_commit = |commit: &String| {
        matches!(commit.len(), 40 | 64) && commit.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match commit {
        Some(commit) if is_commit(&commit) => Ok(Some(commit)),
        Some(commit) => Err(format!("it answered `{}`, which is no commit", printable(&commit, 80))),
        None => Ok(None),
    }
}

/// Leaves user and password out of an address.
fn without_login(url: &str) -> String {
    let clean = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or(host);
            if path.is_empty() { format!("{scheme}://{host}") } else { format!("{scheme}://{host}/{path}") }
        }
        None => url.to_owned(),
    };
    printable(&clean, 200)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::registry::{HostConfig, HostSettings};

    #[test]
    fn what_git_says_is_one_line() {
        let said = "fatal: 'x' is no repository\nfatal: Could not read.\n\nPlease make sure\n";
        assert_eq!(one_line(said), "fatal: 'x' is no repository; fatal: Could not read.; Please make sure");
    }

    const A: &str = "0123456789012345678901234567890123456789";
    const B: &str = "abcdefabcdefabcdefabcdefabcdefabcdefabcd";

    fn check(lines: &[(&str, &str)], reference: &str, expect: Result<Option<&str>, ()>) {
        let text: String = lines.iter().map(|(commit, name)| format!("{commit}\t{name}\n")).collect();
        let chosen = choose(&text, reference).map_err(|_| ());
        assert_eq!(chosen, expect.map(|commit| commit.map(str::to_owned)));
    }

    #[test]
    fn a_ref_is_a_branch_a_tag_or_a_full_name() {
        check(&[(A, "refs/heads/main"), (B, "refs/heads/x/main")], "main", Ok(Some(A)));
        check(&[(A, "refs/tags/v1"), (B, "refs/tags/v1^{}")], "v1", Ok(Some(B)));
        check(&[(A, "refs/pull/7/head")], "refs/pull/7/head", Ok(Some(A)));
        check(&[(A, "HEAD")], "HEAD", Ok(Some(A)));
        check(&[(B, "refs/heads/x/main")], "main", Ok(None));
        check(&[(A, "refs/heads/v1"), (B, "refs/tags/v1")], "v1", Err(()));
        check(&[("junk", "refs/heads/main")], "main", Err(()));
    }

    /// Serves this over and over, to everybody who asks; returns the address.
    async fn dripping(head: &'static str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                let mut sent = stream.write_all(head.as_bytes()).await;
                while sent.is_ok() {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    sent = stream.write_all(b"x").await;
                }
            }
        });
        url
    }

    /// Remotes that may reach the hosts of these addresses, wherever they are.
    fn reaching(urls: &[&str]) -> Remotes {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let host = |url: &&str| url.split('/').nth(2).unwrap().to_owned();
        let hosts = urls.iter().map(|url| (host(url), HostSettings::default())).collect();
        let guard = Guard::new(&HostConfig { hosts }).unwrap();
        Remotes::new(Vec::new(), AllowedRemotes::default(), guard, "/".into())
    }

    /// The address of a server is looked at, and that of what it leads to as well.
    #[tokio::test]
    async fn the_private_network_is_not_reached_by_an_address_nor_by_a_redirect() {
        const LEADS: &str = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/latest\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let url = dripping(LEADS).await;
        let refused = reaching(&[]).text(&url, 100).await.unwrap_err().to_string();
        assert!(refused.contains("an address of the private network"), "{refused}");
        let led = reaching(&[&url]).text(&url, 100).await.unwrap_err().to_string();
        assert!(led.contains("it leads to http://127.0.0.1:1/latest: it is an address of"), "{led}");
        let led = reaching(&[&url]).checksum(&url).await.unwrap_err().to_string();
        assert!(led.contains("it leads to"), "{led}");
    }

    #[tokio::test]
    async fn what_never_ends_is_not_waited_for_and_a_part_is_not_the_whole() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = dripping("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await;
        let slow = Remotes { limit: Duration::from_millis(300), ..reaching(&[&url]) };
        let long = Duration::from_secs(60);
        let text = tokio::time::timeout(long, slow.text(&url, 200_000_000)).await;
        assert!(text.unwrap().is_err());
        let checksum = tokio::time::timeout(long, slow.checksum(&url)).await;
        assert!(checksum.unwrap().is_err());
        let url = dripping("HTTP/1.1 206 Partial Content\r\ncontent-length: 1\r\n\r\n").await;
        let error = reaching(&[&url]).text(&url, 100).await.unwrap_err().to_string();
        assert!(error.contains("206"), "{error}");
    }

    #[test]
    fn logins_are_not_shown() {
        assert_eq!(without_login("https://me:secret@example.com/a.git"), "https://example.com/a.git");
        assert_eq!(without_login("git@example.com:a.git"), "git@example.com:a.git");
    }

    fn remotes(allowed: &[&str]) -> Remotes {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let allowed = allowed.iter().map(|one| (*one).to_owned()).collect();
        let guard = Guard::new(&crate::adapter::registry::HostConfig::default()).unwrap();
        Remotes::new(Vec::new(), AllowedRemotes::new(allowed), guard, "/".into())
    }

    #[tokio::test]
    async fn nothing_of_the_private_network_is_asked_but_what_the_user_names() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for url in ["https://127.0.0.1:1/x.git", "ssh://git@localhost:1/x", "https://10.0.0.1/x"] {
            let error = remotes(&[]).commit(url, "main").await.unwrap_err();
            assert!(error.is_refused, "{url}: {error}");
        }
        let error = remotes(&["https://127.0.0.1:1/"]).commit("https://127.0.0.1:1/x.git", "main").await;
        assert!(!error.unwrap_err().is_refused);
    }

    #[tokio::test]
    async fn a_local_repository_answers_whom_the_user_allows_and_a_missing_ref_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().to_str().unwrap();
        for arguments in [
            &["init", "-q", "-b", "main"][..],
            &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"],
            &["remote", "add", "me", at],
        ] {
            assert!(
                std::process::Command::new("git")
                    .args(["-C", at])
                    .args(arguments)
                    .status()
                    .unwrap()
                    .success()
            );
        }
        let head = std::process::Command::new("git").args(["-C", at, "rev-parse", "HEAD"]).output().unwrap();
        let head = String::from_utf8(head.stdout).unwrap().trim().to_owned();
        let allowing = remotes(&[at]);
        assert_eq!(allowing.commit(at, "main").await.unwrap(), Some(head.clone()));
        assert_eq!(allowing.commit(at, "absent").await.unwrap(), None);
        let missing = remotes(&["/"]).commit("/nowhere", "main").await.unwrap_err();
        assert!(missing.to_string().contains("/nowhere") && !missing.is_refused);
        // The name of a remote is looked up, and is no way round.
        let named = Remotes { root: at.into(), ..remotes(&[at]) };
        assert_eq!(named.commit("me", "main").await.unwrap(), Some(head));
        assert!(named.commit("other", "main").await.is_err());
        for (remotes, url) in [(remotes(&[]), at), (Remotes { root: at.into(), ..remotes(&[]) }, "me")] {
            assert!(remotes.commit(url, "main").await.unwrap_err().is_refused, "{url}");
        }
    }
}

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

/// A user's home with a Docker configuration and helpers.
struct Home(TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write(".docker/config.json", config);
        home
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Written by another process: a file that this one had open for writing cannot be run
    /// for as long as a fork on another thread holds it too.
    fn helper(&self, name: &str, script: &str) {
        let path = self.write(&format!("bin/docker-credential-{name}.sh"), &format!("#!/bin/sh\n{script}\n"));
        let copied = Command::new("install").arg("-m755").arg(&path).arg(path.with_extension("")).status();
        assert!(copied.unwrap().success());
    }

    fn credentials(&self, more: &[(&str, &str)]) -> Result<Credentials, SettingError> {
        let root = self.0.path().to_str().unwrap();
        let mut variables: HashMap<String, OsString> = HashMap::new();
        variables.insert("HOME".into(), root.into());
        variables.insert("PATH".into(), format!("{root}/bin:/usr/bin:/bin").into());
        for (name, value) in more {
            variables.insert((*name).into(), value.replace("$HOME", root).into());
        }
        Credentials::from_environment(Some("ghcr.io"), |name| variables.get(name).cloned())
    }

    async fn lookup(&self, host: &str) -> Result<Credential, Failure> {
        self.credentials(&[]).unwrap().lookup(host, None).await
    }
}

fn basic(user: &str, password: &str) -> Credential {
    Credential::Basic { user: user.to_owned(), password: Secret::new(password) }
}

fn detail(result: Result<Credential, Failure>) -> String {
    match result {
        Err(Failure::Credentials { detail }) => detail,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn dockers_configuration_is_read_by_host() {
    // base64 of `ann:s3:cret` and of `hub:pw`.
    let home = Home::new(
        r#"{"auths":{"ghcr.io":{"auth":"YW5uOnMzOmNyZXQ="},"https://index.docker.io/v1/":{"auth":"aHViOnB3"},
           "r.example:5000":{"identitytoken":"refresh"},"empty.example":{}},"HttpHeaders":{"a":"b"}}"#,
    );
    assert_eq!(home.lookup("ghcr.io").await.unwrap(), basic("ann", "s3:cret"));
    assert_eq!(home.lookup("docker.io").await.unwrap(), basic("hub", "pw"));
    assert_eq!(
        home.lookup("r.example:5000").await.unwrap(),
        Credential::IdentityToken(Secret::new("refresh"))
    );
    for other in ["r.example", "quay.io", "empty.example"] {
        assert_eq!(home.lookup(other).await.unwrap(), Credential::Anonymous, "{other}");
    }
}

/// containers-auth.json(5): of the entries for a repository, the namespaces that it is in and its
/// host, the most specific one counts.
#[tokio::test]
async fn the_nearest_namespace_decides() {
    // base64 of `box:pw`, `team:pw`, `host:pw` and `hub:pw`.
    let auths = r#"{"r.example/team/box":{"auth":"Ym94OnB3"},"r.example/team":{"auth":"dGVhbTpwdw=="},
        "r.example":{"auth":"aG9zdDpwdw=="},"docker.io/library":{"auth":"aHViOnB3"}}"#;
    let home = Home::new(&format!(r#"{{"auths":{auths}}}"#));
    let credentials = home.credentials(&[]).unwrap();
    for (repository, user) in [
        (Some("team/box"), "box"),
        (Some("team/box/part"), "box"),
        (Some("team/boxes"), "team"),
        (Some("team"), "team"),
        (Some("teams/box"), "host"),
        (Some("box"), "host"),
        (None, "host"),
    ] {
        let found = credentials.lookup("r.example", repository).await.unwrap();
        assert_eq!(found, basic(user, "pw"), "{repository:?}");
    }
    // What is for a part of a registry is for no other part, and not for the whole.
    let only = Home::new(r#"{"auths":{"r.example/team":{"auth":"dGVhbTpwdw=="}},"credsStore":"none"}"#);
    only.helper("none", "cat >/dev/null; echo credentials not found in native keychain; exit 1");
    let credentials = only.credentials(&[]).unwrap();
    assert_eq!(credentials.lookup("r.example", Some("team/box")).await.unwrap(), basic("team", "pw"));
    for other in [Some("box"), Some("teams"), None] {
        assert_eq!(credentials.lookup("r.example", other).await.unwrap(), Credential::Anonymous, "{other:?}");
    }
    let hub = home.credentials(&[]).unwrap();
    assert_eq!(hub.lookup("docker.io", Some("library/debian")).await.unwrap(), basic("hub", "pw"));
    assert_eq!(hub.lookup("docker.io", Some("ann/box")).await.unwrap(), Credential::Anonymous);
}

#[tokio::test]
async fn files_come_in_their_order() {
    // base64 of `named:pw`, `docker:pw`, `run:pw` and `user:pw`.
    let file = |hosts: &[&str], auth: &str| {
        let auths: serde_json::Map<_, _> =
            hosts.iter().map(|host| ((*host).to_owned(), serde_json::json!({ "auth": auth }))).collect();
        serde_json::json!({ "auths": auths }).to_string()
    };
    let home = Home::new(&file(&["a", "b"], "ZG9ja2VyOnB3"));
    home.write("named.json", &file(&["a"], "bmFtZWQ6cHc="));
    home.write("run/containers/auth.json", &file(&["a", "b", "c"], "cnVuOnB3"));
    home.write(".config/containers/auth.json", &file(&["a", "b", "c", "d"], "dXNlcjpwdw=="));
    let run = ("XDG_RUNTIME_DIR", "$HOME/run");
    let named = home.credentials(&[run, ("REGISTRY_AUTH_FILE", "$HOME/named.json")]).unwrap();
    for (host, user) in [("a", "named"), ("b", "docker"), ("c", "run"), ("d", "user")] {
        assert_eq!(named.lookup(host, None).await.unwrap(), basic(user, "pw"), "{host}");
    }
    assert_eq!(named.lookup("e", None).await.unwrap(), Credential::Anonymous);
    let usual = home.credentials(&[run]).unwrap();
    assert_eq!(usual.lookup("a", None).await.unwrap(), basic("docker", "pw"));
    let moved = home.credentials(&[("XDG_CONFIG_HOME", "$HOME/run")]).unwrap();
    assert_eq!(moved.lookup("d", None).await.unwrap(), Credential::Anonymous);
    assert_eq!(moved.lookup("c", None).await.unwrap(), basic("run", "pw"));
}

#[tokio::test]
async fn a_store_goes_before_what_the_file_holds() {
    let home = Home::new(
        r#"{"auths":{"a.example":{"auth":"aHViOnB3"},"b.example":{"auth":"aHViOnB3"}},"credsStore":"store"}"#,
    );
    home.helper(
        "store",
        r#"read -r host; [ "$host" = a.example ] || { echo credentials not found in native keychain; exit 1; }
           echo '{"Username":"kept","Secret":"pw"}'"#,
    );
    assert_eq!(home.lookup("a.example").await.unwrap(), basic("kept", "pw"));
    assert_eq!(home.lookup("b.example").await.unwrap(), basic("hub", "pw"));
}

#[tokio::test]
async fn the_environment_is_for_one_host() {
    let home = Home::new("{}");
    let pair = [("BOXWRIGHT_REGISTRY_USERNAME", "ci"), ("BOXWRIGHT_REGISTRY_PASSWORD", "pw")];
    let credentials = home.credentials(&pair).unwrap();
    assert_eq!(credentials.lookup("ghcr.io", None).await.unwrap(), basic("ci", "pw"));
    assert_eq!(credentials.lookup("docker.io", None).await.unwrap(), Credential::Anonymous);
    let credentials = home.credentials(&[pair[0], pair[1], ("BOXWRIGHT_REGISTRY_TOKEN", "t")]).unwrap();
    assert_eq!(credentials.lookup("ghcr.io", None).await.unwrap(), Credential::Bearer(Secret::new("t")));
    assert_eq!(home.credentials(&pair[..1]).unwrap_err(), SettingError::HalfAPair);
    let error = home.credentials(&[("DOCKER_CONFIG", ".docker")]).unwrap_err();
    assert_eq!(error, SettingError::Relative { name: "DOCKER_CONFIG" });
}

/// The place that the environment names decides, and not the one that is asked for.
#[tokio::test]
async fn what_the_environment_holds_is_for_what_it_names() {
    let home = Home::new("{}");
    let pair = [("BOXWRIGHT_REGISTRY_USERNAME", "ci"), ("BOXWRIGHT_REGISTRY_PASSWORD", "pw")];
    let of = |named: Option<&str>, more: &[(&str, &str)]| {
        let all: HashMap<String, OsString> =
            pair.iter().chain(more).map(|(name, value)| ((*name).into(), (*value).into())).collect();
        Credentials::from_environment(named, |name| all.get(name).cloned())
    };
    let check = async |credentials: &Credentials, at: (&str, Option<&str>), is_shown: bool| {
        let found = credentials.lookup(at.0, at.1).await.unwrap();
        assert_eq!(found != Credential::Anonymous, is_shown, "{at:?}");
    };
    let nowhere = of(None, &[]).unwrap();
    check(&nowhere, ("ghcr.io", Some("my-org/box")), false).await;
    let why = nowhere.withheld("ghcr.io", "my-org/box", "ghcr.io/my-org").unwrap();
    assert!(
        why.contains("BOXWRIGHT_REGISTRY_PASSWORD were not shown")
            && why.contains("BOXWRIGHT_REGISTRY=ghcr.io/my-org"),
        "{why}"
    );
    let part = of(Some("ghcr.io/my-org"), &[]).unwrap();
    for (name, is_shown) in [("my-org/box", true), ("my-org-private/box", false), ("other/box", false)] {
        check(&part, ("ghcr.io", Some(name)), is_shown).await;
        assert_eq!(part.withheld("ghcr.io", name, "x").is_none(), is_shown, "{name}");
    }
    check(&part, ("evil.example", Some("my-org/box")), false).await;
    check(&part, ("ghcr.io", None), false).await;
    assert_eq!(part.lookup_host("ghcr.io").await.unwrap(), basic("ci", "pw"));
    assert_eq!(part.lookup_host("evil.example").await.unwrap(), Credential::Anonymous);
    for lending in [Lending::Reading, Lending::ReadingAtHome] {
        let stranger = of(Some("ghcr.io/my-org"), &[]).unwrap().lending(lending);
        assert_eq!(stranger.lookup_host("ghcr.io").await.unwrap(), Credential::Anonymous);
        check(&stranger, ("ghcr.io", Some("my-org/box")), true).await;
        assert!(stranger.only_read());
    }
    // A variable of its own goes first, whatever registry is used.
    let own = of(Some("evil.example"), &[("BOXWRIGHT_REGISTRY_HOST", "ghcr.io")]).unwrap();
    check(&own, ("ghcr.io", Some("my-org/box")), true).await;
    check(&own, ("evil.example", Some("my-org/box")), false).await;
    let bad = of(None, &[("BOXWRIGHT_REGISTRY_HOST", "https://ghcr.io")]).unwrap_err();
    assert!(matches!(bad, SettingError::NoPlace { .. }), "{bad}");
    drop(home);
}

/// What the user's files hold is lent to strangers only for what the environment names.
#[tokio::test]
async fn a_stranger_is_lent_the_users_files_at_home_alone() {
    // base64 of `host:pw`.
    let home =
        Home::new(r#"{"auths":{"r.example":{"auth":"aG9zdDpwdw=="},"q.example":{"auth":"aG9zdDpwdw=="}}}"#);
    let check = async |named: &str, lending: Lending, expect: [bool; 3]| {
        let credentials = home.credentials(&[("BOXWRIGHT_REGISTRY_HOST", named)]).unwrap().lending(lending);
        let at = [("r.example", "team/box"), ("r.example", "private/box"), ("q.example", "team/box")];
        for ((host, name), expect) in at.into_iter().zip(expect) {
            let found = credentials.lookup(host, Some(name)).await.unwrap();
            assert_eq!(found != Credential::Anonymous, expect, "{named} {lending:?}: {host}/{name}");
            assert_eq!(
                credentials.knows(host).await.unwrap(),
                expect || host == "r.example" && named == "r.example/team"
            );
        }
    };
    check("r.example/team", Lending::All, [true; 3]).await;
    check("r.example/team", Lending::Reading, [true, false, false]).await;
    check("r.example/team", Lending::ReadingAtHome, [true, false, false]).await;
    let unnamed = |lending| {
        let root = home.0.path().as_os_str().to_owned();
        let variable = move |name: &str| (name == "HOME").then(|| root.clone());
        Credentials::from_environment(None, variable).unwrap().lending(lending)
    };
    for (lending, expect) in [(Lending::All, true), (Lending::Reading, true), (Lending::ReadingAtHome, false)]
    {
        let found = unnamed(lending).lookup("r.example", Some("team/box")).await.unwrap();
        assert_eq!(found != Credential::Anonymous, expect, "{lending:?}");
        assert_eq!(unnamed(lending).withheld("r.example", "team/box", "r.example/team").is_none(), expect);
    }
}

/// A helper that makes credentials of a cloud's keys is not asked about what only looks like it.
#[tokio::test]
async fn a_look_alike_gets_nothing_of_a_cloud() {
    for (helper, real, fake) in [
        (
            "ecr-login",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com",
            "123456789012.dkr.ecr.us-east-1.amazonaws.com.evil.example",
        ),
        ("gcloud", "eu.gcr.io", "eu.gcr.io.evil.example"),
        ("acr-env", "corp.azurecr.io", "corp.azurecr.io.evil.example"),
    ] {
        let home = Home::new(&format!(r#"{{"credsStore":"{helper}"}}"#));
        home.helper(helper, r#"cat >/dev/null; echo '{"Username":"u","Secret":"s"}'"#);
        assert_eq!(home.lookup(real).await.unwrap(), basic("u", "s"), "{real}");
        assert_eq!(home.lookup(fake).await.unwrap(), Credential::Anonymous, "{fake}");
    }
}

#[tokio::test]
async fn helpers_are_asked_on_stdin() {
    let home = Home::new(r#"{"credHelpers":{"a.example":"good"},"credsStore":"store"}"#);
    home.helper("good", r#"read -r host; echo "{\"Username\":\"$1\",\"Secret\":\"$host\"}""#);
    home.helper("store", "cat >/dev/null; echo credentials not found in native keychain; exit 1");
    assert_eq!(home.lookup("a.example").await.unwrap(), basic("get", "a.example"));
    assert_eq!(home.lookup("b.example").await.unwrap(), Credential::Anonymous);
    home.helper("store", r#"cat >/dev/null; echo '{"Username":"<token>","Secret":"refresh"}'"#);
    assert_eq!(home.lookup("docker.io").await.unwrap(), Credential::IdentityToken(Secret::new("refresh")));
}

#[tokio::test]
async fn helpers_are_asked_once() {
    for (script, fine) in [(r#"echo '{"Username":"u","Secret":"s"}'"#, true), ("exit 1", false)] {
        let home = Home::new(r#"{"credsStore":"once"}"#);
        let count = home.0.path().join("count");
        home.helper("once", &format!("echo >>{}; {script}", count.display()));
        let credentials = home.credentials(&[]).unwrap();
        let names = ["a", "b", "a/b", "c"].into_iter().cycle().take(20);
        let asked = names.map(|name| credentials.lookup("a.example", Some(name)));
        let answers = futures_util::future::join_all(asked).await;
        assert!(answers.iter().all(|answer| answer.is_ok() == fine), "{answers:?}");
        assert_eq!(std::fs::read_to_string(count).unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_failing_helper_is_an_error_without_its_output() {
    let home = Home::new(r#"{"credsStore":"bad"}"#);
    home.helper("bad", "echo hunter2; echo hunter2 >&2; exit 3");
    let text = detail(home.lookup("a.example").await);
    assert!(text.contains("docker-credential-bad failed (exit status: 3)"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
    home.helper("bad", "echo hunter2");
    assert!(!detail(home.lookup("a.example").await).contains("hunter2"));
    std::fs::remove_file(home.0.path().join("bin/docker-credential-bad")).unwrap();
    assert!(detail(home.lookup("a.example").await).ends_with("docker-credential-bad is not in PATH"));
}

#[tokio::test]
async fn a_helper_that_hangs_is_killed() {
    let home = Home::new(r#"{"credsStore":"slow"}"#);
    let mark = home.0.path().join("pid");
    home.helper("slow", &format!("echo $$ >{}; exec sleep 600", mark.display()));
    let start = Instant::now();
    let mut credentials = home.credentials(&[]).unwrap();
    assert_eq!(credentials.helper_limit, Duration::from_secs(10));
    credentials.helper_limit = Duration::from_secs(2);
    let asked = tokio::spawn(async move { credentials.lookup("a.example", None).await });
    let text = detail(asked.await.unwrap());
    assert!(text.contains("no answer within 2s"), "{text}");
    assert!(start.elapsed().as_secs() < 10);
    let pid = std::fs::read_to_string(mark).unwrap();
    let gone = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim()));
        status.map_or(true, |status| status.contains("State:\tZ"))
    };
    while !gone() {
        assert!(start.elapsed().as_secs() < 10, "the helper still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn helper_names_cannot_lead_astray() {
    for name in ["../evil", "/bin/evil", "a b", "A", "a;b", "é"] {
        let config = serde_json::json!({ "credsStore": name }).to_string();
        let text = detail(Home::new(&config).lookup("a.example").await);
        assert!(text.contains("is not a helper's name"), "{name}: {text}");
    }
    // Only absolute directories of PATH count: the current one may be the repository's.
    let home = Home::new(r#"{"credsStore":"near"}"#);
    home.helper("near", "echo '{\"Username\":\"u\",\"Secret\":\"s\"}'");
    for path in ["", ".", "bin", "../../../../../../../../../../../../$HOME/bin", ":"] {
        let credentials = home.credentials(&[("PATH", path)]).unwrap();
        let text = detail(credentials.lookup("a.example", None).await);
        assert!(text.contains("is not in PATH"), "{path}: {text}");
    }
}

#[tokio::test]
async fn an_unreadable_configuration_is_no_anonymous_one() {
    let text = detail(Home::new("{").lookup("a.example").await);
    assert!(text.contains("config.json: "), "{text}");
    let text = detail(Home::new(r#"{"auths":{"a.example":{"auth":"%%%"}}}"#).lookup("a.example").await);
    assert!(!text.contains("%%%"), "{text}");
    let none = tempfile::tempdir().unwrap();
    let home = none.path().as_os_str().to_owned();
    let credentials =
        Credentials::from_environment(None, |name| (name == "HOME").then(|| home.clone())).unwrap();
    assert_eq!(credentials.lookup("a.example", None).await.unwrap(), Credential::Anonymous);
}

#[test]
fn secrets_hide_themselves() {
    let credential = basic("ann", "hunter2");
    let credentials = Credentials::given("h", credential.clone());
    let secret = Secret::new("hunter2");
    let shown = format!("{credential:?} {credentials:?} {secret} {secret:?}");
    assert!(!shown.contains("hunter2") && shown.contains("ann"), "{shown}");
}

//! A password goes through everything that boxwright does, while registries do what they can
//! to have it shown: it is shown to nobody but the registry it is for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use boxwright::adapter::credentials::Credentials;
use boxwright_testing::peer::{Peer, Reply, Seen, client_with, limits};
use boxwright_testing::process::Server;
use boxwright_testing::proxy::{Fault, Proxy};

use crate::disk::Disk;
use crate::scene::{Contents, Run, Scenario, is_reached};

const PASSWORD: &str = "canary-c0ffee-hunter2";

const SCENARIOS: [Scenario; 6] =
    [Scenario::Probe, Scenario::Build, Scenario::Hit, Scenario::Promote, Scenario::Condemn, Scenario::Sweep];

/// What must not be seen: the password, and what it looks like in a header.
fn shapes() -> [String; 2] {
    [PASSWORD.to_owned(), STANDARD.encode(format!("ann:{PASSWORD}"))]
}

/// Credentials as Docker keeps them, for each of the hosts.
fn credentials(home: &Path, hosts: &[&str]) -> Credentials {
    let auths: serde_json::Map<_, _> =
        hosts.iter().map(|host| ((*host).to_owned(), serde_json::json!({ "auth": shapes()[1] }))).collect();
    std::fs::create_dir_all(home.join(".docker")).unwrap();
    let config = serde_json::json!({ "auths": auths }).to_string();
    std::fs::write(home.join(".docker/config.json"), config).unwrap();
    let home = home.as_os_str().to_owned();
    Credentials::from_environment(None, |name| (name == "HOME").then(|| home.clone())).unwrap()
}

/// What a registry does to a request of a number, once the password is known to it.
type Spite = fn(&Seen, &str) -> Fault;

/// An answer that repeats what it was shown, wherever a text fits.
fn echo(status: u16, seen: &Seen) -> Reply {
    let shown = seen.header("authorization").unwrap_or("nothing").to_owned();
    let decoded =
        shown.strip_prefix("Basic ").and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default();
    let body = format!("{shown}\n{}", String::from_utf8_lossy(&decoded));
    Reply::new(status).header("X-Shown", &shown).header("Warning", format!("199 - \"{shown}\"")).body(body)
}

fn spites() -> [(&'static str, Spite); 8] {
    [
        ("nothing", |_, _| Fault::None),
        ("401 in mid-run, with another way to log in", |seen, _| {
            Fault::Instead(echo(401, seen).header("WWW-Authenticate", "Basic realm=\"again\""))
        }),
        ("a token service elsewhere", |seen, elsewhere| {
            let realm = format!("Bearer realm=\"http://{elsewhere}/token\"");
            Fault::Instead(
                echo(401, seen).header("WWW-Authenticate", realm.replace("127.0.0.1", "evil.test")),
            )
        }),
        ("500 that repeats the header", |seen, _| Fault::Instead(echo(500, seen))),
        ("403 that repeats the header", |seen, _| Fault::Instead(echo(403, seen))),
        ("an error code that repeats the header", |seen, _| {
            let shown = echo(400, seen);
            let shown = String::from_utf8_lossy(&shown.body).into_owned();
            let errors = serde_json::json!({ "errors": [{ "code": "DENIED", "message": shown }] });
            Fault::Instead(Reply::new(400).body(errors.to_string()))
        }),
        ("a redirect elsewhere", |_, elsewhere| {
            Fault::Instead(Reply::new(307).header("Location", format!("http://{elsewhere}/b?s=1")))
        }),
        ("a redirect that repeats the header", |seen, elsewhere| {
            let shown = seen.header("authorization").unwrap_or_default().replace(' ', "+");
            Fault::Instead(Reply::new(307).header("Location", format!("http://{elsewhere}/b?shown={shown}")))
        }),
    ]
}

/// The command lines and environments of the processes of this machine that hold the password.
fn exposed() -> Vec<String> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let read = |path: &Path, name: &str| std::fs::read(path.join(name)).unwrap_or_default();
    let holds = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        shapes().iter().any(|shape| text.contains(shape.as_str()))
    };
    processes
        .map(|process| process.path())
        .filter(|path| holds(&read(path, "cmdline")) || holds(&read(path, "environ")))
        .map(|path| String::from_utf8_lossy(&read(&path, "cmdline")).into_owned())
        .collect()
}

fn assert_clean(text: &str, where_: &str) {
    for shape in shapes() {
        assert!(!text.contains(&shape), "{where_}: {text}");
    }
}

/// Everything below a directory that holds the password.
fn holding(directory: &Path) -> Vec<String> {
    let mut command = std::process::Command::new("grep");
    command.arg("-rlaF");
    for shape in shapes() {
        command.args(["-e", &shape]);
    }
    let output = command.arg("--").arg(directory).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Rule S4, and rows 1, 29, 39 and 90: over all scenarios, with a registry that asks for the
/// password and repeats it in everything it says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_shown_to_its_registry_alone() {
    let server = Server::start(&["--auth", &format!("ann:{PASSWORD}")]);
    // Started by us, with the password; not what is looked for below.
    let (contents, disk) = (Contents::new(), Disk::of(server.directory()));
    let elsewhere = Peer::start(|seen, _| echo(200, seen)).await;
    let home = tempfile::tempdir().unwrap();
    let has_ended = Arc::new(AtomicBool::new(false));
    let watch = {
        let has_ended = Arc::clone(&has_ended);
        std::thread::spawn(move || {
            let mut seen = Vec::new();
            while !has_ended.load(Ordering::Relaxed) {
                seen.extend(exposed());
                std::thread::sleep(Duration::from_millis(20));
            }
            seen
        })
    };
    let mut cases = 0;
    for scenario in SCENARIOS {
        let template = format!("{scenario:?}").to_lowercase();
        let proxy = Proxy::to_part(&server.host, &template, |_, _| Fault::None).await;
        let registry = Arc::new(client_with(credentials(home.path(), &[&proxy.host]), limits()));
        Run::new(&registry, &proxy.host, &contents, "before").prepare(scenario).await;
        for (number, (name, spite)) in spites().into_iter().enumerate() {
            // Early, in the middle and late, and from then on.
            for (round, from) in [2, 7, 20].into_iter().enumerate() {
                let prefix = format!("{template}-{number}-{round}");
                disk.copy(&template, &prefix);
                let at = elsewhere.host.clone();
                let mut shown = 0;
                let proxy = Proxy::to_part(&server.host, &prefix, move |seen, _| {
                    shown += usize::from(seen.header("authorization").is_some());
                    if shown >= from { spite(seen, &at) } else { Fault::None }
                })
                .await;
                let hosts = [proxy.host.as_str()];
                let registry = Arc::new(client_with(credentials(home.path(), &hosts), limits()));
                let ending = Run::new(&registry, &proxy.host, &contents, "one").act(scenario).await;
                assert_clean(&ending.told, name);
                let text = format!("{ending:?}");
                assert_clean(&text, name);
                let sent: Vec<Seen> = proxy.seen();
                let known = sent.iter().filter(|seen| seen.header("authorization").is_some()).count();
                assert!(known > 0, "{scenario:?}, {name}: nobody logged in: {text}");
                for seen in sent {
                    assert_clean(&seen.target, name);
                    assert_clean(&String::from_utf8_lossy(&seen.body), name);
                }
                let tags = disk.tags(&prefix).unwrap();
                if number == 0 {
                    assert!(is_reached(scenario, &contents, &tags), "{text}");
                }
                cases += 1;
            }
        }
    }
    for seen in elsewhere.seen() {
        assert_eq!((seen.header("authorization"), seen.header("cookie")), (None, None), "{seen:?}");
        assert_clean(&seen.target.replace('+', " "), "elsewhere");
    }
    assert!(elsewhere.count() > 0, "no redirect was followed");
    has_ended.store(true, Ordering::Relaxed);
    let exposed = watch.join().unwrap();
    assert!(exposed.is_empty(), "{exposed:?}");
    assert_eq!(holding(&server.directory().join("docker")), [""; 0]);
    assert_eq!(cases, 6 * 8 * 3);
}

//! A repository wants the registry's password, or an address inside.

use std::fs;
use std::sync::Arc;

use boxwright::adapter::credentials::{Credential, Credentials, Secret};
use boxwright::adapter::registry::{Asked, HostConfig, HttpRegistry, Limits};
use boxwright_testing::witness::{Registry, busybox};
use boxwright_testing::world::{Ended, World};

use crate::fake::{Fake, Wants};

/// base64 of `worker:s3cret-word`.
const BASIC: &str = "Basic d29ya2VyOnMzY3JldC13b3Jk";
const USER: [(&str, &str); 2] =
    [("BOXWRIGHT_REGISTRY_USERNAME", "worker"), ("BOXWRIGHT_REGISTRY_PASSWORD", "s3cret-word")];
/// A digest that nothing has.
const NOTHING: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

fn call(world: &World, environment: &[(&str, &str)], arguments: &[&str]) -> Ended {
    let mut command = world.command(arguments);
    let ended = Ended::of(command.envs(environment.iter().copied()).output().unwrap());
    assert!(!ended.err.contains("s3cret-word") && !ended.out.contains("s3cret-word"), "{}", ended.err);
    ended
}

/// What a run has that a fork's pull request caused.
fn fork(world: &World) -> [(&'static str, String); 3] {
    let event = world.beside("event.json");
    let text = fs::read_to_string("testdata/ci/github/pull_request.fork.json").unwrap();
    fs::write(&event, text).unwrap();
    [
        ("GITHUB_ACTIONS", "true".to_owned()),
        ("GITHUB_EVENT_NAME", "pull_request".to_owned()),
        ("GITHUB_EVENT_PATH", event.display().to_string()),
    ]
}

/// Logs in at hosts as a person does: the user's own file holds the same password.
fn docker_login(world: &World, hosts: &[&str]) {
    let auth = BASIC.strip_prefix("Basic ").unwrap();
    let auths: Vec<String> = hosts.iter().map(|host| format!("\"{host}\":{{\"auth\":\"{auth}\"}}")).collect();
    let directory = world.beside("home/.docker");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("config.json"), format!("{{\"auths\":{{{}}}}}", auths.join(","))).unwrap();
}

#[test]
fn a_host_that_only_the_repository_names_is_shown_nothing() {
    for wants in [Wants::Password, Wants::Token(String::new())] {
        let evil = Fake::start(wants);
        let world = World::single(&format!("{}/team", evil.host), "RUN true");
        let token = [("BOXWRIGHT_REGISTRY_TOKEN", "s3cret-word")];
        let home = ("BOXWRIGHT_REGISTRY_HOST", "ghcr.io/my-org");
        let elsewhere = [USER[0], USER[1], home];
        for environment in [&USER[..], &token, &elsewhere] {
            for arguments in [&["plan"][..], &["build"], &["promote", "main", "--yes"], &["clean"], &["lock"]]
            {
                world.configure(
                    &format!("{}/team", evil.host),
                    "[box.only]\n[channel.main]\ntag = \"main\"\n",
                );
                let ended = call(&world, environment, arguments);
                let set = format!("set BOXWRIGHT_REGISTRY={}/team", evil.host);
                assert!(ended.err.contains("not shown") && ended.err.contains(&set), "{}", ended.err);
            }
        }
        let shown = evil.shown();
        assert!(shown.iter().all(|text| text.ends_with("t0ken-of-the-fake")), "{shown:?}");
        assert!(!evil.seen().is_empty());
        // Whoever owns the job says for whom they are.
        for name in ["BOXWRIGHT_REGISTRY", "BOXWRIGHT_REGISTRY_HOST"] {
            evil.forget();
            let place = format!("{}/team", evil.host);
            call(&world, &[USER[0], USER[1], (name, &place)], &["plan"]);
            assert!(evil.shown().contains(&BASIC.to_owned()), "{name}: {:?}", evil.seen());
        }
    }
}

#[test]
fn a_path_that_the_environment_names_holds_whole_segments() {
    let host = Fake::start(Wants::Token(String::new()));
    let place = format!("{}/team", host.host);
    let environment = [USER[0], USER[1], ("BOXWRIGHT_REGISTRY_HOST", &*place)];
    for (path, is_shown) in
        [("team", true), ("team/sub", true), ("team-private", false), ("other/team", false), ("tea", false)]
    {
        host.forget();
        let world = World::single(&format!("{}/{path}", host.host), "RUN true");
        call(&world, &environment, &["plan"]);
        let shown = host.shown_for("/token?");
        assert_eq!(shown.contains(&BASIC.to_owned()), is_shown, "{path}: {:?}", host.seen());
        assert_eq!(shown.is_empty(), !is_shown, "{path}: {:?}", host.seen());
    }
}

#[test]
fn mirrors_protectors_and_targets_are_hosts_like_any_other() {
    let evil = Fake::start(Wants::Password);
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    let own = [USER[0], USER[1], ("BOXWRIGHT_REGISTRY", &*registry.host)];
    // Digests that are protected are looked for there, once something could go.
    world.write("ci/test/one.txt", "another\n");
    world.boxwright(&["build"]).good();
    let config = fs::read_to_string(world.root.join("boxwright.toml")).unwrap();
    let protect = format!("{config}\n[protect]\nrepositories = [\"{}/live\"]\n", evil.host);
    world.write("boxwright.toml", &protect);
    call(&world, &own, &["clean", "--now", "+40d"]);
    // Outside images are read there.
    world.write("boxwright.toml", &format!("{config}\n[mirror]\n\"docker.io\" = \"{}/hub\"\n", evil.host));
    world.replace("ci/Dockerfile", busybox(), "docker.io/library/busybox:1");
    call(&world, &own, &["lock"]);
    let seen = evil.seen();
    for part in ["/live/", "/hub/"] {
        assert!(seen.iter().any(|seen| seen.line.contains(part)), "{part} was not asked for: {seen:?}");
    }
    // A set is copied there.
    evil.forget();
    world.write("boxwright.toml", &config);
    world.replace("ci/Dockerfile", "docker.io/library/busybox:1", busybox());
    let to = format!("{}/live", evil.host);
    let ended = call(&world, &own, &["promote", "main", "--to", &to, "--yes"]);
    assert!(ended.code != 0 && !evil.seen().is_empty(), "{}", ended.err);
    assert!(ended.err.contains("not shown"), "{}", ended.err);
    assert_eq!(evil.shown(), [""; 0], "{:?}", evil.seen());
}

#[test]
fn a_token_service_elsewhere_and_a_redirect_get_nothing() {
    // The registry that the environment names is not what it was.
    let host = Fake::start(Wants::Token("https://token.evil.example/token".to_owned()));
    let world = World::single(&host.host, "RUN true");
    let environment = [USER[0], USER[1], ("BOXWRIGHT_REGISTRY", &*host.host)];
    call(&world, &environment, &["plan"]).fails(20, &["token service", "is refused: "]);
    assert_eq!(host.shown(), [""; 0]);
    let away = Fake::start(Wants::Password);
    let leads = Fake::start(Wants::Elsewhere(format!("http://{}/v2/stolen", away.host)));
    let world = World::single(&leads.host, "RUN true");
    call(&world, &[USER[0], USER[1], ("BOXWRIGHT_REGISTRY", &*leads.host)], &["plan"]);
    assert!(!away.seen().is_empty(), "nobody followed");
    assert_eq!(away.shown(), [""; 0]);
}

/// The rights that token services were asked for, each once.
fn scopes(fake: &Fake) -> Vec<String> {
    let lines = fake.seen().into_iter().filter(|seen| seen.line.contains("/token?"));
    let query = |line: String| {
        line.split_once('?')
            .map(|(_, query)| query.replace("%3A", ":").replace("%2F", "/").replace("%2C", ","))
    };
    let of = |query: String| {
        let parts = query.split('&').filter_map(|part| part.strip_prefix("scope=").map(str::to_owned));
        parts.collect::<Vec<_>>()
    };
    let mut all: Vec<String> = lines.filter_map(|seen| query(seen.line)).flat_map(of).collect();
    all.sort();
    all.dedup();
    all
}

#[test]
fn a_stranger_s_run_asks_for_pull_beneath_the_place_that_the_environment_names() {
    let host = Fake::start(Wants::Token(String::new()));
    let place = format!("{}/team", host.host);
    let world = World::single(&place, "RUN true");
    docker_login(&world, &[&host.host]);
    let fork = fork(&world);
    let fork = fork.each_ref().map(|(name, value)| (*name, value.as_str()));
    let home = ("BOXWRIGHT_REGISTRY", &*place);
    for arguments in [&["plan"][..], &["build"], &["clean"], &["doctor"]] {
        host.forget();
        call(&world, &[&fork[..], &[USER[0], USER[1], home]].concat(), arguments);
        let scopes = scopes(&host);
        assert!(
            !scopes.is_empty()
                && scopes
                    .iter()
                    .all(|scope| scope.starts_with("repository:team/") && scope.ends_with(":pull")),
            "{scopes:?}"
        );
        assert!(host.shown_for("/token?").iter().all(|shown| shown == BASIC));
    }
    // The user's own login is not lent to what only the fork names.
    host.forget();
    let ended = call(&world, &fork, &["plan"]);
    assert!(ended.err.contains("set BOXWRIGHT_REGISTRY="), "{}", ended.err);
    assert_eq!(host.shown_for("/token?"), [""; 0]);
    // Whom nobody suspects has it as ever.
    call(&world, &[], &["plan"]);
    assert!(host.shown_for("/token?").contains(&BASIC.to_owned()));
}

#[test]
fn a_stranger_s_dockerfile_stands_on_no_private_image() {
    let registry = Registry::start(&[]);
    for (private, wants) in [("private/x", Wants::Token(String::new())), ("private/x", Wants::Password)] {
        let is_token = matches!(wants, Wants::Token(_));
        let host = Fake::start(wants);
        let world = World::single(&registry.host, "RUN true");
        docker_login(&world, &[&host.host]);
        let fork = fork(&world);
        let fork = fork.each_ref().map(|(name, value)| (*name, value.as_str()));
        let place = format!("{}/team", host.host);
        let own = [USER[0], USER[1], ("BOXWRIGHT_REGISTRY_HOST", &*place)];
        world.write("Dockerfile", &format!("FROM {}/{private}@{NOTHING}\nRUN true\n", host.host));
        for environment in [&fork[..], &[&fork[..], &own].concat()] {
            host.forget();
            call(&world, environment, &["build", "--local"]).exits(1);
            assert!(!host.seen().is_empty(), "the engine did not ask");
            let shown = host.shown();
            assert!(shown.iter().all(|text| text == "Bearer t0ken-of-the-fake"), "{shown:?}");
            // A token may be asked for as anybody asks.
            assert_eq!(host.shown_for("/token?"), [""; 0]);
        }
        // Beneath the place it is lent, for reading alone, and beside it nothing.
        let both = [
            format!("FROM {}/team/x@{NOTHING}\nRUN true\n", host.host),
            format!(
                "FROM {host}/{private}@{NOTHING} AS a\nFROM {host}/team/x@{NOTHING} AS b\nCOPY --from=a /x /\n",
                host = host.host
            ),
        ];
        host.forget();
        for text in both {
            world.write("Dockerfile", &text);
            call(&world, &[&fork[..], &own].concat(), &["build", "--local"]).exits(1);
        }
        let lent: Vec<_> =
            host.seen().into_iter().filter(|seen| seen.authorization.as_deref() == Some(BASIC)).collect();
        assert!(lent.iter().all(|seen| !seen.line.contains("private")), "{lent:?}");
        if is_token {
            assert!(lent.iter().any(|seen| seen.line.contains("team%2Fx%3Apull")), "{:?}", host.seen());
            assert!(lent.iter().all(|seen| !seen.line.contains("push")), "{lent:?}");
        }
        // The project itself, by somebody who may: the login is used as ever.
        host.forget();
        world.write("Dockerfile", &format!("FROM {}/{private}@{NOTHING}\nRUN true\n", host.host));
        call(&world, &[], &["build", "--local"]).exits(1);
        assert!(host.shown().contains(&BASIC.to_owned()), "{:?}", host.seen());
    }
}

/// The engine asks for the right to what it wants now, and to what it wanted before.
#[tokio::test]
async fn a_token_for_one_s_own_repository_opens_no_other_one() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let host = Fake::start(Wants::Token(String::new()));
    let password = Secret::new("s3cret-word");
    let credential = Credential::Basic { user: "worker".to_owned(), password };
    let credentials = Credentials::given(&format!("{}/team", host.host), credential);
    let client = HttpRegistry::new(Arc::new(credentials), HostConfig::default(), Limits::default()).unwrap();
    let realm = format!("http://{}/token", host.host);
    for (before, wanted, lent) in [
        (&["team/x"][..], &["team/x:pull,push", "private/y:pull"][..], None),
        (&["private/y"], &["private/y:pull", "team/x:pull,push,delete"], Some("team/x")),
        (&["team/x"], &["team/x:pull", "team/z:*"], Some("team/x team/z")),
        (&[], &["team-private/x:pull"], None),
    ] {
        host.forget();
        let before = before.iter().map(|name| (*name).to_owned()).collect();
        let scopes: Vec<String> = wanted.iter().map(|scope| format!("repository:{scope}")).collect();
        let asked =
            Asked { host: &host.host, realm: &realm, service: "fake", before: &before, scopes: &scopes };
        assert_eq!(client.issue(asked).await.unwrap().token, "t0ken-of-the-fake");
        assert_eq!(host.shown(), lent.map(|_| BASIC).into_iter().collect::<Vec<_>>(), "{wanted:?}");
        let expect =
            lent.map(|names| names.split(' ').map(|name| format!("repository:{name}:pull")).collect());
        let scopes = self::scopes(&host);
        match expect {
            Some(expect) => assert_eq!(scopes, Vec::from_iter::<Vec<String>>(expect)),
            None => assert!(scopes.iter().all(|scope| !scope.contains(":team/")), "{scopes:?}"),
        }
    }
    let elsewhere = Asked {
        host: &host.host,
        realm: "https://token.evil.example/token",
        service: "fake",
        before: &Default::default(),
        scopes: &["repository:team/x:pull".to_owned()],
    };
    let refused = client.issue(elsewhere).await.err().unwrap();
    assert!(refused.contains("is refused"), "{refused}");
}

/// An address inside, asked for in the name of a pin, a protect list, and what one leads to.
#[test]
fn no_address_of_the_private_network_is_reached_unless_the_user_says_so() {
    let inside = Fake::start(Wants::Nobody("metadata"));
    let registry = Registry::start(&[]);
    let world = World::empty();
    let port = inside.host.rsplit_once(':').unwrap().1;
    let pin = |url: &str| {
        let boxes = format!("[pin.tool]\nurl = \"{url}\"\n[box.only]\nargs = {{ T = \"{{pin.tool}}\" }}\n");
        world.configure(&registry.host, &boxes);
    };
    world.write("Dockerfile", &format!("FROM {}\nARG T\nRUN echo $T\n", busybox()));
    for url in [
        format!("http://{}/latest", inside.host),
        format!("http://localhost:{port}/latest"),
        format!("http://2130706433:{port}/latest"),
        format!("http://0x7f.1:{port}/latest"),
        format!("http://[::ffff:127.0.0.1]:{port}/latest"),
        format!("http://0:{port}/latest"),
        format!("http://user:pw@127.1:{port}/latest"),
    ] {
        pin(&url);
        world.boxwright(&["lock"]).fails(20, &["hosts.toml"]);
        assert_eq!(inside.seen().len(), 0, "{url}");
    }
    // Some name servers know this one.
    pin(&format!("http://LOCALHOST.:{port}/latest"));
    world.boxwright(&["lock"]).exits(20);
    let protect = format!("[box.only]\n[protect]\nurls = [\"http://{}/live\"]\n", inside.host);
    world.configure(&registry.host, &protect);
    world.boxwright(&["clean", "--yes"]).fails(20, &["private network", "nothing was deleted"]);
    let refs = format!(
        "[box.only]\n[channel.pr]\ntag = 'pr-([0-9]+)'\nkeep = {{ ref = \"refs/pull/{{1}}/head\", git = \"https://{}/a.git\" }}\n",
        inside.host
    );
    world.configure(&registry.host, &refs);
    world.boxwright(&["clean"]).good().says(&["every tag whose ref it may have is kept"]);
    assert_eq!(inside.seen().len(), 0);
    // What the user declares may be there, and what it leads to is another question.
    let leads = Fake::start(Wants::Elsewhere(format!("http://{}/latest", inside.host)));
    let declare = |hosts: &[&str]| {
        let text: String = hosts.iter().map(|host| format!("[host.\"{host}\"]\n")).collect();
        let directory = world.beside("home/.config/boxwright");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("hosts.toml"), text).unwrap();
    };
    declare(&[&leads.host]);
    pin(&format!("http://{}/start", leads.host));
    world.boxwright(&["lock"]).fails(20, &["it leads to", &inside.host]);
    assert_eq!((leads.seen().len(), inside.seen().len()), (1, 0));
    declare(&[&leads.host, &inside.host]);
    world.boxwright(&["lock"]).good();
    assert_eq!(inside.seen().len(), 1);
}

/// What runs in a box is given nothing of the job's.
#[test]
fn what_runs_in_a_box_gets_no_variable_of_ours_no_socket_and_no_network_of_the_host() {
    let world = World::single("embedded", "RUN true");
    world.boxwright(&["build"]).good();
    for arguments in [
        &["-e", "BOXWRIGHT_REGISTRY_PASSWORD"][..],
        &["--env", "BOXWRIGHT_REGISTRY_PASSWORD=x"],
        &["-eBOXWRIGHT_SIGNING_KEY"],
        &["--network", "host"],
        &["--network=container:other"],
    ] {
        let mut command = world.command(&[&["run"], arguments, &["only", "--", "env"]].concat());
        let ended = Ended::of(command.envs(USER).output().unwrap());
        ended.fails(2, &["box"]);
    }
    // The working copy is what stands there, and never more than it.
    let file = world.root.join("boxwright.toml");
    for directory in ["/", "/var/run", "/run"] {
        let arguments = ["--file", file.to_str().unwrap(), "run", "only", "--", "ls"];
        let ended = Ended::of(world.command_in(directory.as_ref(), &arguments).output().unwrap());
        ended.fails(2, &["engine"]);
    }
    let mut command = world.command(&["run", "-e", "PLAIN=1", "only", "--", "env"]);
    let ended = Ended::of(command.envs(USER).env("BOXWRIGHT_REGISTRY", "embedded").output().unwrap()).good();
    assert!(ended.out.contains("PLAIN=1") && !ended.out.contains("BOXWRIGHT_"), "{}", ended.out);
}

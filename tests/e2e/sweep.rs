//! A long sweep, told and stopped on the way; and a repository that fails in the middle of things.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use boxwright::model::{ContentTag, Generation, Key, Repository};
use boxwright_testing::engine::{image, push};
use boxwright_testing::figure::figure;
use boxwright_testing::process::client;
use boxwright_testing::proxy::Fault;
use boxwright_testing::witness::Registry;
use boxwright_testing::world::{BOXES, CHAIN, World};
use serde_json::json;

use crate::halting::Halting;

/// What makes a repository whole again.
type Mend = Box<dyn FnOnce() + Send>;

/// How many images go.
const MANY: usize = 160;

/// Fills the repository `only` with images under content tags that nothing keeps.
fn fill(registry: &Registry) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (client, repository) = (client(), Repository::new(&registry.host, "only").unwrap());
    runtime.block_on(async {
        for number in 0..MANY {
            let key = Key::of(number.to_string().as_bytes());
            let labels = BTreeMap::from([
                ("io.boxwright.key".to_owned(), key.to_string()),
                ("io.boxwright.generation".to_owned(), "0".to_owned()),
            ]);
            let tag = ContentTag::new(None, key, Generation(0)).unwrap().tag();
            push(&client, &repository, &tag, image(&labels, &number.to_string())).await;
        }
    });
}

/// 52, and the scale of a cron: a sweep says how far it is, is stopped in the middle, and the next
/// one does the rest and nothing else.
#[test]
fn a_long_sweep_tells_how_far_it_is_and_goes_on_where_it_was_stopped() {
    let registry = Registry::start(&[]);
    let world = World::single(&registry.host, "RUN true");
    fill(&registry);
    world.without_engine(&["clean", "--now", "+1h", "--yes"]).good().says(&["160 condemned"]);
    let slow = Halting::with(&registry, |seen| match seen.method.as_str() {
        "DELETE" => Fault::Late(Duration::from_millis(150)),
        _ => Fault::None,
    });
    world.configure(&slow.host, "[box.only]\n");
    let clean = ["clean", "--now", "+2d", "--yes", "--max-delete", "100%", "--format", "json"];
    let mut running = world.start(&clean);
    // By one delete each run asks whether this registry takes any.
    let deletes = |runs: usize| {
        slow.writes().iter().filter(|line| line.contains("/only/")).count().saturating_sub(runs)
    };
    // As long as a busy machine may take to read it all.
    let began = Instant::now();
    while deletes(1) <= MANY / 2 {
        assert!(began.elapsed() < Duration::from_secs(240), "{}", deletes(1));
        assert!(running.child().try_wait().unwrap().is_none(), "it ended after {}", deletes(1));
        std::thread::sleep(Duration::from_millis(20));
    }
    let (ended, _) = running.signal("INT");
    let ended = ended.exits(130);
    let report = ended.json();
    let count = |action: &str| {
        report["images"].as_array().unwrap().iter().filter(|image| image["action"] == action).count()
    };
    let (done, left) = (count("deleted"), count("left"));
    assert_eq!((done + left, deletes(1), &report["interrupted"]), (MANY, done, &json!(true)));
    ended.says(&[
        "deleting: ",
        &format!("stopped: {done} of {MANY} deleted, {left} left; the same command does the rest"),
        "interrupted",
    ]);
    assert_eq!(registry.tags("only").len(), left);
    let again = world.without_engine(&clean).good().json();
    assert_eq!(again["images"].as_array().unwrap().len(), left);
    assert_eq!((deletes(2), registry.tags("only").len()), (MANY, 0));
    figure(
        env!("CARGO_TARGET_TMPDIR"),
        "interrupted-sweep",
        &format!(
            "{done} of {MANY} images deleted when a sweep was stopped; the next one did the {left} left"
        ),
    );
}

/// A repository that answers 500 to everything from the middle of a promotion on.
#[test]
fn a_repository_that_fails_in_the_middle_of_a_promotion_is_said_and_the_rest_done_later() {
    let registry = Registry::start(&[]);
    let world = World::chain(&registry.host);
    world.boxwright(&["build"]).good();
    world.boxwright(&["promote", "main", "--yes"]).good();
    let at = || BOXES.map(|name| registry.digest(name, "main").unwrap());
    let first = at();
    world.write(
        "ci/Dockerfile",
        &std::fs::read_to_string(world.root.join("ci/Dockerfile"))
            .unwrap()
            .replace("echo base", "echo based"),
    );
    world.git(&["add", "--all"]);
    world.git(&["commit", "-q", "--message=later", "--date=now"]);
    let second = world.boxwright(&["build", "--format", "json"]).good().boxes("digest");
    let others = |name: &&str| -> Vec<String> {
        registry.tags(name).into_iter().filter(|tag| tag != "main").collect()
    };
    let before: Vec<_> = BOXES.iter().map(others).collect();

    // While the tags are moved, the third box's repository breaks.
    let broken: Arc<Mutex<Option<Mend>>> = Arc::default();
    let (mend, tags) = (broken.clone(), registry.tags_of("test"));
    let proxy = Halting::with(&registry, move |seen| {
        // The first time alone: the write is tried again.
        let is_first = mend.lock().unwrap().is_none();
        if is_first && seen.method == "PUT" && seen.target == "/v2/test/manifests/main" {
            let (aside, tags) = (tags.with_extension("aside"), tags.clone());
            std::fs::rename(&tags, &aside).unwrap();
            std::fs::write(&tags, "").unwrap();
            *mend.lock().unwrap() = Some(Box::new(move || {
                std::fs::remove_file(&tags).unwrap();
                std::fs::rename(&aside, &tags).unwrap();
            }));
        }
        Fault::None
    });
    world.configure(&proxy.host, CHAIN);
    let ended = world
        .without_engine(&["promote", "main", "--yes"])
        .fails(22, &["stopped at test", "moved: base, build", "left: test", "500"]);
    assert!(ended.err.contains("run the same command again"), "{}", ended.err);
    assert_eq!(
        (registry.digest("base", "main"), registry.digest("build", "main")),
        (Some(second[0].clone()), Some(second[1].clone()))
    );
    world.configure(&registry.host, CHAIN);
    // As long as it is broken nothing else is done either, and nothing said that is not known.
    world.without_engine(&["promote", "main", "--yes"]).fails(20, &["test", "500"]);
    world.without_engine(&["rollback", "main", "--yes"]).fails(20, &["test", "500"]);
    broken.lock().unwrap().take().unwrap()();
    let log = world.without_engine(&["log", "main"]).good();
    assert!(log.out.contains("unfinished"), "{}", log.out);
    let requests =
        registry.requests_during(|| drop(world.without_engine(&["promote", "main", "--yes"]).good()));
    let puts: Vec<&String> =
        requests.iter().filter(|line| line.starts_with("PUT") && line.contains("/manifests/main ")).collect();
    assert_eq!(puts, ["PUT /v2/test/manifests/main 201"]);
    assert_eq!(at().to_vec(), second);
    world.without_engine(&["rollback", "main", "--yes"]).good();
    assert_eq!(at(), first);
    assert_eq!(BOXES.iter().map(others).collect::<Vec<_>>(), before);
}

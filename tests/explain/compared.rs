//! What differs, told of boxes and of what they stand on.

use boxwright::adapter::memory::{Fault, Verb};
use boxwright::config;
use boxwright::exec::{ExplainError, Parent};
use boxwright::model::{Key, Repository, Span, Tag};
use boxwright::port::{Failure, Registry, RegistryReader, RegistryWriter};

use crate::{CONFIG, DOCKERFILE, World, image_manifest, lines};

#[tokio::test]
async fn a_comparison_names_what_moved_down_to_the_parents() {
    let world = World::new();
    let (before, _) = world.build().await;
    world.promote("main").await;
    assert!(world.compare("test", "main").await.unwrap().differences.is_empty());

    world.write("build/b", "changed\n");
    let test = world.compare("test", "main").await.unwrap();
    assert_eq!(lines(&test, 0), ["parent build moved", "  build/b changed"]);

    world.write("base.txt", "base too\n");
    world.write("tool.txt", "8\n");
    world.write("build/c", "new\n");
    std::fs::remove_file(world.root.path().join("build/a")).unwrap();
    world.write("Dockerfile", &DOCKERFILE.replace("RUN test", "RUN test --all"));
    let test = world.compare("test", "main").await.unwrap();
    let expect = [
        "Dockerfile instruction changed: RUN test --all (line 11)",
        "parent build moved",
        "  argument TOOL changed",
        "  parent base moved",
        "    base.txt changed",
        "  pin tool moved",
        "  build/a removed",
        "  build/b changed",
        "  build/c added",
    ];
    assert_eq!(lines(&test, 0), expect);
    let Some(Parent::Compared(build)) = &test.differences[1].parent else { panic!("{test:?}") };
    let values = |at: usize| (build.differences[at].old.as_deref(), build.differences[at].new.as_deref());
    assert_eq!(values(0), (Some("7"), Some("8")));
    assert_eq!(values(1).0, Some(before[0].wanted.key().as_str()));
    assert!(values(3).0.unwrap().starts_with("file, 2 bytes, sha256:"), "{:?}", values(3));
    assert_eq!(values(3).1, None);
    assert_eq!(test.differences[0].old.as_deref(), Some("RUN test"));

    // By key and by content tag it is the same; a parent whose inputs are gone is told of.
    for text in [before[2].wanted.key().to_string(), before[2].wanted.tag.to_string()] {
        assert_eq!(lines(&world.compare("test", &text).await.unwrap(), 0), expect);
    }
    let record: Tag = format!("inputs.{}", before[0].wanted.key()).parse().unwrap();
    let digest = world.ledger().digest(&record).await.unwrap().unwrap();
    world.registry.delete(&world.setting.ledger, &digest).await.unwrap();
    let test = world.compare("test", "main").await.unwrap();
    let untold = format!("  (its inputs of key {} were not stored)", before[0].wanted.key());
    assert_eq!(lines(&test, 0)[4], untold);
}

#[tokio::test]
async fn a_parent_that_two_boxes_share_is_told_once() {
    let mut world = World::new();
    let both = "\n[box.test]\ncontexts = { base = \"box:base\", build = \"box:build\" }\ntarget = \"test\"\n";
    let config =
        CONFIG.replace("\n[box.test]\ntarget = \"test\"\ncontexts = { build = \"box:build\" }\n", both);
    assert_ne!(config, CONFIG);
    world.project = config::parse("boxwright.toml", &config).unwrap();
    let dockerfile = DOCKERFILE
        .replace("FROM scratch AS base", "FROM scratch AS bottom")
        .replace("COPY test.sh /", "COPY --from=base / /base\nCOPY test.sh /");
    world.project.boxes[0].target = Some("bottom".to_owned());
    world.write("Dockerfile", &dockerfile);
    world.build().await;
    world.promote("main").await;
    world.write("base.txt", "changed\n");
    let told = lines(&world.compare("test", "main").await.unwrap(), 0);
    let expect = [
        "parent base moved",
        "  base.txt changed",
        "parent build moved",
        "  parent base moved",
        "  (base is told above)",
    ];
    assert_eq!(told, expect);
    let (reasons, _) = world.reasons().await;
    assert_eq!(reasons["test"].0, "parent base moved; parent build moved");
}

#[tokio::test]
async fn what_cannot_be_compared_with_is_said() {
    let world = World::new();
    let (before, _) = world.build().await;
    let says = |error: ExplainError, expect: &str| assert_eq!(error.to_string(), expect);
    world.write("test.sh", "changed\n");
    let error = world.compare("test", "main").await.unwrap_err();
    says(error, "registry.example/test:main does not exist");
    let error = world.compare("test", "feature/x").await.unwrap_err();
    says(error, "`feature/x` is not a tag, a key or a digest");
    let none = Key::of(b"none");
    let error = world.compare("test", none.as_str()).await.unwrap_err();
    says(error, &format!("ledger registry.example/boxwright-ledger holds no inputs of key {none}"));
    let plain = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let repository: Repository = "registry.example/test".parse().unwrap();
    world.registry.put_blob(&repository, plain.into()).await.unwrap();
    let foreign: Tag = "foreign".parse().unwrap();
    world.registry.put(&repository, &foreign.into(), &image_manifest(plain)).await.unwrap();
    let error = world.compare("test", "foreign").await.unwrap_err();
    says(error, "image registry.example/test foreign does not tell its inputs: its labels hold no key");
    // A digest is looked at as a tag is; a key needs no image.
    let digest = world.registry.head(&repository, &before[2].wanted.tag.tag().into()).await.unwrap().unwrap();
    let same = world.compare("test", digest.as_str()).await.unwrap();
    assert_eq!(lines(&same, 0), ["test.sh changed"]);
    world.registry.delete(&repository, &digest).await.unwrap();
    let same = world.compare("test", before[2].wanted.key().as_str()).await.unwrap();
    assert_eq!(lines(&same, 0), ["test.sh changed"]);
    world
        .registry
        .break_when(|_| Some(Fault::Before(Failure::Status { status: 503, detail: String::new() })));
    let error = world.compare("test", "main").await.unwrap_err();
    assert!(matches!(error, ExplainError::Registry(_)), "{error}");
}

#[tokio::test]
async fn a_reason_names_three_changes_since_the_tag_that_moves() {
    let world = World::new();
    assert_eq!(world.reasons().await, Default::default());
    world.build().await;
    world.promote("main").await;
    world.registry.advance(Span::from_seconds(60));
    // A release is newer, but main is what one works against.
    world.write("base.txt", "for the release\n");
    world.build().await;
    world.promote("r2").await;
    world.write("base.txt", "base\n");
    for name in ["build/c", "build/d", "build/e"] {
        world.write(name, "new\n");
    }
    world.write("tool.txt", "8\n");
    let (told, notes) = world.reasons().await;
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(told.get("base"), None, "it is as it was promoted");
    let since = |text: &str| (text.to_owned(), "main".to_owned());
    assert_eq!(told["build"], since("argument TOOL changed; pin tool moved; build/c added; and 2 more"));
    assert_eq!(told["test"], since("parent build moved"));

    // Promoted again, the newest set counts.
    world.build().await;
    world.promote("main").await;
    world.write("build/a", "changed\n");
    let (told, _) = world.reasons().await;
    assert_eq!(told["build"], since("build/a changed"));

    world.registry.break_when(|asked| {
        let lost = || Failure::Unreachable { detail: "lost".to_owned() };
        (asked.verb == Verb::Tags).then(|| Fault::Before(lost()))
    });
    let (told, notes) = world.reasons().await;
    assert!(told.is_empty());
    assert!(notes[0].starts_with("what moved cannot be told: ") && notes.len() == 1, "{notes:?}");
}

#[tokio::test]
async fn without_a_tag_that_moves_the_newest_release_counts() {
    let world = World::new();
    world.build().await;
    world.promote("r1").await;
    world.registry.advance(Span::from_seconds(60));
    world.write("test.sh", "second\n");
    world.write("build/a", "second\n");
    world.build().await;
    world.promote("r2").await;
    world.write("test.sh", "third\n");
    let (told, _) = world.reasons().await;
    assert_eq!(told["test"], ("test.sh changed".to_owned(), "r2".to_owned()));
}

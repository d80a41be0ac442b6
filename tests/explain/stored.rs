//! Input manifests in the ledger.

use boxwright::adapter::memory::{Asked, Fault, Verb};
use boxwright::exec::{Event, Outcome};
use boxwright::port::{Failure, Registry};

use crate::World;

fn of_inputs(asked: &Asked) -> bool {
    asked.reference.as_ref().is_some_and(|reference| reference.starts_with("inputs."))
}

#[tokio::test]
async fn inputs_are_stored_once_with_each_image_that_is_built() {
    let world = World::new();
    let (boxes, report) = world.build().await;
    assert!(report.boxes.values().all(|one| one.outcome == Outcome::Built));
    for keyed in &boxes {
        let stored = world.ledger().inputs(keyed.wanted.key()).await.unwrap().unwrap();
        assert_eq!(stored.to_bytes(), keyed.manifest.to_bytes(), "{}", keyed.wanted.name);
    }
    // A hit asks for nothing, and a box that is built again only whether they stand.
    world.registry.clear_log();
    world.build().await;
    assert!(!world.registry.log().iter().any(of_inputs));
    let base = &boxes[0].wanted;
    let digest = report.boxes["base"].digest.clone().unwrap();
    world.registry.delete(&base.repository, &digest).await.unwrap();
    world.registry.clear_log();
    let (_, again) = world.build().await;
    assert_eq!(again.boxes["base"].outcome, Outcome::Built);
    let log = world.registry.log();
    let verbs: Vec<Verb> = log.iter().filter(|asked| of_inputs(asked)).map(|asked| asked.verb).collect();
    assert_eq!(verbs, [Verb::Head]);
    assert!(!log.iter().any(|asked| {
        asked.verb == Verb::PutBlob && asked.repository.as_ref() == Some(&world.setting.ledger)
    }));
}

#[tokio::test]
async fn a_ledger_that_takes_no_inputs_fails_no_build() {
    let world = World::new();
    world.registry.break_when(|asked| {
        let lost = || Failure::Unreachable { detail: "lost".to_owned() };
        (asked.verb == Verb::Put && of_inputs(asked)).then(|| Fault::Before(lost()))
    });
    let (boxes, report) = world.build().await;
    assert!(report.boxes.values().all(|one| one.outcome == Outcome::Built && one.digest.is_some()));
    let notes: Vec<String> = {
        let events = world.events.lock().unwrap();
        let note = |event: &Event| match event {
            Event::Note { text } => Some(text.clone()),
            _ => None,
        };
        events.iter().filter_map(note).collect()
    };
    assert_eq!(notes.len(), 3, "{notes:?}");
    assert!(notes[0].contains("base: its inputs were not stored") && notes[0].contains("lost"), "{notes:?}");
    assert!(world.ledger().inputs(boxes[0].wanted.key()).await.unwrap().is_none());
}

#[tokio::test]
async fn inputs_that_are_not_those_of_their_key_are_refused() {
    let world = World::new();
    let (boxes, _) = world.build().await;
    let key = boxes[0].wanted.key();
    let other = boxes[1].manifest.pack().unwrap();
    world.tamper(key, &other, other.len() as u64).await;
    let error = world.ledger().inputs(key).await.unwrap_err().to_string();
    let expect = format!("the inputs of key {key} are unusable: their key is {}", boxes[1].wanted.key());
    assert!(error.ends_with(&expect), "{error}");
    world.tamper(key, b"not gzip", 8).await;
    let error = world.ledger().inputs(key).await.unwrap_err().to_string();
    assert!(error.ends_with("cannot be decompressed"), "{error}");
    // What says that it is too large is not fetched.
    world.tamper(key, &other, 1 << 40).await;
    world.registry.clear_log();
    let error = world.ledger().inputs(key).await.unwrap_err().to_string();
    assert!(error.contains("more than 67108864 bytes"), "{error}");
    assert!(!world.registry.log().iter().any(|asked| asked.verb == Verb::GetBlob));
    world.registry.break_when(|asked| {
        let lost = || Failure::Unreachable { detail: "lost".to_owned() };
        (asked.verb == Verb::GetBlob).then(|| Fault::Before(lost()))
    });
    let good = world.ledger().inputs(boxes[1].wanted.key()).await.unwrap_err();
    assert!(good.to_string().contains("lost"), "{good}");
}

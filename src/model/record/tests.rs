use super::*;
use crate::model::MediaType;

fn lease() -> Lease {
    Lease {
        taken: Timestamp::from_unix(1_000_000),
        expiry: Timestamp::from_unix(1_172_800),
        run: "gh-17".parse().unwrap(),
        attempt: 1,
        nonce: "4f".to_owned(),
        keys: vec![Key::of(b"a"), Key::of(b"b")],
        purpose: Purpose::Building,
        turn: None,
    }
}

#[test]
fn a_record_reads_back_and_its_bytes_are_stable() {
    let raw = lease().to_manifest();
    assert_eq!(Lease::from_manifest(&raw).unwrap(), lease());
    assert_eq!(raw, lease().to_manifest());
    let empty = r#"{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","mediaType":"application/vnd.oci.empty.v1+json","size":2}"#;
    let payload = serde_json::json!(serde_json::json!(lease()).to_string());
    let expect = format!(
        r#"{{"annotations":{{"io.boxwright.payload":{payload}}},"artifactType":"application/vnd.boxwright.lease.v1+json","config":{empty},"layers":[{empty}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}}"#
    );
    assert_eq!(raw.bytes(), expect.as_bytes());
    assert!(matches!(Tombstone::from_manifest(&raw), Err(RecordError::Kind { .. })));
}

#[test]
fn a_lease_says_what_it_is_for_and_older_ones_build() {
    let older = r#"{"taken":"19700112T134640Z","expiry":"19700114T134640Z","run":"gh-17","attempt":1,"nonce":"4f","keys":[]}"#;
    let check = |more: &str, expect: Purpose| {
        let text = older.replace("[]}", &format!("[]{more}}}"));
        let read: Lease = serde_json::from_str(&text).unwrap();
        assert_eq!((read.purpose, read.turn), (expect, None), "{more}");
    };
    check("", Purpose::Building);
    for (purpose, word) in Purpose::WORDS {
        check(&format!(r#","purpose":"{word}""#), purpose);
    }
    for strange in [r#""baking""#, "7", "null", r#"{"promoting":true}"#] {
        check(&format!(r#","purpose":{strange},"colour":"red""#), Purpose::Building);
    }
    // What builds is written as it always was.
    assert!(!serde_json::json!(lease()).to_string().contains("purpose"));
    let promoting = Lease { purpose: Purpose::Promoting, turn: Some(3), ..lease() };
    assert_eq!(Lease::from_manifest(&promoting.to_manifest()).unwrap(), promoting);
}

#[test]
fn a_foreign_manifest_is_no_record() {
    let text = String::from_utf8(lease().to_manifest().bytes().to_vec()).unwrap();
    let other = RawManifest::new(MediaType::OciManifest, text.replace("lease.v1", "lease.v2"));
    assert!(matches!(Lease::from_manifest(&other), Err(RecordError::Kind { .. })));
    let newer = RawManifest::new(MediaType::OciManifest, text.replace("taken", "token"));
    assert!(matches!(Lease::from_manifest(&newer), Err(RecordError::Payload { .. })));
}

#[test]
fn a_record_counts_only_where_it_says_it_stands() {
    let bound = Lease { nonce: Lease::nonce("4f4f4f4f", &lease().keys, Purpose::Building), ..lease() };
    let check = |at: &Lease, holds: &Lease, expect: Option<&str>| {
        let read = Lease::read_at(&at.tag().unwrap(), &holds.to_manifest());
        match expect {
            None => assert_eq!(&read.unwrap(), holds),
            Some(why) => {
                let error = read.unwrap_err().to_string();
                assert!(error.contains(why), "{error}");
            }
        }
    };
    check(&bound, &bound, None);
    check(&lease(), &lease(), None);
    let later = Lease { expiry: Timestamp::from_unix(1_172_801), ..lease() };
    check(&lease(), &later, Some("says that it stands at lease."));
    check(&lease(), &Lease { run: "other".parse().unwrap(), ..lease() }, Some("stands at"));
    check(&bound, &lease(), Some("stands at"));
    let fewer = Lease { keys: vec![Key::of(b"a")], ..bound.clone() };
    check(&bound, &fewer, Some("not the one that its tag was made for"));
    check(&bound, &Lease { keys: vec![], ..bound.clone() }, Some("not the one"));
    // A turn may be said, and what it is for, but none becomes a sweep's claim, which keeps nothing.
    check(&bound, &Lease { turn: Some(3), purpose: Purpose::Using, ..bound.clone() }, None);
    check(&bound, &Lease { purpose: Purpose::Cleaning, ..bound.clone() }, Some("not the one"));
    check(&lease(), &Lease { purpose: Purpose::Cleaning, ..lease() }, Some("not the one"));
    let claim = Lease::nonce("4f4f4f4f", &lease().keys, Purpose::Cleaning);
    let claim = Lease { nonce: claim, purpose: Purpose::Cleaning, ..lease() };
    check(&claim, &claim, None);
    // The longest run leaves room for it.
    let long = Lease { run: "r".repeat(64).parse().unwrap(), ..bound };
    check(&long, &long, None);
}

#[test]
fn tags_read_back_and_foreign_ones_are_left_alone() {
    let key = Key::of(b"a");
    let tags = [
        lease().tag().unwrap().to_string(),
        format!("over.{key}.g0"),
        "plan.r2026.07.1".to_owned(),
        "set.main.12".to_owned(),
        "ends.pr-7.3".to_owned(),
        "run.gh-17.2".to_owned(),
        format!("inputs.{key}"),
    ];
    for text in &tags {
        let read = RecordTag::read(&text.parse().unwrap()).unwrap();
        assert_eq!(&read.to_string(), text);
    }
    for foreign in ["latest", "lease.tomorrow.x.y", "over.abc.g0", "set.main", "set.main.01", "run.a.b"] {
        assert_eq!(RecordTag::read(&foreign.parse().unwrap()), None, "{foreign}");
    }
}

#[test]
fn run_ids_fit_between_the_dots_of_a_tag() {
    for bad in ["", "a.b", "a/b", "a b", &"x".repeat(65)] {
        assert!(bad.parse::<RunId>().is_err(), "{bad}");
    }
}

#[test]
fn a_text_outside_its_grammar_makes_no_record() {
    let good = crate::model::PromotionRecord::of_image("main", 1, 1, "x");
    let check = |from: &str, to: &str, is_good: bool| {
        let text = String::from_utf8(good.to_manifest().bytes().to_vec()).unwrap();
        assert!(text.contains(from), "{text}");
        let raw = RawManifest::new(MediaType::OciManifest, text.replace(from, to));
        assert_eq!(crate::model::PromotionRecord::from_manifest(&raw).is_ok(), is_good, "{from} -> {to}");
    };
    let quoted = |name: &str, value: &str| format!("\\\"{name}\\\":\\\"{value}\\\"");
    for (name, old) in [("name", "base"), ("channel", "c"), ("run", "r"), ("tag", "main")] {
        check(&quoted(name, old), &quoted(name, "other"), true);
        for bad in ["", "a b", "a\\\\u001b[2J", "a\\\\nb", "\u{202e}a", "é"] {
            check(&quoted(name, old), &quoted(name, bad), false);
        }
    }
    check(&quoted("repository", "base"), &quoted("repository", "../x"), false);
    check(&quoted("repository", "base"), &quoted("repository", "a\\\\u0007"), false);
    let source = |inner: &str| format!("\\\"source\\\":{{{inner}\\\"dirty\\\":false");
    let revision = |text: &str| source(&(quoted("revision", text) + ","));
    check(&source(""), &revision("c0ffee"), true);
    for bad in ["", "HEAD", "c0ffee\\\\u001b]8;;x", "c0ffee c0ffee"] {
        check(&source(""), &revision(bad), false);
    }
}

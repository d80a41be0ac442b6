//! The schema of `boxwright.toml` and its parser know the same keys.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use boxwright::config::{SCHEMA, parse};
use serde_json::Value;

/// A table of the configuration: its place in the schema, and a file in which `KEY` stands for
/// a key of that table.
const TABLES: [(&str, &str); 12] = [
    ("", "KEY\nregistry = \"r.example\"\n[box.a]"),
    ("/properties/temporary", "[temporary]\nKEY\n[box.a]"),
    ("/properties/clean", "[clean]\nKEY\n[box.a]"),
    ("/properties/protect", "[protect]\nKEY\n[box.a]"),
    ("/properties/lint", "[lint]\nKEY\n[box.a]"),
    ("/properties/defaults", "[defaults]\nKEY\n[box.a]"),
    ("/properties/pin/additionalProperties", "[pin.p]\nKEY\n[box.a]"),
    ("/properties/box/additionalProperties", "[box.a]\nKEY"),
    (
        "/properties/box/additionalProperties/properties/secrets/additionalProperties",
        "[box.a.secrets.s]\nKEY",
    ),
    ("/properties/channel/additionalProperties", "[box.a]\n[channel.c]\nKEY"),
    (
        "/properties/channel/additionalProperties/properties/keep/anyOf/2",
        "[box.a]\n[channel.c]\ntag = \"t\"\n[channel.c.keep]\nKEY",
    ),
    ("/properties/box", ""),
];

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

/// The keys that the parser knows in a table, as its hint to an unknown one lists them.
fn known(file: &str) -> BTreeSet<String> {
    let start = if file.starts_with("KEY") { "" } else { "registry = \"r.example\"\n" };
    let text = format!("{start}{}", file.replacen("KEY", "qqqqqqqqqq = 1", 1));
    let error = parse("boxwright.toml", &text).unwrap_err();
    assert!(error.message.contains("unknown key"), "{file}: {error}");
    let hint = error.hint.unwrap();
    hint.strip_prefix("known keys are ")
        .unwrap_or_else(|| panic!("{hint}"))
        .split(", ")
        .map(str::to_owned)
        .collect()
}

#[test]
fn schema_and_parser_know_the_same_keys() {
    let schema = schema();
    for (place, file) in TABLES.iter().filter(|(_, file)| !file.is_empty()) {
        let table = schema.pointer(place).unwrap_or_else(|| panic!("{place}"));
        assert_eq!(table["additionalProperties"], false, "{place}");
        let listed: BTreeSet<String> = table["properties"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(listed, known(file), "{place}");
        for (key, value) in table["properties"].as_object().unwrap() {
            let has_kind = ["type", "anyOf"].iter().any(|word| value.get(word).is_some());
            assert!(
                has_kind && value["description"].as_str().is_some_and(|text| text.len() > 5),
                "{place}/{key}"
            );
        }
    }
}

#[test]
fn every_closed_table_of_the_schema_is_held_against_the_parser() {
    fn closed(value: &Value, path: &str, out: &mut Vec<String>) {
        if value.get("properties").is_some() {
            out.push(path.to_owned());
        }
        let children: Vec<(String, &Value)> = match value {
            Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
            Value::Array(list) => {
                list.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect()
            }
            _ => return,
        };
        for (key, value) in children {
            closed(value, &format!("{path}/{key}"), out);
        }
    }
    let mut found = Vec::new();
    closed(&schema(), "", &mut found);
    let held: BTreeSet<&str> = TABLES.iter().map(|(place, _)| *place).collect();
    for place in &found {
        assert!(held.contains(place.as_str()), "{place}");
    }
    assert_eq!(found.len(), TABLES.len() - 1);
}

#[test]
fn findings_of_the_schema_are_those_that_can_be_allowed() {
    let schema = schema();
    let kinds = &schema.pointer("/properties/lint/properties/allow/items/enum").unwrap();
    let kinds: BTreeSet<&str> = kinds.as_array().unwrap().iter().map(|kind| kind.as_str().unwrap()).collect();
    let all: BTreeSet<&str> = boxwright::inputs::FindingKind::ALL.iter().map(|kind| kind.name()).collect();
    assert_eq!(kinds, all);
}

/// `docs/configuration.md` names every key: `clean.grace`, or in a section of its own `grace`.
#[test]
fn the_page_names_every_key_of_the_schema() {
    let page = include_str!("../docs/configuration.md");
    let mut count = 0;
    for (place, _) in TABLES.iter().filter(|(place, _)| *place != "/properties/box") {
        let table = schema();
        let table = table.pointer(place).unwrap();
        let section = place.strip_prefix("/properties/").filter(|rest| !rest.contains('/'));
        for key in table["properties"].as_object().unwrap().keys() {
            let names =
                [format!("`{key}`"), format!("`{}.{key}`", section.unwrap_or("?")), format!("`{key}.")];
            let is_table = ["pin", "box", "channel", "defaults", "clean", "protect", "lint", "temporary"];
            let is_named =
                names.iter().any(|name| page.contains(name)) || page.contains(&format!("{{ {key} = "));
            assert!(is_named || place.is_empty() && is_table.contains(&key.as_str()), "{place}: {key}");
            count += 1;
        }
    }
    assert!(count > 50, "{count}");
}

/// The configurations that are in this repository hold no key that the schema does not know.
#[test]
fn the_examples_follow_the_schema() {
    fn check(schema: &Value, value: &toml::Value, place: &str) {
        if let Some(values) = schema.get("enum") {
            let is_one = values.as_array().unwrap().iter().any(|one| one.as_str() == value.as_str());
            return assert!(is_one, "{place}: {value} is none of {values}");
        }
        let branches: Vec<&Value> = match schema.get("anyOf") {
            Some(any) => any.as_array().unwrap().iter().collect(),
            None => vec![schema],
        };
        let kind = match value {
            toml::Value::String(_) => "string",
            toml::Value::Integer(_) => "integer",
            toml::Value::Boolean(_) => "boolean",
            toml::Value::Array(_) => "array",
            toml::Value::Table(_) => "object",
            other => panic!("{place}: {other}"),
        };
        let branch = branches.into_iter().find(|branch| branch["type"] == kind);
        let branch = branch.unwrap_or_else(|| panic!("{place}: no {kind} is expected"));
        match value {
            toml::Value::Table(table) => {
                for required in branch["required"].as_array().into_iter().flatten() {
                    assert!(table.contains_key(required.as_str().unwrap()), "{place} lacks {required}");
                }
                for (key, value) in table {
                    let of_key = branch["properties"].get(key).unwrap_or(&branch["additionalProperties"]);
                    assert!(of_key.is_object(), "{place}.{key} is not known");
                    check(of_key, value, &format!("{place}.{key}"));
                }
            }
            toml::Value::Array(items) => items.iter().for_each(|item| check(&branch["items"], item, place)),
            _ => {}
        }
    }
    for text in [
        include_str!("../boxwright.toml"),
        include_str!("../release.toml"),
        include_str!("../examples/easycrypt-like/boxwright.toml"),
        include_str!("../examples/lampe-like/boxwright.toml"),
    ] {
        check(&schema(), &toml::from_str(text).unwrap(), "boxwright.toml");
    }
}

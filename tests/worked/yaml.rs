//! YAML as JSON, every scalar a text: what a step says is text anyway.

use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

/// Reads one document.
pub fn read(text: &str) -> Value {
    let documents = YamlLoader::load_from_str(text).unwrap();
    assert_eq!(documents.len(), 1);
    value(&documents[0])
}

fn value(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::Real(text) | Yaml::String(text) => text.clone().into(),
        Yaml::Integer(number) => number.to_string().into(),
        Yaml::Boolean(value) => value.to_string().into(),
        Yaml::Array(items) => items.iter().map(value).collect(),
        Yaml::Hash(pairs) => {
            let name = |key: &Yaml| match value(key) {
                // In YAML 1.1 `on` is a truth value.
                Value::String(text) if text == "true" => "on".to_owned(),
                Value::String(text) => text,
                other => panic!("{other} is no name"),
            };
            Value::Object(pairs.iter().map(|(key, one)| (name(key), value(one))).collect::<Map<_, _>>())
        }
        Yaml::Null => Value::Null,
        other => panic!("not understood: {other:?}"),
    }
}

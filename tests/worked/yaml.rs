//! YAML as JSON, every scalar a text: what a step says is text anyway.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value};

/// Reads one document.
pub fn read(text: &str) -> Value {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchored: BTreeMap::new() };
    assert_eq!(reader.next(), Event::StreamStart);
    assert!(matches!(reader.next(), Event::DocumentStart(_)));
    let value = reader.value();
    assert_eq!([reader.next(), reader.next()], [Event::DocumentEnd, Event::StreamEnd]);
    value
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    anchored: BTreeMap<usize, Value>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Event<'a> {
        self.parser.next_event().unwrap().unwrap().0
    }

    fn value(&mut self) -> Value {
        let event = self.next();
        self.rest(event)
    }

    /// Reads what `event` begins.
    fn rest(&mut self, event: Event<'a>) -> Value {
        let (anchor, value) = match event {
            Event::Alias(anchor) => return self.anchored[&anchor].clone(),
            Event::Scalar(text, ScalarStyle::Plain, anchor, _) if matches!(&*text, "" | "~" | "null") => {
                (anchor, Value::Null)
            }
            Event::Scalar(text, _, anchor, _) => (anchor, text.into()),
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next() {
                        Event::SequenceEnd => break (anchor, items.into()),
                        item => items.push(self.rest(item)),
                    }
                }
            }
            Event::MappingStart(anchor, _) => {
                let mut pairs = Map::new();
                loop {
                    match self.next() {
                        Event::MappingEnd => break (anchor, pairs.into()),
                        Event::Scalar(name, ..) => drop(pairs.insert(name.into_owned(), self.value())),
                        other => panic!("{other:?} is no name"),
                    }
                }
            }
            other => panic!("not understood: {other:?}"),
        };
        self.anchored.insert(anchor, value.clone());
        value
    }
}

//! A field of a YAML document, as the text that stands there: `1.10` stays `1.10`.

use saphyr_parser::{Event, Parser, StrInput};

use super::PinError;

/// How many nodes a document may have.
const NODES: usize = 1_000_000;
/// How deep they may be nested.
const DEPTH: usize = 128;

/// Returns the scalar at `path`.
pub fn field(text: &str, path: &[String]) -> Result<String, PinError> {
    let mut walk = Walk { parser: Parser::new_from_str(text), nodes: 0, at: (1, 1) };
    loop {
        match walk.next()? {
            Event::StreamStart | Event::DocumentStart(_) => {}
            Event::StreamEnd | Event::DocumentEnd => return Err(PinError::Missing(path.join("."))),
            event => return walk.find(event, path, path, 0),
        }
    }
}

struct Walk<'a> {
    parser: Parser<'a, StrInput<'a>>,
    nodes: usize,
    /// The line and column of the last node, from 1.
    at: (usize, usize),
}

impl<'a> Walk<'a> {
    fn next(&mut self) -> Result<Event<'a>, PinError> {
        self.nodes += 1;
        if self.nodes > NODES {
            return Err(self.wrong("it has too many nodes"));
        }
        let (read, mark) = match self.parser.next_event() {
            Some(Ok((event, span))) => (Ok(event), span.start),
            Some(Err(error)) => (Err(error.info().to_owned()), *error.marker()),
            None => return Ok(Event::StreamEnd),
        };
        self.at = (mark.line(), mark.col() + 1);
        read.map_err(|message| self.wrong(&message))
    }

    fn wrong(&self, message: &str) -> PinError {
        let (line, column) = self.at;
        PinError::Syntax { line, column, message: message.to_owned() }
    }

    /// Looks in the node that `event` begins for what is left of the path.
    fn find(
        &mut self,
        event: Event<'a>,
        left: &[String],
        path: &[String],
        depth: usize,
    ) -> Result<String, PinError> {
        let missing = || PinError::Missing(path.join("."));
        let not_scalar = |found| PinError::NotScalar { field: path.join("."), found };
        let Some((name, rest)) = left.split_first() else {
            return match event {
                Event::Scalar(text, ..) => Ok(text.into_owned()),
                Event::SequenceStart(..) => Err(not_scalar("a list")),
                Event::MappingStart(..) => Err(not_scalar("a table")),
                _ => Err(not_scalar("an alias")),
            };
        };
        match event {
            Event::MappingStart(..) => loop {
                let key = match self.next()? {
                    Event::MappingEnd => return Err(missing()),
                    Event::Scalar(text, ..) => Some(text),
                    other => {
                        self.skip(other, depth + 1)?;
                        None
                    }
                };
                let value = self.next()?;
                if key.as_deref() == Some(name) {
                    return self.find(value, rest, path, depth + 1);
                }
                self.skip(value, depth + 1)?;
            },
            Event::SequenceStart(..) => {
                let mut index = 0;
                loop {
                    let item = self.next()?;
                    if item == Event::SequenceEnd {
                        return Err(missing());
                    }
                    if name.parse() == Ok(index) {
                        return self.find(item, rest, path, depth + 1);
                    }
                    self.skip(item, depth + 1)?;
                    index += 1;
                }
            }
            _ => Err(missing()),
        }
    }

    /// Passes over the node that `event` begins.
    fn skip(&mut self, event: Event<'a>, mut depth: usize) -> Result<(), PinError> {
        let mut open = usize::from(matches!(event, Event::MappingStart(..) | Event::SequenceStart(..)));
        while open > 0 {
            match self.next()? {
                Event::MappingStart(..) | Event::SequenceStart(..) => {
                    open += 1;
                    depth += 1;
                }
                Event::MappingEnd | Event::SequenceEnd => {
                    open -= 1;
                    depth = depth.saturating_sub(1);
                }
                _ => {}
            }
            if depth > DEPTH {
                return Err(self.wrong("it is nested too deeply"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, path: &str, expect: Result<&str, PinError>) {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        assert_eq!(field(text, &path), expect.map(str::to_owned), "{text}");
    }

    #[test]
    fn finds_the_text_as_it_stands() {
        let text =
            "a: [x, {b: 1}]\nversion: 1.10 # tail\nnested:\n  - name: one\n    rev: 0x1f\n  - rev: 'two'\n";
        check(text, "version", Ok("1.10"));
        check(text, "nested.0.rev", Ok("0x1f"));
        check(text, "nested.1.rev", Ok("two"));
        check(text, "a.1.b", Ok("1"));
        check(text, "nested.2.rev", Err(PinError::Missing("nested.2.rev".to_owned())));
        check(text, "a", Err(PinError::NotScalar { field: "a".to_owned(), found: "a list" }));
        check(text, "version.x", Err(PinError::Missing("version.x".to_owned())));
        check("", "a", Err(PinError::Missing("a".to_owned())));
    }

    #[test]
    fn bombs_do_not_go_off() {
        let aliases = "a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\nd: 1\n";
        check(aliases, "d", Ok("1"));
        check(aliases, "c.0", Err(PinError::NotScalar { field: "c.0".to_owned(), found: "an alias" }));
        let deep = format!("a: {}", "[".repeat(200));
        assert!(matches!(field(&deep, &["b".to_owned()]), Err(PinError::Syntax { .. })));
        assert!(matches!(field("a: [", &["b".to_owned()]), Err(PinError::Syntax { .. })));
    }
}

//! The part of GitHub's expressions that the workflows here use; anything else panics, so that
//! no workflow says something that no test has tried.

use serde_json::Value;

/// Puts values in place of `${{ … }}`.
pub fn fill(text: &str, context: &Value) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (inner, behind) = after.split_once("}}").unwrap_or_else(|| panic!("no }}}} in {text}"));
        out.push_str(before);
        out.push_str(&word(&evaluate(inner, context)));
        rest = behind;
    }
    out + rest
}

/// Evaluates an `if`, with or without its braces.
pub fn holds(text: &str, context: &Value) -> bool {
    let inner = text.trim().trim_start_matches("${{").trim_end_matches("}}");
    truthy(&evaluate(inner, context))
}

fn evaluate(text: &str, context: &Value) -> Value {
    let mut parser = Parser { rest: text.trim(), context };
    let value = parser.or();
    assert_eq!(parser.rest, "", "what follows in `{text}` is not understood");
    value
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn truthy(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false)) && value != &Value::String(String::new())
}

struct Parser<'a> {
    rest: &'a str,
    context: &'a Value,
}

impl Parser<'_> {
    fn takes(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn or(&mut self) -> Value {
        let mut value = self.and();
        while self.takes("||") {
            let other = self.and();
            value = if truthy(&value) { value } else { other };
        }
        value
    }

    fn and(&mut self) -> Value {
        let mut value = self.equal();
        while self.takes("&&") {
            let other = self.equal();
            value = if truthy(&value) { other } else { value };
        }
        value
    }

    fn equal(&mut self) -> Value {
        let value = self.primary();
        if self.takes("==") {
            return Value::Bool(value == self.primary());
        }
        if self.takes("!=") {
            return Value::Bool(value != self.primary());
        }
        value
    }

    fn primary(&mut self) -> Value {
        if let Some(text) = self.rest.strip_prefix('\'') {
            let (text, rest) = text.split_once('\'').unwrap();
            self.rest = rest.trim_start();
            return Value::String(text.to_owned());
        }
        let name = self.name();
        let mut value = if self.takes("(") {
            assert_eq!(name, "fromJSON", "an unknown function");
            let text = word(&self.or());
            assert!(self.takes(")"), "no ) before {}", self.rest);
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("fromJSON: {error}: {text}"))
        } else {
            let known = self.context.get(&name);
            known.unwrap_or_else(|| panic!("there is no context `{name}`")).clone()
        };
        while self.takes(".") {
            let name = self.name();
            value = value.get(&name).cloned().unwrap_or(Value::Null);
        }
        value
    }

    fn name(&mut self) -> String {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let end = self.rest.find(|c| !word(c)).unwrap_or(self.rest.len());
        assert!(end > 0, "a name is expected at `{}`", self.rest);
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        name.to_owned()
    }
}

#[test]
fn expressions_mean_what_they_mean_on_github() {
    let context = serde_json::json!({
        "github": { "event_name": "push", "ref_name": "main" },
        "steps": { "b": { "outputs": { "images": "{\"test\":\"h/t@sha256:1\"}" } } },
        "inputs": { "run": "" },
    });
    let check = |text: &str, expect: &str| assert_eq!(fill(text, &context), expect);
    check("a ${{ github.ref_name }} b", "a main b");
    check("${{ fromJSON(steps.b.outputs.images).test }}", "h/t@sha256:1");
    check("${{ inputs.run || github.ref_name }}${{ steps.none.outputs.x }}", "main");
    assert!(holds("github.event_name == 'push'", &context));
    assert!(!holds("inputs.run != ''", &context));
    assert!(holds("${{ github.event_name == 'push' && github.ref_name != 'x' }}", &context));
}

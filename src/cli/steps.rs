//! What the engine calls the steps of a build, as people read it.

/// Takes the stage out of a step such as `[base 2/3] RUN make`: the line names the box already.
pub fn without_box(step: &str) -> &str {
    let inner = step.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    inner.filter(|(stage, _)| stage.contains('/')).map_or(step, |(_, instruction)| instruction)
}

/// Cuts digests in a text to the length that people compare.
pub fn short_digests(text: &str) -> String {
    const START: &str = "sha256:";
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        let (before, after) = rest.split_at(at + START.len());
        out.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(&after[..digits.min(12)]);
        rest = &after[digits..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_cut() {
        let long = format!("FROM a@sha256:{} AS b", "0123456789abcdef".repeat(4));
        assert_eq!(short_digests(&long), "FROM a@sha256:0123456789ab AS b");
        assert_eq!(short_digests("sha256:zz"), "sha256:zz");
    }

    #[test]
    fn a_step_is_told_without_its_stage() {
        assert_eq!(without_box("[base 2/3] RUN make"), "RUN make");
        assert_eq!(without_box("[internal] load"), "[internal] load");
        assert_eq!(without_box("RUN a] b"), "RUN a] b");
    }
}

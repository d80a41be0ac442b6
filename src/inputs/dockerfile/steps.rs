//! From a step of a build back to the instruction that it carries out.
//!
//! An engine names a step `[stage 2/5] RUN make`, where the second number counts the steps of
//! the stage: its instructions that change files, and its `FROM` unless it stands on another
//! stage (BuildKit, `dockerfile2llb`). Texts are not compared: they are sent with digests for
//! names, and told with variables expanded.

use super::at::At;
use super::instruction::Instruction;
use super::lines;
use super::source::DockerfileSource;

/// Returns the place of the instruction that the engine names `step`; nothing for steps that
/// are none of the Dockerfile's. Stages are where they are in what is sent.
pub fn step_at(source: &DockerfileSource, step: &str) -> Option<At> {
    let (inner, text) = step.strip_prefix('[')?.split_once("] ")?;
    let keyword = text.split_whitespace().next()?;
    let mut words = inner.split_whitespace().rev();
    let (number, all) = words.next()?.split_once('/')?;
    let (number, all): (usize, usize) = (number.parse().ok()?, all.parse().ok()?);
    let name = words.next().filter(|word| !word.contains('/'));

    let parsed = lines::parse(source).ok()?;
    let first = parsed.instructions.iter().position(|one| one.keyword == "FROM")?;
    let stages = parsed.instructions[first..].chunk_by(|_, next| next.keyword != "FROM");
    let stages: Vec<&[Instruction]> = stages.collect();
    let stage = match name {
        None => stages.last()?,
        Some(name) => {
            let position = name.strip_prefix("stage-").and_then(|position| position.parse::<usize>().ok());
            let named = stages.iter().rfind(|stage| alias(&stage[0]).is_some_and(|alias| alias == name));
            named.or_else(|| stages.get(position?).filter(|stage| alias(&stage[0]).is_none()))?
        }
    };
    if keyword == "FROM" {
        return Some(source.at(stage[0].start));
    }
    let counted = |one: &&Instruction| matches!(one.keyword, "ADD" | "COPY" | "RUN" | "WORKDIR");
    let counted: Vec<&Instruction> = stage.iter().filter(counted).collect();
    let before = all.checked_sub(counted.len()).filter(|before| *before <= 1)?;
    let found = counted.get(number.checked_sub(1 + before)?)?;
    (found.keyword == keyword).then(|| source.at(found.start))
}

/// The name that a `FROM` gives its stage, in lower case.
fn alias(from: &Instruction) -> Option<String> {
    let words = from.words();
    let [_, _, name] = words.as_slice() else { return None };
    Some(from.logical.text[name.clone()].to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line of a step; 0 if it is none of the Dockerfile's.
    fn line(text: &str, step: &str) -> u32 {
        let source = DockerfileSource::new("D", text.as_bytes()).unwrap();
        step_at(&source, step).map_or(0, |at| at.line)
    }

    #[test]
    fn steps_are_counted_in_their_stage() {
        let text = "ARG V=1\nFROM parent AS base\nENV A=$V\nRUN one \\\n  more\n\nFROM other AS Idle\nRUN no\n\
            FROM base AS two\n# a remark\nWORKDIR /w\nCOPY --from=base \\\n  /a /b\nRUN <<E\nx\nE\nFROM base\nRUN last\n";
        for (step, expect) in [
            ("[base 1/2] FROM docker.io/library/a@sha256:0123", 2),
            ("[base 2/2] RUN one   more", 4),
            ("[two 1/3] WORKDIR /w", 11),
            ("[two 2/3] COPY --from=base   /a /b", 12),
            ("[linux/amd64 two 3/3] RUN <<E (x)", 14),
            ("[idle 2/2] RUN no", 8),
            ("[stage-3 1/1] RUN last", 18),
            // None of the Dockerfile's, or not what they seem.
            ("[internal] load metadata for docker.io/library/a", 0),
            ("exporting to image", 0),
            ("[two 2/3] RUN one", 0),
            ("[two 9/9] RUN one", 0),
            ("[stage-2 1/1] RUN last", 0),
            ("[other 1/1] RUN last", 0),
        ] {
            assert_eq!(line(text, step), expect, "{step}");
        }
        assert_eq!(line("FROM a\nRUN x\nRUN y\n", "[3/3] RUN y"), 3);
        assert_eq!(line("FROM scratch\nCOPY x /\n", "[1/1] COPY x /"), 2);
    }
}

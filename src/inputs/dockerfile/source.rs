//! A Dockerfile's text and places in it.

use std::ops::Range;

use super::at::At;
use super::error::DockerfileError;

/// A Dockerfile as it was read, with the name that errors call it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DockerfileSource {
    name: String,
    text: String,
    /// Where each line starts, in bytes.
    starts: Vec<usize>,
    /// How many characters begin before each piece of the text, so that a place is found without a look at all
    /// that is before it: an instruction can have tens of thousands.
    counts: Vec<usize>,
}

/// How many bytes a piece has.
const PIECE: usize = 256;
/// How many characters of a long line are shown, and how many of them before a place.
const SHOWN: usize = 201;
const BEFORE: usize = 80;

impl DockerfileSource {
    /// Wraps a Dockerfile's bytes, which must be UTF-8; `name` is its path as people know it.
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Result<Self, DockerfileError> {
        let name = name.into();
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::of_text(name, text.to_owned())),
            Err(error) => {
                let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
                let source = Self::of_text(name, valid);
                Err(DockerfileError::NotText { at: source.at(source.text.len()) })
            }
        }
    }

    fn of_text(name: String, text: String) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(end, _)| end + 1)).collect();
        let mut counts = vec![0];
        for piece in text.as_bytes().chunks(PIECE) {
            counts.push(counts.last().copied().unwrap_or_default() + beginning(piece));
        }
        Self { name, text, starts, counts }
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the line of a byte offset, from 1.
    pub fn line(&self, offset: usize) -> u32 {
        small(self.starts.partition_point(|start| *start <= offset))
    }

    /// Returns how many characters begin before a byte offset.
    fn characters(&self, offset: usize) -> usize {
        let piece = offset / PIECE;
        let rest = self.text.as_bytes().get(piece * PIECE..offset).unwrap_or_default();
        self.counts.get(piece).copied().unwrap_or_default() + beginning(rest)
    }

    /// Returns the line and column of a byte offset.
    pub fn at(&self, offset: usize) -> At {
        let line = self.line(offset);
        let start = self.starts.get(line as usize - 1).copied().unwrap_or_default();
        let before = self.text.get(start..offset).unwrap_or_default();
        let column = self.characters(start + before.len()) - self.characters(start) + 1;
        // Of a long line the part around the place; an instruction can have many places.
        let skipped = if column > 2 * BEFORE { column - BEFORE } else { 0 };
        let shown = match skipped {
            0 => start,
            _ => start + before.char_indices().rev().nth(BEFORE - 2).map_or(0, |(at, _)| at),
        };
        let text = self.text.get(shown..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let text = text.chars().take(SHOWN).collect();
        At { file: self.name.clone(), line, column: small(column), text, skipped: small(skipped) }
    }
}

/// How many characters begin in a part of a text.
fn beginning(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count()
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One instruction's text with its continuation lines joined, and where each byte came from.
#[derive(Debug, Clone, Default)]
pub(super) struct Logical {
    pub text: String,
    /// Where pieces of `text` begin, in `text` and in the file; sorted.
    pieces: Vec<(usize, usize)>,
}

impl Logical {
    pub fn push(&mut self, piece: &str, offset: usize) {
        if !piece.is_empty() {
            self.pieces.push((self.text.len(), offset));
            self.text.push_str(piece);
        }
    }

    /// Where a byte of `text` stands in the file.
    pub fn offset(&self, at: usize) -> usize {
        let index = self.pieces.partition_point(|(start, _)| *start <= at);
        match index.checked_sub(1).and_then(|index| self.pieces.get(index)) {
            Some((start, offset)) => offset + (at - start),
            None => at,
        }
    }

    /// The bytes of the file that a non-empty range of `text` came from.
    pub fn span(&self, range: &Range<usize>) -> Range<usize> {
        if range.is_empty() {
            let at = self.offset(range.start);
            return at..at;
        }
        self.offset(range.start)..self.offset(range.end - 1) + 1
    }
}

//! Makes new inputs out of seeds.

/// What parsers look for; a mutation puts one of these somewhere.
const TOKENS: [&[u8]; 64] = [
    b"\0",
    b"\r\n",
    b"\n\n",
    b"\t",
    b"\\",
    b"\\\n",
    b"`",
    b"\"",
    b"'",
    b"$",
    b"${",
    b"}",
    b"${A:-",
    b"${A#",
    b"${A//",
    b"[",
    b"]",
    b"[^",
    b"[[:alpha:]]",
    b"*",
    b"**",
    b"**/",
    b"?",
    b"!",
    b"#",
    b"<<EOF\n",
    b"<<-\"E\"",
    b"\nEOF\n",
    b"\nFROM ",
    b"\nCOPY ",
    b"\nRUN ",
    b"\nARG ",
    b"\nONBUILD ",
    b" --from=",
    b" --mount=type=bind,",
    b" AS ",
    b"# syntax=",
    b"# escape=`",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xc3",
    b"\xe2\x80\xa8",
    b"\xf0\x9f\x98\x80",
    b"..",
    b"/../",
    b"//",
    b"-1",
    b"0",
    b"18446744073709551616",
    b"99999999999999999999999999",
    b"1e999",
    b"0x",
    b"1.5",
    b"{",
    b":",
    b", ",
    b"- ",
    b"&a ",
    b"*a",
    b"<<: ",
    b"sha256:",
    b"= ",
    b"null",
    b"\\u0000",
];

/// The same as libFuzzer's dictionaries are written.
pub fn dictionary() -> String {
    let byte = |byte: &u8| format!("\\x{byte:02x}");
    let line = |token: &&[u8]| format!("\"{}\"\n", token.iter().map(byte).collect::<String>());
    TOKENS.iter().map(line).collect()
}

/// A stream of mutated inputs.
pub struct Mutator {
    state: u64,
    seeds: Vec<Vec<u8>>,
}

impl Mutator {
    pub fn new(seed: u64, seeds: Vec<Vec<u8>>) -> Self {
        Self { state: seed ^ 0x9e37_79b9_7f4a_7c15, seeds }
    }

    /// A number below `end`, by xorshift64*.
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let number = self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16;
        usize::try_from(number).unwrap() % end.max(1)
    }

    fn seed(&mut self) -> Vec<u8> {
        let index = self.below(self.seeds.len());
        self.seeds[index].clone()
    }

    /// A part of `bytes`.
    fn part(&mut self, bytes: &[u8], longest: usize) -> std::ops::Range<usize> {
        let start = self.below(bytes.len() + 1);
        let length = self.below(longest.min(bytes.len() - start) + 1);
        start..start + length
    }

    /// The next input.
    pub fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.seed();
        // Mostly few changes, so that most of what is tried is nearly right.
        let changes = 1 + self.below(4) * self.below(3);
        for _ in 0..changes {
            self.change(&mut bytes);
            bytes.truncate(1 << 16);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        match self.below(12) {
            0 if !bytes.is_empty() => {
                let at = self.below(bytes.len());
                bytes[at] ^= 1 << self.below(8);
            }
            1 => {
                let (at, byte) = (self.below(bytes.len() + 1), self.below(256));
                bytes.insert(at, u8::try_from(byte).unwrap());
            }
            2 | 3 => {
                let part = self.part(bytes, 12);
                bytes.drain(part);
            }
            4 => {
                let part = self.part(bytes, 200);
                let copy = bytes[part.clone()].to_vec();
                bytes.splice(part.end..part.end, copy);
            }
            5 => {
                // A lot of the same: nesting, and whatever is not linear.
                let part = self.part(bytes, 8);
                let copy = bytes[part.clone()].repeat(1 + self.below(3000));
                bytes.splice(part.end..part.end, copy);
            }
            6 => {
                let other = self.seed();
                let (from, to) = (self.part(&other, 300), self.part(bytes, 300));
                bytes.splice(to, other[from].to_vec());
            }
            7 => {
                let length = self.below(bytes.len() + 1);
                bytes.truncate(length);
            }
            8 => {
                let (one, two) = (self.below(bytes.len().max(1)), self.below(bytes.len().max(1)));
                if !bytes.is_empty() {
                    bytes.swap(one, two);
                }
            }
            9 => {
                let token = TOKENS[self.below(TOKENS.len())];
                let copy = token.repeat(1 + self.below(500));
                let at = self.below(bytes.len() + 1);
                bytes.splice(at..at, copy);
            }
            _ => {
                let token = TOKENS[self.below(TOKENS.len())];
                let part = self.part(bytes, 3);
                bytes.splice(part, token.iter().copied());
            }
        }
    }
}

//! The hash of bytes that pass by, with marks to go back to.

use sha2::{Digest as _, Sha256, Sha512};

use crate::model::Digest;

/// How far marks lie apart, in bytes: what is read again at most before an upload goes on.
const MARK: u64 = 4 * 1024 * 1024;

/// A running hash of the kind that a digest names.
#[derive(Clone)]
pub(super) enum Hash {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hash {
    pub(super) fn like(digest: &Digest) -> Self {
        match digest.algorithm() {
            "sha512" => Self::Sha512(Sha512::new()),
            _ => Self::Sha256(Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// Tells whether all that came has this digest.
    pub(super) fn is(&self, digest: &Digest) -> bool {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let found = match self.clone() {
            Self::Sha256(hash) => hex(&hash.finalize()),
            Self::Sha512(hash) => hex(&hash.finalize()),
        };
        found == digest.hex()
    }
}

/// Tells whether `bytes` have this digest.
pub(super) fn matches(bytes: &[u8], digest: &Digest) -> bool {
    let mut hash = Hash::like(digest);
    hash.update(bytes);
    hash.is(digest)
}

/// The hash of a blob's beginning, which remembers where it was every few megabytes.
pub(super) struct Marks(Vec<(u64, Hash)>);

impl Marks {
    pub(super) fn like(digest: &Digest) -> Self {
        Self(vec![(0, Hash::like(digest))])
    }

    /// Returns the last mark that is not beyond `at`, and forgets those that are.
    pub(super) fn back_to(&mut self, at: u64) -> (u64, Hash) {
        // The first one is at 0.
        while self.0.len() > 1 && self.0.last().is_some_and(|(mark, _)| *mark > at) {
            self.0.pop();
        }
        self.0[self.0.len() - 1].clone()
    }

    /// Remembers the hash of everything before `at`, if that is far enough from the last mark.
    pub(super) fn set(&mut self, at: u64, hash: &Hash) {
        if self.0.last().is_none_or(|(mark, _)| at >= mark + MARK) {
            self.0.push((at, hash.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_hash_goes_on_from_its_marks() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3 * 4 * 1024 * 1024 + 17).collect();
        let digest = Digest::of(&bytes);
        let mut marks = Marks::like(&digest);
        let (mut at, mut hash) = marks.back_to(0);
        for piece in bytes.chunks(1_000_000) {
            hash.update(piece);
            at += piece.len() as u64;
            marks.set(at, &hash);
        }
        assert!(hash.is(&digest));
        for (wanted, mark) in [(9_999_999, 4_200_000), (4_999_999, 4_000_000), (5, 0), (99, 0)] {
            let (at, mut hash) = marks.back_to(wanted);
            assert!(at <= wanted && at + MARK + 1_000_000 > wanted, "{at} for {wanted}");
            assert!(at <= mark + MARK);
            hash.update(&bytes[usize::try_from(at).unwrap()..]);
            assert!(hash.is(&digest), "from {at}");
        }
    }

    #[test]
    fn both_kinds() {
        // FIPS 180-2, appendix C.1.
        let sha512 = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
                      2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        for digest in [sha512.parse().unwrap(), Digest::of(b"abc")] {
            let mut hash = Hash::like(&digest);
            hash.update(b"ab");
            assert!(!hash.is(&digest));
            hash.update(b"c");
            assert!(hash.is(&digest));
        }
    }
}

//! How much of an archive is read.

/// How much of an archive is read; tests lower it.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The size of the archive, and of each layer, unpacked, in bytes.
    pub bytes: u64,
    /// The number of its entries.
    pub entries: usize,
    /// How many times its packed size anything may have unpacked, once it is larger than `free`.
    pub ratio: u64,
    /// The unpacked size, in bytes, from which on the ratio counts.
    pub free: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 1 << 40, entries: 100_000, ratio: 200, free: 1 << 28 }
    }
}

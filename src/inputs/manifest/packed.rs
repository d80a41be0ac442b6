//! A manifest as it is stored beside its image: compressed, of bounded size, and held to its key.

use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::{InputManifest, ManifestFormatError};
use crate::model::Key;

/// The largest packed manifest that is stored or read, in bytes: a million entries need some 40 MB.
pub const PACKED_LIMIT: usize = 64 * 1024 * 1024;
/// The largest manifest that is unpacked, in bytes.
const UNPACKED_LIMIT: u64 = 256 * 1024 * 1024;

/// Why a manifest cannot be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// More bytes than are stored or read.
    #[error("they have more than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// The bytes are not gzip.
    #[error("they cannot be decompressed")]
    Gzip(#[source] io::Error),
    /// The bytes are those of another box.
    #[error("their key is {found}")]
    Key {
        /// The key that they have.
        found: Key,
    },
    /// The bytes are no manifest that this version reads.
    #[error(transparent)]
    Format(#[from] ManifestFormatError),
}

impl InputManifest {
    /// Compresses the canonical bytes.
    pub fn pack(&self) -> Result<Vec<u8>, PackError> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&self.to_bytes()).map_err(PackError::Gzip)?;
        let packed = encoder.finish().map_err(PackError::Gzip)?;
        if packed.len() > PACKED_LIMIT {
            return Err(PackError::TooLarge { limit: PACKED_LIMIT as u64 });
        }
        Ok(packed)
    }

    /// Reads packed bytes back, which must be those that `key` was computed from.
    pub fn unpack(packed: &[u8], key: &Key) -> Result<Self, PackError> {
        unpack(packed, key, UNPACKED_LIMIT)
    }
}

fn unpack(packed: &[u8], key: &Key, limit: u64) -> Result<InputManifest, PackError> {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).take(limit + 1).read_to_end(&mut bytes).map_err(PackError::Gzip)?;
    if bytes.len() as u64 > limit {
        return Err(PackError::TooLarge { limit });
    }
    let found = Key::of(&bytes);
    if found != *key {
        return Err(PackError::Key { found });
    }
    Ok(InputManifest::parse(&bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordinary() -> InputManifest {
        InputManifest::parse(include_bytes!("../../../testdata/keys/ordinary.manifest")).unwrap()
    }

    #[test]
    fn what_was_packed_reads_back_under_its_key_alone() {
        let manifest = ordinary();
        let packed = manifest.pack().unwrap();
        assert!(packed.len() < manifest.to_bytes().len());
        assert_eq!(InputManifest::unpack(&packed, &manifest.key()).unwrap(), manifest);
        let error = InputManifest::unpack(&packed, &Key::of(b"other")).unwrap_err();
        assert_eq!(error.to_string(), format!("their key is {}", manifest.key()));
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let manifest = ordinary();
        let packed = manifest.pack().unwrap();
        let key = manifest.key();
        for end in 0..packed.len() {
            assert!(InputManifest::unpack(&packed[..end], &key).is_err(), "cut at {end}");
        }
        for at in 10..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 1;
            assert!(InputManifest::unpack(&damaged, &key).is_err(), "flipped at {at}");
        }
        let foreign = b"boxwright-inputs 2\nend\n";
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(foreign).unwrap();
        let error = InputManifest::unpack(&encoder.finish().unwrap(), &Key::of(foreign)).unwrap_err();
        assert!(matches!(error, PackError::Format(ManifestFormatError::Header)), "{error}");
    }

    #[test]
    fn a_small_blob_that_unpacks_without_end_is_cut_off() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
        let packed = encoder.finish().unwrap();
        let error = unpack(&packed, &Key::of(b""), 1 << 16).unwrap_err();
        assert!(matches!(error, PackError::TooLarge { limit: 65_536 }), "{error}");
        let manifest = ordinary();
        let exactly = manifest.to_bytes().len() as u64;
        let packed = manifest.pack().unwrap();
        assert!(unpack(&packed, &manifest.key(), exactly).is_ok());
        assert!(unpack(&packed, &manifest.key(), exactly - 1).is_err());
    }
}

//! Images out of the engine's own store.
//!
//! Engines of different age write different archives. What they have in common is that the
//! image's configuration and its unpacked layers stand in them as files: each is found by its
//! digest, wherever it is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use oci_spec::image::ImageConfiguration;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::connect::DockerEngine;
use crate::adapter::archive::ArchivedBlob;
use crate::model::{BLOCK, Digest, tar_padding};
use crate::port::{BlobSource, EngineError, ImageId, SavedImage};

const ACTION: &str = "save an image";
/// The largest image configuration that is read, in bytes.
const CONFIG: u64 = 8 * 1024 * 1024;

/// Puts an image down in a temporary file without a name, and lends its parts.
pub async fn save(engine: &DockerEngine, image: &ImageId) -> Result<SavedImage, EngineError> {
    let failed = |detail: String| EngineError::Engine { action: ACTION, detail };
    let local = |error: io::Error| failed(format!("it cannot be put down: {error}"));
    let docker = engine.patient().await?;
    let mut file = tokio::fs::File::from_std(tempfile::tempfile().map_err(local)?);
    let mut pieces = Box::pin(docker.export_image(image.0.as_str()));
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|cause| engine.error(ACTION, &cause))?;
        file.write_all(&piece).await.map_err(local)?;
    }
    file.flush().await.map_err(local)?;
    let (file, id) = (file.into_std().await, image.0.clone());
    let work = move || parts(file, &id);
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| failed(error.to_string()))?;
    done.map_err(|error| failed(error.to_string()))
}

fn parts(mut file: File, id: &Digest) -> io::Result<SavedImage> {
    file.seek(SeekFrom::Start(0))?;
    let found = files(BufReader::with_capacity(1 << 20, &mut file))?;
    let file = Arc::new(file);
    let part = |digest: &Digest| {
        let (start, size) = *found.get(digest).ok_or_else(|| {
            io::Error::other(format!("{digest} is not in what it wrote: it may keep layers compressed"))
        })?;
        Ok::<_, io::Error>(ArchivedBlob::at(Arc::clone(&file), digest.clone(), start, size))
    };
    let config = part(id)?;
    if config.blob().size > CONFIG {
        return Err(io::Error::other("its configuration is too large"));
    }
    let mut bytes = Vec::new();
    config.section(0).read_to_end(&mut bytes)?;
    let read = ImageConfiguration::from_reader(&bytes[..]).map_err(io::Error::other)?;
    let mut layers: Vec<Arc<dyn BlobSource>> = Vec::new();
    for name in read.rootfs().diff_ids() {
        layers.push(Arc::new(part(&name.parse().map_err(io::Error::other)?)?));
    }
    Ok(SavedImage { config: Bytes::from(bytes), layers })
}

/// Hashes the plain files of a tar stream; returns where each one's bytes are, and how many.
fn files(mut from: impl Read) -> io::Result<BTreeMap<Digest, (u64, u64)>> {
    let (mut found, mut at) = (BTreeMap::new(), 0);
    loop {
        let mut block = [0; BLOCK];
        from.read_exact(&mut block)?;
        at += BLOCK as u64;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(found);
        }
        let size = size(&block[124..136]).ok_or_else(|| io::Error::other("its archive has no size"))?;
        let mut hash = Sha256::new();
        let copied = hashed((&mut from).take(size), &mut hash)?;
        let padding = tar_padding(size) as u64;
        let filled = io::copy(&mut (&mut from).take(padding), &mut io::sink())?;
        if copied < size || filled < padding {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if matches!(block[156], b'0' | 0) {
            found.insert(Digest::from_sha256(hash.finalize().into()), (at, size));
        }
        at += size + padding;
    }
}

fn hashed(mut from: impl Read, hash: &mut Sha256) -> io::Result<u64> {
    let (mut buffer, mut sum) = (vec![0; 256 * 1024], 0);
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(sum),
            count => {
                hash.update(&buffer[..count]);
                sum += count as u64;
            }
        }
    }
}

/// Reads a header's size: octal digits, or of large files big-endian behind a set first bit.
fn size(field: &[u8]) -> Option<u64> {
    match field.split_first()? {
        (0x80, rest) => {
            rest.iter().try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)))
        }
        _ => {
            let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
            if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_are_octal_or_binary() {
        assert_eq!(size(b"00000001750\0"), Some(1000));
        assert_eq!(size(b"       1750 "), Some(1000));
        assert_eq!(size(&[0x80, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0]), Some(3 << 32));
        assert_eq!(size(b"0000000175x\0"), None);
    }

    #[test]
    fn files_are_found_by_their_bytes() {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, bytes) in [("a/layer.tar", &b"one"[..]), ("b", b"")] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes).unwrap();
        }
        let mut link = tar::Header::new_ustar();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        tar.append_link(&mut link, "c", "../a/layer.tar").unwrap();
        let bytes = tar.into_inner().unwrap();
        let found = files(&bytes[..]).unwrap();
        let expect = BTreeMap::from([(Digest::of(b"one"), (512, 3)), (Digest::of(b""), (1536, 0))]);
        assert_eq!(found, expect);
        assert!(files(&bytes[..600]).is_err());
        assert!(files(&b""[..]).is_err());
    }
}

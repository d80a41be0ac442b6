//! Whether each image's layers are those that its configuration names by their unpacked
//! digests: an engine finds out only when it has taken in other images already.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::sync::atomic::{AtomicUsize, Ordering};

use oci_spec::image::ImageConfiguration;
use sha2::{Digest as _, Sha256};

use super::blobs::Blobs;
use super::error::Fault;
use super::expand::{BUFFER, expand};
use super::limits::Limits;
use crate::model::{Contents, Digest};

/// The largest image configuration that is read, in bytes.
const CONFIG: usize = 8 * 1024 * 1024;

/// What one worker found of the layers it unpacked, by their place in the list.
type Unpacked = Vec<(usize, Result<Digest, Fault>)>;

/// Checks all images, layers in parallel; the first fault in the order of boxes is returned.
pub(super) fn check(contents: &Contents, blobs: &Blobs, limits: &Limits) -> Result<(), Fault> {
    let mut layers: BTreeMap<Digest, Option<Result<Digest, Fault>>> = BTreeMap::new();
    for (_, image) in contents.images() {
        layers.extend(image.layers.iter().map(|layer| (layer.digest.clone(), None)));
    }
    let wanted: Vec<Digest> = layers.keys().cloned().collect();
    let (next, workers) = (AtomicUsize::new(0), std::thread::available_parallelism().map_or(1, usize::from));
    let work = || {
        let mut done = Unpacked::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(digest) = wanted.get(index) else { return done };
            done.push((index, unpacked(blobs, digest, limits)));
        }
    };
    let done: Vec<Unpacked> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..workers.min(wanted.len())).map(|_| scope.spawn(work)).collect();
        let mut done = vec![work()];
        done.extend(threads.into_iter().filter_map(|thread| thread.join().ok()));
        done
    });
    for (index, result) in done.into_iter().flatten() {
        layers.insert(wanted[index].clone(), Some(result));
    }
    for (one, image) in contents.images() {
        let config = |detail: String| Fault::Config { name: one.name.clone(), detail };
        let bytes = blobs.read(&image.config.digest, CONFIG)?;
        let read = ImageConfiguration::from_reader(&bytes[..]).map_err(|error| config(error.to_string()))?;
        let named = read.rootfs().diff_ids();
        if named.len() != image.layers.len() {
            let (named, there) = (named.len(), image.layers.len());
            return Err(config(format!("it names {named} layers, and there are {there}")));
        }
        for (layer, named) in image.layers.iter().zip(named) {
            let fault = |detail: String| {
                let (name, digest) = (one.name.clone(), layer.digest.clone());
                Fault::Layer { name, digest, detail }
            };
            match layers.get_mut(&layer.digest).and_then(Option::take) {
                Some(Ok(found)) if found.as_str() == named => {
                    layers.insert(layer.digest.clone(), Some(Ok(found)));
                }
                Some(Ok(found)) => {
                    return Err(fault(format!(
                        "unpacked it is {found}, and not what its configuration says"
                    )));
                }
                Some(Err(source @ Fault::Io { .. })) => return Err(source),
                Some(Err(other)) => return Err(fault(other.to_string())),
                None => return Err(fault("it was not worked through".to_owned())),
            }
        }
    }
    Ok(())
}

fn unpacked(blobs: &Blobs, digest: &Digest, limits: &Limits) -> Result<Digest, Fault> {
    let reader = blobs.find(digest)?.section(0);
    let mut hash = Sha256::new();
    let mut take = |piece: &[u8]| {
        hash.update(piece);
        Ok(())
    };
    expand(BufReader::with_capacity(BUFFER, reader), limits, "the layer", &mut take)?;
    Ok(Digest::from_sha256(hash.finalize().into()))
}

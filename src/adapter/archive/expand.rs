//! Unpacking with bounds: data that grow out of all proportion are refused while they grow.

use std::cell::Cell;
use std::io::{self, BufRead, Read};

use super::error::Fault;
use super::limits::Limits;

pub(super) const BUFFER: usize = 256 * 1024;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What data are packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

impl Packing {
    /// Tells by the first bytes, of which there have to be some.
    pub(super) fn of(reader: &mut impl BufRead) -> Result<Self, Fault> {
        let start = reader.fill_buf().map_err(Fault::read)?;
        Ok(match start {
            [] => return Err(Fault::Empty),
            _ if start.starts_with(&GZIP) => Self::Gzip,
            _ if start.starts_with(&ZSTD) => Self::Zstd,
            _ => Self::Plain,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Unpacks everything; `what` names it in errors.
pub(super) fn expand(
    mut from: impl BufRead,
    limits: &Limits,
    what: &str,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Fault> {
    let packing = Packing::of(&mut from)?;
    let count = Cell::new(0);
    let counted = Counted { from, count: &count };
    let mut decoder: Box<dyn Read + '_> = match packing {
        Packing::Plain => Box::new(counted),
        Packing::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
        Packing::Zstd => Box::new(
            zstd::stream::read::Decoder::with_buffer(counted)
                .map_err(|source| Fault::Io { action: "unpack", source })?,
        ),
    };
    let mut buffer = vec![0; BUFFER];
    let mut size = 0_u64;
    loop {
        let length = match decoder.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if packing == Packing::Plain => return Err(Fault::read(error)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Fault::Truncated { place: format!("in the {} data of {what}", packing.name()) });
            }
            Err(source) => return Err(Fault::Compressed { format: packing.name(), source }),
        };
        size += length as u64;
        if size > limits.bytes {
            let limit = format!("{} bytes", limits.bytes);
            return Err(Fault::Limit { what: format!("the unpacked size of {what}"), limit });
        }
        if size > limits.free && size / limits.ratio > count.get() {
            let limit = format!("{} times its packed size", limits.ratio);
            return Err(Fault::Limit { what: format!("the unpacked size of {what}"), limit });
        }
        take(&buffer[..length]).map_err(|source| Fault::Io { action: "unpack", source })?;
    }
}

/// Counts what is read.
struct Counted<'a, R> {
    from: R,
    count: &'a Cell<u64>,
}

impl<R: BufRead> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.from.read(buffer)?;
        self.count.set(self.count.get() + length as u64);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Counted<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.count.set(self.count.get() + count as u64);
        self.from.consume(count);
    }
}

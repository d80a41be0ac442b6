//! Headers of tar archives: the one form that is written, and the few that are read.
//!
//! What two programs could read in two ways is refused: extended headers (PAX, GNU long names),
//! a name in two parts, a size that is not plain digits (POSIX.1-1988 ustar; for sizes from
//! 8 GiB the base-256 form of GNU tar, star and Go).

/// The size of a header, and what content is padded to, in bytes.
pub const BLOCK: usize = 512;

/// What an entry of an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TarKind {
    File,
    Directory,
}

/// The header of one entry. Owner, mode and times are not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarHeader {
    /// The name's bytes.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: TarKind,
    /// How many bytes of content follow.
    pub size: u64,
}

/// Why a block is not a header that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TarError {
    /// Its checksum is wrong.
    #[error("this is no tar header: its checksum is wrong")]
    Checksum,
    /// It says neither POSIX nor GNU.
    #[error("its header is neither POSIX ustar nor GNU tar")]
    Magic,
    /// An entry that this reader never follows or makes.
    #[error("{0} does not belong in an archive of boxes")]
    Kind(&'static str),
    /// A field that tar programs read in different ways.
    #[error("its header can be read in two ways: {0}")]
    Ambiguous(&'static str),
}

const NAME: std::ops::Range<usize> = 0..100;
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..265;
const REST: std::ops::Range<usize> = 345..512;
/// The first size that eleven octal digits do not hold.
const LONG: u64 = 1 << 33;

impl TarHeader {
    /// A file's header.
    pub fn file(name: &str, size: u64) -> Self {
        Self { name: name.as_bytes().to_vec(), kind: TarKind::File, size }
    }

    /// Writes it, of mode 644 or 755, owned by root, at time 0. A name of more than 100 bytes is
    /// cut; none that is written here is.
    pub fn to_block(&self) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let length = self.name.len().min(NAME.len());
        block[..length].copy_from_slice(&self.name[..length]);
        let (mode, kind) = match self.kind {
            TarKind::File => (b"0000644\0", b'0'),
            TarKind::Directory => (b"0000755\0", b'5'),
        };
        block[100..108].copy_from_slice(mode);
        block[108..116].copy_from_slice(b"0000000\0");
        block[116..124].copy_from_slice(b"0000000\0");
        if self.size < LONG {
            octal(&mut block[SIZE.start..SIZE.end - 1], self.size);
        } else {
            block[SIZE.start] = 0x80;
            block[SIZE.end - 8..SIZE.end].copy_from_slice(&self.size.to_be_bytes());
        }
        block[136..147].copy_from_slice(b"00000000000");
        block[KIND] = kind;
        block[MAGIC].copy_from_slice(b"ustar\x0000");
        let sum = checksum(&block);
        octal(&mut block[CHECKSUM.start..CHECKSUM.end - 2], sum);
        block[CHECKSUM.end - 1] = b' ';
        block
    }

    /// Reads a header; nothing from a block of zeros, which ends an archive.
    pub fn read(block: &[u8; BLOCK]) -> Result<Option<Self>, TarError> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        if digits(&block[CHECKSUM]) != Some(checksum(block)) {
            return Err(TarError::Checksum);
        }
        if ![&b"ustar\x0000"[..], b"ustar  \0"].contains(&&block[MAGIC]) {
            return Err(TarError::Magic);
        }
        let kind = match block[KIND] {
            b'0' | 0 => TarKind::File,
            b'5' => TarKind::Directory,
            b'1' => return Err(TarError::Kind("a hard link")),
            b'2' => return Err(TarError::Kind("a symbolic link")),
            b'3' | b'4' => return Err(TarError::Kind("a device")),
            b'6' => return Err(TarError::Kind("a FIFO")),
            b'S' => return Err(TarError::Kind("a sparse file")),
            b'x' | b'g' | b'X' => return Err(TarError::Kind("an extended (PAX) header")),
            b'L' | b'K' => return Err(TarError::Kind("a GNU long name")),
            _ => return Err(TarError::Kind("an entry of unknown kind")),
        };
        if block[REST].iter().any(|byte| *byte != 0) {
            return Err(TarError::Ambiguous("a name in two parts, or fields of an old format"));
        }
        if block[LINK].iter().any(|byte| *byte != 0) {
            return Err(TarError::Ambiguous("the target of a link that it is not"));
        }
        let size = size(&block[SIZE]).ok_or(TarError::Ambiguous("a size that is not plain digits"))?;
        if kind == TarKind::Directory && size != 0 {
            return Err(TarError::Ambiguous("a directory with a size"));
        }
        let name = block[NAME].split(|byte| *byte == 0).next().unwrap_or_default();
        if block[NAME][name.len()..].iter().any(|byte| *byte != 0) {
            return Err(TarError::Ambiguous("a name that goes on after its end"));
        }
        Ok(Some(Self { name: name.to_vec(), kind, size }))
    }
}

/// Returns how many zero bytes follow content of `size` bytes.
pub fn tar_padding(size: u64) -> usize {
    let over = (size % BLOCK as u64) as usize;
    if over == 0 { 0 } else { BLOCK - over }
}

/// Sums the bytes of a header, its checksum taken for spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let is_sum = |at: usize| CHECKSUM.contains(&at);
    block.iter().enumerate().map(|(at, byte)| u64::from(if is_sum(at) { b' ' } else { *byte })).sum()
}

fn octal(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

/// Reads octal digits that NULs or spaces end.
fn digits(field: &[u8]) -> Option<u64> {
    let end = field.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = field.split_at(end);
    if digits.is_empty() || rest.iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}

fn size(field: &[u8]) -> Option<u64> {
    match field {
        [0x80, 0, 0, 0, rest @ ..] => {
            let size = u64::from_be_bytes(rest.try_into().ok()?);
            // A size that digits hold has that one spelling.
            (LONG..1 << 56).contains(&size).then_some(size)
        }
        _ => digits(field),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for size in [0, 1, 511, 512, LONG - 1, LONG, 1 << 40] {
            let header = TarHeader::file("blobs/sha256/00", size);
            assert_eq!(TarHeader::read(&header.to_block()).unwrap().unwrap(), header);
        }
        let directory = TarHeader { name: b"blobs/".to_vec(), kind: TarKind::Directory, size: 0 };
        assert_eq!(TarHeader::read(&directory.to_block()).unwrap().unwrap(), directory);
        assert_eq!(TarHeader::read(&[0; BLOCK]).unwrap(), None);
        assert_eq!([0, 1, 511, 512, 513].map(tar_padding), [0, 511, 1, 0, 511]);
    }

    /// What becomes of a header when some bytes are put into it and its checksum is put right.
    fn check(at: usize, bytes: &[u8], expect: TarError) {
        let mut block = TarHeader::file("oci-layout", 30).to_block();
        block[at..at + bytes.len()].copy_from_slice(bytes);
        let sum = checksum(&block);
        octal(&mut block[CHECKSUM.start..CHECKSUM.end - 2], sum);
        assert_eq!(TarHeader::read(&block), Err(expect), "{at} {bytes:?}");
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        for (kind, name) in [
            (b"1", "a hard link"),
            (b"2", "a symbolic link"),
            (b"4", "a device"),
            (b"6", "a FIFO"),
            (b"x", "an extended (PAX) header"),
            (b"g", "an extended (PAX) header"),
            (b"L", "a GNU long name"),
            (b"S", "a sparse file"),
            (b"7", "an entry of unknown kind"),
        ] {
            check(KIND, kind, TarError::Kind(name));
        }
        let size = TarError::Ambiguous("a size that is not plain digits");
        for field in [&b"-0000000010\0"[..], b"           \0", b"+0000000010\0", b"0x000000010\0"] {
            check(SIZE.start, field, size);
        }
        for field in [&b"00000000009\0"[..], b"000000000101", b"0000 000010\0"] {
            check(SIZE.start, field, size);
        }
        // Base-256: negative, too large, and a spelling of what digits hold.
        for start in [0xff, 0x81, 0x80] {
            check(SIZE.start, &[start, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 30], size);
        }
        check(REST.start, b"../..", TarError::Ambiguous("a name in two parts, or fields of an old format"));
        check(LINK.start, b"/etc", TarError::Ambiguous("the target of a link that it is not"));
        check(NAME.start + 20, b"x", TarError::Ambiguous("a name that goes on after its end"));
        check(MAGIC.start, b"\0\0\0\0\0\0\0\0", TarError::Magic);
        let mut block = TarHeader::file("oci-layout", 30).to_block();
        block[0] = b'x';
        assert_eq!(TarHeader::read(&block), Err(TarError::Checksum));
    }
}

//! Whether an index is whole. git itself takes one that was cut off for one with other files.
//!
//! The format is that of gitformat-index, versions 2 to 4.

/// How long what stands before an entry's object id is, in bytes.
const STAT: usize = 40;
/// Set where an entry has more flags (version 3 and later).
const EXTENDED: u16 = 0x4000;
/// The part of the flags that is the name's length, as far as it fits.
const NAME: u16 = 0x0fff;

/// Tells whether entries and extensions of an index end where it does; `id` is the length of an
/// object id, in bytes.
pub(super) fn is_whole(index: &[u8], id: usize) -> bool {
    let end = index.len().checked_sub(id);
    end.is_some_and(|end| walk(index.get(..end).unwrap_or_default(), id) == Some(end))
}

/// Walks over all that stands before the checksum, and returns where that ends.
fn walk(index: &[u8], id: usize) -> Option<usize> {
    let version = match index.get(..4)? {
        b"DIRC" => number(index, 4)?,
        _ => return None,
    };
    if !(2..=4).contains(&version) {
        return None;
    }
    let mut at: usize = 12;
    for _ in 0..number(index, 8)? {
        let flags = at.checked_add(STAT + id)?;
        let bits = u16::from_be_bytes(index.get(flags..flags + 2)?.try_into().ok()?);
        let is_extended = version >= 3 && bits & EXTENDED != 0;
        let name = flags + if is_extended { 4 } else { 2 };
        at = if version == 4 {
            // How much of the name before stays is a number whose last byte is below 128.
            let rest = name + index.get(name..)?.iter().position(|byte| *byte < 0x80)? + 1;
            rest + zero(index, rest)? + 1
        } else {
            let length = match bits & NAME {
                NAME => zero(index, name)?,
                length => usize::from(length),
            };
            // Up to eight zeros, so that entries begin at multiples of eight.
            at + ((name + length - at + 8) & !7)
        };
    }
    while at < index.len() {
        at = at.checked_add(8)?.checked_add(usize::try_from(number(index, at + 4)?).ok()?)?;
    }
    Some(at)
}

fn number(index: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(index.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn zero(index: &[u8], from: usize) -> Option<usize> {
    index.get(from..)?.iter().position(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::git::tests::git;

    #[test]
    fn an_index_of_git_is_whole_and_a_part_of_it_is_not() {
        for (format, id) in [("sha1", 20), ("sha256", 32)] {
            for version in ["2", "3", "4"] {
                let directory = tempfile::tempdir().unwrap();
                let at = directory.path();
                git(at, &["init", "-q", &format!("--object-format={format}")]);
                std::fs::create_dir(at.join("abc")).unwrap();
                for name in ["a", "ab", "abc/d", "intended"] {
                    std::fs::write(at.join(name), name).unwrap();
                }
                git(at, &["add", "a", "ab", "abc"]);
                git(at, &["add", "--intent-to-add", "intended"]);
                git(at, &["update-index", &format!("--index-version={version}")]);
                let index = std::fs::read(at.join(".git/index")).unwrap();
                assert!(is_whole(&index, id), "{format} {version}");
                for cut in 0..index.len() {
                    assert!(!is_whole(&index[..cut], id), "{format} {version} {cut}");
                }
                assert!(!is_whole(&[&index[..], b"\n"].concat(), id), "{format} {version}");
            }
        }
    }
}

//! The few functions of Go's standard library whose exact behaviour decides what Docker reads.
//!
//! They work on bytes, as Go strings do. Deliberately absent: the Windows variants.

/// Go's `utf8.DecodeRune`: the first character and its length in bytes. A byte that is not
/// UTF-8 is U+FFFD of length 1.
pub(super) fn decode(bytes: &[u8]) -> Option<(char, usize)> {
    let first = *bytes.first()?;
    if first.is_ascii() {
        return Some((char::from(first), 1));
    }
    let head = &bytes[..bytes.len().min(4)];
    let found = head.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    Some(found.map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8())))
}

/// The characters that Go sees when it ranges over these bytes.
pub(super) fn runes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    out
}

/// Go's `strings.TrimSpace`.
pub(super) fn trim_space(mut bytes: &[u8]) -> &[u8] {
    while let Some((c, length)) = decode(bytes) {
        if !c.is_whitespace() {
            break;
        }
        bytes = &bytes[length..];
    }
    loop {
        let start = (1..=4)
            .filter_map(|length| bytes.len().checked_sub(length))
            .find(|start| std::str::from_utf8(&bytes[*start..]).is_ok());
        match start.and_then(|start| Some((start, decode(&bytes[start..])?.0))) {
            Some((start, c)) if c.is_whitespace() => bytes = &bytes[..start],
            _ => return bytes,
        }
    }
}

/// Go's `path.Clean`: the shortest equivalent path, by text alone.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(last) if *last != b".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// A pattern that Go's `filepath.Match` refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadPattern;

/// Go's `filepath.Match`, also in which patterns it refuses.
pub(super) fn glob(mut pattern: &[u8], mut name: &[u8]) -> Result<bool, BadPattern> {
    'chunks: while !pattern.is_empty() {
        let (star, chunk, rest) = next_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains(&b'/'));
        }
        let whole = |left: &[u8]| left.is_empty() || !rest.is_empty();
        if let Some(left) = chunk_matches(chunk, name)?.filter(|left| whole(left)) {
            name = left;
            continue;
        }
        if star {
            let reach = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
            for skipped in 1..=reach {
                if let Some(left) = chunk_matches(chunk, &name[skipped..])?.filter(|left| whole(left)) {
                    name = left;
                    continue 'chunks;
                }
            }
        }
        while !pattern.is_empty() {
            let (_, chunk, rest) = next_chunk(pattern);
            pattern = rest;
            chunk_matches(chunk, b"")?;
        }
        return Ok(false);
    }
    Ok(name.is_empty())
}

/// Splits off leading stars and the text up to the next one.
fn next_chunk(pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let stars = pattern.iter().take_while(|byte| **byte == b'*').count();
    let pattern = &pattern[stars..];
    let (mut class, mut at) = (false, 0);
    while at < pattern.len() {
        match pattern[at] {
            b'\\' if at + 1 < pattern.len() => at += 1,
            b'[' => class = true,
            b']' => class = false,
            b'*' if !class => break,
            _ => {}
        }
        at += 1;
    }
    (stars > 0, &pattern[..at], &pattern[at..])
}

/// Matches a chunk without stars at the start of `text` and returns what is left.
fn chunk_matches<'a>(mut chunk: &[u8], mut text: &'a [u8]) -> Result<Option<&'a [u8]>, BadPattern> {
    let mut failed = false;
    while let Some((&byte, mut rest)) = chunk.split_first() {
        failed |= text.is_empty();
        match byte {
            b'[' => {
                let mut found = '\0';
                if let (false, Some((c, length))) = (failed, decode(text)) {
                    found = c;
                    text = &text[length..];
                }
                let (matched, after) = class_matches(rest, found)?;
                failed |= !matched;
                rest = after;
            }
            b'?' => {
                if let (false, Some((c, length))) = (failed, decode(text)) {
                    failed |= c == '/';
                    text = &text[length..];
                }
            }
            _ => {
                let mut literal = byte;
                if byte == b'\\' {
                    (literal, rest) = rest.split_first().map(|(b, r)| (*b, r)).ok_or(BadPattern)?;
                }
                if let (false, Some((&first, left))) = (failed, text.split_first()) {
                    failed |= literal != first;
                    text = left;
                }
            }
        }
        chunk = rest;
    }
    Ok((!failed).then_some(text))
}

/// Matches one character against the class that follows a `[`; returns what follows its `]`.
fn class_matches(mut class: &[u8], c: char) -> Result<(bool, &[u8]), BadPattern> {
    let negated = class.first() == Some(&b'^');
    if negated {
        class = &class[1..];
    }
    let (mut matched, mut ranges) = (false, 0);
    loop {
        if ranges > 0 && class.first() == Some(&b']') {
            return Ok((matched != negated, &class[1..]));
        }
        let (low, rest) = class_char(class)?;
        class = rest;
        let mut high = low;
        if class.first() == Some(&b'-') {
            (high, class) = class_char(&class[1..])?;
        }
        matched |= low <= c && c <= high;
        ranges += 1;
    }
}

fn class_char(class: &[u8]) -> Result<(char, &[u8]), BadPattern> {
    let class = match class.first() {
        None | Some(b'-' | b']') => return Err(BadPattern),
        Some(b'\\') => &class[1..],
        Some(_) => class,
    };
    let (c, length) = decode(class).ok_or(BadPattern)?;
    let invalid = c == char::REPLACEMENT_CHARACTER && length == 1;
    if invalid || class.len() == length { Err(BadPattern) } else { Ok((c, &class[length..])) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_is_lexical() {
        for (path, expect) in [
            ("", "."),
            ("a/../..", ".."),
            ("./a//b/.", "a/b"),
            ("/../a", "/a"),
            ("a/", "a"),
            ("/", "/"),
            ("../../a", "../../a"),
        ] {
            assert_eq!(clean(path.as_bytes()), expect.as_bytes(), "{path}");
        }
    }

    #[test]
    fn trims_unicode_space_and_keeps_odd_bytes() {
        assert_eq!(trim_space("\u{a0}\t a b\u{2003}\r\n".as_bytes()), b"a b");
        assert_eq!(trim_space(b" \xff \xc3"), b"\xff \xc3");
        assert_eq!(trim_space(b"  "), b"");
    }

    #[test]
    fn globs_match_as_go_does() {
        for (pattern, name, expect) in [
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*c", "abc", Ok(true)),
            ("a*", "a/b", Ok(false)),
            ("a*/b", "abc/b", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxe/xxx/f", Ok(false)),
            ("a*b?c*x", "abxbbxdbxebxczzx", Ok(true)),
            ("ab[^b-d]", "abc", Ok(false)),
            ("ab[e-g]", "abf", Ok(true)),
            ("a\\*b", "a*b", Ok(true)),
            ("a?b", "a\u{263a}b", Ok(true)),
            ("a???b", "a\u{263a}b", Ok(false)),
            ("a[^a]b", "a/b", Ok(true)),
            ("a?b", "a/b", Ok(false)),
            ("[]a]", "]", Err(BadPattern)),
            ("[x-]", "x", Err(BadPattern)),
            ("a[", "a", Err(BadPattern)),
            ("a[", "ab", Err(BadPattern)),
            ("b[", "a", Err(BadPattern)),
            ("[\\]a]", "]", Ok(true)),
            ("\\", "a", Err(BadPattern)),
            ("*x", "xxx", Ok(true)),
            ("arr[[]0].txt", "arr[0].txt", Ok(true)),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), expect, "{pattern} {name}");
        }
        assert_eq!(glob(b"a?b", b"a\xffb"), Ok(true));
    }
}

//! Reading the texts of records: whoever may push can write any. Each is held to the grammar that it
//! has where it comes from, and none holds what could not be printed in a line.

use serde::de::{Deserialize, Deserializer, Error};

use super::{Repository, is_plain, printable};

fn checked<'de, D: Deserializer<'de>>(
    deserializer: D,
    what: &str,
    is_good: impl Fn(&str) -> bool,
) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match is_good(&text) {
        true => Ok(text),
        false => Err(D::Error::custom(format!("`{}` is not {what}", printable(&text, 80)))),
    }
}

fn is_word(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=128).contains(&text.len()) && text.bytes().all(word)
}

/// The name of a box, a channel or a pin; a nonce; an action.
pub fn word<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, "a name", is_word)
}

/// What working copies stand in for, nonces, and the like.
pub fn words<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Clone + IntoIterator<Item = String>,
{
    let texts = T::deserialize(deserializer)?;
    let is_good = |text: &String| text.len() <= 256 && text.chars().all(is_plain);
    match texts.clone().into_iter().find(|text| !is_good(text)) {
        None => Ok(texts),
        Some(text) => Err(D::Error::custom(format!("`{}` is not a name", printable(&text, 80)))),
    }
}

/// A list that is not empty.
pub fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let all = Vec::deserialize(deserializer)?;
    if all.is_empty() { Err(D::Error::custom("a list holds nothing")) } else { Ok(all) }
}

/// The name of a repository, without its host.
pub fn repository<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, "a repository", |text| Repository::new("localhost", text).is_ok())
}

/// A commit, where there is one.
pub fn revision<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let is_good =
        |text: &String| (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text {
        Some(text) if !is_good(&text) => {
            Err(D::Error::custom(format!("`{}` is not a commit", printable(&text, 80))))
        }
        text => Ok(text),
    }
}

/// A registry as it is named, where there is one.
pub fn registry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    match text {
        Some(text) if Repository::new(&text, "x").is_err() => {
            Err(D::Error::custom(format!("`{}` is not a registry", printable(&text, 80))))
        }
        text => Ok(text),
    }
}

/// Whoever did something, where that is told.
pub fn who<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    match text {
        Some(text) if !is_who(&text) => {
            Err(D::Error::custom(format!("`{}` is not a name", printable(&text, 80))))
        }
        text => Ok(text),
    }
}

/// Tells whether a text may stand in a record as the name of whoever did something.
pub fn is_who(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.chars().all(is_plain)
}

/// A sentence.
pub fn line<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    checked(deserializer, "one line", |text| text.len() <= 4096 && text.chars().all(is_plain))
}

//! `secrets` and `ssh` of a box.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::config::document::{ConfigError, Field, Section};
use crate::model::{SecretSource, printable};

/// The id of an ssh mount that names none (Dockerfile reference, `RUN --mount=type=ssh`).
const DEFAULT_AGENT: &str = "default";

/// Reads `secrets = { ID = { env = "VARIABLE" }, ID = { file = "PATH" } }`, or
/// `secrets = ["ID"]` for variables that are called as the secrets are.
pub(super) fn secrets(section: &Section<'_>) -> Result<BTreeMap<String, SecretSource>, ConfigError> {
    let Some(field) = section.field("secrets") else { return Ok(BTreeMap::new()) };
    if field.is_list() {
        let named = field.list()?.into_iter().map(|item| {
            let name = id(&item, item.str()?)?;
            Ok((name.clone(), variable(&item, &name)?))
        });
        return named.collect();
    }
    let table = field.section()?;
    table
        .fields()
        .map(|(word, _, field)| {
            let name = id(&field, word)?;
            Ok((name, source(&field)?))
        })
        .collect()
}

fn source(field: &Field<'_>) -> Result<SecretSource, ConfigError> {
    let section = field.section().map_err(|mut error| {
        error.hint = Some("write { env = \"VARIABLE\" } or { file = \"PATH\" }".to_owned());
        error
    })?;
    section.allow(&["env", "file"])?;
    match (section.field("env"), section.field("file")) {
        (Some(env), None) => variable(&env, env.str()?),
        (None, Some(file)) => {
            let path = file.str()?;
            if path.is_empty() || path.contains('\0') {
                return Err(file.error(format!("`{}` is not a path", file.name)));
            }
            Ok(SecretSource::File(PathBuf::from(path)))
        }
        _ => Err(field.error(format!("`{}` needs one of env and file", field.name))),
    }
}

fn variable(field: &Field<'_>, name: &str) -> Result<SecretSource, ConfigError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(field.error(format!("`{}` does not name an environment variable", field.name)));
    }
    if is_reserved(name) {
        let mut error = field.error(format!("the variable {name} is no repository's to ask for"));
        error.hint = Some("hand the value on in a variable of its own".to_owned());
        return Err(error);
    }
    Ok(SecretSource::Env(name.to_owned()))
}

/// Variables of the user and of the CI, of which no repository may make a secret of its own: where
/// things are, how programs behave, and what logs in.
const RESERVED: [&str; 2] = ["HOME", "PATH"];
const RESERVED_PREFIXES: [&str; 8] =
    ["XDG_", "GIT_", "LD_", "SSH_", "DOCKER_", "AWS_", "ACTIONS_", "BOXWRIGHT_"];

fn is_reserved(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    RESERVED.contains(&name.as_str()) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Reads `ssh = true` or `ssh = ["ID"]`: the agent at `SSH_AUTH_SOCK`, under these ids.
pub(super) fn ssh(section: &Section<'_>) -> Result<BTreeSet<String>, ConfigError> {
    let Some(field) = section.field("ssh") else { return Ok(BTreeSet::new()) };
    if field.is_bool() {
        return Ok(field.bool()?.then(|| DEFAULT_AGENT.to_owned()).into_iter().collect());
    }
    if field.is_list() {
        return field.list()?.iter().map(|item| id(item, item.str()?)).collect();
    }
    let mut error = field.error(format!("`{}` is neither true nor a list of ids", field.name));
    error.hint = Some("ssh = true lends the agent at SSH_AUTH_SOCK; key files are not read".to_owned());
    Err(error)
}

/// Checks an id as it stands between the commas of `--mount=…,id=ID,…`.
fn id(field: &Field<'_>, text: &str) -> Result<String, ConfigError> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    if !text.is_empty() && text.len() <= 128 && text.bytes().all(word) {
        return Ok(text.to_owned());
    }
    Err(field.error(format!(
        "`{}` is not an id; expected letters, digits, `.`, `_`, `-` and `/`",
        printable(text, 80)
    )))
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn read(line: &str) -> Result<(BTreeMap<String, SecretSource>, Vec<String>), ConfigError> {
        let text = format!("registry = \"embedded\"\n[box.a]\n{line}\n");
        let mut project = parse("b.toml", &text)?;
        project.expand_home("/home/me".as_ref());
        let spec = &project.boxes[0];
        Ok((spec.secrets.clone(), spec.ssh.iter().cloned().collect()))
    }

    #[test]
    fn a_secret_is_a_variable_or_a_file() {
        let env = |id: &str, name: &str| (id.to_owned(), SecretSource::Env(name.to_owned()));
        let file = |id: &str, path: &str| (id.to_owned(), SecretSource::File(path.into()));
        for (line, expect) in [
            ("secrets = [\"NPM_TOKEN\", \"B\"]", vec![env("NPM_TOKEN", "NPM_TOKEN"), env("B", "B")]),
            (
                "secrets = { npmrc = { env = \"T\" }, \"a/b.c\" = { file = \"~/.key\" } }",
                vec![env("npmrc", "T"), file("a/b.c", "/home/me/.key")],
            ),
            ("secrets = { a = { file = \"keys/a\" } }", vec![file("a", "keys/a")]),
            ("secrets = { a = { file = \"~me/a\" } }", vec![file("a", "~me/a")]),
            ("secrets = []", vec![]),
        ] {
            assert_eq!(read(line).unwrap().0, expect.into_iter().collect(), "{line}");
        }
    }

    #[test]
    fn an_agent_has_ids() {
        for (line, expect) in [
            ("ssh = true", vec!["default"]),
            ("ssh = false", vec![]),
            ("", vec![]),
            ("ssh = [\"deploy\", \"default\"]", vec!["default", "deploy"]),
        ] {
            assert_eq!(read(line).unwrap().1, expect, "{line}");
        }
    }

    #[test]
    fn errors_name_place_and_remedy() {
        for (line, column, message, hint) in [
            ("secrets = { a = \"T\" }", 17, "`box.a.secrets.a` is a string; expected a table", "env ="),
            ("secrets = { a = { env = \"T\", file = \"f\" } }", 17, "needs one of env and file", ""),
            ("secrets = { a = {} }", 17, "needs one of env and file", ""),
            ("secrets = { a = { evn = \"T\" } }", 19, "unknown key `evn`", "env, file"),
            ("secrets = { a = { env = \"A=B\" } }", 25, "does not name an environment variable", ""),
            ("secrets = { a = { file = \"\" } }", 26, "is not a path", ""),
            (
                "secrets = { a = { env = \"HOME\" } }",
                25,
                "the variable HOME is no repository's",
                "of its own",
            ),
            ("secrets = [\"NPM_TOKEN\", \"AWS_SECRET_ACCESS_KEY\"]", 25, "AWS_SECRET_ACCESS_KEY", ""),
            ("secrets = { a = { env = \"Boxwright_x\" } }", 25, "Boxwright_x", ""),
            ("secrets = [\"a,b\"]", 12, "`a,b` is not an id", ""),
            ("secrets = true", 11, "is a boolean; expected a table", ""),
            ("ssh = \"default\"", 7, "neither true nor a list", "SSH_AUTH_SOCK"),
            ("ssh = [\"\"]", 8, "is not an id", ""),
        ] {
            let error = read(line).expect_err(line);
            assert_eq!((error.line, error.column), (3, column), "{error}");
            assert!(error.message.contains(message), "{error}");
            assert!(error.hint.clone().unwrap_or_default().contains(hint), "{:?}", error.hint);
        }
    }
}

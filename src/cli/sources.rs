//! Working copies that stand in for pinned revisions: `--source` and `BOXWRIGHT_SOURCE_<NAME>`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::args::Global;
use super::error::CliError;
use crate::config::Project;
use crate::exec::ResolvedBox;

const PREFIX: &str = "BOXWRIGHT_SOURCE_";

/// Reads the variables, and over them the flags.
pub fn sources(global: &Global, project: &Project) -> Result<BTreeMap<String, PathBuf>, CliError> {
    let mut given = from_environment(project, std::env::vars_os())?;
    let known = project.replaceable();
    for (name, path) in &global.sources {
        if !known.contains(name.as_str()) {
            return Err(unknown(&format!("--source {name}"), project));
        }
        given.insert(name.clone(), (format!("--source {name}"), PathBuf::from(path)));
    }
    given.into_iter().map(|(name, (what, path))| Ok((name, directory(&what, &path)?))).collect()
}

/// Finds what each variable names: a name in upper case, with `_` for what is no letter or digit.
fn from_environment(
    project: &Project,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<BTreeMap<String, (String, PathBuf)>, CliError> {
    let known = project.replaceable();
    let mut given = BTreeMap::new();
    for (variable, path) in variables {
        let Some(word) = variable.to_str().and_then(|variable| variable.strip_prefix(PREFIX)) else {
            continue;
        };
        let what = format!("{PREFIX}{word}");
        let named: Vec<&&str> = known.iter().filter(|name| spelled(name) == word).collect();
        match named.as_slice() {
            [name] => given.insert((**name).to_owned(), (what, PathBuf::from(path))),
            [] => return Err(unknown(&what, project)),
            [first, second, ..] => {
                return Err(CliError::Usage(format!(
                    "{what} could be `{first}` or `{second}`; use --source"
                )));
            }
        };
    }
    Ok(given)
}

fn spelled(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    name.chars().map(plain).collect()
}

fn unknown(what: &str, project: &Project) -> CliError {
    let known: Vec<&str> = project.replaceable().into_iter().collect();
    let known = if known.is_empty() { "there are none".to_owned() } else { known.join(", ") };
    CliError::Usage(format!("{what} names no git pin and no directory context; {known}"))
}

fn directory(what: &str, path: &Path) -> Result<PathBuf, CliError> {
    let real = path.canonicalize().ok().filter(|path| path.is_dir());
    real.ok_or_else(|| CliError::Usage(format!("{what}: {} is not a directory", path.display())))
}

/// Words the working copies that a box depends on.
pub fn marks(keyed: &ResolvedBox) -> Vec<String> {
    keyed.local.iter().map(|name| format!("local {name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    fn read(variables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let text = "registry = \"embedded\"\n[pin.ec-lib]\ngit = \"https://e.org/x\"\nref = \"main\"\n\
            [pin.tool]\nurl = \"https://e.org/x\"\n[pin.a_b]\ngit = \"https://e.org/x\"\nref = \"main\"\n\
            [pin.a-b]\ngit = \"https://e.org/x\"\nref = \"main\"\n\
            [box.x]\ncontexts = { docs = \"dir:docs\", debian = \"image:debian:12\" }\n";
        let project = parse("b.toml", text).unwrap();
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let read = from_environment(&project, variables).map_err(|error| error.to_string())?;
        Ok(read.iter().map(|(name, (_, path))| format!("{name}={}", path.display())).collect())
    }

    #[test]
    fn a_variable_names_a_git_pin_or_a_directory() {
        let read_one = |name: &str| read(&[(name, "/p")]);
        assert_eq!(read_one("BOXWRIGHT_SOURCE_EC_LIB").unwrap(), ["ec-lib=/p"]);
        assert_eq!(read_one("BOXWRIGHT_SOURCE_DOCS").unwrap(), ["docs=/p"]);
        assert!(read_one("HOME").unwrap().is_empty());
        for name in ["TOOL", "DEBIAN", "NONE", "docs", ""] {
            let error = read_one(&format!("BOXWRIGHT_SOURCE_{name}")).unwrap_err();
            assert!(error.contains(name) && error.contains("a-b, a_b, docs, ec-lib"), "{error}");
        }
        assert!(read_one("BOXWRIGHT_SOURCE_A_B").unwrap_err().contains("`a-b` or `a_b`"));
    }
}

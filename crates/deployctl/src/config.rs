//! `config.toml`: contexts, each a name for a ZooKeeper and who we are there.
//!
//! ```text
//! $XDG_CONFIG_HOME/deployctl/config.toml   or ~/.config/deployctl/config.toml
//! ```

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::connect::Address;
use crate::problem::Problem;
use crate::text;

/// What a user has configured.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Config {
    /// The context that is used where none is named.
    pub(crate) default: Option<String>,
    /// By name.
    pub(crate) contexts: BTreeMap<String, Named>,
}

/// A context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Where the tree is.
    pub(crate) address: Address,
    /// Who we are.
    pub(crate) auth_file: Option<PathBuf>,
    /// The line in the file.
    pub(crate) line: usize,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    default: Option<String>,
    #[serde(default)]
    context: BTreeMap<String, RawNamed>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNamed {
    zk: Spanned<String>,
    auth_file: Option<String>,
}

/// Returns where the file is, if this user has a home.
pub(crate) fn path() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let base = match variable("XDG_CONFIG_HOME") {
        Some(base) => PathBuf::from(base),
        None => PathBuf::from(variable("HOME")?).join(".config"),
    };
    Some(base.join("deployctl/config.toml"))
}

/// Reads the file; one that does not exist configures nothing.
///
/// # Errors
/// `Usage` where it can't be read or says what it should not.
pub(crate) fn load(path: &Path) -> Result<Config, Problem> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Config::default()),
        Err(error) => {
            let what = format!("failed to read {}: {error}", path.display());
            return Err(Problem::usage(what));
        }
    };
    let beside = path.parent().unwrap_or(Path::new("/"));
    parse(&text, beside).map_err(|facts| {
        Problem::usage(format!("{} is not valid", path.display()))
            .facts(facts)
            .tip("docs/deployctl.md has an example; --zk HOSTS/ROOT does without the file")
    })
}

/// Parses it. Paths that are relative are beside the file, `~/` is the home.
///
/// # Errors
/// One line for each fact.
pub(crate) fn parse(text: &str, beside: &Path) -> Result<Config, Vec<String>> {
    let raw: RawConfig = toml::from_str(text).map_err(|error| {
        let lines = error.to_string();
        lines.lines().map(text::clean).collect::<Vec<_>>()
    })?;
    let mut problems = Vec::new();
    let mut contexts = BTreeMap::new();
    for (name, raw) in raw.context {
        let line = text[..raw.zk.span().start].matches('\n').count() + 1;
        match Address::parse(raw.zk.get_ref()) {
            Ok(address) => {
                let auth_file = raw.auth_file.map(|file| resolve(&file, beside));
                let named = Named {
                    address,
                    auth_file,
                    line,
                };
                contexts.insert(name, named);
            }
            Err(why) => problems.push(format!(
                "line {line}: zk of `{}`: {why}",
                text::clean(&name)
            )),
        }
    }
    if let Some(default) = raw.default.as_ref()
        && problems.is_empty()
        && !contexts.contains_key(default)
    {
        problems.push(format!(
            "`default` names `{}`, and there is no such context",
            text::clean(default)
        ));
    }
    if problems.is_empty() {
        Ok(Config {
            default: raw.default,
            contexts,
        })
    } else {
        Err(problems)
    }
}

fn resolve(file: &str, beside: &Path) -> PathBuf {
    match (file.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(below), Some(home)) => PathBuf::from(home).join(below),
        _ => beside.join(file),
    }
}

#[cfg(test)]
mod tests;

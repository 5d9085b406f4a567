//! Which ZooKeeper is meant: by a flag, the environment, or `config.toml`, in this order.

use std::path::{Path, PathBuf};

use crate::cli::Globals;
use crate::config::{self, Config};
use crate::connect::Address;
use crate::problem::Problem;
use crate::text::{self, clean};

/// Where the tree is, and what people call that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The servers and the root.
    pub(crate) address: Address,
    /// The name of the context; none where the address itself was given.
    pub(crate) name: Option<String>,
    /// Who we are there, if anybody.
    pub(crate) auth_file: Option<PathBuf>,
    /// Where it was said: `--zk`, `DEPLOYCTL_ZK`, or the file and the line.
    pub(crate) said_in: String,
}

/// What was said about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// `--zk`.
    pub(crate) zk_flag: Option<Address>,
    /// `--context`.
    pub(crate) context_flag: Option<String>,
    /// `DEPLOYCTL_ZK`.
    pub(crate) zk_variable: Option<Address>,
    /// `DEPLOYCTL_CONTEXT`.
    pub(crate) context_variable: Option<String>,
    /// `--auth-file` or its variable.
    pub(crate) auth_file: Option<PathBuf>,
}

impl Said {
    /// Returns what the flags say, and the environment beside them.
    ///
    /// # Errors
    /// `Usage` where a variable says what is no address.
    pub(crate) fn of(globals: &Globals) -> Result<Said, Problem> {
        let flags = Said {
            zk_flag: globals.zk.clone(),
            context_flag: globals.context.clone(),
            auth_file: globals.auth_file.clone(),
            ..Said::default()
        };
        flags.with_environment()
    }

    /// Adds what the environment says. A variable that is empty says nothing.
    ///
    /// # Errors
    /// `Usage` where a variable says what is no address.
    pub(crate) fn with_environment(self) -> Result<Said, Problem> {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let address = |text: String| {
            Address::parse(&text)
                .map_err(|why| Problem::usage(format!("DEPLOYCTL_ZK is `{}`: {why}", clean(&text))))
        };
        let auth_file = || variable("DEPLOYCTL_AUTH_FILE").map(PathBuf::from);
        Ok(Said {
            zk_variable: variable("DEPLOYCTL_ZK").map(address).transpose()?,
            context_variable: variable("DEPLOYCTL_CONTEXT"),
            auth_file: self.auth_file.or_else(auth_file),
            ..self
        })
    }
}

impl Place {
    /// Returns the name, or the address where it has none.
    pub(crate) fn shown(&self) -> String {
        self.name
            .as_ref()
            .map_or_else(|| self.address.shown(), |name| clean(name))
    }

    /// Returns all of it: `prod = zk1:2181/deploy   (config.toml:4)`.
    pub(crate) fn described(&self) -> String {
        let name = match &self.name {
            Some(name) => format!("{} = ", clean(name)),
            None => String::new(),
        };
        format!("{name}{}   ({})", self.address.shown(), self.said_in)
    }
}

/// Finds out which ZooKeeper is meant. The file is read only where it matters.
///
/// # Errors
/// `Usage` where nothing or too much was said, `NotFound` for a context that there is not.
pub(crate) fn choose(said: Said) -> Result<Place, Problem> {
    let at = |address, said_in: &str| Place {
        address,
        name: None,
        auth_file: said.auth_file.clone(),
        said_in: said_in.to_owned(),
    };
    match (&said.zk_flag, &said.context_flag) {
        (Some(_), Some(_)) => {
            return Err(Problem::usage("--zk and --context both say where").tip("leave one out"));
        }
        (Some(address), None) => return Ok(at(address.clone(), "--zk")),
        (None, Some(name)) => return of_context(Some(name), &said),
        (None, None) => {}
    }
    match (&said.zk_variable, &said.context_variable) {
        (Some(_), Some(_)) => Err(Problem::usage(
            "DEPLOYCTL_ZK and DEPLOYCTL_CONTEXT both say where",
        )
        .tip("unset one of them, or say it with --zk or --context")),
        (Some(address), None) => Ok(at(address.clone(), "DEPLOYCTL_ZK")),
        (None, name) => of_context(name.as_ref(), &said),
    }
}

fn of_context(name: Option<&String>, said: &Said) -> Result<Place, Problem> {
    let Some(path) = config::path() else {
        return named(name, &Config::default(), Path::new("config.toml"), said);
    };
    named(name, &config::load(&path)?, &path, said)
}

fn named(
    name: Option<&String>,
    config: &Config,
    path: &Path,
    said: &Said,
) -> Result<Place, Problem> {
    let only = match config.contexts.len() {
        1 => config.contexts.keys().next(),
        _ => None,
    };
    let Some(name) = name.or(config.default.as_ref()).or(only) else {
        return Err(nothing_said(config, path));
    };
    let Some(context) = config.contexts.get(name) else {
        let names = config.contexts.keys().map(String::as_str);
        let all = text::list(names.clone(), 20);
        let problem = Problem::not_found(format!(
            "no context `{}` in {}",
            clean(name),
            path.display()
        ));
        return Err(match text::nearest(name, names) {
            Some(near) => problem.tip(format!("did you mean `{near}`?  all: {all}")),
            None if all.is_empty() => problem.fact("there is none yet").tip(example(path)),
            None => problem.fact(format!("all: {all}")),
        });
    };
    Ok(Place {
        address: context.address.clone(),
        name: Some(name.clone()),
        auth_file: said.auth_file.clone().or(context.auth_file.clone()),
        said_in: format!("{}:{}", path.display(), context.line),
    })
}

fn nothing_said(config: &Config, path: &Path) -> Problem {
    if config.contexts.is_empty() {
        return Problem::usage("no ZooKeeper is named")
            .tip("--zk zk1,zk2,zk3/deploy, or export DEPLOYCTL_ZK=zk1,zk2,zk3/deploy")
            .tip(format!("or for good: {}", example(path)));
    }
    let names = text::list(config.contexts.keys().map(String::as_str), 20);
    Problem::usage("which ZooKeeper is not said")
        .fact(format!("contexts in {}: {names}", path.display()))
        .tip("--context NAME, DEPLOYCTL_CONTEXT, or `default = \"NAME\"` in the file")
}

fn example(path: &Path) -> String {
    format!(
        "write `[context.prod]` and `zk = \"zk1,zk2,zk3/deploy\"` into {}",
        path.display()
    )
}

#[cfg(test)]
mod tests;

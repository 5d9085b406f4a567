//! `deployd check`: is the configuration right?

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::Uid;

use super::Exit;
use crate::chain::Chain;
use crate::config::places::{Clash, clashes};
use crate::config::{self, Config, Problem, Service};
use crate::host::files;
use crate::host::signature::Keys;
use crate::host::tree::Tree;
use crate::host::user::User;

/// Check the configuration: exit 0 if it is right, 2 and every problem at once if not
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file to check [default: the one of --config]
    file: Option<PathBuf>,
    /// Say nothing if it is right
    #[arg(long, short)]
    quiet: bool,
}

/// Checks a file. What it says about this machine, users and directories, is a warning: a file can
/// be checked where it isn't used.
pub(crate) fn run(default: &Path, arguments: &Arguments) -> Exit {
    let path = arguments.file.as_deref().unwrap_or(default);
    match config::load(path) {
        Ok(config) => {
            warn(&config);
            if !arguments.quiet {
                println!("{} is valid: {}", path.display(), summary(&config));
            }
            Exit::Done
        }
        Err(error) => {
            eprintln!("error: {}", Chain(&error));
            Exit::Usage
        }
    }
}

fn warn(config: &Config) {
    for warning in &config.warnings {
        let Problem { line, message, .. } = warning;
        eprintln!("warning: line {line}: {message}");
    }
    // What the file itself says of them is a problem, or was told above.
    let written = clashes(&config.places(Path::to_path_buf));
    let found = config.places(files::resolve);
    for clash in clashes(&found) {
        let is_told = |known: &Clash| {
            (known.whose, known.service, known.harm) == (clash.whose, clash.service, clash.harm)
        };
        if !written.iter().any(is_told) {
            eprintln!("warning: on this machine: {}", clash.message);
        }
    }
    if let Some(listen) = config.metrics_listen
        && !listen.ip().is_loopback()
    {
        eprintln!(
            "warning: metrics.listen is {listen}: whoever reaches it reads which builds run here"
        );
    }
    for key in &config.builds.trusted_keys {
        if let Err(error) = Keys::read(std::slice::from_ref(key)) {
            eprintln!("warning: builds.trusted_keys: {}", Chain(&error));
        }
    }
    if let Err(error) = crate::setup::zookeeper(config) {
        eprintln!("warning: zookeeper: {error:#}");
    }
    for service in &config.services {
        if let Err(error) = User::find(service.user.as_deref()) {
            eprintln!("warning: service {}: {}", service.name, Chain(&error));
        }
        if !service.dir.parent().is_some_and(Path::is_dir) {
            eprintln!(
                "warning: service {}: {} has no directory above it",
                service.name,
                service.dir.display()
            );
        }
        if Uid::effective().is_root() {
            warn_of_owners(service);
        }
        if service.probe.check.is_none() && !service.instances.is_empty() {
            eprintln!(
                "warning: service {}: no probe, so that a build counts as good when it starts",
                service.name
            );
        }
    }
}

/// What is done there is done as root, and who may write there decides what is found.
fn warn_of_owners(service: &Service) {
    let (dir, releases) = (&service.dir, Tree::new(&service.dir).releases());
    let looks = [
        (dir, dir.metadata()),
        (&releases, releases.symlink_metadata()),
    ];
    for (dir, found) in looks {
        let Ok(found) = found else { continue };
        if found.is_dir() && (found.uid() != 0 || found.mode() & 0o022 != 0) {
            eprintln!(
                "warning: service {}: others than root may write to {dir} (mode {:o}, user {}), and \
                 replace what is there: chown root:root {dir} && chmod 755 {dir}",
                service.name,
                found.mode() & 0o7777,
                found.uid(),
                dir = dir.display(),
            );
        }
    }
}

fn summary(config: &Config) -> String {
    let services: Vec<_> = config
        .services
        .iter()
        .map(|service| format!("{} ({} instances)", service.name, service.instances.len()))
        .collect();
    services.join(", ")
}

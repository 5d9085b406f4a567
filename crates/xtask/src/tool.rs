//! Running the tools of the toolchain, from the root of the repository.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Returns the root of the repository.
pub(crate) fn root() -> PathBuf {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_dir
        .ancestors()
        .nth(2)
        .expect("the crate is two levels below the root")
        .to_owned()
}

/// Returns what /proc/meminfo has under this name, such as `MemTotal`, in KiB; `None` where it can't be read.
pub(crate) fn memory_kib(name: &str) -> Option<u64> {
    let all = fs::read_to_string("/proc/meminfo").ok()?;
    let line = all.lines().find_map(|line| line.strip_prefix(name))?;
    line.strip_prefix(':')?
        .trim()
        .strip_suffix(" kB")?
        .parse()
        .ok()
}

/// Returns a `cargo` to run from the root: the one that runs us, else the one on the path.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// How programs are built.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Profile {
    Debug,
    Release,
}

impl Profile {
    /// Returns its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Profile::Debug => "dev",
            Profile::Release => "release",
        }
    }

    /// Returns the directory below `target` that it builds to.
    pub(crate) fn dir(self) -> &'static str {
        match self {
            Profile::Debug => "debug",
            Profile::Release => "release",
        }
    }
}

/// Installs a program of this version below `target/tools`, where it is missing, and returns its path. It is built without
/// optimisation: that takes a minute less, and it has little to do.
pub(crate) fn install(name: &str, version: &str) -> Result<PathBuf> {
    let place = root().join("target/tools");
    let program = place.join("bin").join(name);
    let mut ask = Command::new(&program);
    let said = ask.arg("--version").stderr(Stdio::null()).output();
    if said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(version)) {
        return Ok(program);
    }
    let mut install = cargo(["install", name, "--version", version]);
    install.args(["--locked", "--debug", "--no-default-features", "--root"]);
    install.arg(&place);
    install.env("CARGO_TARGET_DIR", place.join("build"));
    install.env("CARGO_PROFILE_DEV_OPT_LEVEL", "0");
    install.env("CARGO_PROFILE_DEV_DEBUG", "0");
    succeed(&mut install)?;
    Ok(program)
}

/// Builds every program. The demo and the tests build the same set: with another, dependencies
/// would have other features, and be built again.
pub(crate) fn build_programs(profile: Profile) -> Result<()> {
    let mut command = cargo(["build", "--workspace", "--bins"]);
    if matches!(profile, Profile::Release) {
        command.arg("--release");
    }
    succeed(&mut command)
}

/// Runs a command, its output going where ours goes. An exit code other than 0 is an error.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let line = line_of(command);
    let status = command
        .status()
        .with_context(|| format!("failed to start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed: {status}");
    }
    Ok(())
}

/// Runs a command and returns what it wrote to its standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let line = line_of(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("failed to start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{line}` wrote something odd"))
}

fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    let args = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(name)
        .chain(args)
        .collect::<Vec<_>>()
        .join(" ")
}

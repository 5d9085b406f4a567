//! Theirs: a sshd of the bench's own, and tools that log in to every host.

use std::cell::Cell;
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::archive::{Archive, FILES};
use super::cost::{Cost, Whose, processor_time};
use super::hosts;
use crate::bench::spent::spent;
use crate::demo::ports;
use crate::demo::processes::{Process, Processes};
use crate::tool::succeed;

const SSHD: &str = "/usr/sbin/sshd";
/// Where sshd keeps a process without rights; it wants the directory to be there.
const SSHD_DIR: &str = "/run/sshd";
/// How long sshd may take to begin, or to let go of those who logged in.
const LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// A way to push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    Xargs,
    Pdsh,
    /// As careful as deployd: the digest is verified first, and the release is on the disk at the end.
    XargsVerified,
}

impl Push {
    /// All of them.
    pub(crate) const ALL: [Push; 3] = [Push::Xargs, Push::Pdsh, Push::XargsVerified];

    /// Returns what it is called in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Push::Xargs => "xargs -P50 ssh 'curl | tar xz'",
            Push::Pdsh => "pdsh -f50 'curl | tar xz'",
            Push::XargsVerified => "xargs -P50 ssh 'curl, sha256sum, tar xzf, sync -f'",
        }
    }
}

/// A sshd on loopback: each host is a login at it, in a directory of its own.
pub(crate) struct Sshd {
    process: Arc<Process>,
    dir: PathBuf,
    services: PathBuf,
    pushed: Cell<u32>,
}

impl Sshd {
    /// Makes keys and starts it.
    pub(crate) fn start(processes: &Processes, (parent, disk): (&Path, &Path)) -> Result<Sshd> {
        ensure!(
            Path::new(SSHD).exists(),
            "{SSHD} is missing, which openssh-server has"
        );
        let dir = parent.join("ssh");
        fs::create_dir_all(&dir)?;
        for key in ["host_key", "key"] {
            let mut make = Command::new("ssh-keygen");
            make.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            succeed(make.arg(dir.join(key)))?;
        }
        let port = ports::free(1)?[0];
        fs::copy(dir.join("key.pub"), dir.join("authorized_keys"))?;
        fs::write(dir.join("sshd_config"), sshd_config(&dir, port))?;
        fs::write(dir.join("ssh_config"), ssh_config(&dir, port))?;
        fs::create_dir_all(SSHD_DIR).with_context(|| format!("failed to make {SSHD_DIR}"))?;
        fs::set_permissions(SSHD_DIR, Permissions::from_mode(0o755))?;
        let log = File::create(dir.join("log"))?;
        let process = processes.start("sshd", Path::new(SSHD), |command| {
            command
                .args(["-D", "-e", "-f"])
                .arg(dir.join("sshd_config"));
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log);
        })?;
        let sshd = Sshd {
            process,
            dir,
            services: disk.join("hosts"),
            pushed: Cell::new(0),
        };
        sshd.wait("begin", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
        })?;
        Ok(sshd)
    }

    /// Pushes a build of a new name to so many hosts.
    pub(crate) fn push(
        &self,
        push: Push,
        (count, archive, url): (usize, &Archive, &str),
    ) -> Result<Cost> {
        self.pushed.set(self.pushed.get() + 1);
        let build = format!("p{}", self.pushed.get());
        let names = hosts::names(count);
        let services: Vec<PathBuf> = names.iter().map(|name| self.services.join(name)).collect();
        for service in &services {
            fs::create_dir_all(service.join("releases"))?;
        }
        let mut command = self.command(push, &names, &self.script(push, (&build, archive, url)))?;
        nix::unistd::sync();
        let before = self.time()?;
        let (wall, controller) = spent(&mut command)?;
        self.wait("let go", || self.is_alone())?;
        let spent = self.time()?.saturating_sub(before);
        hosts::serve(&services, (&build, FILES))?;
        hosts::keep_only(&services, &build)?;
        Ok(Cost {
            wall,
            controller,
            host: spent / u32::try_from(count)?,
            zookeeper: None,
        })
    }

    /// What every host is told to do; `%h` is its name.
    fn script(&self, push: Push, (build, archive, url): (&str, &Archive, &str)) -> String {
        let service = self.services.join("%h");
        let release = format!("releases/{build}");
        let unpack = match push {
            Push::Xargs | Push::Pdsh => {
                format!("curl -fsS {url}{build}.tar.gz | tar xz -C {release}")
            }
            Push::XargsVerified => format!(
                "curl -fsS -o archive {url}{build}.tar.gz && echo '{sha256}  archive' | sha256sum -c --quiet && \
                 tar xzf archive -C {release} && rm archive && sync -f {release}",
                sha256 = archive.sha256
            ),
        };
        format!(
            "cd {service} && mkdir -p {release} && {unpack} && ln -sfn {release} current.new && mv -T current.new current",
            service = service.display()
        )
    }

    fn command(&self, push: Push, names: &[String], script: &str) -> Result<Command> {
        let config = self.dir.join("ssh_config");
        let mut command = match push {
            Push::Xargs | Push::XargsVerified => {
                let list = self.dir.join("list");
                fs::write(&list, names.join("\n"))?;
                let mut command = Command::new("xargs");
                command.arg("-a").arg(list);
                command.args(["-P50", "-I%h", "ssh", "-F"]).arg(config);
                command.args(["%h", script]);
                command
            }
            Push::Pdsh => {
                let mut command = Command::new("pdsh");
                command.args(["-S", "-f50", "-R", "ssh", "-w", &names.join(","), script]);
                command.env("PDSH_SSH_ARGS", format!("-F {} %h", config.display()));
                command
            }
        };
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Returns the processor time of sshd, and of all who logged in and have left.
    fn time(&self) -> Result<Duration> {
        processor_time(self.process.id(), Whose::Family)
    }

    fn is_alone(&self) -> bool {
        let id = self.process.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        children.is_ok_and(|children| children.trim().is_empty())
    }

    fn wait(&self, what: &str, is_so: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        while !is_so() {
            if Instant::now() > deadline || self.process.status().is_some() {
                let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
                bail!(
                    "sshd did not {what} within {} s: {}",
                    LIMIT.as_secs(),
                    log.trim()
                );
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

fn sshd_config(dir: &Path, port: u16) -> String {
    let mut text = String::new();
    let file = |name: &str| dir.join(name).display().to_string();
    for (key, value) in [
        ("ListenAddress", format!("{}:{port}", Ipv4Addr::LOCALHOST)),
        ("HostKey", file("host_key")),
        ("AuthorizedKeysFile", file("authorized_keys")),
        ("PidFile", "none".to_owned()),
        ("PasswordAuthentication", "no".to_owned()),
        ("KbdInteractiveAuthentication", "no".to_owned()),
        ("PermitRootLogin", "prohibit-password".to_owned()),
        ("StrictModes", "no".to_owned()),
        ("UsePAM", "no".to_owned()),
        ("UseDNS", "no".to_owned()),
        ("PrintMotd", "no".to_owned()),
        // All may log in at once.
        ("MaxStartups", "1000".to_owned()),
        ("LogLevel", "ERROR".to_owned()),
    ] {
        let _ = writeln!(text, "{key} {value}");
    }
    text
}

/// All hosts are one address: a name is only told to the command.
fn ssh_config(dir: &Path, port: u16) -> String {
    format!(
        "Host *\nHostName {}\nPort {port}\nIdentityFile {}\nIdentitiesOnly yes\nBatchMode yes\n\
         StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nGlobalKnownHostsFile /dev/null\nLogLevel ERROR\n",
        Ipv4Addr::LOCALHOST,
        dir.join("key").display()
    )
}

//! What is installed on every host: deployd as a package would, and the units of the service.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result};

use super::place::{BUILDS_PORT, HUB_ADDRESS, Place, ZOOKEEPER_PORT};
use super::root_fs::SERVICE_USER;
use crate::tool;

const FIRST_PORT: u16 = 8001;

/// The unit of an instance. It is enabled, and the condition is for hosts without a build.
const SERVICE_UNIT: &str = "\
[Unit]
Description=Hello on port %i
ConditionPathExists=/srv/hello/current

[Service]
Type=notify
NotifyAccess=main
User=hello
WorkingDirectory=/srv/hello/current
ExecStart=/usr/bin/python3 -S bin/hello %i
Restart=on-failure
RestartSec=100ms
TimeoutStartSec=10s
TimeoutStopSec=3s

[Install]
WantedBy=multi-user.target
";

/// Returns the ports of the instances, on every host.
pub(crate) fn ports(instances: u8) -> Vec<u16> {
    (0..u16::from(instances))
        .map(|number| FIRST_PORT + number)
        .collect()
}

/// Makes the layer that lies over the shared file system of all hosts of a fleet. Without instances it is empty.
pub(crate) fn install(place: &Place, instances: u8) -> Result<()> {
    let root = place.installed();
    if instances == 0 {
        return fs::create_dir_all(&root)
            .with_context(|| format!("failed to make {}", root.display()));
    }
    let units = root.join("etc/systemd/system");
    let wanted = units.join("multi-user.target.wants");
    for dir in [&root.join("usr/bin"), &root.join("etc/deployd"), &wanted] {
        fs::create_dir_all(dir).with_context(|| format!("failed to make {}", dir.display()))?;
    }
    let deployd = root.join("usr/bin/deployd");
    fs::copy(place.programs.join("deployd"), &deployd)
        .context("failed to copy deployd: run `cargo build -p deployd -p deployctl`")?;
    fs::set_permissions(&deployd, fs::Permissions::from_mode(0o755))
        .context("failed to make deployd executable")?;
    let unit = fs::read_to_string(tool::root().join("systemd/deployd.service"))
        .context("failed to read the unit of deployd")?;
    write(&root.join("usr/lib/systemd/system/deployd.service"), &unit)?;
    write(&root.join("etc/deployd/deployd.toml"), &config(instances))?;
    write(&units.join("hello@.service"), SERVICE_UNIT)?;
    for port in ports(instances) {
        let link = wanted.join(format!("hello@{port}.service"));
        symlink("../hello@.service", &link)
            .with_context(|| format!("failed to make {}", link.display()))?;
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let dir = path.parent().context("a file is in a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("failed to make {}", dir.display()))?;
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

fn config(instances: u8) -> String {
    let instances: Vec<String> = ports(instances)
        .iter()
        .map(|port| format!("{{ unit = \"hello@{port}.service\", port = {port} }}"))
        .collect();
    let instances = instances.join(", ");
    format!(
        r#"[zookeeper]
hosts = ["{HUB_ADDRESS}:{ZOOKEEPER_PORT}"]
session_timeout_s = 8

[builds]
sources = ["http://{HUB_ADDRESS}:{BUILDS_PORT}/"]
allow_http = true
min_free_bytes = 1048576

[[service]]
name = "hello"
dir = "/srv/hello"
user = "{SERVICE_USER}"
instances = [{instances}]

  [service.restart]
  method = "systemd"
  timeout_s = 10

  [service.drain]
  method = "iptables"
  timeout_s = 60
  settle_s = 1

  [service.probe]
  http = "http://127.0.0.1:{{port}}/healthz"
  interval_s = 0.2
  successes = 2
  timeout_s = 6
"#
    )
}

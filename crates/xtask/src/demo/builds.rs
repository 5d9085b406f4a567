//! The builds of the service `hello`, and the server that they come from.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::http::{self, Answer};

/// A build that the demo makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Build {
    pub(crate) name: &'static str,
    pub(crate) greeting: &'static str,
    settings: &'static str,
}

/// Settings with which the service works.
pub(crate) const WHOLE: &str = "PAYMENTS_URL=https://payments.internal/\n";

pub(crate) const V1: Build = Build {
    name: "v1",
    greeting: "hello from v1\n",
    settings: WHOLE,
};
pub(crate) const V2: Build = Build {
    name: "v2",
    greeting: "good morning from v2\n",
    settings: WHOLE,
};
/// Somebody forgot the settings: it answers everything with 500.
pub(crate) const V3: Build = Build {
    name: "v3",
    greeting: "good day from v3\n",
    settings: "# settings\n",
};
pub(crate) const V4: Build = Build {
    name: "v4",
    greeting: "good evening from v4\n",
    settings: WHOLE,
};
/// Not deployed by the demo: for whoever plays on.
pub(crate) const V5: Build = Build {
    name: "v5",
    greeting: "good night from v5\n",
    settings: WHOLE,
};

/// Every build.
pub(crate) const ALL: [Build; 5] = [V1, V2, V3, V4, V5];

/// What the supervisor starts, in the directory of the release.
pub(crate) const START: &str = "#!/bin/sh\nexec \"$HELLO_WEB\" demo-web\n";
/// The `post_extract` hook: where a real service would install what it needs.
const PREPARE: &str = "#!/bin/sh\nset -eu\ncksum greeting.txt > prepared.txt\n";

/// The server of the builds.
#[derive(Debug)]
pub(crate) struct BuildServer {
    /// Its directory, where the archives are.
    pub(crate) dir: PathBuf,
    /// Its address, with a slash at the end.
    pub(crate) url: String,
}

impl BuildServer {
    /// Packs every build, and serves them.
    pub(crate) fn start(dir: &Path, address: SocketAddr) -> Result<BuildServer> {
        fs::create_dir(dir).with_context(|| format!("failed to make {}", dir.display()))?;
        for build in ALL {
            let path = dir.join(archive_name(build));
            pack(build, &path).with_context(|| format!("failed to pack {}", path.display()))?;
        }
        let listener =
            TcpListener::bind(address).with_context(|| format!("failed to listen on {address}"))?;
        let url = format!("http://{address}/");
        let served = dir.to_owned();
        http::serve(listener, move |path| file(&served, path));
        Ok(BuildServer {
            dir: dir.to_owned(),
            url,
        })
    }
}

/// Returns the file name of a build's archive.
pub(crate) fn archive_name(build: Build) -> String {
    format!("hello-{}.tar.gz", build.name)
}

fn file(dir: &Path, path: &str) -> Answer {
    // Only the archives: no path leads out of the directory.
    let known = ALL
        .into_iter()
        .map(archive_name)
        .find(|name| path == format!("/{name}"));
    match known.and_then(|name| fs::read(dir.join(name)).ok()) {
        Some(body) => Answer { status: 200, body },
        None => Answer {
            status: 404,
            body: b"no such build\n".to_vec(),
        },
    }
}

fn pack(build: Build, path: &Path) -> Result<()> {
    let file = File::create_new(path)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for (name, text, mode) in [
        ("bin/start", START, 0o755),
        ("bin/prepare", PREPARE, 0o755),
        ("greeting.txt", build.greeting, 0o644),
        ("settings.env", build.settings, 0o644),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(mode);
        archive.append_data(&mut header, name, text.as_bytes())?;
    }
    archive.into_inner()?.finish()?.sync_all()?;
    Ok(())
}

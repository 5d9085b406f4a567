//! `build add`.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use deploy_core::artifact::{Artifact, Digest};
use deploy_core::wire::build::Build;
use deploy_core::wire::{self};
use deploy_zk::error::Error;
use deploy_zk::znode::Mode;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::{AddArgs, signature};
use crate::access;
use crate::context::Context;
use crate::exit::Exit;
use crate::out::Format;
use crate::problem::Problem;
use crate::text;

/// Checks what can be checked without ZooKeeper.
pub(crate) fn check(args: &AddArgs) -> Result<(), Problem> {
    if args.file.is_some() || args.sha256.is_some() && args.size.is_some() {
        return Ok(());
    }
    Err(
        Problem::usage("what the archive must be is not said: its digest and its size are needed")
            .tip("--file PATH computes both; else give --sha256 HEX and --size N"),
    )
}

/// Registers the build. The first build of a service creates the service.
pub(crate) async fn run(args: &AddArgs, context: &Context) -> Result<Exit, Problem> {
    let (service, name) = (&args.of.service, &args.of.build);
    if context.zk.get(context.root.path()).await?.is_none() {
        return Err(context.no_root());
    }
    let artifact = artifact(args)?;
    let signed_by = match &args.file {
        Some(file) => signature::of((file, &artifact), (service, name))?,
        None => None,
    };
    let tree = context.root.service(service);
    let is_new_service = context.zk.get(tree.path()).await?.is_none();
    let (by, at) = context.signature();
    let build = Build {
        artifact: artifact.clone(),
        signed_by: signed_by.clone(),
        bad: None,
        by,
        at,
        why: args.why.why.clone(),
    };
    let path = tree.build(name);
    context.zk.create_parents(&path).await?;
    if is_new_service {
        access::admit_agents(context, tree.path()).await?;
    }
    let is_new = match context
        .zk
        .create(&path, &wire::encode(&build), Mode::Persistent)
        .await
    {
        Ok(()) => true,
        Err(Error::NodeExists(_)) => {
            is_the_same(context, args, (&path, &artifact)).await?;
            false
        }
        Err(error) => return Err(error.into()),
    };
    if context.out.format != Format::Text {
        context.out.json(&json!({
            "schema": "deployctl/build/1", "service": service, "build": name,
            "artifact": artifact, "signed_by": signed_by, "new": is_new, "new_service": is_new_service,
        }));
        return Ok(Exit::Done);
    }
    if is_new_service {
        context.out.say(&format!("new service {service}"));
    }
    let size = text::bytes(artifact.size);
    let signed = signed_by
        .map(|key| format!(", signed by key {key}"))
        .unwrap_or_default();
    context.out.say(&match is_new {
        true => format!(
            "build {name} of {service} is registered: {size}, sha256 {}{signed}",
            artifact.sha256
        ),
        false => format!("build {name} of {service} is registered already, with the same archive"),
    });
    context.out.tip(&format!(
        "deployctl canary {service} {name}        (or: deployctl deploy {service} {name})"
    ));
    Ok(Exit::Done)
}

/// A build is what it is: the same name never means other bytes.
async fn is_the_same(
    context: &Context,
    args: &AddArgs,
    (path, artifact): (&str, &Artifact),
) -> Result<(), Problem> {
    let (service, name) = (&args.of.service, &args.of.build);
    let znode = context.zk.get(path).await?;
    let found: Option<Build> = znode.and_then(|znode| wire::decode(&znode.data).ok());
    let Some(found) = found else {
        return Err(Problem::refused(format!(
            "build {name} of {service} is there and can't be read"
        ))
        .tip(format!("deployctl inspect {path}")));
    };
    if found.artifact == *artifact {
        return Ok(());
    }
    let differs = match found.artifact.sha256 == artifact.sha256 {
        true => format!(
            "it is at {}, {}",
            text::clean(&found.artifact.url),
            text::bytes(found.artifact.size)
        ),
        false => format!(
            "its sha256 is {}, yours is {}",
            found.artifact.sha256, artifact.sha256
        ),
    };
    Err(Problem::refused(format!(
        "build {name} of {service} is registered already, with another archive"
    ))
    .fact(differs)
    .fact("nothing was changed; a build never changes, hosts may run it already")
    .tip("register yours under another name"))
}

fn artifact(args: &AddArgs) -> Result<Artifact, Problem> {
    let (sha256, size) = match (&args.file, &args.sha256, args.size) {
        (Some(path), _, size) => of_file(path, size)?,
        (None, Some(sha256), Some(size)) => (sha256.clone(), size),
        _ => return Err(Problem::usage("--file, or --sha256 and --size, are needed")),
    };
    if size == 0 {
        return Err(Problem::usage("an archive of 0 bytes is none"));
    }
    Ok(Artifact {
        url: args.url.clone(),
        sha256,
        size,
    })
}

fn of_file(path: &Path, expected: Option<u64>) -> Result<(Digest, u64), Problem> {
    let shown = path.display().to_string();
    let failed = |error: std::io::Error| Problem::usage(format!("failed to read {shown}: {error}"));
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
        }
    }
    if let Some(expected) = expected.filter(|expected| *expected != size) {
        return Err(Problem::usage(format!(
            "{shown} has {size} bytes, not {expected}"
        )));
    }
    Ok((Digest::from_bytes(&hasher.finalize().into()), size))
}

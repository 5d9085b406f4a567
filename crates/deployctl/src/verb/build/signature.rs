//! The signature beside an archive that is registered: a wrong one is better told now than by every
//! host later.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use deploy_core::artifact::Artifact;
use deploy_core::name::{BuildName, ServiceName};
use deploy_core::signature;

use crate::problem::Problem;

/// Where in a signature the number of its key is.
const KEY_NUMBER: std::ops::Range<usize> = 2..10;
const COMMENT: &str = "trusted comment: ";

/// Returns the number of the key in `FILE.minisig`, as `minisign` shows it; nothing, where there is
/// no such file. The signature itself is checked by the hosts, which have the keys.
///
/// # Errors
/// Where it is none, or is not for this build.
pub(super) fn of(
    (file, artifact): (&Path, &Artifact),
    (service, build): (&ServiceName, &BuildName),
) -> Result<Option<String>, Problem> {
    let mut path = file.as_os_str().to_owned();
    path.push(".minisig");
    let shown = Path::new(&path).display().to_string();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Problem::usage(format!("failed to read {shown}: {error}"))),
    };
    let wanted = signature::comment(service, build, artifact);
    let sign = format!("minisign -Sm {} -t '{wanted}'", file.display());
    let Some((key, comment)) = parse(&text) else {
        return Err(Problem::usage(format!("{shown} is not a signature of minisign")).tip(sign));
    };
    if comment != wanted {
        let found = format!("it says `{}`", comment.escape_debug());
        return Err(
            Problem::usage(format!("{shown} is not for build {build} of {service}"))
                .fact(found)
                .tip(sign),
        );
    }
    Ok(Some(key))
}

/// Returns the number of the key, and the trusted comment.
fn parse(text: &str) -> Option<(String, &str)> {
    let mut lines = text.lines();
    let signature = BASE64_STANDARD.decode(lines.nth(1)?).ok()?;
    let number = signature.get(KEY_NUMBER)?.try_into().ok()?;
    let comment = lines.next()?.strip_prefix(COMMENT)?;
    Some((format!("{:016X}", u64::from_le_bytes(number)), comment))
}

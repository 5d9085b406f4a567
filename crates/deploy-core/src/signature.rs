//! What the signature of an artifact must say.

use crate::artifact::Artifact;
use crate::name::{BuildName, ServiceName};

/// Returns the trusted comment that binds an archive to a service and a build. It is compared word
/// for word: a signature of another service, build or archive is none for this one.
pub fn comment(service: &ServiceName, build: &BuildName, artifact: &Artifact) -> String {
    format!("service:{service} build:{build} sha256:{}", artifact.sha256)
}

//! What every verb needs: the session, the tree, the output, and who is asking.

use deploy_core::name::ServiceName;
use deploy_core::wire::time;
use deploy_core::znode::{Root, ServiceTree};
use deploy_zk::config::DigestAuth;
use deploy_zk::zk::Zk;
use jiff::Timestamp;

use crate::out::Out;
use crate::problem::Problem;
use crate::text;

/// Names listed in a message.
const NAMES_SHOWN_MAX: usize = 20;

/// What every verb needs.
#[derive(Clone)]
pub(crate) struct Context {
    /// The session.
    pub(crate) zk: Zk,
    /// The tree of all services.
    pub(crate) root: Root,
    /// Where it is, as the user would write it.
    pub(crate) address: String,
    /// The servers, each `host:port`.
    pub(crate) servers: Vec<String>,
    /// The name of the context, where it has one.
    pub(crate) name: Option<String>,
    /// Where that comes from, for people.
    pub(crate) origin: String,
    /// Who we are to ZooKeeper; nobody, where there is no `--auth-file`.
    pub(crate) credentials: Vec<DigestAuth>,
    /// Where the output goes.
    pub(crate) out: Out,
    /// Who is asking: `user@host`.
    pub(crate) by: String,
    /// Whether every question is answered with yes.
    pub(crate) consent: Consent,
}

/// What becomes of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// It is asked.
    Ask,
    /// `--yes`: it is taken as answered.
    Given,
}

impl Context {
    /// Returns the tree of a service that exists.
    ///
    /// # Errors
    /// `NotFound`, with the nearest name, where it or the root does not exist.
    pub(crate) async fn service(&self, service: &ServiceName) -> Result<ServiceTree, Problem> {
        let tree = self.root.service(service);
        if self.zk.get(tree.path()).await?.is_some() {
            return Ok(tree);
        }
        let services = self.services().await?;
        let what = format!("no service `{service}` in {}", self.address);
        let names = services.iter().map(ServiceName::as_str);
        let problem = Problem::not_found(what);
        if services.is_empty() {
            return Err(problem.fact("there is no service yet").tip(format!(
                "to create it: deployctl build add {service} BUILD --url URL --file PATH"
            )));
        }
        let all = text::list(names.clone(), NAMES_SHOWN_MAX);
        Err(match text::nearest(service.as_str(), names) {
            Some(near) => problem.tip(format!("did you mean `{near}`?  all: {all}")),
            None => problem.fact(format!("all: {all}")),
        })
    }

    /// Returns every service.
    ///
    /// # Errors
    /// `NotFound` where the root does not exist.
    pub(crate) async fn services(&self) -> Result<Vec<ServiceName>, Problem> {
        let names = self
            .zk
            .children(self.root.path())
            .await?
            .ok_or_else(|| self.no_root())?;
        Ok(names
            .iter()
            .filter_map(|name| ServiceName::parse(name).ok())
            .collect())
    }

    /// Returns the problem of a ZooKeeper without a deploy tree.
    pub(crate) fn no_root(&self) -> Problem {
        Problem::not_found(format!(
            "this ZooKeeper has no deploy tree at {}",
            self.root.path()
        ))
        .fact(format!(
            "{} answers, so probably it is the wrong cluster or root",
            self.address
        ))
        .tip("to create one here: deployctl init")
    }

    /// Returns the time for a znode, and `by`.
    pub(crate) fn signature(&self) -> (Option<String>, Option<String>) {
        (Some(self.by.clone()), Some(time::render(Timestamp::now())))
    }
}

/// Returns `user@host` of this process.
pub(crate) fn whoami() -> String {
    let uid = nix::unistd::getuid();
    let user = match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    };
    let host = nix::unistd::gethostname().unwrap_or_default();
    let host = host.to_string_lossy();
    let host = host
        .split('.')
        .next()
        .filter(|host| !host.is_empty())
        .unwrap_or("localhost");
    format!("{user}@{host}")
}

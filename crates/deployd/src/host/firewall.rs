//! The packet filter: a chain of our own that refuses new connections to drained ports.
//!
//! ```text
//! INPUT 1: -j DEPLOYD-DRAIN      the jump is first, so that no ACCEPT is before it
//! DEPLOYD-DRAIN: one rule a port, IPv4 and IPv6
//! ```
//!
//! The chain is a function of what is drained now: each change is the whole chain, one
//! `iptables-restore --noflush` transaction a family. Rules of others are never touched. `--syn` and
//! not conntrack's NEW: switching tracking on would make live connections look new, and reset them.
//! Each rule ends by itself some time after its deadline, should nobody be left to take it away.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;

use super::process::{Ended, How, Job, Leftovers, StartError, read_lines, run};

/// Where our own probes come from: a drained instance answers them.
pub(crate) const PROBE_SOURCE: &str = "127.0.0.66";

const CHAIN: &str = "DEPLOYD-DRAIN";
const TAG: &str = "deployd:";
/// How long one command may take; the lock is waited for 5 s of it.
const COMMAND_TIME: Duration = Duration::from_secs(15);

/// A port that takes no new connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The port.
    pub(crate) port: u16,
    /// What happens to them.
    pub(crate) refusal: Refusal,
    /// What the rule is for, in a comment: letters, digits and `:-_.@/`.
    pub(crate) tag: String,
    /// When the rule ends by itself.
    pub(crate) until: Timestamp,
}

/// What happens to a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is reset.
    Reset,
    /// It is not answered.
    Drop,
}

/// A rule that was found in our chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its port.
    pub(crate) port: u16,
    /// What it is for.
    pub(crate) tag: String,
}

/// Why the packet filter can't be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirewallError {
    /// The program can't be run.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It says no.
    #[error("{command}: {how}{}", said(.tail))]
    Failed {
        /// What was run.
        command: String,
        /// How it ended.
        how: How,
        /// What it said.
        tail: Vec<String>,
    },
}

fn said(lines: &[String]) -> String {
    lines.iter().map(|line| format!("\n  {line}")).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn program(self) -> &'static str {
        match self {
            Family::V4 => "iptables",
            Family::V6 => "ip6tables",
        }
    }
}

/// The families that this host has.
fn families() -> Vec<Family> {
    let v6 = Path::new("/proc/net/if_inet6").exists();
    if v6 {
        vec![Family::V6, Family::V4]
    } else {
        vec![Family::V4]
    }
}

/// Makes these the rules of our chain, all of them, and the jump to it the first of INPUT. Safe to
/// repeat.
///
/// The families at once: most of the time of a change is the kernel waiting until nobody uses the
/// old rules, and it can wait for both together. Who is refused by one of them a moment earlier
/// tries the other.
///
/// # Errors
/// Where a command fails; a family is then as it was before.
pub(crate) async fn apply(rules: &[Rule]) -> Result<(), FirewallError> {
    let changes = families().into_iter();
    let changes = changes.map(|family| apply_to(family, rules));
    join_all(changes).await.into_iter().collect()
}

async fn apply_to(family: Family, rules: &[Rule]) -> Result<(), FirewallError> {
    let text = render(family, rules);
    let arguments = restore(family);
    tracing::debug!(program = %arguments[0], %text, "changing the packet filter");
    let job = job(&arguments, &text);
    if rules.is_empty() {
        // An empty chain refuses nobody, wherever the jump to it is.
        return expect(&arguments, run(&job).await?);
    }
    let (restored, rules) = tokio::join!(run(&job), read(family));
    expect(&arguments, restored?)?;
    jump_first(family, &rules?).await
}

/// Returns the ports that our chain refuses: in either family, each once.
///
/// # Errors
/// Where it can't be read. A chain that isn't there, or that nothing jumps to, has no rules.
pub(crate) async fn list() -> Result<Vec<Found>, FirewallError> {
    let mut found: Vec<Found> = Vec::new();
    for text in read_all().await? {
        for rule in parse(&text) {
            if !found.contains(&rule) {
                found.push(rule);
            }
        }
    }
    Ok(found)
}

/// Tells whether all of these rules are there, in both families, and the jump to them is the first
/// rule of INPUT. Somebody may have flushed them, or put an ACCEPT before.
///
/// # Errors
/// Where a chain can't be read.
pub(crate) async fn stands(rules: &[Rule]) -> Result<bool, FirewallError> {
    for text in read_all().await? {
        let found = parse(&text);
        let refused = |rule: &Rule| found.iter().any(|found| found.port == rule.port);
        if !is_jump_first(&text) || !rules.iter().all(refused) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes our chain away, and the jump to it.
///
/// # Errors
/// Where a command fails; the other family is done all the same.
pub(crate) async fn clear() -> Result<(), FirewallError> {
    let mut result = Ok(());
    for family in families() {
        result = result.and(clear_family(family).await);
    }
    result
}

async fn clear_family(family: Family) -> Result<(), FirewallError> {
    let rules = read(family).await?;
    let lines: Vec<&str> = rules.lines().map(str::trim).collect();
    for _ in lines.iter().filter(|line| is_jump(line)) {
        iptables(family, &["-D", "INPUT", "-j", CHAIN]).await?;
    }
    if lines.contains(&format!("-N {CHAIN}").as_str()) {
        iptables(family, &["-F", CHAIN]).await?;
        iptables(family, &["-X", CHAIN]).await?;
    }
    Ok(())
}

fn render(family: Family, rules: &[Rule]) -> String {
    let mut text = format!("*filter\n:{CHAIN} - [0:0]\n");
    for rule in rules {
        let source = match family {
            Family::V4 => format!("! -s {PROBE_SOURCE}/32 "),
            Family::V6 => String::new(),
        };
        let target = match rule.refusal {
            Refusal::Reset => "REJECT --reject-with tcp-reset",
            Refusal::Drop => "DROP",
        };
        let (port, tag) = (rule.port, &rule.tag);
        let until = rule.until.strftime("%Y-%m-%dT%H:%M:%S");
        text.push_str(&format!(
            "-A {CHAIN} {source}-p tcp -m tcp --dport {port} --syn -m time --datestop {until} \
             -m comment --comment \"{TAG}{tag}\" -j {target}\n"
        ));
    }
    text.push_str("COMMIT\n");
    text
}

/// Rules of our chain, where something jumps to it, from what `-S` prints.
fn parse(rules: &str) -> Vec<Found> {
    if !rules.lines().any(is_jump) {
        return Vec::new();
    }
    let ours = format!("-A {CHAIN} ");
    let found = |line: &str| {
        let words: Vec<&str> = line.strip_prefix(&ours)?.split_whitespace().collect();
        let after = |key: &str| {
            let index = words.iter().position(|word| *word == key)?;
            words.get(index + 1).copied()
        };
        let tag = after("--comment")?.trim_matches('"').strip_prefix(TAG)?;
        Some(Found {
            port: after("--dport")?.parse().ok()?,
            tag: tag.to_owned(),
        })
    };
    rules
        .lines()
        .filter_map(|line| found(line.trim()))
        .collect()
}

fn is_jump_first(rules: &str) -> bool {
    let mut input = rules.lines().filter(|line| line.starts_with("-A INPUT"));
    input.next().is_some_and(is_jump)
}

fn is_jump(line: &str) -> bool {
    line.trim() == format!("-A INPUT -j {CHAIN}")
}

/// Sees to it that the jump is the first rule of INPUT: behind an ACCEPT it does nothing. In one transaction, so that
/// there is no moment without it.
async fn jump_first(family: Family, rules: &str) -> Result<(), FirewallError> {
    if is_jump_first(rules) {
        return Ok(());
    }
    let delete = format!("-D INPUT -j {CHAIN}\n");
    let old = delete.repeat(rules.lines().filter(|line| is_jump(line)).count());
    let text = format!("*filter\n{old}-I INPUT 1 -j {CHAIN}\nCOMMIT\n");
    let arguments = restore(family);
    expect(&arguments, run(&job(&arguments, &text)).await?)
}

fn restore(family: Family) -> [String; 4] {
    let program = format!("{}-restore", family.program());
    [&program, "-w", "5", "--noflush"].map(str::to_owned)
}

async fn iptables(family: Family, arguments: &[&str]) -> Result<(), FirewallError> {
    let mut all = [family.program(), "-w", "5"].map(str::to_owned).to_vec();
    all.extend(arguments.iter().map(|text| (*text).to_owned()));
    let ended = run(&job(&all, "")).await?;
    expect(&all, ended)
}

/// What concerns us of all rules, by family, both asked at once.
async fn read_all() -> Result<Vec<String>, FirewallError> {
    let asked = families().into_iter().map(read);
    join_all(asked).await.into_iter().collect()
}

/// Returns our chain, the jumps to it, and the first rule of INPUT. All else may be tens of thousands of lines.
async fn read(family: Family) -> Result<String, FirewallError> {
    let arguments = [family.program(), "-w", "5", "-S"].map(str::to_owned);
    let ours = [format!("-N {CHAIN}"), format!("-A {CHAIN} ")];
    let mut is_first = true;
    let concerns_us = |line: &str| {
        let leads = line.starts_with("-A INPUT") && std::mem::take(&mut is_first);
        leads || is_jump(line) || ours.iter().any(|ours| line.starts_with(ours))
    };
    let (ended, rules) = read_lines(&job(&arguments, ""), concerns_us).await?;
    expect(&arguments, ended)?;
    Ok(rules)
}

fn expect(arguments: &[String], ended: Ended) -> Result<(), FirewallError> {
    match ended.how {
        How::Well => Ok(()),
        how => Err(FirewallError::Failed {
            command: arguments.join(" "),
            how,
            tail: ended.tail,
        }),
    }
}

fn job<'a>(arguments: &'a [String], input: &'a str) -> Job<'a> {
    Job {
        arguments,
        dir: Path::new("/"),
        user: None,
        environment: &[],
        limit: COMMAND_TIME,
        leftovers: Leftovers::Killed,
        input,
    }
}

#[cfg(test)]
pub(crate) mod tests;

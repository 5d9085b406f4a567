//! Starts and stops the instances of a service, and answers its hooks, as a test wants it.
//!
//! The restart command and the hooks in `deployd.toml` are clients of it: so a test can make one
//! fail, or hold it while it looks, kills and starts things, and let it go.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::archives::program;
use crate::eventually::eventually;
use crate::spawn_tied;

/// What is done about a request, instead of what it asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It fails, and says this.
    Fail(String),
    /// It fails, and says this; the next one doesn't.
    FailOnce(String),
    /// It succeeds, and nothing was done.
    Pretend,
    /// It is done, and says this.
    Say(String),
    /// It waits, before anything is done, until the rule is gone.
    HoldBefore,
    /// It is done, and the answer waits until the rule is gone.
    HoldAfter,
}

/// A supervisor on a socket of its own. Its instances end with it, and with the test process.
#[derive(Debug)]
pub struct Supervisor {
    socket: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The file of what its instances say.
    said: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asked: Vec<String>,
    rules: Vec<(String, Answer)>,
    instances: BTreeMap<String, Child>,
    ended: bool,
}

impl Supervisor {
    /// Starts one, with its socket and what its instances say in `dir`.
    ///
    /// # Panics
    /// If the socket can't be made.
    pub fn start(dir: &Path) -> Supervisor {
        let socket = dir.join("supervisor");
        let listener =
            UnixListener::bind(&socket).expect("a socket can be made in a new directory");
        let shared = Arc::new(Shared {
            said: dir.join("said"),
            ..Shared::default()
        });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.lock().ended {
                    return;
                }
                let serving = Arc::clone(&serving);
                // A client that was killed takes no answer.
                std::thread::spawn(move || drop(serving.serve(stream)));
            }
        });
        Supervisor { socket, shared }
    }

    /// Returns the command that asks it something, as a TOML array.
    pub fn command(&self, words: &[&str]) -> String {
        let client = program("instance").display().to_string();
        let socket = self.socket.display().to_string();
        let all = [client.as_str(), "ask", &socket].into_iter();
        let quoted: Vec<_> = all
            .chain(words.iter().copied())
            .map(|word| format!("{word:?}"))
            .collect();
        format!("[{}]", quoted.join(", "))
    }

    /// Requests that start with `prefix` are answered so from now on.
    pub fn on(&self, prefix: &str, answer: Answer) {
        let mut state = self.shared.lock();
        state.rules.insert(0, (prefix.to_owned(), answer));
    }

    /// Takes all rules away; what was held goes on.
    pub fn let_go(&self) {
        self.shared.lock().rules.clear();
        self.shared.changed.notify_all();
    }

    /// Takes one rule away.
    pub fn let_go_of(&self, prefix: &str) {
        self.shared
            .lock()
            .rules
            .retain(|(known, _)| known != prefix);
        self.shared.changed.notify_all();
    }

    /// Returns the requests so far that start with `prefix`, oldest first.
    pub fn asked(&self, prefix: &str) -> Vec<String> {
        let state = self.shared.lock();
        let found = state.asked.iter().filter(|line| line.starts_with(prefix));
        found.cloned().collect()
    }

    /// Waits until more than `before` requests start with `prefix`.
    ///
    /// # Panics
    /// If that doesn't happen.
    #[track_caller]
    pub fn wait_asked(&self, prefix: &str, before: usize) {
        eventually(&format!("`{prefix}` is asked"), LIMIT, || {
            if self.asked(prefix).len() > before {
                Ok(())
            } else {
                Err(self.asked(""))
            }
        });
    }

    /// Returns the process of an instance, if it runs.
    pub fn pid(&self, unit: &str) -> Option<u32> {
        let mut state = self.shared.lock();
        let child = state.instances.get_mut(unit)?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// Returns what instances have said to their standard error: why one could not start.
    pub fn said(&self) -> String {
        // There is none before the first.
        fs::read_to_string(&self.shared.said).unwrap_or_default()
    }

    /// Kills an instance, as a crash would.
    pub fn kill(&self, unit: &str) {
        stop(self.shared.lock().instances.remove(unit));
    }
}

/// How long anything may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

impl Drop for Supervisor {
    fn drop(&mut self) {
        let instances = {
            let mut state = self.shared.lock();
            state.ended = true;
            state.rules.clear();
            std::mem::take(&mut state.instances)
        };
        self.shared.changed.notify_all();
        instances.into_values().for_each(|child| stop(Some(child)));
        // The listener sees that it has ended.
        let _ = UnixStream::connect(&self.socket);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, mut stream: UnixStream) -> std::io::Result<()> {
        let mut line = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut line)?;
        let line = line.trim().to_owned();
        self.lock().asked.push(line.clone());
        let rule = self.rule(&line);
        if rule == Some(Answer::HoldBefore) {
            self.hold(&line);
        }
        let result = match rule.clone() {
            Some(Answer::Fail(why) | Answer::FailOnce(why)) => Err(why),
            Some(Answer::Pretend) => Ok(()),
            _ => self.obey(&line),
        };
        if rule == Some(Answer::HoldAfter) {
            self.hold(&line);
        }
        match result {
            Ok(()) => {
                stream.write_all(b"ok\n")?;
                match &rule {
                    Some(Answer::Say(text)) => stream.write_all(text.as_bytes()),
                    _ => Ok(()),
                }
            }
            Err(why) => write!(stream, "fail\n{why}\n"),
        }
    }

    fn rule(&self, line: &str) -> Option<Answer> {
        let rules = &mut self.lock().rules;
        let found = rules
            .iter()
            .position(|(prefix, _)| line.starts_with(prefix))?;
        let answer = rules[found].1.clone();
        if matches!(answer, Answer::FailOnce(_)) {
            rules.remove(found);
        }
        Some(answer)
    }

    fn hold(&self, line: &str) {
        let held = |state: &mut State| {
            let mut rules = state.rules.iter();
            rules.any(|(prefix, answer)| {
                line.starts_with(prefix) && matches!(answer, Answer::HoldBefore | Answer::HoldAfter)
            })
        };
        let state = self.lock();
        drop(self.changed.wait_while(state, held));
    }

    /// `restart UNIT PORT DIR` starts an instance in the release that is current; all else is done.
    fn obey(&self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        let ["restart", unit, port, dir] = words.as_slice() else {
            return Ok(());
        };
        let mut state = self.lock();
        if state.ended {
            return Err("the test has ended".to_owned());
        }
        stop(state.instances.remove(*unit));
        let current = Path::new(dir).join("current");
        let release =
            fs::canonicalize(&current).map_err(|error| format!("{current:?}: {error}"))?;
        let mut said = fs::OpenOptions::new();
        let said = said.create(true).append(true).open(&self.said);
        let said = said.map_err(|error| format!("{:?}: {error}", self.said))?;
        let mut command = Command::new(program("instance"));
        command
            .args(["serve", port])
            .current_dir(release)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said);
        state
            .instances
            .insert((*unit).to_owned(), spawn_tied(command));
        Ok(())
    }
}

fn stop(child: Option<Child>) {
    if let Some(mut child) = child {
        // Fails only if it is dead already.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Returns what a server on a port of the loopback interface answers to a GET, with its status.
///
/// # Errors
/// Where nobody listens, or the answer is none.
pub fn get(port: u16, path: &str) -> Result<(u16, String), String> {
    let limit = Duration::from_secs(5);
    let ask = || -> std::io::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    let answer = ask().map_err(|error| format!("port {port}: {error}"))?;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    match (status, answer.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
        _ => Err(format!("port {port}: {answer:?}")),
    }
}

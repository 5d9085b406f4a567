//! Other programs. The only place that starts any.
//!
//! Each in a process group of its own, with a cleared environment, no standard input, a time limit
//! (TERM, then KILL to the whole group) and the tail of its output kept. Arguments are a list,
//! never a shell string.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{AccessFlags, Pid, access};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::output::{Lines, Pipe, TAIL_BYTES, Tail, copy, nameless, read_end};
use super::user::User;

pub(crate) mod output;

/// Bytes of output that [`read`] returns.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Pieces of output, of 8 KiB, that may wait to be kept.
const CHUNKS: usize = 16;
/// Between TERM and KILL.
const TERM_TIME: Duration = Duration::from_secs(5);
/// What the kernel may take to end a program after KILL.
const KILL_TIME: Duration = Duration::from_secs(10);
/// How long output is waited for when the program has ended: a child of it may keep it open.
const OUTPUT_TIME: Duration = Duration::from_secs(1);
/// Where programs are found.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to run.
#[derive(Debug, Clone)]
pub(crate) struct Job<'a> {
    /// The program and its arguments. A relative program with a slash is looked up in `dir`.
    pub(crate) arguments: &'a [String],
    /// Where it runs.
    pub(crate) dir: &'a Path,
    /// As whom; `None`: as ourselves.
    pub(crate) user: Option<&'a User>,
    /// Its environment, besides PATH and LANG and what `user` brings.
    pub(crate) environment: &'a [(&'a str, String)],
    /// How long it may take.
    pub(crate) limit: Duration,
    /// What becomes of processes that it leaves behind.
    pub(crate) leftovers: Leftovers,
    /// What it reads; empty: nothing.
    pub(crate) input: &'a str,
}

/// What becomes of processes that a program leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leftovers {
    /// They are killed with it.
    Killed,
    /// They live on, as a service does that the program has started. Their output goes to a file
    /// without a name and not to a pipe of ours, which would end with us and kill them.
    Live,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    /// In which way.
    pub(crate) how: How,
    /// The last lines of its output, escaped: at most [`TAIL_LINES`](output::TAIL_LINES) and [`TAIL_BYTES`].
    pub(crate) tail: Vec<String>,
}

/// In which way a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// Exit 0.
    Well,
    /// Another exit code.
    Exit(i32),
    /// By a signal.
    Signal(i32),
    /// It took too long, and was killed.
    TimedOut(Duration),
}

/// Why a program can't be started.
#[derive(Debug, thiserror::Error)]
#[error("failed to run {program}")]
pub(crate) struct StartError {
    /// The program.
    pub(crate) program: PathBuf,
    /// Why.
    #[source]
    pub(crate) source: io::Error,
}

impl StartError {
    /// Whether it is the program that can't be executed. Else the machine is short of something, or its disk fails.
    pub(crate) fn is_of_the_program(&self) -> bool {
        match self.source.raw_os_error().map(Errno::from_raw) {
            Some(errno) => matches!(
                errno,
                Errno::ENOENT
                    | Errno::ENOTDIR
                    | Errno::EACCES
                    | Errno::EPERM
                    | Errno::ENOEXEC
                    | Errno::ELOOP
                    | Errno::EISDIR
                    | Errno::ENAMETOOLONG
                    | Errno::ETXTBSY
                    | Errno::E2BIG
                    | Errno::EINVAL
            ),
            None => true,
        }
    }
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            How::Well => write!(f, "exit 0"),
            How::Exit(code) => write!(f, "exit {code}"),
            How::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
            How::TimedOut(limit) => write!(f, "not done after {} s, killed", limit.as_secs_f64()),
        }
    }
}

/// Runs a program to its end. Dropping the future kills its group.
///
/// # Errors
/// Where it can't be started: not there, not executable, its interpreter missing.
pub(crate) async fn run(job: &Job<'_>) -> Result<Ended, StartError> {
    run_into(job, &mut |_| {}).await
}

/// Runs a program to its end, and returns all of its standard output besides: up to [`OUTPUT_BYTES_MAX`],
/// the end of it where there is more.
///
/// # Errors
/// As [`run`].
pub(crate) async fn read(job: &Job<'_>) -> Result<(Ended, String), StartError> {
    let mut output = Tail::new(OUTPUT_BYTES_MAX);
    let ended = run_into(job, &mut |chunk| output.add(chunk)).await?;
    Ok((ended, output.text()))
}

/// Like [`read`], of an output that may be of any size: only the lines that are wanted are kept.
///
/// # Errors
/// As [`run`].
pub(crate) async fn read_lines(
    job: &Job<'_>,
    is_wanted: impl FnMut(&str) -> bool + Send,
) -> Result<(Ended, String), StartError> {
    let mut lines = Lines::new(is_wanted);
    let ended = run_into(job, &mut |chunk| lines.add(chunk)).await?;
    Ok((ended, lines.text()))
}

/// Runs a program to its end, and gives its standard output to `sink` as it comes.
async fn run_into(
    job: &Job<'_>,
    sink: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<Ended, StartError> {
    let mut command = command(job);
    let started = |source| StartError {
        program: program(job),
        source,
    };
    let file = match job.leftovers {
        Leftovers::Killed => {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            None
        }
        Leftovers::Live => {
            let file = nameless().map_err(started)?;
            command.stdout(file.try_clone().map_err(started)?);
            command.stderr(file.try_clone().map_err(started)?);
            Some(file)
        }
    };
    let mut child = command.spawn().map_err(started)?;
    let group = Group {
        id: child.id(),
        leftovers: job.leftovers,
    };
    let mut tail = Tail::new(TAIL_BYTES);
    let kept = Kept {
        tail: &mut tail,
        sink,
    };
    let how = attend(&mut child, (job, &group), kept).await;
    if let Some(mut file) = file {
        // What can't be read back is only output.
        let _ = read_end(&mut file, &mut tail);
    }
    Ok(Ended {
        how,
        tail: tail.lines(),
    })
}

/// Writes the input and closes it. A program that doesn't read it says so itself.
async fn feed(stdin: Option<ChildStdin>, input: &str) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input.as_bytes()).await;
    }
}

/// Returns the program of a job: where it is, or its plain name.
pub(crate) fn program(job: &Job<'_>) -> PathBuf {
    let program = Path::new(job.arguments.first().map_or("", String::as_str));
    let plain = program.components().count() == 1;
    if plain {
        program.to_owned()
    } else {
        job.dir.join(program)
    }
}

/// Says what keeps a program from being run. One that is given by a path below where it runs may come with a release: of that,
/// nobody knows before.
pub(crate) fn missing(program: &str) -> Option<String> {
    let path = Path::new(program);
    let runs = |path: &Path| access(path, AccessFlags::X_OK).is_ok();
    if path.is_absolute() {
        return (!runs(path)).then(|| format!("{program} is not there, or can't be executed"));
    }
    let is_plain = path.components().count() == 1;
    let found = || {
        PATH.split(':')
            .any(|dir| runs(&Path::new(dir).join(program)))
    };
    (is_plain && !found()).then(|| format!("there is no program {program} in {PATH}"))
}

fn command(job: &Job<'_>) -> Command {
    let mut arguments: Vec<std::ffi::OsString> = Vec::new();
    if let Some(user) = job.user.filter(|user| !user.is_self()) {
        // Groups too, which setuid alone would leave.
        arguments.extend([
            "setpriv".into(),
            format!("--reuid={}", user.uid()).into(),
            format!("--regid={}", user.gid()).into(),
            "--init-groups".into(),
            "--inh-caps=-all".into(),
            "--".into(),
        ]);
    }
    arguments.push(program(job).into());
    arguments.extend(job.arguments.iter().skip(1).map(Into::into));
    let mut command = Command::new(&arguments[0]);
    command
        .args(&arguments[1..])
        .current_dir(job.dir)
        .stdin(if job.input.is_empty() {
            Stdio::null()
        } else {
            Stdio::piped()
        })
        .process_group(0);
    command
        .env_clear()
        .envs(environment(job))
        .kill_on_drop(true);
    command
}

/// Returns the whole environment of a job.
pub(crate) fn environment(job: &Job<'_>) -> Vec<(String, String)> {
    let mut all = vec![
        ("PATH".to_owned(), PATH.to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ];
    if let Some(user) = job.user {
        all.push(("HOME".to_owned(), user.home().display().to_string()));
        all.push(("USER".to_owned(), user.name().to_owned()));
        all.push(("LOGNAME".to_owned(), user.name().to_owned()));
    }
    let own = job.environment.iter();
    all.extend(own.map(|(key, value)| ((*key).to_owned(), value.clone())));
    all
}

/// Where output is kept: the end of all, for people, and standard output, for who reads it.
struct Kept<'a> {
    tail: &'a mut Tail,
    sink: &'a mut (dyn FnMut(&[u8]) + Send),
}

/// Writes the input and reads both pipes while the program runs, and a little longer.
async fn attend(
    child: &mut Child,
    (job, group): (&Job<'_>, &Group),
    Kept { tail, sink }: Kept<'_>,
) -> How {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let feeding = feed(child.stdin.take(), job.input);
    let (sender, mut chunks) = mpsc::channel(CHUNKS);
    let copy_out = copy(out, (Pipe::Out, sender.clone()));
    let copy_err = copy(err, (Pipe::Err, sender));
    let collect = async {
        while let Some((pipe, chunk)) = chunks.recv().await {
            tail.add(&chunk);
            if pipe == Pipe::Out {
                sink(&chunk);
            }
        }
    };
    let mut talking = Box::pin(async { tokio::join!(feeding, copy_out, copy_err, collect) });
    let mut ending = Box::pin(wait(child, group, job.limit));
    // Cancel-safe: both futures are kept, and only polled again.
    let how = tokio::select! {
        how = &mut ending => Some(how),
        _ = &mut talking => None,
    };
    match how {
        Some(how) => {
            // A child that kept the output open must not keep us.
            let _ = timeout(OUTPUT_TIME, talking).await;
            how
        }
        None => ending.await,
    }
}

/// Waits for the program itself, and ends what it left behind.
async fn wait(child: &mut Child, group: &Group, limit: Duration) -> How {
    let how = match timeout(limit, child.wait()).await {
        Ok(status) => status.map_or(How::Exit(-1), how),
        Err(_) => {
            group.signal(Signal::SIGTERM);
            let _ = timeout(TERM_TIME, child.wait()).await;
            group.signal(Signal::SIGKILL);
            // One that hangs in the kernel, as on a file system that is gone, is not waited for.
            let _ = timeout(KILL_TIME, child.wait()).await;
            How::TimedOut(limit)
        }
    };
    if group.leftovers == Leftovers::Killed {
        group.signal(Signal::SIGKILL);
    }
    how
}

fn how(status: ExitStatus) -> How {
    match (status.code(), status.signal()) {
        (Some(0), _) => How::Well,
        (Some(code), _) => How::Exit(code),
        (None, signal) => How::Signal(signal.unwrap_or(0)),
    }
}

/// The process group of a program; dropped before the end, it is killed.
struct Group {
    id: Option<u32>,
    leftovers: Leftovers,
}

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(id) = self.id.and_then(|id| i32::try_from(id).ok()) {
            // Gone already is as good.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.leftovers == Leftovers::Killed {
            self.signal(Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests;

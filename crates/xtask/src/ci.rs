//! `cargo xtask ci`: all that must be green before a push. And `cargo xtask test`.

mod deny;
mod streams;
mod transcript;

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::tool::{Profile, build_programs, cargo, output, succeed};
use crate::{debian, fleet, tidy};

/// The demo takes less than a third of it, building aside, on a machine that does nothing else.
const DEMO_LIMIT: Duration = Duration::from_secs(120);

/// What may not be missing where hosts are booted.
const REQUIRED_WITH_FLEET: &str = "zookeeper,minisign,faketime,netns,seccomp,mount,loop,fleet";
/// The same without hosts.
const REQUIRED_BESIDE_FLEET: &str = "zookeeper,minisign,faketime,netns,seccomp,mount,loop";

/// In tenths, as `systemd-analyze security` counts them: 10.0 is a root that may do everything.
const EXPOSURE_MAX: u32 = 30;

/// What the tests may need in memory at a time, with a lot to spare.
const MEMORY_ROOM_BYTES: u64 = 2 << 30;

/// One thing that must succeed.
struct Part<'a> {
    name: &'static str,
    run: &'a dyn Fn() -> Result<()>,
}

/// Runs the parts one after the other, says how long each took, and stops at the first failure.
pub(crate) fn run(own_program: &Path) -> Result<ExitCode> {
    let demo = || demo(own_program);
    let parts = [
        Part {
            name: "fmt",
            run: &|| succeed(&mut cargo(["fmt", "--all", "--check"])),
        },
        Part {
            name: "clippy",
            run: &clippy,
        },
        Part {
            name: "doc",
            run: &doc,
        },
        Part {
            name: "tidy",
            run: &|| tidy::check_all(),
        },
        Part {
            name: "deny",
            run: &deny::check,
        },
        Part {
            name: "unit",
            run: &unit,
        },
        Part {
            name: "test",
            run: &|| run_all_tests(own_program),
        },
        Part {
            name: "demo",
            run: &demo,
        },
    ];
    let started = Instant::now();
    let mut times = Vec::new();
    for part in &parts {
        println!("ci: {} ...", part.name);
        let part_started = Instant::now();
        let outcome = (part.run)();
        let seconds = part_started.elapsed().as_secs_f64();
        outcome.with_context(|| format!("ci stopped at {} after {seconds:.1} s", part.name))?;
        println!("ci: {} ok in {seconds:.1} s", part.name);
        times.push(format!("{} {seconds:.0} s", part.name));
    }
    let total = started.elapsed().as_secs_f64();
    println!("ci: all ok in {total:.0} s ({})", times.join(", "));
    Ok(ExitCode::SUCCESS)
}

/// Installs what is missing, then builds the programs and runs every test, whichever fail.
pub(crate) fn test(args: &[String]) -> Result<ExitCode> {
    run_tests(args, required())?;
    Ok(ExitCode::SUCCESS)
}

/// Like [`test()`], and those that need a fleet are not skipped.
pub(crate) fn test_with_fleet(own_program: &Path, args: &[String]) -> Result<ExitCode> {
    fleet::prepare(own_program)?;
    run_tests(args, REQUIRED_WITH_FLEET)?;
    Ok(ExitCode::SUCCESS)
}

fn clippy() -> Result<()> {
    let args = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ];
    succeed(&mut cargo(args))
}

fn doc() -> Result<()> {
    let args = ["doc", "--workspace", "--no-deps"];
    succeed(cargo(args).env("RUSTDOCFLAGS", "-D warnings"))
}

/// The unit may not have more rights than it needs.
fn unit() -> Result<()> {
    debian::install(debian::FOR_UNIT)?;
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--no-pager", &threshold]);
    analyze.arg("systemd/deployd.service").stdout(Stdio::null());
    succeed(&mut analyze).with_context(|| {
        format!("systemd/deployd.service: its exposure is above {EXPOSURE_MAX} tenths")
    })
}

/// What may not be missing: network namespaces of one's own are root's.
fn required() -> &'static str {
    if nix::unistd::Uid::effective().is_root() {
        "zookeeper,minisign,faketime,netns"
    } else {
        "zookeeper,minisign,faketime"
    }
}

/// Like [`required()`], with a fleet of hosts where this machine can have one; where not, it says so.
fn required_and_possible(own_program: &Path) -> &'static str {
    match fleet::prepare(own_program) {
        Ok(()) => REQUIRED_WITH_FLEET,
        Err(error) => {
            println!("ci: NO FLEET HERE, its tests are skipped: {error:#}");
            required()
        }
    }
}

/// Builds the programs and the tests while the fleet is prepared, which mostly waits, and runs them.
fn run_all_tests(own_program: &Path) -> Result<()> {
    // Before the fleet installs what it needs: two who install lock each other out.
    debian::install(debian::FOR_TESTS)?;
    let required = thread::scope(|scope| {
        let fleet = scope.spawn(|| required_and_possible(own_program));
        build_programs(Profile::Debug)?;
        succeed(&mut test_command(&["--no-run"], required()))?;
        anyhow::Ok(fleet.join().expect("it doesn't panic"))
    })?;
    if required != REQUIRED_WITH_FLEET {
        return run_tests(&[], required);
    }
    streams::run()
}

fn run_tests(args: &[String], required: &str) -> Result<()> {
    prepare_tests()?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    succeed(&mut test_command(&args, required))
}

fn prepare_tests() -> Result<()> {
    debian::install(debian::FOR_TESTS)?;
    // The end-to-end tests start them.
    build_programs(Profile::Debug)
}

fn test_command(args: &[&str], required: &str) -> Command {
    let mut tests = cargo(["test", "--workspace", "--no-fail-fast"]);
    tests.args(args).env("DEPLOY_TEST_REQUIRE", required);
    if let Some(dir) = memory_dir() {
        tests.env("TMPDIR", dir);
    }
    tests
}

/// A place for the files of the tests and the demo in memory: every release is synced once, and on a disk that others
/// write to, that waits for what they have written.
fn memory_dir() -> Option<&'static Path> {
    let dir = Path::new("/dev/shm");
    let stat = nix::sys::statvfs::statvfs(dir).ok()?;
    let room = stat.blocks_available().saturating_mul(stat.fragment_size());
    let runs = !stat.flags().contains(nix::sys::statvfs::FsFlags::ST_NOEXEC);
    (runs && room >= MEMORY_ROOM_BYTES).then_some(dir)
}

/// Twice: what it claims to be 0 must be more where nothing is drained. README shows the first.
fn demo(own_program: &Path) -> Result<()> {
    for options in [&[][..], &["--no-drain"]] {
        let started = Instant::now();
        let mut demo = Command::new(own_program);
        demo.arg("demo").args(options).stdin(Stdio::null());
        demo.env("DEPLOY_TEST_REQUIRE", required());
        if let Some(dir) = memory_dir() {
            demo.env("TMPDIR", dir);
        }
        let printed = output(&mut demo)?;
        print!("{printed}");
        if options.is_empty() && required().contains("netns") {
            transcript::check(&printed)?;
        }
        let seconds = started.elapsed().as_secs();
        anyhow::ensure!(started.elapsed() < DEMO_LIMIT, "the demo took {seconds} s");
    }
    Ok(())
}

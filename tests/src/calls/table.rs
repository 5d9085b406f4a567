//! The calls that change files, and where in their arguments it says which.

use nix::libc::{self, c_long};

/// Where a call says what it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A path in this argument.
    Path(usize),
    /// A directory in the first argument named, a path below it in the second.
    At(usize, usize),
    /// An open file in this argument.
    Fd(usize),
}

/// When a call is one that changes files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Always.
    Always,
    /// Where the flags in this argument say so.
    OpenFlags(usize),
    /// Where the flags that this argument points to say so.
    OpenHow(usize),
    /// Where the file is a regular one, and no socket, pipe or event.
    RegularFile,
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) number: c_long,
    pub(super) name: &'static str,
    pub(super) places: &'static [Place],
    pub(super) when: When,
}

/// What an open is asked for that may change something.
pub(super) const OPEN_CHANGES: i32 = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;

const fn entry(number: c_long, name: &'static str, places: &'static [Place]) -> Entry {
    Entry {
        number,
        name,
        places,
        when: When::Always,
    }
}

const fn open(number: c_long, name: &'static str, places: &'static [Place], when: When) -> Entry {
    Entry {
        number,
        name,
        places,
        when,
    }
}

const fn write(number: c_long, name: &'static str, places: &'static [Place]) -> Entry {
    Entry {
        number,
        name,
        places,
        when: When::RegularFile,
    }
}

use Place::{At, Fd, Path};

/// The calls that every architecture has.
const COMMON: &[Entry] = &[
    open(libc::SYS_openat, "openat", &[At(0, 1)], When::OpenFlags(2)),
    open(libc::SYS_openat2, "openat2", &[At(0, 1)], When::OpenHow(2)),
    entry(libc::SYS_renameat, "renameat", &[At(0, 1), At(2, 3)]),
    entry(libc::SYS_renameat2, "renameat2", &[At(0, 1), At(2, 3)]),
    entry(libc::SYS_symlinkat, "symlinkat", &[At(1, 2)]),
    entry(libc::SYS_linkat, "linkat", &[At(2, 3)]),
    entry(libc::SYS_unlinkat, "unlinkat", &[At(0, 1)]),
    entry(libc::SYS_mkdirat, "mkdirat", &[At(0, 1)]),
    entry(libc::SYS_mknodat, "mknodat", &[At(0, 1)]),
    entry(libc::SYS_fchmod, "fchmod", &[Fd(0)]),
    entry(libc::SYS_fchmodat, "fchmodat", &[At(0, 1)]),
    entry(libc::SYS_fchmodat2, "fchmodat2", &[At(0, 1)]),
    entry(libc::SYS_fchown, "fchown", &[Fd(0)]),
    entry(libc::SYS_fchownat, "fchownat", &[At(0, 1)]),
    entry(libc::SYS_truncate, "truncate", &[Path(0)]),
    entry(libc::SYS_ftruncate, "ftruncate", &[Fd(0)]),
    entry(libc::SYS_fallocate, "fallocate", &[Fd(0)]),
    entry(libc::SYS_fsync, "fsync", &[Fd(0)]),
    entry(libc::SYS_fdatasync, "fdatasync", &[Fd(0)]),
    entry(libc::SYS_syncfs, "syncfs", &[Fd(0)]),
    write(libc::SYS_write, "write", &[Fd(0)]),
    write(libc::SYS_pwrite64, "pwrite64", &[Fd(0)]),
    write(libc::SYS_writev, "writev", &[Fd(0)]),
    write(libc::SYS_pwritev, "pwritev", &[Fd(0)]),
    write(libc::SYS_pwritev2, "pwritev2", &[Fd(0)]),
    write(libc::SYS_sendfile, "sendfile", &[Fd(0)]),
    write(libc::SYS_copy_file_range, "copy_file_range", &[Fd(2)]),
];

/// The calls that only this one has.
#[cfg(target_arch = "x86_64")]
const OLD: &[Entry] = &[
    open(libc::SYS_open, "open", &[Path(0)], When::OpenFlags(1)),
    entry(libc::SYS_creat, "creat", &[Path(0)]),
    entry(libc::SYS_rename, "rename", &[Path(0), Path(1)]),
    entry(libc::SYS_symlink, "symlink", &[Path(1)]),
    entry(libc::SYS_link, "link", &[Path(1)]),
    entry(libc::SYS_unlink, "unlink", &[Path(0)]),
    entry(libc::SYS_mkdir, "mkdir", &[Path(0)]),
    entry(libc::SYS_rmdir, "rmdir", &[Path(0)]),
    entry(libc::SYS_mknod, "mknod", &[Path(0)]),
    entry(libc::SYS_chmod, "chmod", &[Path(0)]),
    entry(libc::SYS_chown, "chown", &[Path(0)]),
    entry(libc::SYS_lchown, "lchown", &[Path(0)]),
];

#[cfg(not(target_arch = "x86_64"))]
const OLD: &[Entry] = &[];

/// What the kernel calls this architecture in a filter.
#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
/// What the kernel calls this architecture in a filter.
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;

/// Returns all of them.
pub(super) fn entries() -> impl Iterator<Item = &'static Entry> {
    COMMON.iter().chain(OLD)
}

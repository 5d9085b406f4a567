//! The filter: made before the fork, put on before the exec, its other end handed to the test.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::Pid;

use super::table::{ARCHITECTURE, Entry, OPEN_CHANGES, When, entries};

/// Room for the header and the one file descriptor of a message.
const CONTROL_BYTES: usize = 64;

/// A buffer that is aligned as the headers in it must be.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Makes `command` put the filter on before it becomes its program. Returns the socket that the
/// other end of the filter comes from.
pub(super) fn install(command: &mut Command) -> OwnedFd {
    let flags = SockFlag::SOCK_CLOEXEC;
    let pair = socketpair(AddressFamily::Unix, SockType::Datagram, None, flags);
    let (receiver, sender) = pair.expect("a pair of sockets can be made");
    let program = program();
    #[expect(
        unsafe_code,
        reason = "only system calls on memory made before: safe between fork and exec"
    )]
    unsafe {
        command.pre_exec(move || {
            let listener = put_on(&program)?;
            send(&sender, listener)
        });
    }
    receiver
}

/// Returns the other end of a filter, and who has it; `None` where there was no start.
pub(super) fn receive(receiver: &OwnedFd) -> Option<(OwnedFd, Pid)> {
    let mut pid = 0_i32;
    let mut control = Control([0; CONTROL_BYTES]);
    #[expect(
        unsafe_code,
        reason = "the buffers outlive the call, and the header is read where the kernel put it"
    )]
    unsafe {
        let mut part = part(&raw mut pid);
        let mut message = message(&raw mut part, &mut control);
        if libc::recvmsg(
            receiver.as_raw_fd(),
            &raw mut message,
            libc::MSG_CMSG_CLOEXEC,
        ) != 4
        {
            return None;
        }
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        if header.is_null() || (*header).cmsg_type != libc::SCM_RIGHTS {
            return None;
        }
        let listener = libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned();
        Some((OwnedFd::from_raw_fd(listener), Pid::from_raw(pid)))
    }
}

/// Puts the filter on the calling thread, and returns its other end.
fn put_on(program: &[libc::sock_filter]) -> io::Result<RawFd> {
    let flags =
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    let program = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_ptr().cast_mut(),
    };
    nix::sys::prctl::set_no_new_privs()?;
    #[expect(unsafe_code, reason = "the kernel copies the program during the call")]
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    match RawFd::try_from(listener) {
        Ok(listener) if listener >= 0 => Ok(listener),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sends the other end of the filter, and our process id. `sendmsg` is none of the calls that wait
/// for an answer.
fn send(sender: &OwnedFd, listener: RawFd) -> io::Result<()> {
    let mut control = Control([0; CONTROL_BYTES]);
    #[expect(
        unsafe_code,
        reason = "the buffers outlive the call, and have room for one header and descriptor"
    )]
    unsafe {
        let mut pid = libc::getpid();
        let mut part = part(&raw mut pid);
        let mut message = message(&raw mut part, &mut control);
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(4) as usize;
        libc::CMSG_DATA(header)
            .cast::<RawFd>()
            .write_unaligned(listener);
        message.msg_controllen = libc::CMSG_SPACE(4) as usize;
        match libc::sendmsg(sender.as_raw_fd(), &raw const message, 0) {
            4 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn part(pid: *mut i32) -> libc::iovec {
    libc::iovec {
        iov_base: pid.cast(),
        iov_len: 4,
    }
}

fn message(part: *mut libc::iovec, control: &mut Control) -> libc::msghdr {
    #[expect(unsafe_code, reason = "a header of zeros is a valid one")]
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_BYTES;
    message
}

/// The filter as the kernel wants it: for each call of the table, whether the test is asked.
fn program() -> Vec<libc::sock_filter> {
    const ARCHITECTURE_AT: u32 = 4;
    const NUMBER_AT: u32 = 0;
    let mut program = vec![
        load(ARCHITECTURE_AT),
        jump(libc::BPF_JEQ, ARCHITECTURE, (1, 0)),
        answer(libc::SECCOMP_RET_ALLOW),
        load(NUMBER_AT),
    ];
    entries().for_each(|entry| program.extend(test(entry)));
    program.push(answer(libc::SECCOMP_RET_ALLOW));
    program
}

fn test(entry: &Entry) -> Vec<libc::sock_filter> {
    const ARGUMENTS_AT: u32 = 16;
    let number = u32::try_from(entry.number).expect("numbers of calls are small");
    let ask = answer(libc::SECCOMP_RET_USER_NOTIF);
    match entry.when {
        When::OpenFlags(argument) => vec![
            jump(libc::BPF_JEQ, number, (0, 4)),
            // Little-endian: the flags are in the first half of the argument.
            load(ARGUMENTS_AT + 8 * u32::try_from(argument).expect("there are six")),
            jump(libc::BPF_JSET, OPEN_CHANGES.cast_unsigned(), (0, 1)),
            ask,
            answer(libc::SECCOMP_RET_ALLOW),
        ],
        When::Always | When::OpenHow(_) | When::RegularFile => {
            vec![jump(libc::BPF_JEQ, number, (0, 1)), ask]
        }
    }
}

fn load(at: u32) -> libc::sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, (0, 0), at)
}

/// Compares, and skips so many instructions where it is so, and where it isn't.
fn jump(comparison: u32, value: u32, skips: (u8, u8)) -> libc::sock_filter {
    instruction(libc::BPF_JMP | comparison | libc::BPF_K, skips, value)
}

fn answer(value: u32) -> libc::sock_filter {
    instruction(libc::BPF_RET | libc::BPF_K, (0, 0), value)
}

fn instruction(code: u32, (jt, jf): (u8, u8), k: u32) -> libc::sock_filter {
    let code = u16::try_from(code).expect("codes are small");
    libc::sock_filter { code, jt, jf, k }
}

//! The test's end of a filter: takes one call after the other, and answers it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;

use super::{Answer, By, Shared, decode};

/// Answers the calls of the program `pid` and of what it has started, until all of them are gone.
pub(super) fn serve(listener: &OwnedFd, pid: Pid, shared: &Shared) {
    while is_anybody_there(listener) {
        // None: who has asked was killed meanwhile.
        let Some(asked) = next(listener) else {
            continue;
        };
        let by = match is_thread_of(pid, asked.pid) {
            true => By::Itself,
            false => By::Child,
        };
        let answer = match decode::decode(&asked) {
            Some(change) => shared.decide(change, pid, by),
            None => Answer::GoOn,
        };
        reply(listener, &asked, answer);
    }
}

fn is_thread_of(pid: Pid, thread: u32) -> bool {
    Path::new(&format!("/proc/{pid}/task/{thread}")).exists()
}

/// Waits until there is a call; false when there is nobody any more who could make one.
fn is_anybody_there(listener: &OwnedFd) -> bool {
    let mut poll = libc::pollfd {
        fd: listener.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    #[expect(unsafe_code, reason = "it is given the one entry that it is told of")]
    let ready = unsafe { libc::poll(&raw mut poll, 1, -1) };
    match ready {
        1 => poll.revents & libc::POLLIN != 0,
        _ => Errno::last() == Errno::EINTR,
    }
}

fn next(listener: &OwnedFd) -> Option<libc::seccomp_notif> {
    #[expect(
        unsafe_code,
        reason = "the kernel wants zeros, and writes no more than this structure"
    )]
    unsafe {
        let mut asked: libc::seccomp_notif = std::mem::zeroed();
        let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
        let received = libc::ioctl(listener.as_raw_fd(), request, &raw mut asked);
        (received == 0).then_some(asked)
    }
}

fn reply(listener: &OwnedFd, asked: &libc::seccomp_notif, answer: Answer) {
    let mut reply = libc::seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error: 0,
        flags: 0,
    };
    match answer {
        Answer::GoOn => {
            reply.flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).expect("it is 1");
        }
        Answer::Fail(errno) => reply.error = -(errno as i32),
        // It has been killed, and must not find a way between the signal and its end.
        Answer::Kill => reply.error = -libc::EINTR,
    }
    #[expect(unsafe_code, reason = "the kernel reads no more than this structure")]
    // Fails only where who has asked is gone.
    let _ = unsafe {
        let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
        libc::ioctl(listener.as_raw_fd(), request, &raw mut reply)
    };
}

//! A timer of the kernel, for what comes again every few seconds for as long as the process lives.
//!
//! tokio keeps a timer that is far away in a coarse slot, and wakes up to put it into a finer one, up to twice: a heartbeat each
//! 3.75 s woke an agent 2.5 times. The kernel's wakes it once, for one open file and two system calls.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::unix::AsyncFd;
use tokio::time::sleep;

/// Rings once for each time that it is set.
#[derive(Debug)]
pub struct Alarm {
    /// None where the process has no file left.
    timer: Option<AsyncFd<Timer>>,
}

/// What tokio waits for needs a number.
#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    /// Makes one that belongs to the runtime that it is made in.
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe; it asks for a file that stays open, and a timer owns its own"
    )]
    pub fn in_this_runtime() -> Alarm {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags);
        let timer = timer.ok().and_then(|timer| AsyncFd::new(Timer(timer)).ok());
        Alarm { timer }
    }

    /// Returns after this time, counted from the call. Cancel-safe: the next call sets it anew.
    pub async fn after(&self, time: Duration) {
        if let Some(timer) = &self.timer
            && ring(timer, time).await.is_ok()
        {
            return;
        }
        // Late is better than never, and better than at once.
        sleep(time).await;
    }
}

async fn ring(timer: &AsyncFd<Timer>, time: Duration) -> io::Result<()> {
    // A timer that is set to zero never rings.
    let time = TimeSpec::from(time.max(Duration::from_nanos(1)));
    let once = Expiration::OneShot(time);
    // That it rang before, for nobody, is forgotten by the kernel.
    timer.get_ref().0.set(once, TimerSetTimeFlags::empty())?;
    loop {
        let mut ready = timer.readable().await?;
        let read = ready.try_io(|timer| Ok(timer.get_ref().0.wait()?));
        if let Ok(rung) = read {
            return rung;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Alarm, ring};

    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn it_rings_each_time_that_it_is_set_and_not_for_an_earlier_time() {
        let alarm = Alarm::in_this_runtime();
        let timer = alarm.timer.as_ref().expect("the kernel has timers");
        alarm.after(Duration::ZERO).await;
        alarm.after(SHORT).await;
        // Set, and nobody waits: it rings all the same, and tokio hears of it.
        tokio::select! {
            biased;
            () = alarm.after(SHORT) => {}
            () = async {} => {}
        }
        drop(timer.readable().await.expect("it can be waited for"));
        let since = Instant::now();
        ring(timer, LONG).await.expect("it rings");
        assert!(since.elapsed() >= LONG, "{:?}", since.elapsed());
    }

    #[tokio::test]
    async fn without_a_timer_of_the_kernel_it_rings_too() {
        let since = Instant::now();
        Alarm { timer: None }.after(SHORT).await;
        assert!(since.elapsed() >= SHORT);
    }
}

//! Rings when something has come, whatever it is.
//!
//! Who follows thousands of znodes waits for one bell instead of thousands of watches, and looks at all of them then.

use std::future::pending;

use tokio::sync::watch;

/// Rings when a watch of the session sees something new, or when its link changes.
#[derive(Debug)]
pub struct Bell(watch::Receiver<()>);

/// Who rings it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ringer(watch::Sender<()>);

impl Bell {
    /// Silences it: who looks afterwards sees all that it rang for.
    pub fn silence(&mut self) {
        self.0.mark_unchanged();
    }

    /// Returns when it rings, which it does until it is silenced. Cancel-safe.
    pub async fn rings(&mut self) {
        if self.0.changed().await.is_err() {
            // The session and all its watches are gone: nothing comes any more.
            pending::<()>().await;
        }
        // The wait alone would silence it.
        self.0.mark_changed();
    }
}

impl Ringer {
    /// Something has come, and can be seen.
    pub(crate) fn ring(&self) {
        self.0.send_replace(());
    }

    /// Returns a bell that rings at once: there may be something to see already.
    pub(crate) fn bell(&self) -> Bell {
        let mut bell = self.0.subscribe();
        bell.mark_changed();
        Bell(bell)
    }
}

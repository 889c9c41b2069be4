//! Waits until the store reports that a running job was cancelled, by this process or another, and
//! notifies the lease loop.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::time::sleep;

use super::{core::Core, phases::ShutdownPhase};
use crate::Result;

/// The pause between two waits, so that waits that fail or return at once don't spin.
const PAUSE: Duration = Duration::from_millis(100);

type CancelWait = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// Runs until the dispatcher has stopped: running jobs may still be cancelled while it drains.
pub(super) async fn run(core: Arc<Core>) {
    let mut wait = begin(&core);
    while core.phases.now() < ShutdownPhase::Stopped {
        let heard = tokio::select! {
            biased;
            () = core.phases.reached(ShutdownPhase::Stopped) => return,
            heard = &mut wait => heard.is_ok(),
        };
        // The next wait begins before the lease loop looks, so that no cancel is missed in between.
        wait = begin(&core);
        let over = poll_fn(|cx| Poll::Ready(wait.as_mut().poll(cx).is_ready())).await;
        if over {
            wait = begin(&core);
        }
        if heard || over {
            core.manager.inner.cancels.send_modify(|n| *n += 1);
        }
        sleep(PAUSE).await;
    }
}

fn begin(core: &Arc<Core>) -> CancelWait {
    let core = Arc::clone(core);
    Box::pin(async move { core.store.unlimited(|store| store.wait_cancelled()).await })
}

//! This node's link, while it leads: it goes on only as long as the lease holds.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::Poll,
};

use futures_util::future::LocalBoxFuture;
use tokio::task::JoinHandle;

use crate::cluster::{LinkEnd, clock, machine::Lease};

/// A link that runs in a task of its own. Before each of its turns, in which it reads, writes and connects, the lease is
/// looked at; where that is over, its connections are dropped instead.
pub(super) struct LeasedLink {
    shared: Rc<Shared>,
    task: JoinHandle<Option<LinkEnd>>,
}

struct Shared {
    link: RefCell<Option<LocalBoxFuture<'static, LinkEnd>>>,
    lease: Cell<Lease>,
}

impl LeasedLink {
    /// Starts it.
    pub(super) fn start(link: LocalBoxFuture<'static, LinkEnd>, lease: Lease) -> LeasedLink {
        let shared = Rc::new(Shared { link: RefCell::new(Some(link)), lease: Cell::new(lease) });
        let task = tokio::task::spawn_local({
            let shared = Rc::clone(&shared);
            async move { shared.run().await }
        });
        LeasedLink { shared, task }
    }

    /// The lease as it is now.
    pub(super) fn set_lease(&self, lease: Lease) {
        self.shared.lease.set(lease);
    }

    /// Waits until it has ended by itself, or its lease has; `None` then, and where it was stopped. Cancel-safe.
    pub(super) async fn ended(&mut self) -> Option<LinkEnd> {
        match (&mut self.task).await {
            Ok(end) => end,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }

    /// Drops its connections, now.
    pub(super) fn stop(self) {
        self.shared.drop_link();
    }
}

impl Drop for LeasedLink {
    fn drop(&mut self) {
        self.shared.drop_link();
        self.task.abort();
    }
}

impl Shared {
    async fn run(&self) -> Option<LinkEnd> {
        poll_fn(|cx| {
            let mut link = self.link.borrow_mut();
            let Some(running) = link.as_mut() else { return Poll::Ready(None) };
            if !self.lease.get().holds(clock::now()) {
                *link = None;
                return Poll::Ready(None);
            }
            running.as_mut().poll(cx).map(Some)
        })
        .await
    }

    fn drop_link(&self) {
        self.link.borrow_mut().take();
    }
}

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use futures_util::FutureExt;
    use tokio::task::{LocalSet, yield_now};

    use super::*;

    /// How often a link was polled, and whether it is still there.
    #[derive(Default)]
    struct Seen {
        polled: Cell<u32>,
        dropped: Cell<bool>,
    }

    struct Gone(Rc<Seen>);

    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.dropped.set(true);
        }
    }

    fn lease(left: Duration) -> Lease {
        Lease::of(clock::now(), left)
    }

    /// A link that is ready for more again and again.
    fn busy(seen: &Rc<Seen>) -> LocalBoxFuture<'static, LinkEnd> {
        let gone = Gone(Rc::clone(seen));
        async move {
            loop {
                gone.0.polled.set(gone.0.polled.get() + 1);
                yield_now().await;
            }
        }
        .boxed_local()
    }

    #[tokio::test]
    async fn a_link_is_not_polled_once_its_lease_is_over_but_dropped() {
        LocalSet::new()
            .run_until(async {
                let seen = Rc::new(Seen::default());
                let mut link = LeasedLink::start(busy(&seen), lease(Duration::from_secs(3600)));
                while seen.polled.get() < 3 {
                    yield_now().await;
                }
                link.set_lease(lease(Duration::ZERO));
                let polled = seen.polled.get();
                assert_eq!(link.ended().await, None);
                assert_eq!((seen.polled.get(), seen.dropped.get()), (polled, true));
            })
            .await;
    }

    #[tokio::test]
    async fn a_link_that_is_stopped_is_gone_at_once() {
        LocalSet::new()
            .run_until(async {
                let seen = Rc::new(Seen::default());
                let gone = Gone(Rc::clone(&seen));
                let idle = async move {
                    let _gone = gone;
                    pending().await
                };
                let link = LeasedLink::start(idle.boxed_local(), lease(Duration::from_secs(3600)));
                link.stop();
                assert!(seen.dropped.get(), "before anything else runs");
            })
            .await;
    }

    #[tokio::test]
    async fn a_link_that_ends_by_itself_says_how() {
        LocalSet::new()
            .run_until(async {
                let ends = async { LinkEnd::GivenUp }.boxed_local();
                let mut link = LeasedLink::start(ends, lease(Duration::from_secs(3600)));
                assert_eq!(link.ended().await, Some(LinkEnd::GivenUp));
            })
            .await;
    }
}

//! The link, which this node has while it leads.

use tokio::time::timeout;

use super::{LeasedLink, Node, TOLD_WITHIN};
use crate::{
    cluster::{Host, LinkEnd, clock, machine::Event},
    hub::{Command, Commands, LinkState, Publisher},
};

impl<H: Host> Node<H> {
    pub(super) fn start_link(&mut self) {
        self.untold = None; // the log says how the link is
        let Some((publisher, commands)) = self.end.take() else { return };
        let standing = self.machine.standing(clock::now());
        self.hub.lead(Some((self.name.as_str().into(), standing.term)));
        self.staging = publisher.stage();
        self.open_intake(standing.term);
        if self.followed.is_closed() {
            // on request, by the log: it stays so
            self.is_resting = true;
            self.end = Some((publisher, commands));
            self.machine.handle(clock::now(), Event::LinkClosed);
        } else {
            self.run_link(publisher, commands);
        }
    }

    pub(super) fn run_link(&mut self, publisher: Publisher, mut commands: Commands) {
        if let Some(lease) = self.machine.lease() {
            self.give_to_link(&publisher, &mut commands);
            let before = self.machine.counted_before();
            (self.counted.untold, self.counted.is_whole) = (before.untold, before.whole);
            let link = self.host.link(publisher, commands, &self.hub, &self.counted);
            self.link = Some(LeasedLink::start(link, lease));
        }
    }

    pub(super) async fn close_link(&mut self) {
        if let Some(staging) = &self.staging {
            staging.hand_over();
        }
        self.is_resting = false;
        if self.link.is_none() {
            self.machine.handle(clock::now(), Event::LinkGone);
            return;
        }
        // it takes commands in every round; one that doesn't is stopped soon
        let _ = timeout(TOLD_WITHIN, self.hub.command(Command::Stop)).await;
    }

    pub(super) fn stop_link(&mut self) {
        if let Some(link) = self.link.take() {
            link.stop();
        }
        self.take_end();
    }

    pub(super) async fn link_ended(&mut self, end: Option<LinkEnd>) {
        self.link = None;
        self.take_end();
        self.tend_sends(); // others have back what wasn't begun, before another may lead
        self.tell_staged().await;
        match end {
            Some(LinkEnd::GivenUp) => {
                self.given_up = true;
                self.tell(Event::Stop).await;
                self.tell(Event::LinkGone).await;
            }
            Some(LinkEnd::Stopped) => self.tell(Event::LinkGone).await,
            None => self.tell(Event::Timeout).await,
        }
    }

    pub(super) async fn link_changed(&mut self) {
        let event = match self.hub.link().state {
            LinkState::Up => Event::LinkUp,
            LinkState::Closed => Event::LinkClosed,
            LinkState::Connecting | LinkState::Waiting | LinkState::Failed => Event::LinkDown,
        };
        self.tell(event).await;
    }

    /// Has the hub's status of the link be what the log says.
    pub(super) fn follow_link(&self) {
        if let (Some((publisher, _)), Some(link)) = (&self.end, self.followed.link()) {
            publisher.follow_link(link.clone());
        }
    }

    /// Takes the link's end of the hub, if nobody has it.
    pub(super) fn take_end(&mut self) {
        if self.end.is_none()
            && self.link.is_none()
            && let Some((publisher, commands)) = self.hub.publisher()
        {
            publisher.only_follow();
            self.end = Some((publisher, commands));
            self.prepare();
        }
    }

    /// Has the hub ready for what others publish, by the settings as they are now. A link of this node's own looks after
    /// the hub itself.
    pub(super) fn prepare(&mut self) {
        if let Some((publisher, _)) = &self.end {
            self.host.prepare(publisher);
        }
        self.machine.set_max_entry(self.hub.max_entry());
    }
}

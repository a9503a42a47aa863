//! What clients ask of the hub.

use std::{rc::Rc, time::Instant};

use tokio::sync::mpsc::{self, error::TrySendError};

use super::{Command, Fate, Hub, Origin, Permit, ReloadAnswer};

/// So many may wait for a reload.
const MAX_RELOADS: usize = 64;

impl Hub {
    /// Waits for room in the lane that leads to the link, for a send of that
    /// [`cost`](super::Send::cost). Each has its share; only the caller waits. Cancel-safe.
    pub async fn admit(&self, from: &Rc<Origin>, cost: usize) -> Permit {
        self.0.common.lane.admit(from, cost).await
    }

    /// Notes that a client has gone; the first time counts. The link hears of it, if there is one, and if anything of
    /// the client is left there: what is has its `Origin`.
    pub fn leave(&self, from: &Rc<Origin>, now: Instant) {
        self.leave_topics(now, from.client); // each time: one that seemed to have gone may have asked again
        if from.leave(now) && Rc::strong_count(from) > 1 && self.0.common.commands.borrow().is_some() {
            self.0.common.left.borrow_mut().push(Rc::clone(from));
            self.0.common.stirred.notify_one();
        }
    }

    /// Asks the supervisor to read the configuration again, and to tell what came of it. False when so many
    /// ask already that this one isn't heard.
    pub fn ask_reload(&self, answer: ReloadAnswer) -> bool {
        let mut reloads = self.0.common.reloads.borrow_mut();
        if reloads.len() >= MAX_RELOADS {
            return false;
        }
        reloads.push(answer);
        self.0.common.reload_asked.notify_one();
        true
    }

    /// Leaves a command for the link. False when there is no link any more.
    pub async fn command(&self, command: Command) -> bool {
        let refused = match self.try_command(command) {
            Tried::Taken => return true,
            Tried::Full(commands, command) => match commands.reserve().await {
                Ok(room) => {
                    // it may be held back by now, as what its client has asked before
                    if let Some(command) = self.0.common.held_back.borrow_mut().hold(command) {
                        room.send(command);
                    }
                    return true;
                }
                Err(_) => command,
            },
            Tried::Gone(command) => command,
        };
        self.refuse(refused);
        false
    }

    /// Leaves a command for the link, if there is room for it at once. One that no link is there for hears so.
    ///
    /// # Errors
    /// The command, for which there is no room yet.
    #[expect(clippy::result_large_err, reason = "it is given back as it came")]
    pub fn offer(&self, command: Command) -> Result<(), Command> {
        match self.try_command(command) {
            Tried::Taken => Ok(()),
            Tried::Full(_, command) => Err(command),
            Tried::Gone(command) => {
                self.refuse(command);
                Ok(())
            }
        }
    }

    /// Leaves a command, if there is room at once; else gives back where to wait for room, and the command.
    fn try_command(&self, command: Command) -> Tried {
        let command = match self.0.common.held_back.borrow_mut().hold(command) {
            Some(command) => command,
            None => return Tried::Taken,
        };
        match &*self.0.common.commands.borrow() {
            None => Tried::Gone(command),
            Some(commands) => match commands.try_send(command) {
                Ok(()) => Tried::Taken,
                Err(TrySendError::Full(command)) => Tried::Full(commands.clone(), command),
                Err(TrySendError::Closed(command)) => Tried::Gone(command),
            },
        }
    }

    /// Tells of what the link never took.
    pub(super) fn refuse(&self, command: Command) {
        match command {
            Command::Send(send) if self.keeps() && send.can_wait() => self.keep(send),
            Command::Send(send) => {
                let state = self.link().state;
                send.ticket.settle(Fate::LinkDown(state)); // it was never begun
            }
            Command::Cancel(cancellation) => (cancellation.tell)(false),
            Command::Open | Command::Reconnect | Command::Close | Command::Stop => {}
        }
    }
}

/// What became of a command that didn't wait.
enum Tried {
    Taken,
    /// There is no room yet.
    Full(mpsc::Sender<Command>, Command),
    /// There is no link.
    Gone(Command),
}

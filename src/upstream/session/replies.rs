//! What a session says beside its script: replies, and the heartbeat's message. Pure.

use std::rc::Rc;

use super::{
    Effect, Purpose, Session, context::Context, draft::Draft, matcher::Look, rules::Rules, script::Progress,
    text::Given,
};
use crate::config::{Remedy, Say};

impl Session {
    /// The heartbeat's message; none where a program makes it, which is told then.
    ///
    /// # Errors
    /// Something in it has no value: a sentence.
    pub(in crate::upstream) fn beat(&mut self, context: &mut Context<'_>) -> Result<Option<Draft>, String> {
        let rules = Rc::clone(&self.rules);
        let payload = match rules.beat.as_ref().ok_or("heartbeat.message is not there")? {
            Say::Binary(bytes) => self.as_it_is(bytes),
            Say::Text(template) => self.render(context, template, None, Given::Nothing),
            // one that isn't said yet is the one that is due
            Say::Command(_) if self.runs.is_under_way(Purpose::Heartbeat) => return Ok(None),
            Say::Command(command) => match self.order(context, command, Purpose::Heartbeat, None) {
                Ok(()) => return Ok(None),
                Err(why) => Err(why.into()),
            },
        };
        payload.map(Some).map_err(|why| format!("the heartbeat can't be sent: {why}"))
    }

    /// Answers a message as the rules say. Whether one of them keeps it from clients.
    pub(super) fn reply(&mut self, context: &mut Context<'_>, rules: &Rules, look: &Look<'_>) -> bool {
        let mut is_kept = false;
        for reply in &rules.replies {
            if reply.matcher.matches(look) {
                is_kept |= !reply.publish;
                if self.progress == Progress::Failed {
                    continue;
                }
                let look = &look.with(&reply.fields);
                let payload = match &reply.send {
                    Say::Text(template) => self.render(context, template, Some(look), Given::Nothing),
                    Say::Binary(bytes) => self.as_it_is(bytes),
                    Say::Command(command) => {
                        let ordered = self.order(context, command, Purpose::Reply, Some(look));
                        ordered.err().into_iter().for_each(|why| self.not_run(why));
                        continue;
                    }
                };
                match payload {
                    Ok(payload) => self.effects.push_back(Effect::Send(payload, Purpose::Reply)),
                    Err(why) => self.fail(format!("a reply can't be sent: {why}"), Remedy::Retry),
                }
            }
        }
        is_kept
    }
}

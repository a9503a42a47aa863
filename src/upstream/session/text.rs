//! What a session writes: messages from templates, and the server's words for a sentence. Pure.

use super::{Session, context::Context, draft::Draft, matcher::Look, sequence::Missing};
use crate::{
    config::{Cut, Placeholder, Template, Value},
    hub::Payload,
    upstream::failure::{Failure, clean},
};

/// What a message may say that only its occasion gives.
#[derive(Debug, Clone, Copy)]
pub(super) enum Given<'a> {
    Nothing,
    /// What a stream's messages carry.
    Key(&'a str),
    /// What is missing.
    Hole(Missing),
}

/// So many bytes of a message that is no text are quoted.
const SHOWN: usize = 32;

impl Session {
    pub(super) fn render(
        &mut self,
        context: &mut Context<'_>,
        template: &Template,
        look: Option<&Look<'_>>,
        given: Given<'_>,
    ) -> Result<Draft, String> {
        let (mut ids, mut one_uuid) = (Vec::new(), None);
        let rendered = template.render_at(|placeholder, at| match (placeholder, given) {
            // it is given when the message goes out
            (Placeholder::NextId, _) => {
                ids.push(at);
                Ok(Value::Json(String::new()))
            }
            // what is signed must be what is sent
            (Placeholder::Uuid, _) => {
                let uuid = one_uuid.get_or_insert_with(|| context.uuid());
                Ok(Value::Text(uuid.clone()))
            }
            (Placeholder::Key, Given::Key(key)) => Ok(Value::Json(key.to_owned())),
            (Placeholder::HoleFrom, Given::Hole((from, _))) => Ok(Value::Json(from.to_string())),
            (Placeholder::HoleTo, Given::Hole((_, to))) => Ok(Value::Json(to.to_string())),
            (placeholder, _) => self.value(context, placeholder, look),
        });
        let text = rendered.map_err(|error| error.to_string())?;
        self.fitting_draft(Draft::new(text.expose().to_owned(), ids))
    }

    /// A message that is as configured.
    pub(super) fn as_it_is(&self, bytes: &[u8]) -> Result<Draft, String> {
        self.fitting(Payload::Binary(bytes.to_owned())).map(Draft::from)
    }

    fn fitting_draft(&self, draft: Draft) -> Result<Draft, String> {
        self.fitting(draft.preview(self.next_id)).map(|_| draft)
    }

    /// What a placeholder stands for now.
    pub(super) fn value(
        &mut self,
        context: &mut Context<'_>,
        placeholder: &Placeholder,
        look: Option<&Look<'_>>,
    ) -> Result<Value, String> {
        match placeholder {
            Placeholder::Capture(name) => context.memory.captures().value(name),
            Placeholder::Last(pointer) => Ok(context.memory.last(pointer)),
            Placeholder::Field(pointer) => {
                let json = match look {
                    Some(look) => look.field(pointer, &self.rules.slots),
                    None => return self.expected.get(pointer),
                };
                let json = json.ok_or_else(|| "is not in the message".to_owned())?;
                Ok(Value::Json(json.to_owned()))
            }
            Placeholder::NowMs(offset) => {
                Ok(Value::Json(context.now_ms.saturating_add_signed(*offset).to_string()))
            }
            Placeholder::NowS(offset) => {
                Ok(Value::Json((context.now_ms / 1000).saturating_add_signed(*offset).to_string()))
            }
            Placeholder::Uuid => Ok(Value::Text(context.uuid())),
            Placeholder::ConnectionId => {
                Ok(Value::Text(self.connection_id.get_or_insert_with(|| context.uuid()).clone()))
            }
            Placeholder::NextId => Ok(Value::Json(self.take_id().to_string())),
            Placeholder::HoleFrom | Placeholder::HoleTo => Err("goes in sequence.send only".to_owned()),
            Placeholder::Key => Err("goes in requests.stream.cancel only".to_owned()),
            Placeholder::Topic(_)
            | Placeholder::Topics
            | Placeholder::Payload
            | Placeholder::SubscribedId => Err("goes in [topics] only".to_owned()),
            secret => self.secrets.value(secret),
        }
    }

    /// What is no larger than the server takes.
    pub(super) fn fitting(&self, payload: Payload) -> Result<Payload, String> {
        match self.rules.max_message {
            Some(max) if payload.len() > max => {
                let length = payload.len();
                Err(format!("its {length} bytes are over the {max} bytes of limits.max_message"))
            }
            _ => Ok(payload),
        }
    }

    /// The server's own words, fit for a sentence, and without the secrets that it may repeat.
    pub(super) fn quote(&self, context: &Context<'_>, look: &Look<'_>) -> String {
        let text = self.without_printed(&self.secrets.without(look.text));
        let text = context.memory.captures().without(&text);
        match clean(&text) {
            // what is no text, such as an MQTT CONNACK
            words if words.is_empty() => {
                let bytes = if look.text.is_empty() { look.bytes } else { text.as_bytes() };
                let shown: Vec<_> = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
                let cut = Cut { text: "", more: bytes.len() - shown.len() };
                format!("the bytes [{}]{}", shown.join(" "), cut.mark())
            }
            words => words,
        }
    }

    /// A failure in the server's words, without the secrets that it may repeat.
    pub(in crate::upstream) fn without_secrets(&self, context: &Context<'_>, failure: Failure) -> Failure {
        let captures = context.memory.captures();
        failure.redacted(|text| captures.without(&self.without_printed(&self.secrets.without(text))))
    }
}

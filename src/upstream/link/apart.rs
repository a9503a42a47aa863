//! What a connection's messages are taken apart into, batch by batch. Pure.
//!
//! A list's elements fill a batch as messages do. A list that a batch has room for comes in one; where that is no
//! longer the case in this one, it waits for the next, and nothing more is read before.

use std::ops::Range;

use crate::{
    config::Pointer,
    hub::Data,
    upstream::{
        session::split::{MAX_ELEMENTS, Parted, Split, as_message, text_of},
        websocket::{BATCH_BYTES, BATCH_FRAMES, ENVELOPE_BYTES},
    },
};

/// The messages of one connection.
#[derive(Debug, Default)]
pub(super) struct Apart {
    split: Option<Split>,
    /// So many messages, and bytes of them, are in this batch.
    messages: usize,
    bytes: usize,
    rest: Option<Rest>,
}

/// What is left of a message.
#[derive(Debug)]
struct Rest {
    /// From its first element on.
    text: Box<str>,
    is_text: bool,
    time_us: u64,
    /// Where they are, with the next one last. A message has 512 MiB at most.
    elements: Vec<Range<u32>>,
}

/// A message, or an element of one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'m> {
    pub(super) data: Data<'m>,
    /// When the message came in.
    pub(super) time_us: u64,
}

/// A list that had too many elements.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Apart {
    /// Takes messages apart by the list at a pointer, if there is one.
    pub(super) fn new(split: Option<&Pointer>) -> Apart {
        Apart { split: split.map(Split::new), ..Apart::default() }
    }

    /// Whether messages may be taken apart.
    pub(super) fn is_on(&self) -> bool {
        self.split.is_some()
    }

    /// Whether something is left of a message, before which nothing more may be read.
    pub(super) fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// Another batch begins.
    pub(super) fn begin(&mut self) {
        (self.messages, self.bytes) = (0, 0);
    }

    /// Shows `take` what this batch takes of a message that has come in. How many bytes that adds to the batch beside
    /// the message's own.
    ///
    /// # Errors
    /// It is a list of too many elements, and was taken as it is.
    pub(super) fn take(&mut self, whole: Part<'_>, mut take: impl FnMut(Part<'_>)) -> Result<usize, TooMany> {
        let parted = match (&self.split, text_of(whole.data)) {
            (Some(split), Some(text)) => split.part(text),
            _ => Parted::Whole,
        };
        let Parted::Elements(elements) = parted else {
            self.fill(match whole.data {
                Data::Text(text) => text.len(),
                Data::Binary(bytes) => bytes.len(),
            });
            take(whole);
            return if parted == Parted::TooMany { Err(TooMany) } else { Ok(0) };
        };
        let bytes: usize = elements.iter().map(|element| element.len() + ENVELOPE_BYTES).sum();
        let fits_one = elements.len() <= BATCH_FRAMES && bytes <= BATCH_BYTES;
        let fits = self.messages + elements.len() <= BATCH_FRAMES && self.bytes + bytes <= BATCH_BYTES;
        let mut taken = 0;
        while taken < elements.len() && (fits || !fits_one && self.has_room()) {
            self.fill(elements[taken].len());
            take(Part { data: as_message(whole.data, elements[taken]), ..whole });
            taken += 1;
        }
        if taken < elements.len() {
            self.rest = Some(Rest::new(whole, &elements[taken..]));
        }
        Ok(taken.saturating_sub(1) * ENVELOPE_BYTES)
    }

    /// The same, of what is left of a message. True where there is something.
    pub(super) fn go_on(&mut self, mut take: impl FnMut(Part<'_>)) -> bool {
        let Some(mut rest) = self.rest.take() else { return false };
        while self.has_room()
            && let Some(place) = rest.elements.pop()
        {
            let element = &rest.text[place.start as usize..place.end as usize];
            self.fill(element.len());
            take(rest.part(element));
        }
        self.rest = (!rest.elements.is_empty()).then_some(rest);
        true
    }

    fn has_room(&self) -> bool {
        self.messages < BATCH_FRAMES && self.bytes < BATCH_BYTES
    }

    fn fill(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes + ENVELOPE_BYTES;
    }
}

impl Rest {
    fn new(whole: Part<'_>, elements: &[&str]) -> Rest {
        let text = text_of(whole.data).unwrap_or_default();
        let at = |element: &str| (element.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let start = elements.first().map_or(0, |first| at(first));
        let end = elements.last().map_or(start, |last| at(last) + last.len());
        let place = |element: &&str| {
            let from = (at(element) - start) as u32;
            from..from + element.len() as u32
        };
        Rest {
            text: text[start..end].into(),
            is_text: matches!(whole.data, Data::Text(_)),
            time_us: whole.time_us,
            elements: elements.iter().rev().map(place).collect(),
        }
    }

    fn part<'m>(&self, element: &'m str) -> Part<'m> {
        let data = match self.is_text {
            true => Data::Text(element),
            false => Data::Binary(element.as_bytes()),
        };
        Part { data, time_us: self.time_us }
    }
}

/// The sentence for the log.
impl std::fmt::Display for TooMany {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "a message has a list of over {MAX_ELEMENTS} elements at upstream.split: it is passed on as it is, in one"
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What comes of messages, a list for each batch.
    fn batches(apart: &mut Apart, messages: &[&str]) -> Vec<Vec<String>> {
        let mut batches = Vec::new();
        let mut messages = messages.iter().peekable();
        while messages.peek().is_some() || apart.has_rest() {
            let mut batch = Vec::new();
            apart.begin();
            let mut take = |part: Part<'_>| {
                assert_eq!(part.time_us, 7);
                batch.push(text_of(part.data).unwrap().to_owned());
            };
            apart.go_on(&mut take);
            while !apart.has_rest()
                && apart.has_room()
                && let Some(message) = messages.next()
            {
                let whole = Part { data: Data::Text(message), time_us: 7 };
                apart.take(whole, &mut take).unwrap();
            }
            batches.push(batch);
        }
        batches
    }

    fn on() -> Apart {
        Apart::new(Some(&Pointer::parse("").unwrap()))
    }

    fn list(elements: &[String]) -> String {
        format!("[{}]", elements.join(", "))
    }

    #[test]
    fn what_a_batch_has_room_for_comes_in_one() {
        let many = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        let (full, half, more) =
            (list(&many(BATCH_FRAMES)), list(&many(BATCH_FRAMES / 2 + 1)), list(&many(2 * BATCH_FRAMES + 1)));
        let counts =
            |messages: &[&str]| batches(&mut on(), messages).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(counts(&[&full]), [BATCH_FRAMES]);
        assert_eq!(counts(&["x", &full, "y"]), [1, BATCH_FRAMES, 1], "and not in two");
        assert_eq!(counts(&[&half, &half]), [BATCH_FRAMES / 2 + 1; 2]);
        assert_eq!(counts(&["x", &more]), [BATCH_FRAMES, BATCH_FRAMES, 2], "what no batch has room for");
        let large = list(&vec![format!("\"{}\"", "l".repeat(100 << 10)); 3]);
        assert_eq!(counts(&[&large]), [2, 1], "160 KiB and one more");
    }

    #[test]
    fn what_is_binary_stays_so() {
        let mut apart = on();
        let many = list(&vec!["\"é\"".to_owned(); BATCH_FRAMES + 1]);
        let mut all = Vec::new();
        let mut take = |part: Part<'_>| all.push(matches!(part.data, Data::Binary(b"\"\xc3\xa9\"")));
        let whole = Part { data: Data::Binary(many.as_bytes()), time_us: 7 };
        assert_eq!(apart.take(whole, &mut take), Ok((BATCH_FRAMES - 1) * ENVELOPE_BYTES));
        apart.begin();
        assert!(apart.go_on(&mut take) && !apart.has_rest());
        assert_eq!(all, [true; BATCH_FRAMES + 1]);
    }

    #[test]
    fn too_many_are_told_and_taken_as_they_are() {
        let (mut apart, mut seen) = (on(), 0);
        let many = list(&vec!["1".to_owned(); MAX_ELEMENTS + 1]);
        let whole = Part { data: Data::Text(&many), time_us: 7 };
        let told = apart.take(whole, |part| seen += text_of(part.data).unwrap().len());
        assert_eq!((told, seen, apart.has_rest()), (Err(TooMany), many.len(), false));
        assert!(!Apart::new(None).is_on());
    }

    proptest! {
        #[test]
        fn every_element_comes_once_and_in_order_and_no_batch_is_over_its_bounds(
            lists in prop::collection::vec((0_usize..3_000, 1_usize..400), 1..6),
        ) {
            let mut expected = Vec::new();
            let messages: Vec<String> = lists.iter().enumerate().map(|(at, (count, length))| {
                let elements: Vec<_> =
                    (0..*count).map(|n| format!("\"{at}:{n}:{}\"", "x".repeat(*length))).collect();
                let message = list(&elements);
                match count {
                    0 => expected.push(message.clone()),
                    _ => expected.extend(elements),
                }
                message
            }).collect();
            let messages: Vec<&str> = messages.iter().map(|message| &**message).collect();
            let batches = batches(&mut on(), &messages);
            for batch in &batches {
                let bytes: usize = batch.iter().map(|part| part.len() + ENVELOPE_BYTES).sum();
                let last = batch.last().map_or(0, |part| part.len() + ENVELOPE_BYTES);
                prop_assert!(batch.len() <= BATCH_FRAMES && bytes - last < BATCH_BYTES, "{} of {bytes}", batch.len());
            }
            prop_assert_eq!(batches.concat(), expected);
        }
    }
}

//! Whether the log has messages in the raw form: as long as somebody may want them.

use super::Fanout;

/// Who may want the raw form.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RawForm {
    /// A listener offers it.
    is_offered: bool,
    /// So many clients get it.
    clients: usize,
}

impl RawForm {
    /// Of a fan-out without clients, where listeners are as they are for another one.
    pub(super) fn offered(of: RawForm) -> RawForm {
        RawForm { clients: 0, ..of }
    }
}

impl Fanout {
    /// Says whether a listener offers the raw format. Those who have it already get it to their end.
    pub(crate) fn offer_raw(&self, is_offered: bool) {
        self.0.raw.set(RawForm { is_offered, ..self.0.raw.get() });
        self.keep_raw();
    }

    /// A client has come that gets it.
    pub(super) fn raw_joined(&self) {
        let raw = self.0.raw.get();
        self.0.raw.set(RawForm { clients: raw.clients + 1, ..raw });
        self.keep_raw();
    }

    /// One of them is gone.
    pub(super) fn raw_left(&self) {
        let raw = self.0.raw.get();
        self.0.raw.set(RawForm { clients: raw.clients - 1, ..raw });
        self.keep_raw();
    }

    pub(super) fn keep_raw(&self) {
        let RawForm { is_offered, clients } = self.0.raw.get();
        self.0.reader.want_raw(is_offered || clients > 0);
    }
}

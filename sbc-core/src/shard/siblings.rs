//! Which of several accounts at one provider a call is for (T6).
//!
//! In: a request outside of any call from an address that several trunks have. Out: the trunk, or 485: it names none of them,
//! or more than one. That is said, to the provider and in the log, and never guessed.

use super::{Arrival, Shard};
use crate::{
    io::{Event, Level, Output},
    siblings::tell_apart,
    sip::{Message, Method, Uri},
    time::Timestamp,
    topology::user_of,
    transaction::Reply,
    transport::Hop,
};
use std::sync::Arc;

impl Shard {
    /// Which trunk `request` is from. `None`: that cannot be told, and it has had its answer.
    pub(super) fn tell_apart(
        &mut self,
        now: Timestamp,
        request: &Message<'_>,
        from: Arrival,
    ) -> Option<Arrival> {
        let snapshot = Arc::clone(&self.snapshot);
        let Some(siblings) = snapshot.siblings.of(from.trunk) else {
            return Some(from);
        };
        // What belongs to a call is found by its tag; the rest is for no account.
        let calls = matches!(request.method(), Method::Invite | Method::Message);
        if !calls || request.to().is_ok_and(|to| to.tag().is_some()) {
            return Some(from);
        }
        let uri = Uri::parse(request.request_uri()).ok();
        let contact = uri
            .and_then(|uri| uri.user)
            .and_then(|user| self.contact_mark(user));
        let to = request.to().ok().and_then(|to| to.parsed_uri().ok());
        let users: Vec<Box<str>> = [uri, to].iter().flatten().filter_map(user_of).collect();
        let called: Vec<&str> = users.iter().map(|user| &**user).collect();
        match tell_apart(siblings, contact, &called) {
            Some(trunk) => Some(Arrival {
                hop: Hop { trunk, ..from.hop },
                trunk,
                ..from
            }),
            None => {
                self.io.counters.refused_ambiguous += 1;
                let names: Vec<&str> = siblings
                    .iter()
                    .filter_map(|sibling| snapshot.trunks.get(usize::from(sibling.trunk.0)))
                    .map(|trunk| trunk.name.as_str())
                    .collect();
                self.io.outputs.push_back(Output::Event(Event {
                    level: Level::Warn,
                    call: String::new(),
                    text: format!(
                        "a call from {} for {} could be for any of the trunks {}, which share that address: refused; register \
                         with each ([trunk.register]), or give each the number that it is called by as the name of its account",
                        from.hop.peer,
                        called.first().unwrap_or(&"nobody"),
                        names.join(", ")
                    ),
                }));
                let reply = Reply::new(485);
                match request.method() {
                    Method::Invite => {
                        self.transactions
                            .answer_stateless(&mut self.io, request, from.hop, reply);
                    }
                    _ => self
                        .transactions
                        .answer(&mut self.io, now, request, from.hop, reply),
                }
                None
            }
        }
    }
}

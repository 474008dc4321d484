//! Dialogs with the callee before it has answered: one for every fork (RFC 3261 §12.1, §13.2.2.4).
//!
//! In: provisional responses, told apart by their To tags. Out: what a fork has said of its media,
//! for when its 2xx does not repeat it. All of it ends with the answer or the call.

use crate::{shard::Shard, sip::Message};

/// Most forks of one call that are kept account of.
const FORKS_MAX: usize = 8;

/// The early dialogs of leg B.
#[derive(Debug, Default)]
pub(crate) struct Early {
    forks: Vec<Fork>,
}

#[derive(Debug)]
struct Fork {
    tag: Box<[u8]>,
    /// Its last SDP.
    answer: Option<Box<[u8]>>,
}

impl Early {
    /// What the fork with this To tag answered to our offer before its 2xx.
    pub(crate) fn answer_of(&self, tag: &[u8]) -> Option<&[u8]> {
        let fork = self.forks.iter().find(|fork| *fork.tag == *tag)?;
        fork.answer.as_deref()
    }

    /// The fork with this tag, new if need be; `None`: there are too many.
    fn fork(&mut self, tag: &[u8]) -> Option<&mut Fork> {
        let at = match self.forks.iter().position(|fork| *fork.tag == *tag) {
            Some(at) => at,
            None if self.forks.len() >= FORKS_MAX => return None,
            None => {
                self.forks.push(Fork {
                    tag: tag.into(),
                    answer: None,
                });
                self.forks.len() - 1
            }
        };
        self.forks.get_mut(at)
    }
}

impl Shard {
    /// A provisional response of the callee brought an answer to our offer.
    pub(crate) fn note_early_answer(&mut self, slot: u32, response: &Message<'_>) {
        let tag = response.to().ok().and_then(|to| to.tag()).unwrap_or_default();
        let Some(call) = self.calls.get_mut(slot as usize) else {
            return;
        };
        match call.early.get_or_insert_default().fork(tag) {
            Some(fork) => fork.answer = Some(response.body().into()),
            None => self.io.counters.early_forks_max += 1,
        }
    }
}

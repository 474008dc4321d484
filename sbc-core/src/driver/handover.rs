//! Queues between threads: shard to shard, control to shard and back.
//!
//! Every ordered pair of threads has its own bounded single-producer ring, so no thread ever waits
//! for another and a full queue is the sender's problem alone. A [`Waker`] per thread keeps wake-ups
//! rare: nobody writes to the eventfd of a thread that is awake, and a batch of messages costs at
//! most one write.

use crate::{
    bindings::Change,
    id::QueryId,
    resolve::Query,
    shard::{CallRecord, Command, Event, Reply, RequestId, ShardId},
    transport::Hop,
};
use bytes::Bytes;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering, fence},
    },
};

/// Requests of the control thread that one shard may have unanswered.
pub(crate) const REQUESTS_MAX: usize = 64;
/// Log events and call records of one shard that the control thread has not read yet.
const NOTES_MAX: usize = 8192;
/// Letters on their way from one shard to another, with few shards.
const HANDOVERS_MAX: usize = 4096;

/// A SIP message on its way to another shard.
#[derive(Debug)]
pub(crate) struct Letter {
    pub(crate) hop: Hop,
    pub(crate) payload: Bytes,
    /// To be sent by a connection of that shard; otherwise received for a call of that shard.
    pub(crate) send: bool,
}

/// What a shard tells the control thread without being asked.
#[derive(Debug)]
pub(crate) enum Note {
    /// A line for the log.
    Event(Event),
    /// A finished call.
    Record(Box<CallRecord>),
    /// A name to look up.
    Resolve(QueryId, Query),
    /// Bindings to store.
    Bind(Change),
}

/// Wakes one thread, at most once per sleep.
///
/// The sleeper says that it will sleep, then looks at its queues once more; the sender fills the
/// queue, then looks whether the receiver sleeps. The fence between the two steps on either side
/// makes it impossible that both miss the other.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Waker {
    sleeping: AtomicBool,
    event: OwnedFd,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and nobody else owns it.
        let event = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self {
            sleeping: AtomicBool::new(false),
            event,
        })
    }

    /// The eventfd that becomes readable on a wake-up.
    pub(crate) fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// Another descriptor of the same eventfd.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.event.try_clone()
    }

    /// The owner is about to sleep; it must look at its queues once more after this.
    pub(crate) fn about_to_sleep(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The owner is awake again.
    pub(crate) fn awake(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Wake the owner if it sleeps. Call after the message is in its queue.
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed) {
            let one = 1_u64.to_ne_bytes();
            // SAFETY: the buffer is eight readable bytes and the descriptor is open. The only
            // possible failure, EAGAIN at 2^64 - 1 unread wake-ups, still leaves it readable.
            unsafe { libc::write(self.fd(), one.as_ptr().cast(), one.len()) };
        }
    }

    /// Make the eventfd unreadable until the next wake-up.
    pub(crate) fn clear(&self) {
        let mut count = [0_u8; 8];
        // SAFETY: the buffer is eight writable bytes; EAGAIN says that it was clear already.
        unsafe { libc::read(self.fd(), count.as_mut_ptr().cast(), count.len()) };
    }
}

/// A shard's ends of all its queues.
#[derive(Debug)]
pub(crate) struct ShardLinks {
    waker: Arc<Waker>,
    letters: Vec<Consumer<Letter>>,
    peers: Vec<Option<PeerLink>>,
    requests: Consumer<(RequestId, Command)>,
    replies: Producer<(RequestId, Box<Reply>)>,
    notes: Producer<Note>,
    control: Arc<Waker>,
    control_has_news: bool,
    // Last, so that the queues above are closed when it wakes the control thread.
    _ended: WakeOnDrop,
}

#[derive(Debug)]
struct PeerLink {
    queue: Producer<Letter>,
    waker: Arc<Waker>,
    has_news: bool,
}

/// The control thread's ends of all its queues.
#[derive(Debug)]
pub(crate) struct ControlLinks {
    pub(crate) waker: Arc<Waker>,
    pub(crate) shards: Vec<ControlLink>,
}

/// The control thread's ends of the queues to and from one shard.
#[derive(Debug)]
pub(crate) struct ControlLink {
    requests: Producer<(RequestId, Command)>,
    waker: Arc<Waker>,
    replies: Consumer<(RequestId, Box<Reply>)>,
    notes: Consumer<Note>,
    unanswered: usize,
    // Last, so that the queues above are closed when it wakes the shard.
    _ended: WakeOnDrop,
}

/// Makes the thread at the other end of some queues notice that they are closed.
#[derive(Debug)]
struct WakeOnDrop(Arc<Waker>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Why a request could not be queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// [`REQUESTS_MAX`] requests are unanswered.
    Full,
    /// The shard's thread has ended.
    Ended,
}

/// Queues for `shards` shard threads and the control thread.
pub(crate) fn link(shards: u8) -> io::Result<(Vec<ShardLinks>, ControlLinks)> {
    let n = usize::from(shards);
    // The number of queues grows with the square of the shards; their total must not.
    let capacity = (HANDOVERS_MAX * 4 / n.max(1)).clamp(256, HANDOVERS_MAX);
    let wakers = (0..n)
        .map(|_| Waker::new().map(Arc::new))
        .collect::<io::Result<Vec<_>>>()?;
    let control_waker = Arc::new(Waker::new()?);
    let mut letters: Vec<Vec<Consumer<Letter>>> = (0..n).map(|_| Vec::new()).collect();
    let mut shard_links = Vec::with_capacity(n);
    let mut control_links = Vec::with_capacity(n);
    for (me, waker) in wakers.iter().enumerate() {
        let peers = (0..n)
            .map(|to| {
                (to != me).then(|| {
                    let (queue, receiver) = RingBuffer::new(capacity);
                    letters[to].push(receiver);
                    PeerLink {
                        queue,
                        waker: Arc::clone(&wakers[to]),
                        has_news: false,
                    }
                })
            })
            .collect();
        let (request_tx, request_rx) = RingBuffer::new(REQUESTS_MAX);
        let (reply_tx, reply_rx) = RingBuffer::new(REQUESTS_MAX);
        let (note_tx, note_rx) = RingBuffer::new(NOTES_MAX);
        shard_links.push(ShardLinks {
            waker: Arc::clone(waker),
            letters: Vec::new(),
            peers,
            requests: request_rx,
            replies: reply_tx,
            notes: note_tx,
            control: Arc::clone(&control_waker),
            control_has_news: false,
            _ended: WakeOnDrop(Arc::clone(&control_waker)),
        });
        control_links.push(ControlLink {
            requests: request_tx,
            waker: Arc::clone(waker),
            replies: reply_rx,
            notes: note_rx,
            unanswered: 0,
            _ended: WakeOnDrop(Arc::clone(waker)),
        });
    }
    for (links, letters) in shard_links.iter_mut().zip(letters) {
        links.letters = letters;
    }
    Ok((
        shard_links,
        ControlLinks {
            waker: control_waker,
            shards: control_links,
        },
    ))
}

impl ShardLinks {
    pub(crate) fn waker(&self) -> &Waker {
        &self.waker
    }

    /// Queue `letter` for shard `to`; `false` when its queue is full or no such shard exists.
    pub(crate) fn hand_over(&mut self, to: ShardId, letter: Letter) -> bool {
        let Some(Some(peer)) = self.peers.get_mut(usize::from(to.0)) else {
            return false;
        };
        peer.has_news = true;
        peer.queue.push(letter).is_ok()
    }

    /// Queue the answer to a request. There is always room: the control thread counts what it asked.
    pub(crate) fn reply(&mut self, id: RequestId, reply: Box<Reply>) -> bool {
        self.control_has_news = true;
        self.replies.push((id, reply)).is_ok()
    }

    /// Queue `note` for the control thread; `false` when it does not keep up.
    pub(crate) fn note(&mut self, note: Note) -> bool {
        self.control_has_news = true;
        self.notes.push(note).is_ok()
    }

    /// The shards that may have sent letters, as indices for [`Self::letter`].
    pub(crate) fn senders(&self) -> usize {
        self.letters.len()
    }

    /// The next letter of sender `sender`.
    pub(crate) fn letter(&mut self, sender: usize) -> Option<Letter> {
        self.letters.get_mut(sender)?.pop().ok()
    }

    /// The next request of the control thread.
    pub(crate) fn request(&mut self) -> Option<(RequestId, Command)> {
        self.requests.pop().ok()
    }

    /// Whether the control thread has ended or given this shard up.
    pub(crate) fn control_ended(&self) -> bool {
        self.requests.is_abandoned()
    }

    /// Whether anything waits to be read.
    pub(crate) fn has_news(&self) -> bool {
        !self.requests.is_empty() || self.letters.iter().any(|queue| !queue.is_empty())
    }

    /// Wake every thread that this one has sent something since the last call.
    pub(crate) fn wake_receivers(&mut self) {
        for peer in self.peers.iter_mut().flatten() {
            if std::mem::take(&mut peer.has_news) {
                peer.waker.wake();
            }
        }
        if std::mem::take(&mut self.control_has_news) {
            self.control.wake();
        }
    }
}

impl ControlLink {
    /// Queue a request and wake the shard.
    pub(crate) fn request(&mut self, id: RequestId, command: Command) -> Result<(), Unsent> {
        if self.ended() {
            return Err(Unsent::Ended);
        }
        if self.unanswered >= REQUESTS_MAX {
            return Err(Unsent::Full);
        }
        self.requests
            .push((id, command))
            .map_err(|PushError::Full(_)| Unsent::Full)?;
        self.unanswered += 1;
        self.waker.wake();
        Ok(())
    }

    /// The next answer.
    pub(crate) fn reply(&mut self) -> Option<(RequestId, Box<Reply>)> {
        let reply = self.replies.pop().ok()?;
        self.unanswered = self.unanswered.saturating_sub(1);
        Some(reply)
    }

    /// The next unasked message.
    pub(crate) fn note(&mut self) -> Option<Note> {
        self.notes.pop().ok()
    }

    /// Whether the shard's thread has ended.
    pub(crate) fn ended(&self) -> bool {
        self.requests.is_abandoned()
    }

    /// Whether anything waits to be read.
    pub(crate) fn has_news(&self) -> bool {
        !self.replies.is_empty() || !self.notes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{shard::ListenerId, trunk::TrunkId};

    fn letter(n: u32) -> Letter {
        let payload = Bytes::copy_from_slice(&n.to_be_bytes());
        Letter {
            hop: Hop {
                listener: ListenerId(0),
                peer: ([127, 0, 0, 1], 5060).into(),
                trunk: TrunkId(0),
                flow: None,
            },
            payload,
            send: false,
        }
    }

    fn number(letter: &Letter) -> u32 {
        u32::from_be_bytes(letter.payload[..].try_into().unwrap())
    }

    fn is_readable(waker: &Waker) -> bool {
        let mut poll = libc::pollfd {
            fd: waker.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one live pollfd.
        unsafe { libc::poll(&raw mut poll, 1, 0) == 1 }
    }

    #[test]
    fn letters_arrive_in_order_at_the_owner_only() {
        let (mut shards, _control) = link(3).unwrap();
        assert!((0..100).all(|n| shards[0].hand_over(ShardId(2), letter(n))));
        assert!(!shards[1].has_news());
        let owner = &mut shards[2];
        let received: Vec<u32> = (0..owner.senders())
            .flat_map(|sender| std::iter::from_fn(|| owner.letter(sender)).collect::<Vec<_>>())
            .map(|d| number(&d))
            .collect();
        assert_eq!(received, (0..100).collect::<Vec<_>>());
        assert!(!owner.has_news());
    }

    #[test]
    fn a_full_queue_refuses_and_recovers() {
        let (mut shards, _control) = link(2).unwrap();
        let taken = (0..)
            .take_while(|&n| shards[0].hand_over(ShardId(1), letter(n)))
            .count();
        assert_eq!(taken, HANDOVERS_MAX);
        assert!(shards[1].letter(0).is_some());
        assert!(shards[0].hand_over(ShardId(1), letter(0)));
    }

    #[test]
    fn nobody_hands_over_to_itself_or_to_nobody() {
        let (mut shards, _control) = link(2).unwrap();
        assert!(!shards[0].hand_over(ShardId(0), letter(0)));
        assert!(!shards[0].hand_over(ShardId(7), letter(0)));
    }

    #[test]
    fn a_sleeper_is_woken_once_and_one_awake_never() {
        let (mut shards, _control) = link(2).unwrap();
        let waker = Arc::clone(&shards[1].waker);
        shards[0].hand_over(ShardId(1), letter(0));
        shards[0].wake_receivers();
        assert!(!is_readable(&waker), "it was awake");
        waker.about_to_sleep();
        for n in 0..10 {
            shards[0].hand_over(ShardId(1), letter(n));
            shards[0].wake_receivers();
        }
        assert!(is_readable(&waker));
        waker.clear();
        assert!(!is_readable(&waker));
        shards[0].wake_receivers();
        assert!(!is_readable(&waker), "nothing was sent since");
    }

    #[test]
    fn a_shard_gets_no_more_requests_than_it_can_answer() {
        let (mut shards, mut control) = link(1).unwrap();
        let link = &mut control.shards[0];
        for id in 0..REQUESTS_MAX as u64 {
            assert_eq!(link.request(id, Command::Stats), Ok(()));
        }
        assert_eq!(link.request(99, Command::Stats), Err(Unsent::Full));
        while let Some((id, _)) = shards[0].request() {
            assert!(shards[0].reply(id, Box::new(Reply::Done)));
        }
        assert_eq!(
            link.request(99, Command::Stats),
            Err(Unsent::Full),
            "the answers are not read yet"
        );
        assert!(link.reply().is_some());
        assert_eq!(link.request(99, Command::Stats), Ok(()));
    }

    #[test]
    fn either_end_notices_that_the_other_is_gone() {
        let (mut shards, mut control) = link(2).unwrap();
        control.waker.about_to_sleep();
        drop(shards.remove(0));
        assert!(is_readable(&control.waker));
        assert_eq!(control.shards[0].request(1, Command::Stats), Err(Unsent::Ended));
        assert_eq!(control.shards[1].request(1, Command::Stats), Ok(()));
        shards[0].waker.about_to_sleep();
        drop(control);
        assert!(is_readable(&shards[0].waker));
        assert!(shards[0].control_ended());
    }

    /// Two threads that sleep whenever they have nothing to do; a lost wake-up stops them.
    #[test]
    fn no_wake_up_is_lost() {
        const ROUNDS: u32 = 20_000;
        let (shards, _control) = link(2).unwrap();
        let threads: Vec<_> = shards
            .into_iter()
            .enumerate()
            .map(|(me, mut links)| {
                let play = move || {
                    let other = ShardId(1 - me as u8);
                    let mut next = me as u32;
                    if me == 0 {
                        links.hand_over(other, letter(0));
                        links.wake_receivers();
                        next = 2;
                    }
                    while next < ROUNDS {
                        links.waker().about_to_sleep();
                        if !links.has_news() {
                            let mut poll = libc::pollfd {
                                fd: links.waker().fd(),
                                events: libc::POLLIN,
                                revents: 0,
                            };
                            // SAFETY: one live pollfd.
                            let ready = unsafe { libc::poll(&raw mut poll, 1, 5000) };
                            assert_eq!(ready, 1, "nobody woke thread {me} at {next}");
                        }
                        links.waker().awake();
                        links.waker().clear();
                        while let Some(letter) = links.letter(0) {
                            assert_eq!(number(&letter) + 1, next);
                            links.hand_over(other, self::letter(next));
                            next += 2;
                        }
                        links.wake_receivers();
                    }
                };
                std::thread::Builder::new().spawn(play).unwrap()
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

//! What runs on the control thread: asking shards, and writing down what they report.
//!
//! [`Shards`] turns the queues to the shard threads into `async` requests with a deadline, so that
//! a shard that hangs yields an error for the operator, not a hanging operator.

use super::{
    backend::Chosen,
    clock::Clock,
    dns::Dns,
    handover::{ControlLinks, Note, Unsent},
    log,
    registrar::Registrar,
    running::Running,
    tls::{self, Tls, TlsError},
};
use crate::{
    admission::Admission,
    shard::{Command, Gauges, Reply, RequestId, ShardId},
    snapshot::Snapshot,
};
use ahash::AHashMap;
use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::oneshot,
    time::{Instant, sleep},
};

/// How long a shard may take to answer.
pub const REQUEST_DEADLINE: Duration = Duration::from_secs(2);
/// Before a shard that has too many requests is asked again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);
/// Log events and records written before other tasks of the control thread get their turn.
const NOTES_PER_TURN: usize = 256;

/// Everything the admin server serves from. Lives on the control thread.
#[derive(Debug)]
pub struct Daemon {
    /// The running shards.
    pub shards: Shards,
    /// The configuration in use.
    pub running: Running,
    /// The limits in use.
    pub admission: Arc<Admission>,
    /// The clock that shards and admission use; its reading is the time since start-up.
    pub clock: Clock,
    /// The certificates in use.
    pub tls: Arc<tls::Shared>,
    /// Where users of trunks are.
    pub registrar: Registrar,
    /// The I/O backend that runs, and why.
    pub backend: Chosen,
    /// Media port pairs that the configured ranges and the limit on descriptors allow, of each interface.
    pub media_pairs_max: Vec<usize>,
}

impl Daemon {
    /// Read the certificates again. What is wrong with them is logged, too.
    pub(crate) fn reload_tls(&self) -> Result<Arc<Tls>, TlsError> {
        match self.tls.reload() {
            Ok(tls) => {
                tls.warnings
                    .iter()
                    .for_each(|warning| tracing::warn!("{warning}"));
                tracing::info!(certificates = tls.certificates.len(), "certificates read again");
                Ok(tls)
            }
            Err(error) => {
                tracing::error!("the certificates in use stay as they are: {error}");
                Err(error)
            }
        }
    }
}

/// Why a shard did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No shard has that index.
    #[error("there is no such shard")]
    NoSuchShard,
    /// The shard has too many unanswered requests.
    #[error("the shard has too many unanswered requests; try again")]
    Busy,
    /// No answer within [`REQUEST_DEADLINE`].
    #[error("the shard did not answer in time")]
    TimedOut,
    /// The shard's thread has ended.
    #[error("the shard's thread has ended")]
    Ended,
}

/// Handle to all shards. Cheap to clone; used on the control thread only.
#[derive(Clone, Debug)]
pub struct Shards(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    links: RefCell<ControlLinks>,
    waiting: RefCell<AHashMap<RequestId, oneshot::Sender<Reply>>>,
    next_id: Cell<RequestId>,
    stopping: Cell<bool>,
}

impl Shards {
    pub(crate) fn new(links: ControlLinks) -> Self {
        Self(Rc::new(Inner {
            links: RefCell::new(links),
            waiting: RefCell::new(AHashMap::new()),
            next_id: Cell::new(1),
            stopping: Cell::new(false),
        }))
    }

    /// Number of shards.
    pub fn count(&self) -> u8 {
        u8::try_from(self.0.links.borrow().shards.len()).unwrap_or(u8::MAX)
    }

    /// The process ends when the calls have ended or their time is up; nothing undoes that.
    pub(crate) fn set_stopping(&self) {
        self.0.stopping.set(true);
    }

    /// Whether a signal has asked the process to end, or a shard has failed.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.get()
    }

    /// Ask one shard and wait for its answer.
    pub async fn request(&self, shard: ShardId, command: Command) -> Result<Reply, RequestError> {
        let answer = self.send(shard, command)?;
        answer.wait().await
    }

    /// Ask all shards at once; the answers come in the order of the shards.
    pub async fn broadcast(&self, command: Command) -> Result<Vec<Reply>, RequestError> {
        let answers = (0..self.count())
            .map(|shard| self.send(ShardId(shard), command.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut replies = Vec::with_capacity(answers.len());
        for answer in answers {
            replies.push(answer.wait().await?);
        }
        Ok(replies)
    }

    /// Have every shard take `snapshot` over; those that have not said so in time, and why. They will have it as soon as
    /// they read their queue, unless that was full all the time.
    pub(crate) async fn configure(&self, snapshot: Arc<Snapshot>) -> Vec<(ShardId, RequestError)> {
        let mut failed = Vec::new();
        let mut answers = Vec::new();
        for shard in (0..self.count()).map(ShardId) {
            let deadline = Instant::now() + REQUEST_DEADLINE;
            let sent = loop {
                match self.send(shard, Command::Configure(Arc::clone(&snapshot))) {
                    // One shard that is late must not keep the others apart for longer than it has to.
                    Err(RequestError::Busy) if Instant::now() < deadline => sleep(BUSY_PAUSE).await,
                    sent => break sent,
                }
            };
            match sent {
                Ok(answer) => answers.push((shard, answer)),
                Err(error) => failed.push((shard, error)),
            }
        }
        for (shard, answer) in answers {
            if let Err(error) = answer.wait().await {
                failed.push((shard, error));
            }
        }
        failed
    }

    /// What all shards whose threads still run hold, summed.
    pub async fn gauges(&self) -> Result<Gauges, RequestError> {
        let mut sum = Gauges::default();
        for shard in 0..self.count() {
            let reply = match self.request(ShardId(shard), Command::Stats).await {
                Err(RequestError::Ended) => continue,
                reply => reply?,
            };
            if let Reply::Stats(_, gauges) = reply {
                sum.calls += gauges.calls;
                sum.media_pairs += gauges.media_pairs;
                sum.media_pairs_quarantined += gauges.media_pairs_quarantined;
                sum.transactions += gauges.transactions;
                sum.tombstones += gauges.tombstones;
                sum.timers += gauges.timers;
                sum.connections += gauges.connections;
                sum.registrars_to_leave += gauges.registrars_to_leave;
            }
        }
        Ok(sum)
    }

    /// The first shard whose thread has ended.
    fn first_ended(&self) -> Option<ShardId> {
        let links = self.0.links.borrow();
        let index = links.shards.iter().position(|link| link.ended())?;
        u8::try_from(index).ok().map(ShardId)
    }

    /// Deliver answers, write down events, look names up in `dns` and bindings into `registrar`, for as long as the
    /// runtime lives. `failed` is told when the thread of a shard ends.
    pub async fn run(
        self,
        failed: oneshot::Sender<ShardId>,
        dns: Dns,
        registrar: Registrar,
    ) -> io::Result<()> {
        let mut failed = Some(failed);
        let waker = Arc::clone(&self.0.links.borrow().waker);
        // SAFETY: `AsyncFd` owns this duplicate, which stays open and unchanged until it is dropped.
        let event = unsafe { AsyncFd::register_with_interest(waker.duplicate()?, Interest::READABLE)? };
        loop {
            if self.deliver(&dns, &registrar) {
                tokio::task::yield_now().await;
                continue;
            }
            waker.about_to_sleep();
            let has_news = self.0.links.borrow().shards.iter().any(|link| link.has_news());
            if let Some(shard) = self.first_ended()
                && let Some(failed) = failed.take()
            {
                // Nobody listens any more when the daemon ends for another reason.
                let _ = failed.send(shard);
            }
            if !has_news {
                event.readable().await?.clear_ready();
            }
            waker.awake();
            waker.clear();
        }
    }

    fn send(&self, shard: ShardId, command: Command) -> Result<Answer, RequestError> {
        let mut links = self.0.links.borrow_mut();
        let link = links
            .shards
            .get_mut(usize::from(shard.0))
            .ok_or(RequestError::NoSuchShard)?;
        let id = self.0.next_id.get();
        self.0.next_id.set(id + 1);
        link.request(id, command).map_err(|unsent| match unsent {
            Unsent::Full => RequestError::Busy,
            Unsent::Ended => RequestError::Ended,
        })?;
        let (sender, receiver) = oneshot::channel();
        self.0.waiting.borrow_mut().insert(id, sender);
        Ok(Answer {
            shards: self.clone(),
            id,
            receiver,
        })
    }

    /// One bounded round over all shards; whether there may be more.
    fn deliver(&self, dns: &Dns, registrar: &Registrar) -> bool {
        let mut links = self.0.links.borrow_mut();
        let mut more = false;
        for (index, link) in links.shards.iter_mut().enumerate() {
            while let Some((id, reply)) = link.reply() {
                // Nobody waits any more when the deadline has passed.
                if let Some(sender) = self.0.waiting.borrow_mut().remove(&id) {
                    let _ = sender.send(*reply);
                }
            }
            for _ in 0..NOTES_PER_TURN {
                match link.note() {
                    Some(Note::Event(event)) => log::event(index, &event),
                    Some(Note::Record(record)) => log::record(index, &record),
                    Some(Note::Resolve(id, query)) => {
                        let shard = u8::try_from(index).unwrap_or(u8::MAX);
                        dns.ask(self, ShardId(shard), id, query);
                    }
                    Some(Note::Bind(change)) => {
                        let shard = u8::try_from(index).unwrap_or(u8::MAX);
                        if !registrar.put(ShardId(shard), change) {
                            tracing::warn!("too many registrations at once: one has to come again");
                        }
                    }
                    None => break,
                }
            }
            more |= link.has_news();
        }
        more
    }
}

/// An answer on its way; forgets the request when dropped.
struct Answer {
    shards: Shards,
    id: RequestId,
    receiver: oneshot::Receiver<Reply>,
}

impl Answer {
    async fn wait(mut self) -> Result<Reply, RequestError> {
        match tokio::time::timeout(REQUEST_DEADLINE, &mut self.receiver).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err(RequestError::Ended),
            Err(_) => Err(RequestError::TimedOut),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.shards.0.waiting.borrow_mut().remove(&self.id);
    }
}

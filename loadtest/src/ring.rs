//! An io_uring with provided buffers, as the RTP load and the bare relay use it.
//!
//! One thread owns it (SINGLE_ISSUER, DEFER_TASKRUN). Receives are multishot and take their
//! buffer from a buffer ring; sends are queued and go to the kernel together, in the one
//! `enter` that also waits.

use io_uring::{IoUring, opcode, squeue, types};
use std::{
    io,
    os::fd::RawFd,
    ptr,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

/// The one group of provided buffers of a [`Ring`].
const BUFFER_GROUP: u16 = 0;
const SQ_ENTRIES: u32 = 4096;
const CQ_ENTRIES: u32 = 32768;

/// What a completion belongs to, packed into `user_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    /// A multishot receive on this socket.
    Receive {
        /// Index of the socket in the owner's table.
        socket: u32,
    },
    /// A send of this buffer.
    Send {
        /// Index of the buffer in whatever pool it came from.
        buffer: u16,
    },
}

impl Tag {
    const SEND: u64 = 1 << 63;

    fn pack(self) -> u64 {
        match self {
            Tag::Receive { socket } => u64::from(socket),
            Tag::Send { buffer } => Self::SEND | u64::from(buffer),
        }
    }

    fn unpack(data: u64) -> Self {
        if data & Self::SEND == 0 {
            Tag::Receive { socket: data as u32 }
        } else {
            Tag::Send { buffer: data as u16 }
        }
    }
}

/// One completion, copied out of the ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    /// What it belongs to.
    pub(crate) tag: Tag,
    /// Bytes, or a negated errno.
    pub(crate) result: i32,
    /// The provided buffer that was filled.
    pub(crate) buffer: Option<u16>,
    /// Whether a multishot goes on.
    pub(crate) more: bool,
}

/// How long an `enter` may sleep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    /// Return when this many completions are there.
    pub(crate) completions: u32,
    /// Sleep so long for `completions`; after that, one is enough (`min_wait_usec`). Zero: off.
    pub(crate) coalesce: Duration,
    /// Return after this time in any case.
    pub(crate) timeout: Duration,
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct GetEvents {
    sigmask: u64,
    sigmask_size: u32,
    min_wait_usec: u32,
    timespec: u64,
}

/// The ring, its buffers and a count of its system calls.
pub(crate) struct Ring {
    ring: IoUring,
    buffers: BufferRing,
    enters: u64,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("enters", &self.enters)
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// A ring of the calling thread with `buffers` receive buffers of `buffer_len` bytes.
    pub(crate) fn new(buffers: u16, buffer_len: usize) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_cqsize(CQ_ENTRIES)
            .setup_submit_all()
            .build(SQ_ENTRIES)?;
        let buffers = BufferRing::register(&ring, buffers, buffer_len)?;
        Ok(Self {
            ring,
            buffers,
            enters: 0,
        })
    }

    /// `io_uring_enter` calls made.
    pub(crate) fn enters(&self) -> u64 {
        self.enters
    }

    /// Arm a multishot receive of plain datagrams.
    pub(crate) fn receive(&mut self, socket: u32, fd: RawFd) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(types::Fd(fd), BUFFER_GROUP).build();
        self.push(entry.user_data(Tag::Receive { socket }.pack()))
    }

    /// Arm a multishot receive with ancillary data. `header` gives the sizes of the name and
    /// control fields and must live as long as the ring.
    pub(crate) fn receive_message(
        &mut self,
        socket: u32,
        fd: RawFd,
        header: &'static libc::msghdr,
    ) -> io::Result<()> {
        let entry = opcode::RecvMsgMulti::new(types::Fd(fd), header, BUFFER_GROUP).build();
        self.push(entry.user_data(Tag::Receive { socket }.pack()))
    }

    /// Queue a send of a received buffer from a connected socket. The buffer must go back with
    /// [`Ring::recycle`] after its completion, not before.
    pub(crate) fn send_received(&mut self, fd: RawFd, buffer: u16, len: usize) -> io::Result<()> {
        let bytes = self.buffers.bytes(buffer);
        let (at, len) = (bytes.as_ptr(), len.min(bytes.len()));
        self.send(fd, buffer, at, len)
    }

    /// Queue a send of `len` bytes at `at` from a connected socket. The bytes must stay in place
    /// until the completion with [`Tag::Send`] of `buffer`.
    pub(crate) fn send(&mut self, fd: RawFd, buffer: u16, at: *const u8, len: usize) -> io::Result<()> {
        let entry = opcode::Send::new(types::Fd(fd), at, len as u32).build();
        self.push(entry.user_data(Tag::Send { buffer }.pack()))
    }

    /// The bytes of a receive buffer.
    pub(crate) fn bytes(&self, buffer: u16) -> &[u8] {
        self.buffers.bytes(buffer)
    }

    /// Give a receive buffer back to the kernel (with the next [`Ring::enter`]).
    pub(crate) fn recycle(&mut self, buffer: u16) {
        self.buffers.recycle(buffer);
    }

    /// Hand queued work to the kernel and wait; then move the completions into `into`.
    pub(crate) fn enter(&mut self, wait: Wait, into: &mut Vec<Completion>) -> io::Result<()> {
        self.buffers.publish();
        let timespec = types::Timespec::from(wait.timeout);
        let argument = GetEvents {
            sigmask: 0,
            sigmask_size: 8,
            min_wait_usec: u32::try_from(wait.coalesce.as_micros()).unwrap_or(u32::MAX),
            timespec: ptr::from_ref(&timespec) as u64,
        };
        self.call(wait.completions, Some(&argument))?;
        into.extend(self.ring.completion().map(|entry| Completion {
            tag: Tag::unpack(entry.user_data()),
            result: entry.result(),
            buffer: io_uring::cqueue::buffer_select(entry.flags()),
            more: io_uring::cqueue::more(entry.flags()),
        }));
        Ok(())
    }

    fn call(&mut self, completions: u32, argument: Option<&GetEvents>) -> io::Result<()> {
        const GETEVENTS: u32 = 1;
        const EXT_ARG: u32 = 8;
        let queued = self.ring.submission().len() as u32;
        self.enters += 1;
        let flags = if argument.is_some() {
            GETEVENTS | EXT_ARG
        } else {
            0
        };
        // SAFETY: the argument and the timespec it points to live until the call returns; every
        // queued entry points to memory whose owner keeps it until its completion.
        match unsafe { self.ring.submitter().enter(queued, completions, flags, argument) } {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // Timed out, interrupted, or completions must be read first.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        // SAFETY: see the callers: the memory an entry names outlives its completion.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.call(0, None)?;
        }
        Ok(())
    }
}

/// Receive buffers that the kernel picks from.
#[derive(Debug)]
struct BufferRing {
    entries: *mut types::BufRingEntry,
    count: u16,
    tail: u16,
    memory: *mut u8,
    buffer_len: usize,
    map_len: usize,
}

impl BufferRing {
    fn register(ring: &IoUring, count: u16, buffer_len: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two());
        let ring_len = (usize::from(count) * size_of::<types::BufRingEntry>()).next_multiple_of(4096);
        let map_len = ring_len + usize::from(count) * buffer_len;
        // SAFETY: a new private anonymous mapping, checked below.
        let map = unsafe {
            libc::mmap(
                ptr::null_mut(),
                map_len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `ring_len` is within the mapping.
        let memory = unsafe { map.cast::<u8>().add(ring_len) };
        let mut buffers = Self {
            entries: map.cast(),
            count,
            tail: 0,
            memory,
            buffer_len,
            map_len,
        };
        // SAFETY: page-aligned, zeroed, large enough, and mapped until after the ring is gone
        // (fields of `Ring` drop in order, the ring first).
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(map as u64, count, BUFFER_GROUP, 0)?
        };
        (0..count).for_each(|buffer| buffers.recycle(buffer));
        buffers.publish();
        Ok(buffers)
    }

    fn bytes(&self, buffer: u16) -> &[u8] {
        assert!(buffer < self.count);
        // SAFETY: in bounds of the mapping; the kernel writes only to buffers it holds, and the
        // caller has this one.
        unsafe {
            std::slice::from_raw_parts(
                self.memory.add(usize::from(buffer) * self.buffer_len),
                self.buffer_len,
            )
        }
    }

    fn recycle(&mut self, buffer: u16) {
        let at = self.bytes(buffer).as_ptr() as u64;
        // SAFETY: the masked index is in bounds, and the kernel does not read entries at or
        // after the published tail.
        let entry = unsafe { &mut *self.entries.add(usize::from(self.tail & (self.count - 1))) };
        entry.set_addr(at);
        entry.set_len(self.buffer_len as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: `entries` is the base of the registered ring; the tail field is 16-bit,
        // aligned, and shared with the kernel only.
        unsafe { AtomicU16::from_ptr(types::BufRingEntry::tail(self.entries).cast_mut()) }
            .store(self.tail, Ordering::Release);
    }
}

impl Drop for BufferRing {
    fn drop(&mut self) {
        // SAFETY: our own mapping; the ring that used it has been closed before.
        unsafe { libc::munmap(self.entries.cast(), self.map_len) };
    }
}

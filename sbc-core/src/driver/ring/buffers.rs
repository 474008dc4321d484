//! A provided-buffer ring: memory that the kernel picks receive buffers from.

use io_uring::{Submitter, types::BufRingEntry};
use std::{
    io,
    ptr::NonNull,
    sync::atomic::{AtomicU16, Ordering},
};

/// Page-aligned zeroed memory; pages that are never touched cost nothing.
#[derive(Debug)]
struct Region {
    base: NonNull<u8>,
    len: usize,
}

impl Region {
    fn new(len: usize) -> io::Result<Self> {
        // SAFETY: a private anonymous mapping at an address of the kernel's choice touches no
        // existing memory.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(base.cast())
            .map(|base| Self { base, len })
            .ok_or_else(|| io::ErrorKind::OutOfMemory.into())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing refers to it any more: the ring that received
        // into it is dropped first (field order in `Ring`).
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

/// Buffers of one size, each identified by its index.
#[derive(Debug)]
pub(super) struct Buffers {
    entries: Region,
    memory: Region,
    count: u16,
    size: u32,
    tail: u16,
    /// Buffers that the kernel may fill now or has been offered by the next [`Self::publish`].
    offered: u16,
}

impl Buffers {
    /// `count` (a power of two) buffers of `size` bytes, registered as group `group`.
    pub(super) fn register(submitter: &Submitter<'_>, group: u16, count: u16, size: u32) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15);
        let mut buffers = Self {
            entries: Region::new(usize::from(count) * size_of::<BufRingEntry>())?,
            memory: Region::new(usize::from(count) * size as usize)?,
            count,
            size,
            tail: 0,
            offered: 0,
        };
        // SAFETY: the entries are page-aligned, hold `count` entries and live until the ring is
        // closed (field order in `Ring`).
        unsafe {
            submitter.register_buf_ring_with_flags(buffers.entries.base.as_ptr() as u64, count, group, 0)?
        };
        for index in 0..count {
            buffers.give_back(index);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Buffer `index` as a whole.
    #[inline]
    pub(super) fn get(&mut self, index: u16) -> &mut [u8] {
        // SAFETY: `offset` keeps within the region. The kernel does not write to the buffer: it
        // took it from the ring and gets it back only through `give_back`, which callers do
        // once per received packet, after their last use. `&mut self` excludes another borrow.
        unsafe {
            let start = self.memory.base.as_ptr().add(self.offset(index));
            std::slice::from_raw_parts_mut(start, self.size as usize)
        }
    }

    /// Queue buffer `index` for the kernel; seen by it after [`Self::publish`].
    #[inline]
    pub(super) fn give_back(&mut self, index: u16) {
        debug_assert!(self.offered < self.count, "a buffer was given back twice");
        let address = self.memory.base.as_ptr() as u64 + self.offset(index) as u64;
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: the slot lies within the `count` entries; the kernel reads slots only up to the
        // published tail. The setters leave the field that doubles as the tail alone.
        let entry = unsafe { &mut *self.entries.base.as_ptr().cast::<BufRingEntry>().add(slot) };
        entry.set_addr(address);
        entry.set_len(self.size);
        entry.set_bid(index);
        self.tail = self.tail.wrapping_add(1);
        self.offered += 1;
    }

    /// Let the kernel see all buffers given back.
    #[inline]
    pub(super) fn publish(&mut self) {
        // SAFETY: the base is the address of the first entry, as `tail` demands; the kernel reads
        // this field with acquire semantics and never writes it.
        let tail =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.base.as_ptr().cast()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// How many buffers the kernel may fill.
    pub(super) fn offered(&self) -> u16 {
        self.offered
    }

    /// The kernel has filled one buffer.
    #[inline]
    pub(super) fn taken(&mut self) {
        self.offered = self.offered.saturating_sub(1);
    }

    #[inline]
    fn offset(&self, index: u16) -> usize {
        // The mask only matters if the kernel named a buffer it was never given.
        usize::from(index & (self.count - 1)) * self.size as usize
    }
}

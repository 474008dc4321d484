//! Readings from the kernel: clocks, CPU time, memory, socket drops. All deltas are taken by
//! the caller.

use crate::{Error, Result};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    fs, io,
    net::{Ipv4Addr, UdpSocket},
    os::fd::AsRawFd,
};

/// CPU nanoseconds per thread of a process, by thread id.
#[derive(Clone, Debug, Default)]
pub(crate) struct CpuTimes(BTreeMap<u32, (String, u64)>);

impl CpuTimes {
    /// Read `/proc/PID/task/*/schedstat`: exact run time, not ticks.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let tasks = format!("/proc/{pid}/task");
        let mut times = BTreeMap::new();
        for entry in fs::read_dir(&tasks)
            .map_err(|source| Error::Io {
                what: format!("reading {tasks}"),
                source,
            })?
            .flatten()
        {
            let Some(tid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            // A thread may end between the listing and the reading.
            let Ok(stat) = fs::read_to_string(entry.path().join("schedstat")) else {
                continue;
            };
            let Some(ns) = stat.split_whitespace().next().and_then(|word| word.parse().ok()) else {
                continue;
            };
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            times.insert(tid, (name.trim().to_owned(), ns));
        }
        Ok(Self(times))
    }

    /// Nanoseconds used since `before`, over all threads.
    pub(crate) fn since_ns(&self, before: &Self) -> u64 {
        self.by_thread_since(before).iter().map(|(_, ns)| ns).sum()
    }

    /// Nanoseconds used since `before`, by thread name (threads of one name together).
    pub(crate) fn by_thread_since(&self, before: &Self) -> Vec<(String, u64)> {
        let mut by_name: BTreeMap<&str, u64> = BTreeMap::new();
        for (tid, (name, ns)) in &self.0 {
            let earlier = before.0.get(tid).map_or(0, |(_, ns)| *ns);
            *by_name.entry(name).or_default() += ns.saturating_sub(earlier);
        }
        by_name
            .into_iter()
            .map(|(name, ns)| (name.to_owned(), ns))
            .collect()
    }
}

/// Memory of a process in kilobytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    /// `VmRSS`: resident now.
    pub(crate) rss_kb: u64,
    /// `VmHWM`: most resident ever.
    pub(crate) hwm_kb: u64,
    /// `RssAnon`: the part of it that is no file and not shared.
    pub(crate) anon_kb: u64,
}

impl Memory {
    /// Read `/proc/PID/status`.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).map_err(|source| Error::Io {
            what: format!("reading {path}"),
            source,
        })?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
                .unwrap_or(0)
        };
        Ok(Self {
            rss_kb: field("VmRSS"),
            hwm_kb: field("VmHWM"),
            anon_kb: field("RssAnon"),
        })
    }
}

/// Datagrams the kernel threw away.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Drops {
    /// `Udp: RcvbufErrors` of the whole machine.
    pub(crate) receive_buffer: u64,
    /// `Udp: SndbufErrors` of the whole machine.
    pub(crate) send_buffer: u64,
    /// Drops of sockets bound inside the test's own network.
    pub(crate) own_sockets: u64,
}

impl Drops {
    /// Read `/proc/net/snmp` and `/proc/net/udp`; `net` is the test's /24.
    pub(crate) fn read(net: Ipv4Addr) -> Self {
        Self {
            receive_buffer: udp_counter("RcvbufErrors"),
            send_buffer: udp_counter("SndbufErrors"),
            own_sockets: socket_drops(net),
        }
    }

    /// What was dropped since `before`.
    pub(crate) fn since(&self, before: &Self) -> Self {
        Self {
            receive_buffer: self.receive_buffer.saturating_sub(before.receive_buffer),
            send_buffer: self.send_buffer.saturating_sub(before.send_buffer),
            own_sockets: self.own_sockets.saturating_sub(before.own_sockets),
        }
    }
}

/// A number of `/proc/net/snmp` about UDP over IPv4, of the whole machine.
fn udp_counter(wanted: &str) -> u64 {
    let snmp = fs::read_to_string("/proc/net/snmp").unwrap_or_default();
    let mut udp = snmp.lines().filter(|line| line.starts_with("Udp:"));
    let (names, values) = (udp.next().unwrap_or_default(), udp.next().unwrap_or_default());
    names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find_map(|(name, value)| (name == wanted).then(|| value.parse().ok())?)
        .unwrap_or(0)
}

/// Datagrams for which the kernel found no socket, because none is bound there or it is connected to another peer.
pub(crate) fn no_ports() -> u64 {
    udp_counter("NoPorts")
}

fn socket_drops(net: Ipv4Addr) -> u64 {
    let text = fs::read_to_string("/proc/net/udp").unwrap_or_default();
    let net = net.octets();
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let address = u32::from_str_radix(fields.nth(1)?.split(':').next()?, 16)
                .ok()?
                .to_ne_bytes();
            if address[..3] != net[..3] {
                return None;
            }
            fields.last()?.parse::<u64>().ok()
        })
        .sum()
}

/// Nanoseconds of the monotonic clock.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of the wall clock, which the kernel stamps packets with.
pub(crate) fn realtime_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write to; the clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Let timers of the calling thread fire to the microsecond instead of 50 µs late.
pub(crate) fn precise_timers() {
    // SAFETY: sets a number of the calling thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000u64) };
}

/// Have the kernel stamp what `socket` receives.
pub(crate) fn enable_timestamps(socket: &UdpSocket) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, the option is an int of the given size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            std::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        return Err(Error::Io {
            what: "switching on receive time stamps".into(),
            source: io::Error::last_os_error(),
        });
    }
    Ok(())
}

/// Run the calling thread, and the children it starts, on `cpus` alone.
pub(crate) fn pin(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: an all-zero set is valid and CPU_SET is given indices within it; the kernel checks
    // them against the CPUs there are.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for cpu in cpus {
            libc::CPU_SET(cpu % libc::CPU_SETSIZE as usize, &mut set);
        }
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// CPUs this process may use.
pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Raise the limit on open files as far as allowed and return it.
pub(crate) fn raise_open_files() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid place to read from and write to.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
    }
    limit.rlim_cur
}

/// Send `signal` to one process that we started.
pub(crate) fn signal(pid: u32, signal: libc::c_int) {
    // SAFETY: no memory is involved; the pid is that of a child not yet waited for.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

//! Every option of `sbcd`, declared once: the structs, their defaults and bounds, the check for
//! unknown keys and the reference `docs/CONFIG.md` all come from the declarations below.

use super::{
    guard::{AclRule, Guard},
    identity::{TrunkHeaders, TrunkIdentity, TrunkProof},
    limits::ScopedLimit,
    numbers::TrunkNumbers,
    overload::Overload,
    ptime::PacketTime,
    read::{Absent, Key, Reader, Section, Value},
    route_value::{Alias, Emergencies, Moment, Names, Numbers},
    value::{
        Backend, CodecName, Destination, Domain, FileMode, FilePath, Latch, LogLevel, PortRange, Secret,
        ShardCount, TrunkTransport,
    },
};
use crate::{
    digest::Algorithm,
    routing::{Digits, Failover, Strategy},
    snapshot::{ClientAuth, Dtmf, Hold, Refer, Reliable, Ringback, RtcpMux, Srtp, SrtpOffer},
    transport::Transport,
    trunk::{HostMatch, TrunkKind},
};
use sbc_media::{relay::Roc, srtp::Suite, tone::Country};
use std::{
    net::{IpAddr, SocketAddr},
    ops::Range,
    path::PathBuf,
};
use toml::de::DeTable;

/// Declares sections. A field is `name ["key"]: Type = absent [in low..=high]`, where `absent` is
/// `required`, `default(value)`, `described("what happens")` (of an `Option`), `section`, or `inline`: the keys of that
/// section stand in this one's table.
macro_rules! sections {
    ($(
        $(#[doc = $doc:literal])+
        pub struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $field:ident $(as $key:literal)?: $type:ty = $absent:ident $(($value:expr))? $(in $low:literal..=$high:literal)?;
            )*
        }
    )*) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $(
                $(#[doc = $field_doc])+
                pub $field: $type,
            )*
        }

        impl Section for $name {
            const DOC: &'static [&'static str] = &[$($doc),+];

            fn keys() -> Vec<Key> {
                [$(
                    sections!(@keys $absent $type, {
                        name: sections!(@name $field $($key)?),
                        doc: &[$($field_doc),+],
                        shape: <$type as Value>::shape(),
                        absent: sections!(@absent $absent $type $(, $value)?),
                        range: sections!(@range $($low, $high)?),
                    }),
                )*].into_iter().flatten().collect()
            }

            fn fields(
                reader: &mut Reader<'_>,
                path: &str,
                table: &DeTable<'_>,
                span: Range<usize>,
            ) -> Option<Self> {
                let _ = &span;
                $(
                    let range: Option<(u64, u64)> = sections!(@range $($low, $high)?);
                    let name = sections!(@name $field $($key)?);
                    let $field: Option<$type> = sections!(@read $absent $type, reader, path, table, span, name, range $(, $value)?);
                )*
                Some(Self { $($field: $field?,)* })
            }
        }
    )*};

    (@keys inline $type:ty, $key:tt) => { <$type as Section>::keys() };
    (@keys $absent:ident $type:ty, { $($key:tt)* }) => { vec![Key { $($key)* }] };

    (@name $field:ident $key:literal) => { $key };
    (@name $field:ident) => { stringify!($field) };

    (@range $low:literal, $high:literal) => { Some(($low, $high)) };
    (@range) => { None };

    (@absent required $type:ty) => { Absent::Required };
    (@absent section $type:ty) => { Absent::Described("the defaults below") };
    (@absent default $type:ty, $value:expr) => { Absent::Default(<$type as Value>::show(&$value)) };
    (@absent described $type:ty, $value:expr) => { Absent::Described($value) };

    (@read required $type:ty, $reader:ident, $path:ident, $table:ident, $span:ident, $name:ident, $range:ident) => {
        $reader.field($path, $table, $name, $range, || None)
    };
    (@read default $type:ty, $reader:ident, $path:ident, $table:ident, $span:ident, $name:ident, $range:ident, $value:expr) => {
        $reader.field($path, $table, $name, $range, || Some($value))
    };
    (@read described $type:ty, $reader:ident, $path:ident, $table:ident, $span:ident, $name:ident, $range:ident, $value:expr) => {
        $reader.field($path, $table, $name, $range, || Some(None))
    };
    (@read inline $type:ty, $reader:ident, $path:ident, $table:ident, $span:ident, $name:ident, $range:ident) => {{
        let (_, _): (&str, Option<(u64, u64)>) = ($name, $range);
        <$type as Section>::fields($reader, $path, $table, $span.clone())
    }};
    // An absent section is an empty one: its defaults hold, and what it requires is missing.
    (@read section $type:ty, $reader:ident, $path:ident, $table:ident, $span:ident, $name:ident, $range:ident) => {
        match $table.get($name) {
            Some(_) => $reader.field($path, $table, $name, $range, || None),
            None => <$type as Section>::read(
                $reader,
                &super::read::join($path, $name),
                &DeTable::new(),
                $span.clone(),
            ),
        }
    };
}

pub(super) use sections;

sections! {
    /// The configuration of one `sbcd`.
    pub struct Config {
        /// Threads and I/O.
        shards: Shards = section;
        /// SIP sockets. At least one.
        listeners as "listener": Vec<Listener> = required;
        /// RTP relay.
        media: Media = section;
        /// SIP timers and bounds.
        sip: Sip = section;
        /// Bounds of TCP and TLS connections.
        streams: Streams = section;
        /// Looking up names.
        dns: Dns = section;
        /// Log-ins of trunks with `[trunk.login]`.
        logins as "login": Logins = section;
        /// Limits on all calls together.
        limits: Limits = section;
        /// More limits.
        scoped_limits as "limit": Vec<ScopedLimit> = default(Vec::new());
        /// What a shard does when its core cannot keep up.
        overload: Overload = section;
        /// Who may send us anything at all.
        guard: Guard = section;
        /// Networks that are let in or kept out.
        acl: Vec<AclRule> = default(Vec::new());
        /// Providers and platforms. At least one.
        trunks as "trunk": Vec<Trunk> = required;
        /// Where calls go. A call that no route takes is refused with 404.
        routes as "route": Vec<Route> = default(Vec::new());
        /// Complete numbers, and where calls to them go.
        dids as "did": Vec<Did> = default(Vec::new());
        /// Emergency numbers.
        emergency: Emergencies = default(Emergencies::default());
        /// The socket that `sbc-ctl` uses.
        admin: Admin = section;
        /// Logging.
        log: Log = section;
        /// End of service.
        drain: Drain = section;
    }

    /// Threads and I/O. Each shard is one thread with its own sockets, calls and timers; every
    /// call lives on one shard.
    pub struct Shards {
        /// Number of shards. `"auto"`: one per core that the process may use.
        count: ShardCount = default(ShardCount::Auto);
        /// I/O engine. `"auto"`: io_uring, or system calls where the kernel refuses it (as in
        /// containers with the usual seccomp profile). `sbcd` says at start which one runs and why.
        backend: Backend = default(Backend::Auto);
        /// Bind each shard's thread to its core.
        pin: bool = default(true);
        /// Cores for the shards, one each. Only with `pin`.
        cpus: Option<Vec<u16>> = described("every core the process may use, in order");
        /// Microseconds that a shard under load may wait for more packets, of media or SIP, before it handles those that
        /// have come: fewer wake-ups and less CPU for as much delay. 0: none. SIP timers never wait.
        coalesce_us: u32 = default(500) in 0..=10_000;
    }

    /// A SIP socket. Messages are answered from the socket that received them.
    pub struct Listener {
        /// Name, for trunks and logs.
        name: String = required;
        /// What it speaks: `"udp"`, `"tcp"` or `"tls"`.
        transport: Transport = default(Transport::Udp);
        /// Address and port to bind.
        address: SocketAddr = required;
        /// Address and port that peers are told in Via and Contact.
        advertise: Option<SocketAddr> = described("`address`");
        /// Differentiated services code point of what is sent, by which networks tell what cannot wait. The
        /// default is CS5, which RFC 4594 §4.2 has for signalling. 0: none.
        dscp: u16 = default(40) in 0..=63;
        /// Certificates of a TLS listener.
        tls: Option<ListenerTls> = described("none: only for `transport = \"tls\"`, which needs it");
    }

    /// Certificates of a TLS listener (`transport = "tls"` only). The files are read at start, and
    /// again on SIGHUP, `sbc-ctl reload` and `sbc-ctl tls reload`.
    pub struct ListenerTls {
        /// Certificate chain that peers are shown (PEM), our own certificate first.
        certificate: FilePath = required;
        /// Its private key (PEM, not encrypted). Only the user that `sbcd` runs as should be able to
        /// read it.
        key: FilePath = required;
        /// Whether peers must show a certificate from `client_ca` when they connect: `"none"`: they are not
        /// asked; `"optional"`: it is checked when they have one; `"required"`: without one they are
        /// refused.
        client_auth: ClientAuth = default(ClientAuth::None);
        /// CAs that peers' certificates must come from (PEM).
        client_ca: Option<FilePath> = described("none: only with `client_auth`, which needs it");
    }

    /// RTP relay. All media passes through `sbcd`, on one pair of ports per side of a call.
    pub struct Media {
        /// Address that media sockets are bound to. It is the media interface `"default"`; there may be
        /// more.
        address: Option<IpAddr> = described("none: only with `[[media.interface]]`, whose first is the default one then");
        /// Address that peers are told in SDP.
        advertise: Option<IpAddr> = described("`address`");
        /// UDP ports, first even and last odd. A call takes two pairs, that is four ports. Each
        /// shard takes its share of the range.
        ports: PortRange = default(PortRange { first: 20_000, last: 59_999 });
        /// Differentiated services code point of media packets, by which networks tell what cannot wait.
        /// The default is EF (expedited forwarding, RFC 4594 §4.1). 0: none.
        dscp: u16 = default(46) in 0..=63;
        /// Milliseconds that a pair of ports rests after a call, so that late packets of the old
        /// call cannot reach a new one.
        quarantine_ms: u32 = default(1_000) in 0..=600_000;
        /// Seconds without any media from either side after which an answered call is ended.
        /// 0: never.
        timeout_s: u32 = default(60) in 0..=86_400;
        /// Who may send media besides the address in a peer's SDP. `"strict"`: other ports of its IP
        /// address, and the addresses in `hosts` of its trunk; others behind NAT get no audio. `"relearn"`: a source that keeps sending for
        /// `latch_window_ms`, unless the address in the SDP is heard within that time. `"once"`: the first
        /// source that sends a valid packet, stranger or not; for peers whose SDP is of no use. Every
        /// re-negotiation begins anew. Packets of others are dropped, counted, and shown with the call.
        latch: Latch = default(Latch::Relearn);
        /// Milliseconds that a source must keep sending with `latch = "relearn"`.
        latch_window_ms: u32 = default(500) in 20..=10_000;
        /// Seconds after which an answered call is ended of which one side has never sent any valid
        /// media, although by its SDP it sends and is not on hold. 0: never. Such calls are counted in any case
        /// (`media_unlatched`) when they end, after ten seconds or more.
        unlatched_timeout_s: u32 = default(0) in 0..=86_400;
        /// Seconds, on average, between two RTCP reports of our own to a peer that hears none from the other side
        /// of its call. They begin when audio has flowed without any for five such intervals, and stop while the
        /// other side sends its own. 0: never. A peer with `b=RS:0` and `b=RR:0` in its SDP (RFC 3556) gets none.
        rtcp_interval_s: u32 = default(5) in 0..=60;
        /// More addresses.
        interfaces as "interface": Vec<MediaInterface> = default(Vec::new());
    }

    /// One more address that media goes by, of another network or address family than that of `[media]`. Which one a
    /// trunk's calls use its `media` says. The two sides of a call may use different ones: IPv4 and IPv6, WAN and
    /// LAN.
    pub struct MediaInterface {
        /// Name, for trunks.
        name: String = required;
        /// Address that its media sockets are bound to.
        address: IpAddr = required;
        /// Address that peers are told in SDP.
        advertise: Option<IpAddr> = described("`address`");
        /// UDP ports, first even and last odd.
        ports: Option<PortRange> = described("that of `[media]`");
        /// Differentiated services code point of its packets.
        dscp: Option<u16> = described("that of `[media]`") in 0..=63;
    }

    /// SIP timers (RFC 3261 §17) and bounds.
    pub struct Sip {
        /// T1 in milliseconds: first retransmission; transactions end after 64 × T1.
        t1_ms: u32 = default(500) in 10..=10_000;
        /// T2 in milliseconds: longest interval between retransmissions.
        t2_ms: u32 = default(4_000) in 10..=60_000;
        /// T4 in milliseconds: how long a message may stay in the network.
        t4_ms: u32 = default(5_000) in 10..=60_000;
        /// Milliseconds without any response after which a call tries the next address of a
        /// trunk's name, if there is one.
        failover_ms: u32 = default(4_000) in 100..=32_000;
        /// Seconds that a call may ring before it is cancelled.
        no_answer_s: u32 = default(180) in 1..=3_600;
        /// Most calls on each shard. Calls beyond are refused with 503 and counted.
        calls_max: u32 = default(50_000) in 1..=1_000_000;
        /// Most transactions on each shard, finished ones that still answer retransmissions
        /// included (about 130 for each call per second).
        transactions_max: u32 = default(1_000_000) in 16..=10_000_000;
        /// `Server` and `User-Agent` of our messages. Empty: neither header is sent.
        server_name: String = default(String::new());
    }

    /// Bounds of TCP and TLS connections, for each shard. Slow, silent and hostile peers meet them;
    /// a well-behaved one never does.
    pub struct Streams {
        /// Most connections.
        connections_max: u32 = default(16_384) in 1..=1_000_000;
        /// Most connections that one IP address may have opened to us.
        per_source_max: u32 = default(4_096) in 1..=1_000_000;
        /// Seconds within which a connection must be open, its TLS handshake included.
        connect_timeout_s: u32 = default(5) in 1..=120;
        /// Seconds within which a message must be whole once its first byte has come.
        message_timeout_s: u32 = default(10) in 1..=600;
        /// Seconds without a message or a keepalive of the peer after which a connection is closed.
        idle_timeout_s: u32 = default(600) in 1..=86_400;
        /// Seconds of silence after which a keepalive (RFC 5626) is sent on a connection that we
        /// opened. 0: never.
        keepalive_s: u32 = default(60) in 0..=3_600;
        /// Largest message in bytes.
        message_bytes_max: u32 = default(65_535) in 1_500..=65_535;
        /// Most bytes that may wait to be written to one connection; a peer that reads so slowly
        /// is cut off.
        send_bytes_max: u32 = default(1_048_576) in 65_536..=67_108_864;
        /// Seconds within which some of the waiting bytes must have been written.
        send_timeout_s: u32 = default(10) in 1..=600;
    }

    /// Looking up the names of trunks and of peers (RFC 3263). No call waits for it: names are
    /// looked up ahead of need, and answers are kept for their TTL (at least 5 seconds, at most an
    /// hour), or for another hour while no server answers.
    pub struct Dns {
        /// Addresses of the servers, such as `["192.0.2.53:53"]`. Empty: those of
        /// `/etc/resolv.conf`.
        servers: Vec<SocketAddr> = default(Vec::new());
        /// Milliseconds that a server may take to answer.
        timeout_ms: u32 = default(2_000) in 50..=10_000;
        /// How often a question is sent.
        attempts: u32 = default(2) in 1..=5;
    }

    /// Log-ins of all trunks with `[trunk.login]`.
    pub struct Logins {
        /// Seconds that a nonce may be used for. After that the sender is told a new one (`stale=true`), without its user
        /// being asked again.
        nonce_life_s: u32 = default(300) in 10..=86_400;
        /// Most challenges and refusals that each shard sends in a second to addresses that no trunk lists, at most 50 of
        /// them to one address. What comes beyond is not answered.
        challenges_per_s: u32 = default(1_000) in 1..=100_000;
        /// File that registrations are kept in, so that they hold after a restart.
        store: Option<FilePath> = described("`registrations` in systemd's state directory of the service; elsewhere none, and registrations end with the process");
        /// A registration is confirmed when it is on the disk (one `fdatasync` for all that come at a time), so that it survives
        /// a power failure, too. `false`: when it is written; the system brings it to the disk within half a minute or so.
        store_sync: bool = default(true);
    }

    /// Limits on all calls together, and how calls over any limit are refused.
    pub struct Limits {
        /// New calls per second. 0: unlimited.
        cps: u32 = default(0) in 0..=1_000_000;
        /// Calls that may come at once before `cps` holds them back. In any second at most
        /// `burst` + `cps` calls are admitted.
        burst: Option<u32> = described("a tenth of `cps`, at least 1") in 1..=1_000_000;
        /// Calls at the same time. 0: unlimited.
        channels: u32 = default(0) in 0..=10_000_000;
        /// Status of the answer to a call over any limit. `Retry-After` is sent along.
        reject_code: u16 = default(503) in 400..=699;
    }

    /// A provider or platform that calls come from and go to.
    pub struct Trunk {
        /// Name, for routes, statistics and `sbc-ctl`.
        name: String = required;
        /// How it is recognised: `"ip"`, by the addresses in `hosts`; `"fqdn"`, by those behind the name in `target`
        /// or `outbound_proxy`, too; `"credentials"`, by name and password, which `[trunk.login]` has.
        kind as "type": Option<TrunkKind> = described("`\"credentials\"` with `[trunk.login]`, else `\"fqdn\"` with a name in `target` or `outbound_proxy`, else `\"ip\"`");
        /// Whether it takes part in new calls. With `false` its calls are refused with `limits.reject_code` and
        /// none goes to it, it is told that we go where we register with it, and calls that are up go on.
        enabled: bool = default(true);
        /// Where its requests come from: an address (any port), a network as `10.1.0.0/16`, or
        /// `address:port` (the source port must match, too). When several trunks list a source,
        /// the most specific wins: address and port, then address, then the longest prefix. Trunks with accounts of their
        /// own at one provider may list the same: a call is for that which registered the Contact in its Request-URI, or
        /// else whose account has the user in Request-URI or To as its name; when that tells nothing it is refused with 485.
        /// Datagrams from any other source are dropped and counted, connections refused. The port of
        /// a connection does not count. The addresses behind a name in `target` or
        /// `outbound_proxy` are its sources, too: then the list may be empty. With `[trunk.login]` it may be
        /// empty as well: the trunk is then known by its credentials, wherever they come from.
        hosts: Vec<HostMatch> = default(Vec::new());
        /// Where its requests are sent: `address:port`, or a name that is looked up (RFC 3263): with
        /// NAPTR and SRV records, or with A and AAAA alone when a port is given as in
        /// `sip.example.com:5061`. When an address of a name does not answer, the next is tried.
        target: Option<Destination> = described("the first of `hosts` that is not a network; port 5060 (5061 with `transport = \"tls\"`) unless given");
        /// What is spoken with it. `"auto"`: what DNS says of the name (NAPTR, SRV), among the
        /// transports of the listeners; UDP when it says nothing.
        transport: Option<TrunkTransport> = described("that of `listener`; without `listener`, `\"auto\"` for a name");
        /// Name of the listener that talks to it. Addresses of a name that this listener cannot
        /// reach use the first one that can.
        listener: Option<String> = described("the first listener of the transport and of the target's address family");
        /// Host in Request-URI and To of calls to it.
        domain: Option<Domain> = described("the name in `target`; for an address, the address");
        /// Proxy that its requests go to, written as `target` is. `target` stays the host of the
        /// Request-URI, and the proxy is named in a Route header.
        outbound_proxy: Option<Destination> = described("none: straight to `target`");
        /// Hosts in the Request-URI that mean this trunk: calls to them go to it, whatever
        /// `[[route]]` says, but only from the trunks in `domains_from`. Calls to emergency numbers do not.
        domains: Vec<Domain> = default(Vec::new());
        /// Trunks whose calls may use `domains`. From all others they are refused with 403.
        domains_from: Vec<String> = default(Vec::new());
        /// Seconds between OPTIONS requests that tell whether it is there. After two without
        /// success it is down: calls to it are refused at once; after two with success it is up again.
        /// Usual is 60. 0: none are sent.
        options_interval_s: u32 = default(0) in 0..=3_600;
        /// Let the caller's display name pass to this trunk.
        pass_display_name: bool = default(false);
        /// What happens to its requests to transfer a call (REFER): `"pass"`, they go to the other
        /// side, which then calls us; `"local"`, we call the target, by the trunk's own route, and bring it
        /// together with the other side (one with Replaces passes all the same); `"refuse"`, 603.
        refer: Refer = default(Refer::Pass);
        /// Send requests of more than 1300 bytes over TCP, where there is a TCP listener (RFC 3261
        /// §18.1.1). When no connection opens they go over UDP, for five minutes at once.
        large_over_tcp: bool = default(true);
        /// Reliable provisional responses (RFC 3262): `"supported"`, offered to it and used with it
        /// when it offers them; `"required"`, demanded in our INVITEs; `"off"`, its calls that
        /// require them are refused with 420.
        reliable: Reliable = default(Reliable::Supported);
        /// Write header field names in their compact form (RFC 3261 §7.3.3) in messages to it: smaller
        /// messages, for paths where a datagram must not be fragmented.
        compact_headers: bool = default(false);
        /// SRTP with it, by keys in SDP (RFC 4568): `"disabled"`, only plain RTP is offered and taken;
        /// `"optional"`, both are; `"required"`, what comes without a key is refused with 488. The other side
        /// of a call has its own keys, or none. Whoever reads the SIP messages can decrypt the
        /// calls: use `transport = "tls"` with it.
        srtp: Srtp = default(Srtp::Disabled);
        /// Suites of SRTP that it is offered and that are taken from it, by their names of RFC 4568, 6188
        /// and 7714, in the order in which they are offered. Of its own offers the first suite that is in this list is
        /// taken.
        srtp_suites: Vec<Suite> = default(vec![
            Suite::AesCm128Sha1_80,
            Suite::AesCm128Sha1_32,
            Suite::AeadAes256Gcm,
            Suite::AeadAes128Gcm,
            Suite::AesCm256Sha1_80,
        ]);
        /// How SRTP is offered with `srtp = "optional"`: `"best_effort"`, as `RTP/AVP` with keys, which peers
        /// without SRTP answer with plain RTP; `"savp"`, as `RTP/SAVP`, which they refuse with 488; they are then
        /// offered `RTP/AVP` without keys.
        srtp_offer: SrtpOffer = default(SrtpOffer::BestEffort);
        /// What our rollover counter (ROC) does when a call is negotiated again: `"keep"`, it goes on, also under another
        /// key (RFC 3711 §3.3.1); `"reset"`, it begins at 0, as some platforms expect, under a new key each time. Under
        /// a new key of its own the trunk may do either.
        srtp_roc: Roc = default(Roc::Keep);
        /// RTCP on the port of RTP (RFC 5761): `"never"`, always on the next port; `"accept"`, where it offers
        /// that; `"offer"`, it is offered as well, and RTCP has the next port where it does not agree. Each side of a
        /// call has its own way. Not with payload types of 64 to 95, which could not be told from RTCP.
        rtcp_mux: RtcpMux = default(RtcpMux::Accept);
        /// Milliseconds of G.711 audio in each packet that it is sent, whatever the other side of a call sends, and that it is
        /// asked to send (`a=ptime`); less where its SDP has a shorter `a=maxptime`. The other side gets the packets that its own
        /// trunk's `ptime` or else its SDP wants, or those of 20 ms.
        ptime: Option<PacketTime> = described("packets pass as they come; with `ptime` on the other side of a call what its SDP wants, or 20");
        /// Codecs that may be used with it, by their names in SDP, in the order in which they are
        /// offered, such as `["PCMA", "PCMU", "telephone-event"]`. Where a caller and a callee
        /// have none in common but each has one law of G.711, the audio is converted between them;
        /// calls with nothing in common are refused with 488.
        codecs: Option<Vec<CodecName>> = described("all pass, as they are offered");
        /// Name of the media interface of its calls: that of a `[[media.interface]]`, or `"default"`, which is the address
        /// in `[media]`. Peers whose SDP has an address of the other family are refused with 488.
        media: Option<String> = described("the interface with the address of its listener; else the first of its listener's address family");
        /// Who may send its media besides the address in its SDP, as `latch` in `[media]`.
        latch: Option<Latch> = described("that of `[media]`");
        /// Milliseconds that a source must keep sending with `latch = "relearn"`.
        latch_window_ms: Option<u32> = described("that of `[media]`") in 20..=10_000;
        /// What its callers hear until the callee answers: `"pass"`, what the callee's side says and sends;
        /// `"ringing"`, 180 at once, and then the same; `"tone"`, a tone of ours (183 with SDP) from when
        /// the callee rings until it sends media or answers; `"instant_tone"`, the same from the beginning.
        /// With a tone the call is one of G.711 until somebody offers anew. Callers that cannot be sent a tone, because
        /// they offer no G.711, do not want to receive, or make no offer at all, get `"ringing"`.
        ringback: Ringback = default(Ringback::Pass);
        /// Country whose ringback tone it is: `"BR"`, `"DE"`, `"FR"`, `"GB"`, `"IN"` or `"US"`.
        ringback_tone: Option<Country> = described("none: needed with `ringback = \"tone\"` and `\"instant_tone\"`");
        /// What it hears while the other side of a call holds it: `"pass"`, what the other side sends; `"noise"`,
        /// comfort noise as long as the other side sends nothing, where it talks G.711.
        hold: Hold = default(Hold::Pass);
        /// Names and passwords that we ask it for.
        login: Option<TrunkLogin> = described("none: its address is enough");
        /// Name and password that it asks us for.
        account: Option<TrunkAccount> = described("none: its challenges are failures of the call");
        /// Registering with it, so that it sends us calls.
        register: Option<TrunkRegister> = described("none: it knows our address");
        /// How digits (DTMF) are exchanged with it: `"rfc4733"`, as RTP events; `"info"`, as INFO requests with
        /// `application/dtmf-relay`; `"info-dtmf"`, the same with `application/dtmf`; `"inband"`, as tones in G.711
        /// audio; `"auto"`, as RTP events where its SDP has them, else in-band, else (without G.711) by INFO if its
        /// Allow has it, and by INFO as soon as it sends a digit so. What one side of a call sends is
        /// told to the other by the other's method. `"pass"`: as they come, whatever the other
        /// side has (`docs/DTMF.md`).
        dtmf: Option<Dtmf> = described("as they come; `\"auto\"` where the other side of a call names a method");
        /// How telephone numbers are written by it and to it.
        numbers: Option<TrunkNumbers> = described("none: they pass as they are written");
        /// Who calls, as it says and as it is told.
        identity: Option<TrunkIdentity> = described("none: From alone says who calls");
        /// Header fields that pass, and changes to header fields.
        headers: Option<TrunkHeaders> = described("none pass, none are changed");
        /// What it and we prove ourselves by besides addresses and passwords.
        proof: Option<TrunkProof> = described("nothing");
        /// Session timers (RFC 4028) of its calls.
        session_timer: SessionTimer = section;
        /// Packets a second that are taken from it, on each shard; what is more is dropped unseen. From addresses that it does not
        /// list, where its users have logged in: so many from each. 0: any number; from those `logged_in_per_s` of `[guard]`.
        packets_per_s: u32 = default(0) in 0..=10_000_000;
        /// Limits on its calls.
        limits: TrunkLimits = section;
        /// Certificates for connections to and from it.
        tls: TrunkTls = section;
    }

    /// Names and passwords that a trunk must prove its requests by (RFC 3261 §22, RFC 8760). A request without them is
    /// challenged with 401, whoever sends it; ACK and CANCEL never are, nor are requests inside of a call that come from
    /// where the call did (REFER is). Without `target` and `outbound_proxy` its calls go to where its users have
    /// registered (`docs/REGISTRATION.md`); a call is for the user whose name is the called number, and for the only user
    /// whatever the number is.
    pub struct TrunkLogin {
        /// Who may log in. At least one.
        users as "user": Vec<LoginUser> = required;
        /// What the passwords are for, as the trunk is told and may show to a person. Two trunks may have the same realm
        /// when no user is in both.
        realm: String = default("sbcd".to_owned());
        /// Hash algorithms, of `"MD5"`, `"SHA-256"` and `"SHA-512-256"`, the best first. Each is offered with a challenge
        /// of its own; old devices take the first whatever it is, and know MD5 alone.
        algorithms: Vec<Algorithm> = default(vec![Algorithm::Sha256, Algorithm::Md5]);
        /// Challenge requests inside of calls, too: re-INVITE, UPDATE, INFO, BYE and the others.
        inside_calls: bool = default(false);
        /// Shortest registration in seconds; who asks for less is told so (423).
        expires_min_s: u32 = default(60) in 10..=3_600;
        /// Longest registration in seconds that is granted, also to who asks for none.
        expires_max_s: u32 = default(3_600) in 10..=86_400;
        /// Longest registration in seconds that is granted to who is behind a NAT and sends datagrams: the way to it closes
        /// when it is silent for longer than its NAT waits.
        expires_nat_s: u32 = default(60) in 10..=86_400;
        /// Contacts that one user may have. One more takes the place of that whose time is over first.
        contacts_max: u16 = default(5) in 1..=32;
        /// Call users with the called number in the Request-URI, as a PBX wants it that has many. Otherwise it is the
        /// contact as it was registered, and the called number is in To.
        number_in_uri: bool = default(false);
    }

    /// Somebody who may log in. One of the three ways to give the password.
    pub struct LoginUser {
        /// The name.
        username: String = required;
        /// The password, in this file.
        password: Option<Secret> = described("see the other two");
        /// Environment variable that holds the password when `sbcd` starts.
        password_env: Option<String> = described("see the other two");
        /// File that holds the password, and nothing else but a line break behind it.
        password_file: Option<FilePath> = described("see the other two");
    }

    /// What we answer a trunk with that challenges our requests with 401 or 407 (RFC 3261 §22, RFC 8760: MD5,
    /// SHA-256, SHA-512-256). One of the three ways to give the password.
    pub struct TrunkAccount {
        /// Name of the account.
        username: String = required;
        /// Its password, in this file.
        password: Option<Secret> = described("see the other two");
        /// Environment variable that holds its password when `sbcd` starts.
        password_env: Option<String> = described("see the other two");
        /// File that holds its password, and nothing else but a line break behind it.
        password_file: Option<FilePath> = described("see the other two");
    }

    /// Registering with a trunk (RFC 3261 §10): it is told where we are, again before the time ends that it grants,
    /// and that we go when `sbcd` drains. `sbc-ctl trunks` shows whether it knows us. A call to the Contact that it was
    /// told is for the number in To. Whatever makes many trunks due together, REGISTERs leave one by one, 20 ms apart, or as
    /// much closer as lets all trunks have their turn within 10 s, and within 1 s when we go.
    pub struct TrunkRegister {
        /// User part of the address of record.
        user: Option<String> = described("the account's `username`");
        /// Domain of the address of record.
        domain: Option<Domain> = described("the trunk's `domain`");
        /// Seconds that are asked for. What it grants holds, and what it asks for at least (423).
        expires_s: u32 = default(3_600) in 60..=86_400;
    }

    /// Certificates for TLS connections to and from a trunk (RFC 5922). Its certificate must come from
    /// a trusted CA and have the right name, as a DNS name, an address or a `sip:` URI.
    pub struct TrunkTls {
        /// Name that the trunk's certificate must have when we connect to it; also sent as SNI.
        server_name: Option<String> = described("the name or address in `target`");
        /// CAs that its certificate must come from (PEM).
        ca: Option<FilePath> = described("the system's");
        /// Certificate chain that we show when we connect and are asked for one (PEM).
        certificate: Option<FilePath> = described("none is shown");
        /// Its private key (PEM, not encrypted).
        key: Option<FilePath> = described("none: only with `certificate`, which needs it");
        /// Names, one of which the trunk's certificate must have when it connects to us. Needs
        /// `client_auth` on its listener.
        client_names: Vec<String> = default(Vec::new());
    }

    /// Session timers (RFC 4028): a call whose other end is gone without a BYE is ended.
    pub struct SessionTimer {
        /// Seconds without a refresh after which a session ends, as we ask for it. 0: session
        /// timers only when the trunk asks for them.
        expires_s: u32 = default(1_800) in 0..=86_400;
        /// Shortest session in seconds that we agree to.
        min_s: u32 = default(90) in 90..=86_400;
    }

    /// Limits on the calls of one trunk. All that apply must admit a call.
    pub struct TrunkLimits {
        /// Calls from the trunk.
        inbound: Limit = section;
        /// Calls to the trunk.
        outbound: Limit = section;
        /// Calls from and to the trunk together.
        both: Limit = section;
        /// Status of the answer to its calls that are over any limit.
        reject_code: Option<u16> = described("that of `[limits]`") in 400..=699;
        /// Seconds in the Retry-After of that answer.
        retry_after_s: Option<u16> = described("until the rate allows a call again; 5 when all channels are in use") in 1..=3_600;
    }

    /// One limit.
    pub struct Limit {
        /// New calls per second. 0: unlimited.
        cps: u32 = default(0) in 0..=1_000_000;
        /// Calls that may come at once before `cps` holds them back. In any second at most
        /// `burst` + `cps` calls are admitted.
        burst: Option<u32> = described("a tenth of `cps`, at least 1") in 1..=1_000_000;
        /// Calls at the same time. 0: unlimited.
        channels: u32 = default(0) in 0..=10_000_000;
        /// Milliseconds that a call may wait, after 100 Trying, until `cps` allows it, instead of being refused. Calls
        /// leave in the order in which they came. Only for `outbound`. 0: they are refused at once.
        max_wait_ms: u32 = default(0) in 0..=30_000;
    }

    /// Where calls go (`docs/ROUTING.md`). The route with the longest prefix of the called number wins; of several with the same
    /// prefix, one that names the caller's trunk in `from` before one without `from`, one with dates before one
    /// without, then the one that comes first.
    pub struct Route {
        /// Name, for `sbc-ctl`, for logs and in files with prefixes.
        name: Option<String> = described("`route 1` and so on, by its place");
        /// Trunks whose calls it is for.
        from: Option<Names> = described("the calls of all trunks");
        /// What the called numbers begin with: country code and what follows, without `+`.
        prefixes: Vec<Digits> = default(Vec::new());
        /// File with more prefixes, one a line; behind a prefix may stand the name of the route that it belongs to, if not to
        /// this one. A route without any prefix takes what no other does.
        prefixes_file: Option<FilePath> = described("none");
        /// When it begins to hold.
        starts: Option<Moment> = described("it holds already");
        /// When it ceases to hold.
        ends: Option<Moment> = described("never");
        /// Trunks that the calls go to. When one does not take a call, the next is tried; one that is down, has no address
        /// or is at its limit is passed over.
        to: Names = required;
        /// Which trunk is tried first: `"sequential"`, the first; `"round_robin"`, with each call the next one;
        /// `"weighted"`, drawn by `weights`.
        strategy: Strategy = default(Strategy::Sequential);
        /// Share of each trunk in `to`.
        weights: Vec<u16> = default(Vec::new());
        /// When the next trunk is tried.
        failover: RouteFailover = inline;
    }

    /// When a call goes on to the next trunk of its rule.
    pub struct RouteFailover {
        /// Statuses after which no other trunk is tried. After 6xx none ever is.
        stop_on: Vec<u16> = default(Failover::STOP_ON.to_vec());
        /// Seconds without any 18x after which the next trunk is tried; 100 does not count. 5 is usual where trunks
        /// ring at once, and too short for calls to mobile and far-away networks. 0: the callee need not ring.
        ringback_timeout_s: u32 = default(0) in 0..=300;
        /// Seconds without an answer after which the next trunk is tried.
        no_answer_s: Option<u32> = described("`no_answer_s` of `[sip]`") in 1..=3_600;
        /// Most INVITEs for one call, to all trunks and their addresses together.
        attempts_max: u16 = default(8) in 1..=8;
    }

    /// Complete numbers of customers (DID), and where calls to them go. They win over routes, and of several blocks with a
    /// number the smallest wins.
    pub struct Did {
        /// Name, for `sbc-ctl` and for logs.
        name: Option<String> = described("`did 1` and so on, by its place");
        /// The numbers: `"+4930123400"`, a block as `"+4930123400-99"` (the last digits from 00 to 99), or all that begin
        /// alike as `"+4930123*"`, which are as good as a prefix of a route.
        numbers: Vec<Numbers> = required;
        /// Names that the number has outside, where `numbers` is one number: a Request-URI with the user and the host of
        /// `"support@sip.example.com"`, or with the host of `"sales.example.com"` and whatever user, means it.
        aliases: Vec<Alias> = default(Vec::new());
        /// Trunks whose calls it is for.
        from: Option<Names> = described("the calls of all trunks");
        /// When it begins to hold. While it holds it wins over one without dates for the same numbers, so that numbers can
        /// move to another trunk at a certain time.
        starts: Option<Moment> = described("it holds already");
        /// When it ceases to hold.
        ends: Option<Moment> = described("never");
        /// Trunks that the calls go to, as in `[[route]]`.
        to: Names = required;
        /// Which trunk is tried first, as in `[[route]]`.
        strategy: Strategy = default(Strategy::Sequential);
        /// Share of each trunk in `to`.
        weights: Vec<u16> = default(Vec::new());
        /// When the next trunk is tried.
        failover: RouteFailover = inline;
    }

    /// Emergency numbers. Calls to them win over all routes. Trunks of other regions have sections of their
    /// own, with `from`; one section may be written with single brackets.
    pub struct Emergency {
        /// The numbers as they are dialled, such as `["112", "110"]`.
        numbers: Vec<Digits> = required;
        /// Trunks whose calls it is for. For them it wins over a section for all that has the same number.
        from: Option<Names> = described("the calls of all trunks");
        /// Trunks that the calls go to, in this order; those that are down come last.
        to: Names = required;
        /// Channels of `channels` in `[limits]` that are kept for these calls: all others together may have so many less.
        /// Those of several sections add up, and are for the calls of all of them.
        reserve: u32 = default(0) in 0..=10_000_000;
        /// When the next trunk is tried.
        failover: RouteFailover = inline;
    }

    /// The socket that `sbc-ctl` uses (`docs/ADMIN.md`).
    pub struct Admin {
        /// Path of the Unix socket.
        socket: Option<PathBuf> = described("for root `/run/sbcd/sbcd.sock`; else `$XDG_RUNTIME_DIR/sbcd.sock`, or without that variable `/tmp/sbcd-<uid>/admin.sock`");
        /// Permissions of the socket. Whoever may write to it may hang up calls.
        mode: FileMode = default(FileMode(0o600));
    }

    /// Logging, to standard error.
    pub struct Log {
        /// Least severe lines that are written. `sbc-ctl log-level` changes it while running.
        level: LogLevel = default(LogLevel::Info);
    }

    /// End of service: after SIGTERM or `sbc-ctl drain` no new call is taken.
    pub struct Drain {
        /// Seconds that running calls may go on; then they are ended with BYE. 0: they are ended
        /// at once.
        timeout_s: u32 = default(60) in 0..=86_400;
    }
}

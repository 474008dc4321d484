//! Counters and gauges of a shard: declared once, summed over shards, shown by `sbc-ctl stats`.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Monotonic counts since start-up, one per kind of thing that happened on a shard.
        #[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub struct ShardCounters {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl ShardCounters {
            /// Name and help text of every counter, in declaration order.
            pub const HELP: &'static [(&'static str, &'static str)] =
                &[$((stringify!($name), concat!($($doc),+)),)+];

            /// Add another shard's counts to these.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }

            /// Name and value of every counter, in declaration order.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }
    };
}

counters! {
    /// SIP datagrams received, before any check.
    sip_received,
    /// SIP messages sent, retransmissions included.
    sip_sent,
    /// Datagrams from addresses that no trunk lists; dropped before parsing.
    sip_unknown_source,
    /// Datagrams and connections dropped because `[[acl]]` denies their source.
    guard_denied,
    /// Datagrams and connections dropped because their source is banned.
    guard_banned,
    /// Datagrams and connections dropped because sources that no trunk lists sent too many.
    guard_rate,
    /// Datagrams and connections of a trunk dropped because it sent more than its `packets_per_s`.
    guard_rate_trunk,
    /// Datagrams and connections dropped because an address that has logged in, or somebody in its name, sent too many.
    guard_rate_logged_in,
    /// Addresses that have logged in, or are registered, forgotten before their time because there are too many: the rules for
    /// strangers hold for them until they come again.
    guard_logged_in_displaced,
    /// Offences of sources that no trunk lists.
    guard_offences,
    /// The same in the name of trunks, which are never banned.
    guard_offences_trunk,
    /// Bans made for offences.
    guard_bans,
    /// CRLF keepalives and empty datagrams.
    sip_keepalives,
    /// Messages that could not be parsed; answered 400 where the RFC allows.
    sip_malformed,
    /// Messages handed to the shard that owns the call.
    handed_over,
    /// Hand-overs dropped because the other shard's queue was full.
    handover_dropped,
    /// Retransmitted requests absorbed by their transaction.
    retransmissions_received,
    /// Requests and final responses we sent again.
    retransmissions_sent,
    /// Responses that match no transaction.
    stray_responses,
    /// ACKs that match no transaction and no dialog.
    stray_acks,
    /// New INVITEs seen (retransmissions not counted).
    calls_attempted,
    /// Calls admitted and sent on.
    calls_admitted,
    /// Calls answered.
    calls_answered,
    /// Admitted calls that ended without an answer.
    calls_failed,
    /// Calls refused by a calls-per-second limit.
    refused_cps,
    /// Calls refused by a channel limit.
    refused_channels,
    /// New calls refused because the shard is overloaded.
    refused_overload,
    /// Calls that waited for their place in the rate of the trunk that they go to.
    calls_held,
    /// Of these, calls that were sent on when it had come.
    calls_held_sent,
    /// Of these, calls that were over before: cancelled, or the shard drains.
    calls_held_left,
    /// Calls refused because too many wait already.
    refused_held_max,
    /// Calls refused because the shard drains.
    refused_draining,
    /// Calls refused because their trunk, or the one they were for, is switched off.
    refused_disabled,
    /// Configurations taken over while running.
    configurations,
    /// Calls refused because no media port was free.
    refused_no_media_port,
    /// Calls refused because no route leads from that trunk.
    refused_no_route,
    /// Calls refused because the table of calls is full.
    refused_calls_max,
    /// Requests refused because the table of transactions is full.
    refused_transactions_max,
    /// Requests refused for what they contain (420, 405, 415, 483, 488 and the like).
    refused_request,
    /// Calls and messages refused because the trunk did not prove itself (`[trunk.proof.inbound]`).
    refused_proof,
    /// Header fields of new calls that a trunk may pass and that did not: too many, too long, or not to be written.
    headers_dropped,
    /// Calls of which a new caller took over one side (Replaces), by our doing.
    calls_taken_over,
    /// Transfers that we have carried out.
    transfers,
    /// Transfers that we began and that failed.
    transfers_failed,
    /// MESSAGEs outside calls passed on.
    messages_passed,
    /// MESSAGEs outside calls refused, for whatever reason.
    messages_refused,
    /// MESSAGEs refused because too many wait for their answers.
    messages_waiting_max,
    /// REFERs passed to the other side.
    refers_passed,
    /// Provisional responses whose dialog is not followed, because the callee's side has forked
    /// more often than we keep account of.
    early_forks_max,
    /// Reliable provisional responses ignored because one before them is missing.
    provisional_gaps,
    /// Early offers of a callee's fork left unacknowledged because the caller has another one.
    early_offers_ignored,
    /// Session refreshes sent.
    session_refreshes,
    /// Calls ended because a session was not refreshed in time.
    sessions_expired,
    /// Calls refused because their Request-URI names a trunk that the caller's may not use.
    refused_domain,
    /// INVITEs sent to another address or contact because an attempt failed.
    attempts_repeated,
    /// Calls that went on to another trunk of their route because one did not take them.
    failovers,
    /// Trunks of routes passed over: down, without an address, over a limit, or of no use for the caller's offer.
    targets_skipped,
    /// Attempts given up because the callee did not ring in time.
    ringback_timeouts,
    /// Calls to emergency numbers.
    emergency_calls,
    /// REGISTERs sent to trunks; those repeated with credentials not counted.
    registers_sent,
    /// Registrations that failed, or did not come in time.
    registers_failed,
    /// REGISTERs of users of trunks, with the right credentials.
    registers_received,
    /// Those answered with 200.
    registers_granted,
    /// Those refused.
    registers_refused,
    /// REGISTERs refused because too many wait to be stored.
    registers_waiting_max,
    /// REGISTERs without an answer because they were not stored in time.
    registers_not_stored,
    /// REGISTERs answered with 200 whose bindings the disk has not taken: a restart would lose them.
    registers_unsaved,
    /// Contacts of users that had to make room for a new one.
    bindings_displaced,
    /// Calls and MESSAGEs refused because several trunks share the address that they come from, and nothing tells which
    /// they are for (485).
    refused_ambiguous,
    /// Calls refused because the called user is not registered.
    refused_not_registered,
    /// Calls refused because the trunk that they go to has no such user.
    refused_no_user,
    /// Requests that came without credentials, or with such as must be given anew, and were challenged (401).
    challenges_sent,
    /// Requests of sources that no trunk lists, neither challenged nor refused because too many came.
    challenges_withheld,
    /// Requests with the right credentials.
    logins_proven,
    /// Requests with a wrong name or password, or credentials that cannot be read.
    logins_refused,
    /// Used nonces forgotten before their time because there are too many: their senders are challenged again.
    nonces_forgotten,
    /// Requests sent again with credentials after a challenge.
    challenges_answered,
    /// Challenges that there was no answer to, or whose answer did not convince.
    challenges_refused,
    /// Calls offered again as plain RTP because SRTP was refused.
    srtp_fallbacks,
    /// Calls that the callee's side redirected (3xx).
    redirections,
    /// Callers that were played a ringback tone of ours.
    ringback_tones,
    /// Contacts of redirections not followed: they lead away from the trunk.
    redirections_refused,
    /// Calls refused because their trunk does not answer OPTIONS.
    refused_trunk_down,
    /// OPTIONS sent to see whether trunks answer.
    probes_sent,
    /// OPTIONS of ours without an answer that counts.
    probes_failed,
    /// Calls refused because no address of the trunk's name is known.
    refused_unresolved,
    /// Names that DNS was asked for.
    names_asked,
    /// Names that DNS has no usable address for.
    names_absent,
    /// Questions that the DNS servers did not answer, or not with sense.
    names_failed,
    /// Names of peers forgotten early because there are too many.
    names_evicted,
    /// Answered calls ended because no media arrived for the configured time.
    media_timeouts,
    /// Answered calls ended because one side never sent valid media for the configured time.
    media_unlatched_timeouts,
    /// Answered calls that ended, after ten seconds or more, without any valid media from a side that
    /// should have sent some: one-way audio.
    media_unlatched,
    /// Calls ended because an invariant did not hold. Always 0, or a bug.
    internal_errors,
    /// RTP and RTCP packets received.
    media_received,
    /// RTP and RTCP packets forwarded.
    media_forwarded,
    /// Media packets for a port that no call uses.
    media_no_session,
    /// Media packets that are not RTP or RTCP version 2.
    media_malformed,
    /// Media packets from an address that is not the peer's.
    media_wrong_source,
    /// Media packets with nowhere to go: far side unknown or on hold.
    media_no_destination,
    /// Media packets of a payload type that the other side has not agreed to.
    media_format,
    /// Media packets with events of digits that the other side is told in another way.
    media_digits,
    /// Media packets whose payload left in packets of another length.
    media_reframed,
    /// Digits (DTMF) of peers whose other side is told them in another way.
    digits_heard,
    /// Digits that such a side was told.
    digits_told,
    /// Digits that came by a second method and had been heard by the first already.
    digits_ignored,
    /// Digits that the other side was not told: it refused them, was on hold, or too many waited.
    digits_lost,
    /// Media packets from before a change of source, or in whose place something of our own was sent.
    media_displaced,
    /// RTP and RTCP packets of our own that left, those of another length than they came with among them.
    media_originated,
    /// Media packets that are not protected under their peer's key.
    media_bad_tag,
    /// Protected media packets that have been here before, or are too old to tell.
    media_replayed,
    /// Media packets for which a key is used up, knows too many sources, or finds no room for a tag.
    media_srtp_failed,
    /// Media packets that the kernel refused to send.
    media_send_errors,
    /// Connections refused because no trunk lists their source.
    streams_unknown_source,
    /// Connections refused because their source has too many already.
    streams_refused_per_source,
    /// Connections refused because too many have not logged in yet.
    streams_refused_strangers,
    /// Connections closed because nobody logged in on them in time.
    streams_login_timeouts,
    /// Connections refused, or not opened, because there are too many.
    streams_refused_max,
    /// Connections that were not open in time, TLS handshakes included.
    streams_connect_timeouts,
    /// Connections that peers closed in order.
    streams_ended,
    /// Connections that ended because TLS failed.
    streams_tls_failed,
    /// Connections closed because a message did not become whole in time.
    streams_message_timeouts,
    /// Connections closed because nothing went over them for the configured time.
    streams_idle,
    /// Connections closed because the peer stopped reading.
    streams_send_timeouts,
    /// Connections closed because too many bytes waited for the peer to read.
    streams_send_overflow,
    /// Connections closed because what came on them was not SIP.
    streams_not_sip,
    /// Connections closed because a message was too large; answered 513 where possible.
    streams_too_large,
    /// Connections closed because Content-Length was missing or bad; answered 400 where possible.
    streams_no_length,
    /// Connections closed because their trunk is no longer configured.
    streams_trunk_removed,
    /// Large requests that went as datagrams because no connection opened for them.
    streams_fallbacks,
    /// Messages that waited for a connection that did not open.
    streams_messages_lost,
    /// Keepalives answered.
    streams_pongs_sent,
    /// Keepalives sent on connections that we opened.
    streams_keepalives_sent,
    /// Requests over TLS refused because the peer's certificate has none of the trunk's names.
    streams_identity_refused,
    /// Messages that left by another shard's connection.
    streams_sent_via,
    /// Requests of other shards that could not be sent; those shards were told.
    streams_handed_back,
    /// Times a multishot receive ended because no buffer was free.
    ring_buffers_exhausted,
    /// SIP messages the kernel refused to send.
    sip_send_errors,
    /// Log events dropped because the queue to the control thread was full.
    events_dropped,
    /// System calls made by the shard's loop to receive, send and wait.
    io_syscalls,
    /// Turns of the shard's loop: wake-ups, with or without work.
    io_turns,
    /// Receives that failed: ICMP errors about earlier sends, shortages.
    receive_errors,
    /// Media packets longer than a receive buffer.
    media_truncated,
    /// Media sends refused because the peer's port is closed (ICMP).
    media_send_refused,
    /// Media sends refused because a queue of the kernel was full.
    media_send_blocked,
    /// Media sends refused because no route leads to the peer.
    media_send_unreachable,
    /// Media sockets that could not be connected to the learned peer; their packets still flow.
    media_connect_errors,
    /// TCP connections accepted from peers, before any check.
    streams_accepted,
    /// TCP connections opened to peers.
    streams_connected,
    /// TCP connections to peers that could not be opened.
    streams_connect_errors,
    /// Connections that broke: resets, time-outs of the kernel.
    streams_broken,
    /// Connections closed at once because the limit on open files leaves no room for them.
    streams_no_descriptor,
    /// Accepts that failed: the peer was gone already, or the system was short of something.
    accept_errors,
    /// TLS handshakes that succeeded, in both directions.
    tls_handshakes,
    /// Turns of the shard's loop that put handshakes off to the next because there were too many.
    tls_handshakes_put_off,
    /// TLS handshakes that failed, and connections with a record that is none.
    tls_failures,
}

/// What a shard holds right now; every one returns to 0 when traffic stops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Gauges {
    /// Calls in any state.
    pub calls: u64,
    /// Media port pairs in use (not those in quarantine).
    pub media_pairs: u64,
    /// Media port pairs resting after use.
    pub media_pairs_quarantined: u64,
    /// Transactions that still have work to do.
    pub transactions: u64,
    /// Finished transactions kept only to absorb retransmissions.
    pub tombstones: u64,
    /// Armed timers.
    pub timers: u64,
    /// TCP and TLS connections, those being opened included.
    #[serde(default)]
    pub connections: u64,
    /// Registrars that are still to be told, or to confirm, that we go, while the shard drains.
    #[serde(default)]
    pub registrars_to_leave: u64,
}

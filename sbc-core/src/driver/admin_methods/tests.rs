//! The methods against fake shards.

use super::*;
use crate::{
    config,
    driver::{
        backend::{BackendKind, Chosen},
        clock::Clock,
        control::Shards as ShardsHandle,
        dns::Dns,
        handover::{ShardLinks, link},
        registrar::Registrar,
        running::Running,
    },
    traffic::TrunkTraffic,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// What the fake shards hold: calls by slot, and whether new ones are refused.
#[derive(Debug, Default)]
struct FakeShard {
    calls: BTreeMap<u32, CallSummary>,
    silent: bool,
}

impl FakeShard {
    fn answer(&mut self, command: Command) -> Option<Reply> {
        let slot_of = |calls: &BTreeMap<u32, CallSummary>, id: &str| {
            calls.values().find(|c| c.id == id).map(|c| c.slot)
        };
        if self.silent {
            return None;
        }
        Some(match command {
            Command::Calls { after, limit } => {
                let first = after.map_or(0, |slot| slot + 1);
                Reply::Calls(
                    self.calls
                        .range(first..)
                        .take(limit)
                        .map(|(_, c)| c.clone())
                        .collect(),
                )
            }
            Command::CallShow(id) => match slot_of(&self.calls, &id) {
                Some(slot) => Reply::Call(Box::new(CallDetail {
                    summary: self.calls[&slot].clone(),
                    calling_number: None,
                    called_number: None,
                    legs: Vec::new(),
                    media: Vec::new(),
                    attempts: Vec::new(),
                })),
                None => Reply::NoSuchCall,
            },
            Command::Hangup(id) => match slot_of(&self.calls, &id) {
                Some(slot) => {
                    self.calls.remove(&slot);
                    Reply::Done
                }
                None => Reply::NoSuchCall,
            },
            Command::Stats => {
                let counters = ShardCounters {
                    calls_attempted: 10,
                    ..ShardCounters::default()
                };
                let gauges = Gauges {
                    calls: self.calls.len() as u64,
                    ..Gauges::default()
                };
                Reply::Stats(Box::new(counters), gauges)
            }
            Command::MediaPairs => Reply::MediaPairs(vec![(3, 2)]),
            Command::Traffic => {
                let mut traffic = [TrunkTraffic::default(); 2];
                let out = &mut traffic[1].outbound;
                (out.last_seconds, out.long.seizures, out.long.answers) = (6, 2, 1);
                Reply::Traffic(traffic[..self.calls.len()].to_vec())
            }
            _ => Reply::Done,
        })
    }
}

async fn run_shard(mut links: ShardLinks, mut shard: FakeShard) {
    loop {
        while let Some((id, command)) = links.request() {
            if let Some(reply) = shard.answer(command) {
                links.reply(id, Box::new(reply));
            }
        }
        links.wake_receivers();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn call(shard: u8, slot: u32) -> CallSummary {
    CallSummary {
        id: format!("{shard}-{slot}"),
        shard,
        slot,
        state: "answered".into(),
        from_trunk: if slot.is_multiple_of(2) {
            "carrier"
        } else {
            "platform"
        }
        .into(),
        to_trunk: "elsewhere".into(),
        caller: format!("49{slot:05}"),
        callee: "1".into(),
        age_ms: 5,
    }
}

fn shard_with(shard: u8, slots: impl IntoIterator<Item = u32>) -> FakeShard {
    FakeShard {
        calls: slots.into_iter().map(|slot| (slot, call(shard, slot))).collect(),
        silent: false,
    }
}

/// Runs `test` with the methods of a daemon that has these shards.
fn with<F: Future<Output = ()>>(shards: Vec<FakeShard>, test: impl FnOnce(Rc<Methods>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let (shard_links, links) = link(u8::try_from(shards.len()).unwrap()).unwrap();
        for (links, shard) in shard_links.into_iter().zip(shards) {
            tokio::task::spawn_local(run_shard(links, shard));
        }
        let handle = ShardsHandle::new(links);
        let (failed, _failure) = tokio::sync::oneshot::channel();
        let config = config::default_config();
        let (snapshot, admission) = config.compile().unwrap();
        let snapshot = Arc::new(snapshot);
        let dns = Dns::new(&config.dns, &snapshot);
        let clock = Clock::start();
        let (registrar, _) = Registrar::in_memory(clock);
        tokio::task::spawn_local(handle.clone().run(failed, dns, registrar.clone()));
        let daemon = Daemon {
            shards: handle,
            tls: Arc::new(tls::Shared::load(Arc::clone(&snapshot)).unwrap()),
            running: Running::new(None, config::DEFAULT_TOML, config, snapshot),
            admission: Arc::new(admission),
            registrar,
            clock,
            backend: Chosen {
                kind: BackendKind::Syscall,
                why: "the test has no ring".into(),
            },
            media_pairs_max: vec![10],
        };
        test(Rc::new(Methods::new(Rc::new(daemon)))).await;
    });
}

/// All pages, with the number of pages.
async fn all(methods: &Methods, mut list: ListCalls) -> (Vec<String>, usize) {
    let mut ids = Vec::new();
    let mut pages = 0;
    loop {
        let page = methods.calls(&list).await.unwrap();
        assert!(page.calls.len() <= list.rows() as usize);
        pages += 1;
        ids.extend(page.calls.into_iter().map(|c| c.id));
        list.after = page.next;
        if list.after.is_none() {
            return (ids, pages);
        }
    }
}

#[test]
fn pages_hold_every_call_once_and_in_order() {
    let shards = || {
        vec![
            shard_with(0, 0..600),
            shard_with(1, []),
            shard_with(2, [3, 9, 500]),
        ]
    };
    let expected: Vec<String> = (0..600)
        .map(|slot| format!("0-{slot}"))
        .chain(["2-3", "2-9", "2-500"].map(String::from))
        .collect();
    with(shards(), |methods| async move {
        for limit in [1000, 600, 256, 100, 7] {
            let limit = Some(limit);
            let (ids, _) = all(
                &methods,
                ListCalls {
                    limit,
                    ..Default::default()
                },
            )
            .await;
            assert_eq!(ids, expected, "pages of {limit:?}");
        }
        let (_, pages) = all(
            &methods,
            ListCalls {
                limit: Some(1000),
                ..Default::default()
            },
        )
        .await;
        assert_eq!(pages, 1);
    });
}

#[test]
fn filters_keep_what_matches_and_find_it_on_later_pages() {
    with(vec![shard_with(0, 0..300)], |methods| async move {
        let number = Some("4900299".to_owned());
        let list = ListCalls {
            number,
            ..Default::default()
        };
        let (ids, pages) = all(&methods, list).await;
        assert_eq!(ids, ["0-299"]);
        assert!(pages >= 3, "100 calls are looked at for a page");
        let trunk = Some("carrier".to_owned());
        let (ids, _) = all(
            &methods,
            ListCalls {
                trunk,
                ..Default::default()
            },
        )
        .await;
        assert_eq!(ids.len(), 150);
        let trunk = Some("nobody".to_owned());
        let failure = methods
            .calls(&ListCalls {
                trunk,
                ..Default::default()
            })
            .await
            .unwrap_err();
        assert_eq!(failure.reason(), Some(Reason::NoSuchTrunk));
        assert!(failure.message.contains("carrier, platform"), "{failure}");
    });
}

#[test]
fn huge_rows_make_small_pages() {
    let mut shard = shard_with(0, 0..200);
    for call in shard.calls.values_mut() {
        call.caller = "9".repeat(60_000);
    }
    with(vec![shard], |methods| async move {
        let page = methods
            .calls(&ListCalls {
                limit: Some(1000),
                ..Default::default()
            })
            .await
            .unwrap();
        let bytes: usize = page.calls.iter().map(|c| c.caller.len()).sum();
        assert!(bytes < 2 * PAGE_BYTES, "{bytes}");
        assert!(page.next.is_some());
        let (ids, _) = all(
            &methods,
            ListCalls {
                limit: Some(1000),
                ..Default::default()
            },
        )
        .await;
        assert_eq!(ids.len(), 200);
    });
}

#[test]
fn a_call_is_found_on_any_shard_and_hung_up_once() {
    with(
        vec![shard_with(0, [1]), shard_with(1, [7])],
        |methods| async move {
            assert_eq!(methods.call("1-7".into()).await.unwrap().summary.slot, 7);
            assert_eq!(methods.hang_up("1-7".into()).await.unwrap().id, "1-7");
            let gone = methods.hang_up("1-7".into()).await.unwrap_err();
            assert_eq!(gone.reason(), Some(Reason::NoSuchCall));
            let status = methods.status().await.unwrap();
            assert_eq!((status.calls, status.calls_attempted, status.shards), (1, 20, 2));
            let [media] = &status.media_interfaces[..] else {
                panic!("{:?}", status.media_interfaces)
            };
            assert_eq!(
                (media.pairs_max, media.pairs, media.pairs_quarantined),
                (10, 6, 4)
            );
        },
    );
}

#[test]
fn a_silent_shard_is_an_error_and_not_a_missing_call() {
    let silent = FakeShard {
        silent: true,
        ..FakeShard::default()
    };
    with(vec![silent, shard_with(1, [7])], |methods| async move {
        assert!(methods.call("1-7".into()).await.is_ok(), "the other shard has it");
        let unknown = methods.call("0-1".into()).await.unwrap_err();
        assert_eq!(unknown.reason(), Some(Reason::Unavailable), "it may be there");
        let stats = methods.stats().await.unwrap_err();
        assert_eq!(stats.reason(), Some(Reason::Unavailable));
    });
}

fn change(trunk: Option<&str>) -> LimitChange {
    LimitChange {
        trunk: trunk.map(str::to_owned),
        direction: trunk.map(|_| Direction::Inbound),
        ..LimitChange::default()
    }
}

#[test]
fn limits_change_at_once_and_all_or_none() {
    with(vec![shard_with(0, [])], |methods| async move {
        let cps = Some(100);
        let carrier = LimitChange {
            cps,
            ..change(Some("carrier"))
        };
        let channels = Some(5);
        let global = LimitChange {
            channels,
            ..change(None)
        };
        let changes = vec![carrier.clone(), global.clone()];
        let after = methods.set_limits(&SetLimits { changes }).unwrap().limits;
        assert_eq!(
            (after[0].cps, after[0].burst),
            (100, 10),
            "the burst comes with the rate"
        );
        assert_eq!(
            (after[1].channels, after[1].scope.to_string().as_str()),
            (5, "global")
        );

        let burst = Some(7);
        let set = |c: LimitChange| {
            methods
                .set_limits(&SetLimits { changes: vec![c] })
                .unwrap()
                .limits
                .remove(0)
        };
        assert_eq!(
            set(LimitChange {
                burst,
                ..change(Some("carrier"))
            })
            .burst,
            7
        );
        let kept = set(LimitChange {
            cps: Some(300),
            ..change(Some("carrier"))
        });
        assert_eq!((kept.cps, kept.burst), (300, 7), "a chosen burst stays");

        let channels = Some(9);
        let nobody = LimitChange {
            channels,
            ..change(Some("nobody"))
        };
        let first = LimitChange {
            channels,
            ..change(None)
        };
        let refused = methods
            .set_limits(&SetLimits {
                changes: vec![first, nobody],
            })
            .unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::NoSuchTrunk));
        let shown = methods.limits(None).unwrap().limits;
        assert_eq!(shown[0].channels, 5, "nothing of a refused request is done");
        assert_eq!(shown.len(), 1 + 2 * 3);
        assert_eq!(methods.limits(Some("carrier")).unwrap().limits.len(), 3);
    });
}

#[test]
fn a_value_that_stays_does_not_refill_the_bucket() {
    with(vec![shard_with(0, [])], |methods| async move {
        let set = |changes| methods.set_limits(&SetLimits { changes }).unwrap();
        let (cps, burst) = (Some(1), Some(1));
        set(vec![LimitChange {
            cps,
            burst,
            ..change(None)
        }]);
        let daemon = &methods.daemon;
        let admit = || {
            daemon
                .admission
                .admit(daemon.clock.now(), &[daemon.running.snapshot().limits])
        };
        let permit = admit().unwrap();
        assert!(admit().is_err());
        set(vec![LimitChange {
            cps,
            burst,
            ..change(None)
        }]);
        assert!(admit().is_err(), "setting the same rate again gives no token");
        daemon.admission.release(permit);
    });
}

#[test]
fn drain_and_its_end() {
    with(vec![shard_with(0, [1, 2])], |methods| async move {
        let draining = methods.drain(Some(true)).await.unwrap();
        assert_eq!((draining.draining, draining.calls), (true, 2));
        assert_eq!(methods.status().await.unwrap().state, State::Draining);
        assert!(!methods.drain(Some(false)).await.unwrap().draining);
        methods.daemon.shards.set_stopping();
        assert_eq!(methods.status().await.unwrap().state, State::Stopping);
        let refused = methods.drain(Some(false)).await.unwrap_err();
        assert_eq!(refused.reason(), Some(Reason::Unavailable));
    });
}

#[test]
fn trunks_show_what_the_configuration_says() {
    with(vec![shard_with(0, [])], |methods| async move {
        let trunks = methods.trunks().await.trunks;
        assert_eq!(trunks[0].hosts, ["127.0.0.2"]);
        assert_eq!(trunks[0].route.as_deref(), Some("platform"));
        assert_eq!((trunks[0].listener.as_str(), trunks[0].limits.len()), ("main", 3));
    });
}

#[test]
fn the_calls_of_a_trunk_are_those_of_all_shards() {
    // One of the shards has not heard of the second trunk.
    let shards = vec![shard_with(0, [1, 2]), shard_with(1, [1]), shard_with(2, [1, 2])];
    with(shards, |methods| async move {
        let trunks = methods.trunks().await.trunks;
        assert_eq!(trunks[0].traffic, Some(TrafficStatus::default()));
        let out = trunks[1].traffic.unwrap().outbound;
        assert_eq!((out.cps, out.minutes_5.asr), (2.4, None));
        let hour = out.minutes_60;
        assert_eq!((hour.seizures, hour.answers, hour.asr), (4, 2, Some(50.0)));
    });
    let mut silent = shard_with(1, []);
    silent.silent = true;
    with(vec![shard_with(0, []), silent], |methods| async move {
        assert_eq!(methods.trunks().await.trunks[0].traffic, None);
    });
}

#[test]
fn threads_are_read_as_the_kernel_writes_them() {
    assert_eq!(cpu_ms("1234567890 55 7\n", ""), 1234);
    let stat = "7 (a b) c) S 1 7 7 0 -1 64 9 0 0 0 150 25 0 0 20 0 1 0 100";
    assert_eq!(cpu_ms("", stat), 1750);
    assert_eq!(cpu_ms("", ""), 0);
    assert_eq!(pinned_core("Name:\tx\nCpus_allowed_list:\t3\n"), Some(3));
    assert_eq!(pinned_core("Cpus_allowed_list:\t0-3\n"), None);
    assert!(!Thread::all().is_empty());
}

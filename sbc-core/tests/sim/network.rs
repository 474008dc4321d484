//! The network between peers and SBC: loses, doubles, delays and so reorders, but not for ever.

use super::{plan::MS, rng::Rng};
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hasher},
};

/// How often the same datagram can be lost in all. Of the seven INVITEs within 64·T1 five arrive
/// then, and three of the answers: whatever is repeated gets through in time, so a peer left without
/// an answer is the SBC's fault.
const LOSSES_MAX: u8 = 2;

/// How bad it is, per thousand datagrams.
#[derive(Clone, Debug)]
pub struct Weather {
    loss: u64,
    duplicates: u64,
    /// Delayed by up to seconds instead of milliseconds.
    stragglers: u64,
    delay_max: u64,
}

impl Weather {
    /// Nothing is lost, doubled or late.
    pub fn calm() -> Self {
        Self {
            loss: 0,
            duplicates: 0,
            stragglers: 0,
            delay_max: 2 * MS,
        }
    }

    pub fn draw(rng: &mut Rng) -> Self {
        match rng.below(4) {
            0 => Self::calm(),
            1 => Self {
                loss: 20,
                duplicates: 10,
                stragglers: 5,
                delay_max: 30 * MS,
            },
            2 => Self {
                loss: 100,
                duplicates: 50,
                stragglers: 20,
                delay_max: 150 * MS,
            },
            _ => Self {
                loss: 250,
                duplicates: 150,
                stragglers: 60,
                delay_max: 400 * MS,
            },
        }
    }
}

#[derive(Debug)]
pub struct Network {
    rng: Rng,
    pub weather: Weather,
    losses: HashMap<u64, u8>,
}

impl Network {
    pub fn new(rng: Rng, weather: Weather) -> Self {
        Self {
            rng,
            weather,
            losses: HashMap::new(),
        }
    }

    /// When each copy of a datagram arrives; empty when it is lost.
    pub fn carry(&mut self, bytes: &[u8]) -> Vec<u64> {
        let mut hasher = DefaultHasher::new();
        hasher.write(bytes);
        let key = hasher.finish();
        if self.rng.chance(self.weather.loss) {
            let lost = self.losses.entry(key).or_default();
            if *lost < LOSSES_MAX {
                *lost += 1;
                return Vec::new();
            }
        }
        let mut copies = vec![self.delay()];
        while copies.len() < 3 && self.rng.chance(self.weather.duplicates) {
            copies.push(self.delay());
        }
        copies
    }

    pub fn delay(&mut self) -> u64 {
        let straggles = self.rng.chance(self.weather.stragglers);
        50_000
            + self.rng.below(if straggles {
                2_500 * MS
            } else {
                self.weather.delay_max
            })
    }
}

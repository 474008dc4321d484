//! The admin protocol: types shared by `sbcd` and `sbc-ctl`. No I/O.

pub mod protocol;

//! The packet time of a trunk: which there are, and with which codecs it means something.

use super::{
    Trunk,
    check::Report,
    read::{Reader, Shape, Value},
};
use toml::{Spanned, de::DeValue};

/// What may be written.
const EXPECTED: &str = "10, 20, 30, 40 or 60";
/// The same in numbers: what G.711 is sent with in real life.
const MILLISECONDS: [u32; 5] = [10, 20, 30, 40, 60];

/// Milliseconds of audio in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketTime(pub u32);

impl Value for PacketTime {
    fn shape() -> Shape {
        Shape::Plain(EXPECTED.to_owned())
    }

    fn read(reader: &mut Reader<'_>, path: &str, value: &Spanned<DeValue<'_>>) -> Option<Self> {
        let number = value.get_ref().as_integer();
        let number = number.and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        let known = number.filter(|number| MILLISECONDS.contains(number));
        if known.is_none() {
            reader.expected(path, value, &format!("{EXPECTED} (milliseconds, without quotes)"));
        }
        known.map(Self)
    }

    fn show(&self) -> String {
        self.0.to_string()
    }
}

/// Report a packet time for a trunk without the codecs that it is for.
pub(super) fn check(at: &str, trunk: &Trunk, report: Report<'_>) {
    let (Some(ptime), Some(codecs)) = (trunk.ptime, &trunk.codecs) else {
        return;
    };
    let is_law = |name: &str| ["PCMA", "PCMU"].iter().any(|law| law.eq_ignore_ascii_case(name));
    if !codecs.iter().any(|codec| is_law(&codec.0)) {
        report(
            &format!("{at}.ptime"),
            format!(
                "{} has no effect: codecs does not list \"PCMA\" or \"PCMU\"",
                ptime.0
            ),
        );
    }
}

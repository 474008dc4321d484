//! What an address that nobody lists is banned for.

use std::fmt;

/// Something that only attackers do, or what is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Offence {
    /// What it sent is not SIP.
    Malformed,
    /// It talks to us, although nobody has listed it.
    Stranger,
    /// What it sent bears the mark of a scanner.
    Scanner,
    /// It asked for what only those get who log in, and has not logged in.
    Unproven,
    /// Its credentials were wrong.
    BadCredentials,
    /// None: an operator has banned it.
    Operator,
}

impl Offence {
    /// How many kinds there are.
    pub const COUNT: usize = 6;

    /// All kinds, by their number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Malformed,
        Self::Stranger,
        Self::Scanner,
        Self::Unproven,
        Self::BadCredentials,
        Self::Operator,
    ];

    /// As operators see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Stranger => "stranger",
            Self::Scanner => "scanner",
            Self::Unproven => "unproven",
            Self::BadCredentials => "bad_credentials",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_number() {
        for (n, offence) in Offence::ALL.into_iter().enumerate() {
            assert_eq!(offence as usize, n);
        }
    }
}

//! What gives a scanner away: words in what it sends.
//!
//! In: the words, and the first part of a datagram. Out: the word that is there. Nothing is parsed: a scanner may write
//! its name into any header field, and this is asked of sources that nobody has listed.

use memchr::memmem::Finder;
use std::fmt;

/// How much of a datagram is searched.
const SEARCHED_MAX: usize = 1500;

/// Words of scanners.
#[derive(Clone, Default)]
pub struct Scanners(Vec<Finder<'static>>);

impl Scanners {
    /// Those that have one of `words`, in whatever case.
    pub fn new<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        let finder = |word: &str| Finder::new(&word.to_ascii_lowercase()).into_owned();
        Self(words.into_iter().map(finder).collect())
    }

    /// The first word that stands in `bytes`.
    pub fn find(&self, bytes: &[u8]) -> Option<&[u8]> {
        if self.0.is_empty() {
            return None;
        }
        let mut lower = [0; SEARCHED_MAX];
        let searched = bytes.len().min(SEARCHED_MAX);
        let lower = &mut lower[..searched];
        lower.copy_from_slice(&bytes[..searched]);
        lower.make_ascii_lowercase();
        let found = self.0.iter().find(|finder| finder.find(lower).is_some());
        found.map(Finder::needle)
    }
}

impl fmt::Debug for Scanners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self
            .0
            .iter()
            .map(|finder| String::from_utf8_lossy(finder.needle()));
        f.debug_list().entries(words).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case_and_place() {
        let scanners = Scanners::new(["friendly-scanner", "SIPVicious"]);
        let find = |text: &str| {
            scanners
                .find(text.as_bytes())
                .map(|word| String::from_utf8_lossy(word).into_owned())
        };
        assert_eq!(
            find("OPTIONS sip:1@h SIP/2.0\r\nUser-Agent: Friendly-Scanner\r\n").as_deref(),
            Some("friendly-scanner")
        );
        assert_eq!(
            find("From: \"sipvicious\"<sip:100@1.1.1.1>").as_deref(),
            Some("sipvicious")
        );
        assert_eq!(find("INVITE sip:1@h SIP/2.0\r\nUser-Agent: Phone\r\n"), None);
        assert_eq!(find(""), None);
        let late = format!("{}friendly-scanner", " ".repeat(SEARCHED_MAX));
        assert_eq!(find(&late), None, "bounded");
        assert_eq!(Scanners::default().find(b"friendly-scanner"), None);
    }
}

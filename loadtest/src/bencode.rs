//! Bencoding, as far as rtpengine's control protocol needs it: strings and dictionaries out,
//! strings of a dictionary in.

/// A dictionary of strings and lists of strings. Keys must be given in sorted order.
pub(crate) fn dictionary(entries: &[(&str, Item<'_>)]) -> Vec<u8> {
    let mut out = vec![b'd'];
    for (key, item) in entries {
        string(&mut out, key);
        match item {
            Item::Text(text) => string(&mut out, text),
            Item::List(items) => {
                out.push(b'l');
                items.iter().for_each(|text| string(&mut out, text));
                out.push(b'e');
            }
        }
    }
    out.push(b'e');
    out
}

/// A value of a dictionary.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<'a> {
    /// A string.
    Text(&'a str),
    /// A list of strings.
    List(&'a [&'a str]),
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(text.as_bytes());
}

/// The string under `key` of the dictionary `bytes`, top level only.
pub(crate) fn lookup<'a>(bytes: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let mut rest = bytes.strip_prefix(b"d")?;
    while rest.first() != Some(&b'e') {
        let (name, after) = take_string(rest)?;
        if name == key.as_bytes() {
            return take_string(after).map(|(value, _)| value);
        }
        rest = skip(after)?;
    }
    None
}

fn take_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    let length: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
    bytes[colon + 1..].split_at_checked(length)
}

/// What follows the first value of `bytes`.
fn skip(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.first()? {
        b'i' => Some(&bytes[bytes.iter().position(|byte| *byte == b'e')? + 1..]),
        b'l' | b'd' => {
            let mut rest = &bytes[1..];
            while rest.first()? != &b'e' {
                rest = skip(rest)?;
            }
            Some(&rest[1..])
        }
        _ => take_string(bytes).map(|(_, rest)| rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_written_and_read() {
        let bytes = dictionary(&[
            ("command", Item::Text("offer")),
            ("replace", Item::List(&["a", "bc"])),
            ("sdp", Item::Text("v=0")),
        ]);
        assert_eq!(bytes, b"d7:command5:offer7:replacel1:a2:bce3:sdp3:v=0e");
        assert_eq!(lookup(&bytes, "sdp"), Some(&b"v=0"[..]));
        assert_eq!(lookup(&bytes, "nothing"), None);
        assert_eq!(lookup(b"d1:ai5e1:bd1:xi1ee1:c1:ze", "c"), Some(&b"z"[..]));
        assert_eq!(lookup(b"d1:a9:short", "a"), None);
    }
}

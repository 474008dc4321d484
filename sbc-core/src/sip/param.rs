//! Parameters: `;name`, `;name=value`, `;name="quoted value"` (generic-param, RFC 3261 §25.1), and the
//! parameters of a URI, which are the same without white space and quotes.

use super::grammar::{is_token_byte, is_value_byte, quoted, slice, take_while, trim, trim_start};
use memchr::memchr2;

/// Iterates over parameters as (name, value). The bytes start behind the first semicolon. A quoted value is
/// given without its quotes, escapes kept; a parameter without value has `None`. Lenient: what the grammar
/// does not know is handed out as it stands, so that nothing is hidden from the reader.
#[derive(Clone, Copy, Debug)]
pub struct Params<'b>(&'b [u8]);

impl<'b> Params<'b> {
    /// Over `bytes`, the part behind the first semicolon.
    pub fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// The value of the first parameter called `name` (any case); empty when it has none.
    pub fn find(mut self, name: &[u8]) -> Option<&'b [u8]> {
        self.find_map(|(n, v)| n.eq_ignore_ascii_case(name).then(|| v.unwrap_or_default()))
    }
}

impl<'b> Iterator for Params<'b> {
    type Item = (&'b [u8], Option<&'b [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.0 = trim_start(self.0);
            if self.0.is_empty() {
                return None;
            }
            let bytes = self.0;
            let end = param_end(bytes);
            self.0 = slice(bytes, end + 1, bytes.len());
            let param = slice(bytes, 0, end);
            let (name, behind) = take_while(param, |b| b != b'=');
            let name = trim(name);
            if name.is_empty() && behind.is_empty() {
                continue;
            }
            let value = behind.split_first().map(|(_, value)| match trim(value) {
                [b'"', text @ .., b'"'] => text,
                value => value,
            });
            return Some((name, value));
        }
    }
}

/// Where the parameter at the start of `bytes` ends: the first semicolon that is not quoted.
fn param_end(bytes: &[u8]) -> usize {
    let mut i = 0;
    while let Some(n) = memchr2(b';', b'"', slice(bytes, i, bytes.len())) {
        i += n;
        if bytes.get(i) == Some(&b';') {
            return i;
        }
        match quoted(slice(bytes, i + 1, bytes.len())) {
            Some((text, _)) => i += text.len() + 2,
            None => return bytes.len(),
        }
    }
    bytes.len()
}

/// One parameter cut off the front of a header value.
pub(super) enum Cut<'b> {
    /// Name, and the value when there is one.
    Param(&'b [u8], Option<&'b [u8]>),
    /// Nothing is left.
    End,
    /// Not a parameter.
    Bad,
}

/// Cuts `;name[=value]` off `rest` and holds it to the grammar: this is what makes `;;` and unbalanced quotes
/// an error. Beyond it, an empty value and any printable byte in an unquoted value are let pass.
#[inline]
pub(super) fn cut<'b>(rest: &mut &'b [u8]) -> Cut<'b> {
    let bytes = trim_start(rest);
    let [b';', bytes @ ..] = bytes else {
        return if bytes.is_empty() { Cut::End } else { Cut::Bad };
    };
    let (name, behind) = take_while(trim_start(bytes), is_token_byte);
    if name.is_empty() {
        return Cut::Bad;
    }
    // Mostly nothing stands between the name and `=`, `;` or the end.
    let [b'=', value @ ..] = trim_start(behind) else {
        *rest = behind;
        return Cut::Param(name, None);
    };
    match trim_start(value) {
        [b'"', text @ ..] => {
            let Some((text, behind)) = quoted(text) else {
                return Cut::Bad;
            };
            *rest = behind;
            Cut::Param(name, Some(text))
        }
        value => {
            let (value, behind) = take_while(value, is_value_byte);
            *rest = behind;
            Cut::Param(name, Some(value))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_quoted_and_bare() {
        let all: Vec<_> = Params::new(b"lr; a = 1 ;b=\"x;\\\"y\";c=").collect();
        assert_eq!(
            all,
            [
                (&b"lr"[..], None),
                (b"a", Some(&b"1"[..])),
                (b"b", Some(b"x;\\\"y")),
                (b"c", Some(b"")),
            ]
        );
        assert_eq!(Params::new(b"Tag=x").find(b"tag"), Some(&b"x"[..]));
        assert_eq!(Params::new(b"x;lr").find(b"LR"), Some(&b""[..]));
        assert_eq!(Params::new(b"x;lr").find(b"r"), None);
    }

    #[test]
    fn empty_parameters_are_skipped_by_the_iterator_and_refused_by_cut() {
        assert_eq!(Params::new(b";;a;;").count(), 1);
        let mut rest = &b";a;;b"[..];
        assert!(matches!(cut(&mut rest), Cut::Param(b"a", None)));
        assert!(matches!(cut(&mut rest), Cut::Bad));
    }
}

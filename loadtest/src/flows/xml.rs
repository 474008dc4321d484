//! Just enough XML to find our words in a SIPp scenario: everything else is handed back as it is.

/// Elements that mean something to us.
const WORDS: [&str; 10] = [
    "invite",
    "ack",
    "ack-failure",
    "cancel",
    "request",
    "reply",
    "recv",
    "has",
    "not",
    "take",
];

/// A part of a scenario file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// SIPp's own, unread.
    Text(&'a str),
    /// One of our words, with everything in it.
    Element(Element<'a>),
}

/// An element.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Names and values, these as they are written, escapes included.
    pub(crate) attributes: Vec<(&'a str, &'a str)>,
    /// What is between its tags.
    pub(crate) inner: &'a str,
}

impl<'a> Element<'a> {
    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes
            .iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| *value)
    }
}

/// Take `source` apart. Comments are left out.
pub(crate) fn pieces(source: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = source;
    let mut text_from = source;
    while let Some(at) = rest.find('<') {
        let tag = &rest[at..];
        let text_before = &text_from[..text_from.len() - tag.len()];
        let skipped = if tag.starts_with("<!--") {
            let end = tag.find("-->").ok_or("comment without end")? + 3;
            pieces.push(Piece::Text(text_before));
            text_from = &tag[end..];
            end
        } else if tag.starts_with("<![CDATA[") {
            tag.find("]]>").ok_or("CDATA without end")? + 3
        } else {
            let name = name_of(&tag[1..]);
            if WORDS.contains(&name) {
                let (element, length) = element(tag, name)?;
                pieces.push(Piece::Text(text_before));
                pieces.push(Piece::Element(element));
                text_from = &tag[length..];
                length
            } else {
                1
            }
        };
        rest = &tag[skipped..];
    }
    pieces.push(Piece::Text(text_from));
    Ok(pieces)
}

fn name_of(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
        .unwrap_or(text.len());
    &text[..end]
}

/// The element that `tag` begins with, and its length.
fn element<'a>(tag: &'a str, name: &'a str) -> Result<(Element<'a>, usize), String> {
    let mut attributes = Vec::new();
    let mut at = 1 + name.len();
    loop {
        at += tag[at..].len() - tag[at..].trim_start().len();
        let rest = &tag[at..];
        if rest.starts_with("/>") {
            let element = Element {
                name,
                attributes,
                inner: "",
            };
            return Ok((element, at + 2));
        }
        if let Some(inner) = rest.strip_prefix('>') {
            let close = format!("</{name}>");
            let end = inner
                .find(&close)
                .ok_or_else(|| format!("<{name}> without end"))?;
            let element = Element {
                name,
                attributes,
                inner: &inner[..end],
            };
            return Ok((element, at + 1 + end + close.len()));
        }
        let attribute = name_or_underscore(rest);
        let wrong = || format!("<{name}>: expected name=\"value\" at {:.30}", rest);
        if attribute.is_empty() {
            return Err(wrong());
        }
        let value = rest[attribute.len()..].strip_prefix("=\"").ok_or_else(wrong)?;
        let end = value.find('"').ok_or_else(wrong)?;
        attributes.push((attribute, &value[..end]));
        at += attribute.len() + 2 + end + 1;
    }
}

fn name_or_underscore(text: &str) -> &str {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
        .unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_and_the_rest_is_untouched() {
        let found =
            pieces("<a b=\"1\"><!-- <ack/> --><recv x=\"&lt;\" y_z=\"2\">in</recv>\n<pause/>").unwrap();
        let Piece::Element(recv) = &found[2] else {
            panic!("{found:?}")
        };
        assert_eq!(found[0], Piece::Text("<a b=\"1\">"));
        assert_eq!(
            (recv.attribute("x"), recv.attribute("y_z"), recv.inner),
            (Some("&lt;"), Some("2"), "in")
        );
        assert_eq!(found[3], Piece::Text("\n<pause/>"));
    }

    #[test]
    fn an_element_without_end_is_an_error() {
        assert!(pieces("<recv request=\"BYE\">").is_err());
        assert!(pieces("<reply code=200/>").is_err());
    }
}

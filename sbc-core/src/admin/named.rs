//! Named numbers in the order they were given: a JSON object that keeps its order.
//!
//! Counters travel like this, so that a client shows what a later daemon counts without knowing
//! it, in the daemon's order.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
};

/// Names and values, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named(pub Vec<(String, u64)>);

impl Named {
    /// The value of `name`.
    pub fn value(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }
}

impl<N: Into<String>> FromIterator<(N, u64)> for Named {
    fn from_iter<I: IntoIterator<Item = (N, u64)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(n, v)| (n.into(), v)).collect())
    }
}

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.0.iter().map(|(n, v)| (n, v)))
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Named;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of names and counts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Named(pairs))
            }
        }
        from.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order() {
        let named: Named = [("zebra", 1), ("ant", u64::MAX)].into_iter().collect();
        let text = serde_json::to_string(&named).unwrap();
        assert_eq!(text, format!(r#"{{"zebra":1,"ant":{}}}"#, u64::MAX));
        assert_eq!(serde_json::from_str::<Named>(&text).unwrap(), named);
        assert_eq!(named.value("ant"), Some(u64::MAX));
        assert_eq!(named.value("bee"), None);
    }
}

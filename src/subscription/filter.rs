//! The filter of a subscription as text that can be read, and its fingerprint.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::read::{Document, Query};

/// Returns a query's filters as JSON, its names sorted; `None` where it has none.
pub(super) fn readable(query: &Query) -> Option<String> {
    let mut filter = Map::new();
    let mut put = |name: &str, value: Value| {
        let empty = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        if !empty {
            filter.insert(name.to_owned(), value);
        }
    };
    let sorted = |names: &[String]| {
        let mut names = names.to_vec();
        names.sort_unstable();
        names.dedup();
        json!(names)
    };
    let stream = query.stream.as_ref();
    put("aggregate_id", json!(stream.map(|range| &range.aggregate_id)));
    put("from_version", json!(stream.map(|range| range.from.get()).filter(|from| *from > 1)));
    put("stream_prefixes", sorted(&query.stream_prefixes));
    put("event_types", sorted(&query.event_types));
    put("aggregate_type", json!(query.aggregate_type));
    put("tags", sorted(&query.tags));
    put("actor", json!(query.actor));
    put("correlation_id", json!(query.correlation_id));
    put("causation_id", json!(query.causation_id));
    let path = |document: Document, path: &[String]| format!("{}.{}", document.as_str(), path.join("."));
    let values = query.json.iter().map(|filter| json!({ path(filter.document, &filter.path): filter.equals }));
    put("json", values.collect());
    (!filter.is_empty()).then(|| Value::Object(filter).to_string())
}

/// Returns the SHA-256 of a filter's text.
pub(super) fn fingerprint(filter: &str) -> [u8; 32] {
    Sha256::digest(filter).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_names_does_not_matter_and_each_filter_does() {
        let types = |types: [&str; 2]| readable(&Query::new().event_types(types).unwrap()).unwrap();
        assert_eq!(types(["A", "B"]), types(["B", "A"]));
        assert_eq!(types(["A", "B"]), r#"{"event_types":["A","B"]}"#);
        assert_eq!(readable(&Query::new()), None);
        let filters = [
            Query::stream("a"),
            Query::stream("b"),
            Query::new().stream_prefixes(["a"]).unwrap(),
            Query::new().aggregate_type("a").unwrap(),
            Query::new().tags(["a"]).unwrap(),
            Query::new().actor("a").unwrap(),
            Query::new().correlation(uuid::Uuid::nil()),
            Query::new().causation(uuid::Uuid::nil()),
            Query::new().json(crate::read::JsonFilter::new("data.a", json!(1)).unwrap()),
            Query::new().json(crate::read::JsonFilter::new("data.a", json!("1")).unwrap()),
        ];
        let mut texts: Vec<String> = filters.iter().filter_map(readable).collect();
        assert_eq!(texts.len(), filters.len());
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), filters.len(), "{texts:?}");
    }
}

//! Contract section 6: a JSON path equals a value, inside data or metadata. Types count.

use serde_json::{Value, json};

use super::case::{Case, Verdict, cases, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::error::Error;
use crate::event::{NewEvent, Payload};
use crate::json::Json;
use crate::position::Position;
use crate::read::{JsonFilter, Query};
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    a_text_in_the_data_is_found: "2.9", "6.1" if JsonFilters;
    a_number_in_the_data_is_found: "2.9", "6.1" if JsonFilters;
    a_number_with_a_fraction_is_found: "6.1" if JsonFilters;
    booleans_in_the_data_are_found: "6.1" if JsonFilters;
    a_null_in_the_data_is_found_where_it_is_written: "6.1" if JsonFilters;
    the_number_one_is_not_the_text_one: "6.1" if JsonFilters;
    the_text_true_is_not_true: "6.1" if JsonFilters;
    a_value_below_several_keys_is_found: "6.1" if JsonFilters;
    a_value_in_the_metadata_is_found: "2.9", "6.1" if JsonFilters;
    texts_are_compared_byte_for_byte: "2.5", "6.1" if JsonFilters;
    an_escaped_text_equals_what_it_says: "6.1" if JsonFilters;
    keys_with_odd_characters_are_found: "6.1", "9.4" if JsonFilters;
    keys_are_compared_byte_for_byte: "2.5", "6.1" if JsonFilters;
    bytes_never_match: "2.6", "6.1" if JsonFilters;
    documents_that_are_no_objects_never_match: "6.1" if JsonFilters;
    objects_and_arrays_never_match_a_value: "6.1" if JsonFilters;
    json_filters_combine: "6.2" if JsonFilters;
    json_filters_combine_with_other_filters: "6.2" if JsonFilters;
    documents_that_the_engines_json_type_refuses_do_not_disturb_a_search: "2.5", "2.9" if JsonFilters;
    a_path_that_names_no_key_is_refused: "6.1";
    a_value_that_is_an_object_is_refused: "6.1";
];

/// Appends events with these data, in this order.
async fn fill(f: &Fixture, documents: &[&str]) -> Verdict {
    for document in documents {
        let event = NewEvent::new("Written", Payload::Json(Json::parse(*document)?))?;
        f.store.append(&f.stream("a")?, Expected::Any, [event]).await?;
    }
    Ok(())
}

/// Checks at which positions a value is found.
async fn finds(f: &Fixture, path: &str, value: Value, expected: &[i64]) -> Verdict {
    finds_all(f, Query::new().json(JsonFilter::new(path, value)?), expected).await
}

async fn finds_all(f: &Fixture, query: Query, expected: &[i64]) -> Verdict {
    let found: Vec<i64> = f.store.query(query.clone()).await?.iter().map(|event| event.position.get()).collect();
    ensure_eq!(found, expected, "positions that answer {:?}", query.json);
    Ok(())
}

async fn a_text_in_the_data_is_found(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"name":"Ann"}"#, r#"{"name":"Bob"}"#, r#"{"name":"Ann","age":3}"#, r#"{"other":"Ann"}"#]).await?;
    finds(f, "data.name", json!("Ann"), &[1, 3]).await
}

async fn a_number_in_the_data_is_found(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"n":1}"#, r#"{"n":10}"#, r#"{"n":-1}"#, r#"{"n":0}"#]).await?;
    finds(f, "data.n", json!(1), &[1]).await?;
    finds(f, "data.n", json!(-1), &[3]).await?;
    finds(f, "data.n", json!(0), &[4]).await
}

async fn a_number_with_a_fraction_is_found(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"n":0.25}"#, r#"{"n":0.5}"#, r#"{"n":2.5e-1}"#]).await?;
    finds(f, "data.n", json!(0.25), &[1, 3]).await
}

async fn booleans_in_the_data_are_found(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"b":true}"#, r#"{"b":false}"#, r#"{"b":1}"#, r#"{"b":0}"#]).await?;
    finds(f, "data.b", json!(true), &[1]).await?;
    finds(f, "data.b", json!(false), &[2]).await
}

async fn a_null_in_the_data_is_found_where_it_is_written(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"x":null}"#, r#"{"x":0}"#, "{}", r#"{"x":"null"}"#]).await?;
    finds(f, "data.x", Value::Null, &[1]).await
}

async fn the_number_one_is_not_the_text_one(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"n":1}"#, r#"{"n":"1"}"#]).await?;
    finds(f, "data.n", json!(1), &[1]).await?;
    finds(f, "data.n", json!("1"), &[2]).await
}

async fn the_text_true_is_not_true(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"b":true}"#, r#"{"b":"true"}"#]).await?;
    finds(f, "data.b", json!("true"), &[2]).await?;
    finds(f, "data.b", json!(true), &[1]).await
}

async fn a_value_below_several_keys_is_found(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"a":{"b":{"c":7}}}"#, r#"{"a":{"c":7}}"#, r#"{"a":{"b":7}}"#, r#"{"a.b.c":7}"#]).await?;
    finds(f, "data.a.b.c", json!(7), &[1]).await?;
    finds(f, "data.a.b", json!(7), &[3]).await
}

async fn a_value_in_the_metadata_is_found(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"user":"ann"}"#]).await?;
    let event = f.event("Written")?.with_metadata(Json::parse(r#"{"user":"ann","deep":{"er":2}}"#)?)?;
    f.store.append(&f.stream("a")?, Expected::Any, [event]).await?;
    finds(f, "metadata.user", json!("ann"), &[2]).await?;
    finds(f, "metadata.deep.er", json!(2), &[2]).await?;
    finds(f, "data.user", json!("ann"), &[1]).await
}

async fn texts_are_compared_byte_for_byte(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"t":"é"}"#, "{\"t\":\"e\u{301}\"}", r#"{"t":"e"}"#, r#"{"t":"É"}"#, r#"{"t":"e "}"#]).await?;
    finds(f, "data.t", json!("é"), &[1]).await?;
    finds(f, "data.t", json!("e"), &[3]).await?;
    finds(f, "data.t", json!("e "), &[5]).await
}

async fn an_escaped_text_equals_what_it_says(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"t":"\u0061\"\\\n"}"#, r#"{"t":"a"}"#]).await?;
    finds(f, "data.t", json!("a\"\\\n"), &[1]).await
}

async fn keys_with_odd_characters_are_found(f: &Fixture) -> Verdict {
    let keys = ["a b", "?", "$1", "@P1", "{s}", "[0]", "$", "*", "%", "ключ", "🙂", "a-b", "1", ":x", "#", "--"];
    for key in keys {
        let data = json!({key: 1, "other": 2}).to_string();
        fill(f, &[&data]).await?;
    }
    for (position, key) in (1..).zip(keys) {
        finds(f, &format!("data.{key}"), json!(1), &[position]).await?;
    }
    Ok(())
}

async fn keys_are_compared_byte_for_byte(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"Key":1}"#, r#"{"key":1}"#, r#"{"kéy":1}"#]).await?;
    finds(f, "data.key", json!(1), &[2]).await?;
    finds(f, "data.Key", json!(1), &[1]).await?;
    finds(f, "data.kéy", json!(1), &[3]).await
}

async fn bytes_never_match(f: &Fixture) -> Verdict {
    let bytes = NewEvent::bytes("Written", "application/json", br#"{"n":1}"#.to_vec())?;
    f.store.append(&f.stream("a")?, Expected::Any, [bytes]).await?;
    fill(f, &[r#"{"n":1}"#]).await?;
    finds(f, "data.n", json!(1), &[2]).await
}

async fn documents_that_are_no_objects_never_match(f: &Fixture) -> Verdict {
    fill(f, &["1", "\"n\"", "null", "[1]", r#"[{"n":1}]"#, r#"{"n":1}"#]).await?;
    finds(f, "data.n", json!(1), &[6]).await?;
    finds(f, "data.n", Value::Null, &[]).await
}

async fn objects_and_arrays_never_match_a_value(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"n":{}}"#, r#"{"n":[]}"#, r#"{"n":[1]}"#, r#"{"n":"[1]"}"#, r#"{"n":"{}"}"#]).await?;
    finds(f, "data.n", json!(1), &[]).await?;
    finds(f, "data.n", json!("[1]"), &[4]).await?;
    finds(f, "data.n", json!("{}"), &[5]).await
}

async fn json_filters_combine(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"a":1,"b":1}"#, r#"{"a":1,"b":2}"#, r#"{"a":2,"b":2}"#]).await?;
    let query = Query::new().json(JsonFilter::new("data.a", json!(1))?).json(JsonFilter::new("data.b", json!(2))?);
    finds_all(f, query, &[2]).await
}

async fn json_filters_combine_with_other_filters(f: &Fixture) -> Verdict {
    fill(f, &[r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":1}"#, r#"{"a":1}"#]).await?;
    f.store.append(&f.stream("b")?, Expected::Any, [NewEvent::json("Other", &json!({"a": 1}))?]).await?;
    let query = || JsonFilter::new("data.a", json!(1)).map(|filter| Query::new().json(filter));
    finds_all(f, query()?.event_types(["Other"])?, &[5]).await?;
    finds_all(f, query()?.after(Position::new(1)).limit(2), &[3, 4]).await?;
    finds_all(f, query()?.backward().limit(2), &[5, 4]).await
}

async fn documents_that_the_engines_json_type_refuses_do_not_disturb_a_search(f: &Fixture) -> Verdict {
    let odd = [r#"{"n":1e400}"#, r#"{"t":"\u0000"}"#, r#"{"t":"\ud800"}"#, r#"{"n":1,"n":2}"#, r#"{"n":0.10}"#];
    fill(f, &odd).await?;
    fill(f, &[r#"{"n":7,"t":"x"}"#]).await?;
    finds(f, "data.n", json!(7), &[6]).await?;
    finds(f, "data.t", json!("x"), &[6]).await
}

async fn a_path_that_names_no_key_is_refused(f: &Fixture) -> Verdict {
    fill(f, &["{}"]).await?;
    for path in ["", "data", "data.", "data.a.", "data..a", "other.a", "Data.a", "data.a\"b", "data.a'b", "data.a\\b"] {
        ensure_err!(JsonFilter::new(path, json!(1)), Error::Invalid { .. });
    }
    Ok(())
}

async fn a_value_that_is_an_object_is_refused(f: &Fixture) -> Verdict {
    fill(f, &["{}"]).await?;
    ensure_err!(JsonFilter::new("data.a", json!({})), Error::Invalid { .. });
    ensure_err!(JsonFilter::new("data.a", json!([1])), Error::Invalid { .. });
    Ok(())
}

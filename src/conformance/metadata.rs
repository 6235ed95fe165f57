//! Contract section 8: a stream's metadata, a JSON object with a version of its own.

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::error::Error;
use crate::json::Json;
use crate::position::Version;
use crate::read::Query;
use crate::stream::{Expected, StreamInfo};

pub(super) const CASES: &[Case] = cases![
    a_new_stream_has_no_metadata: "8.4";
    metadata_comes_back_byte_for_byte: "2.5", "8.4";
    metadata_counts_its_versions: "8.4";
    metadata_is_set_where_its_version_is_as_expected: "8.4";
    a_stale_version_of_the_metadata_is_a_conflict: "8.4";
    metadata_of_no_stream_is_refused: "8.4";
    metadata_that_is_no_object_is_refused: "8.4";
    metadata_leaves_the_streams_version_and_the_log: "8.4";
    metadata_outlives_deletion_and_undeletion: "8.2", "8.4";
    metadata_is_of_one_stream_only: "8.4";
    metadata_outlives_the_store: "8.4" if Durable;
];

async fn info(f: &Fixture, id: &str) -> Result<StreamInfo, Failure> {
    f.store.stream(id).await?.ok_or_else(|| Failure(format!("stream {id} has no row")))
}

async fn a_new_stream_has_no_metadata(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let info = info(f, "a").await?;
    ensure_eq!((info.metadata, info.metadata_version), (None, 0), "metadata and its version");
    Ok(())
}

async fn metadata_comes_back_byte_for_byte(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let text = "{ \"z\": 1e400, \"a\": 0.10,\n\t\"a\": \"\\u00e9\" }";
    f.store.set_metadata("a", None, Json::parse(text)?).await?;
    ensure_eq!(info(f, "a").await?.metadata.as_ref().map(Json::as_str), Some(text), "metadata");
    Ok(())
}

async fn metadata_counts_its_versions(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    for version in 1..=3 {
        let set = f.store.set_metadata("a", None, Json::from_value(&serde_json::json!({"n": version}))?).await?;
        ensure_eq!(set, version, "version that was answered");
        let info = info(f, "a").await?;
        ensure_eq!(info.metadata_version, version, "version of the metadata");
        ensure_eq!(
            info.metadata.map(|json| json.as_str().to_owned()),
            Some(format!("{{\"n\":{version}}}")),
            "metadata"
        );
    }
    Ok(())
}

async fn metadata_is_set_where_its_version_is_as_expected(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    ensure_eq!(f.store.set_metadata("a", Some(0), Json::parse("{}")?).await?, 1, "version after the first");
    ensure_eq!(f.store.set_metadata("a", Some(1), Json::parse(r#"{"b":2}"#)?).await?, 2, "version after the second");
    ensure_eq!(info(f, "a").await?.metadata, Some(Json::parse(r#"{"b":2}"#)?), "metadata");
    Ok(())
}

async fn a_stale_version_of_the_metadata_is_a_conflict(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    f.store.set_metadata("a", None, Json::parse(r#"{"a":1}"#)?).await?;
    for stale in [0, 2] {
        let refused = f.store.set_metadata("a", Some(stale), Json::parse("{}")?).await;
        ensure_err!(refused, Error::MetadataConflict { ref stream, expected, actual: 1 }
            if stream == "a" && expected == stale);
    }
    ensure_eq!(info(f, "a").await?.metadata, Some(Json::parse(r#"{"a":1}"#)?), "metadata");
    Ok(())
}

async fn metadata_of_no_stream_is_refused(f: &Fixture) -> Verdict {
    for expected in [None, Some(0)] {
        let refused = f.store.set_metadata("a", expected, Json::parse("{}")?).await;
        ensure_err!(refused, Error::StreamNotFound { ref stream } if stream == "a");
    }
    ensure!(f.store.stream("a").await?.is_none(), "the stream exists");
    Ok(())
}

async fn metadata_that_is_no_object_is_refused(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    for text in ["[]", "1", "null", "\"{}\"", "true"] {
        let refused = f.store.set_metadata("a", None, Json::parse(text)?).await;
        ensure_err!(refused, Error::Invalid { what: "metadata", .. });
    }
    ensure_eq!(info(f, "a").await?.metadata_version, 0, "version of the metadata");
    f.store.set_metadata("a", None, Json::parse(" {} ")?).await?;
    ensure_eq!(info(f, "a").await?.metadata_version, 1, "version after an object");
    Ok(())
}

async fn metadata_leaves_the_streams_version_and_the_log(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    f.store.set_metadata("a", None, Json::parse("{}")?).await?;
    ensure_eq!(info(f, "a").await?.version, Version::new(2), "version of the stream");
    ensure_eq!(f.store.query(Query::new()).await?.len(), 2, "events of the log");
    f.store.append(&stream, Expected::exact(2), f.events(1)?).await?;
    ensure_eq!(info(f, "a").await?.metadata_version, 1, "version of the metadata after an append");
    Ok(())
}

async fn metadata_outlives_deletion_and_undeletion(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    f.store.set_metadata("a", None, Json::parse(r#"{"a":1}"#)?).await?;
    f.store.delete(&stream, Expected::Any).await?;
    ensure_eq!(info(f, "a").await?.metadata_version, 1, "version of the metadata of the deleted stream");
    f.store.undelete(&stream, Expected::Any).await?;
    ensure_eq!(info(f, "a").await?.metadata, Some(Json::parse(r#"{"a":1}"#)?), "metadata");
    Ok(())
}

async fn metadata_is_of_one_stream_only(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    f.filled("b", 1).await?;
    f.store.set_metadata("a", None, Json::parse("{}")?).await?;
    ensure_eq!(info(f, "a").await?.metadata_version, 1, "version of the one stream's metadata");
    ensure_eq!(info(f, "b").await?.metadata_version, 0, "version of the other stream's metadata");
    Ok(())
}

async fn metadata_outlives_the_store(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    f.store.set_metadata("a", None, Json::parse(r#"{"a":1}"#)?).await?;
    f.store.close().await;
    let reopened = f.another().await?;
    let info = reopened.stream("a").await?;
    ensure_eq!(info.and_then(|info| info.metadata), Some(Json::parse(r#"{"a":1}"#)?), "metadata");
    reopened.close().await;
    Ok(())
}

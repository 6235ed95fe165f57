//! Postgres, a schema a case: with one lane, and with sixteen.

mod server {
    annals::conformance_suite!(|| crate::support::schemas("postgres"));
}

mod lanes {
    annals::conformance_suite!(|| crate::support::schemas("postgres").map(|harness| harness.with_lanes(16).unwrap()));
}

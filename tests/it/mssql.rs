//! SQL Server, a schema a case.

mod server {
    annals::conformance_suite!(|| crate::support::schemas("mssql"));
}

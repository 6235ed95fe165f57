//! The statements that ask a database's own catalogs for facts: two columns, a key and what it is like.

use crate::schema::literal;
use crate::sql::Dialect;

/// Returns the queries of a dialect, for a schema.
pub(super) fn queries(dialect: Dialect, schema: &str) -> Vec<String> {
    let texts: &[&str] = match dialect {
        Dialect::Sqlite => SQLITE,
        Dialect::Postgres => POSTGRES,
        Dialect::Mssql => MSSQL,
    };
    texts.iter().map(|text| text.replace("{schema}", &literal(dialect, schema))).collect()
}

const SQLITE: &[&str] = &[
    "SELECT 'table ' || name, CASE WHEN strict THEN 'strict' ELSE 'not strict' END || \
     CASE WHEN wr THEN ', without rowid' ELSE '' END \
     FROM pragma_table_list WHERE schema = {schema} AND type = 'table'",
    "SELECT 'column ' || m.name || '.' || c.name, lower(c.type) || CASE WHEN c.\"notnull\" THEN ' not null' ELSE '' END \
     || COALESCE(' default ' || c.dflt_value, '') \
     FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'",
    "SELECT 'primary key of ' || m.name, \
     (SELECT group_concat(name, ', ') FROM (SELECT name FROM pragma_table_info(m.name) WHERE pk > 0 ORDER BY pk)) \
     FROM sqlite_master m WHERE m.type = 'table'",
    "SELECT CASE WHEN i.\"unique\" THEN 'unique key on ' ELSE 'index on ' END || m.name || ' (' || \
     (SELECT group_concat(name || CASE WHEN \"desc\" THEN ' desc' ELSE '' END, ', ') \
     FROM (SELECT * FROM pragma_index_xinfo(i.name) WHERE key ORDER BY seqno)) || ')' || \
     CASE WHEN i.partial THEN lower(replace(substr(s.sql, instr(s.sql, ' WHERE ')), '\"', '')) ELSE '' END, '' \
     FROM sqlite_master m JOIN pragma_index_list(m.name) i LEFT JOIN sqlite_master s ON s.name = i.name AND s.type = 'index' \
     WHERE m.type = 'table' AND i.origin <> 'pk'",
    "SELECT 'trigger ' || name, 'on ' || tbl_name FROM sqlite_master WHERE type = 'trigger'",
    "SELECT 'view ' || name, '' FROM sqlite_master WHERE type = 'view'",
];

const POSTGRES: &[&str] = &[
    "SELECT CASE WHEN c.relkind = 'v' THEN 'view ' ELSE 'table ' END || c.relname, '' FROM pg_catalog.pg_class c \
     WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {schema}) \
     AND c.relkind IN ('r', 'p', 'v')",
    "SELECT 'column ' || c.relname || '.' || a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) || \
     COALESCE(' collate ' || (SELECT l.collname FROM pg_catalog.pg_collation l WHERE l.oid = a.attcollation), '') || \
     CASE WHEN a.attnotnull THEN ' not null' ELSE '' END || \
     COALESCE(' default ' || (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d \
     WHERE d.adrelid = c.oid AND d.adnum = a.attnum), '') \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
     WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {schema}) AND c.relkind IN ('r', 'p')",
    "SELECT CASE WHEN x.indisprimary THEN 'primary key of ' || x.relname \
     ELSE CASE WHEN x.indisunique THEN 'unique key on ' ELSE 'index on ' END || x.relname || ' (' || x.columns || ')' || x.filter END, \
     CASE WHEN x.indisprimary THEN x.columns ELSE '' END \
     FROM (SELECT i.indisprimary, i.indisunique, t.relname, \
     COALESCE(' where ' || lower(btrim(pg_catalog.pg_get_expr(i.indpred, i.indrelid), '()')), '') AS filter, \
     (SELECT string_agg(replace(pg_catalog.pg_get_indexdef(i.indexrelid, k, false), '\"', '') || \
     CASE WHEN i.indoption[k - 1] & 1 = 1 THEN ' desc' ELSE '' END, ', ' ORDER BY k) \
     FROM generate_series(1, i.indnkeyatts) AS k) AS columns \
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class t ON t.oid = i.indrelid \
     WHERE t.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {schema}) AND i.indisvalid) AS x",
    "SELECT CASE WHEN k.contype = 'c' THEN 'check ' ELSE 'reference ' END || k.conname, \
     CASE WHEN k.contype = 'c' THEN '' ELSE 'to ' || (SELECT t.relname FROM pg_catalog.pg_class t WHERE t.oid = k.confrelid) END \
     FROM pg_catalog.pg_constraint k WHERE k.contype IN ('c', 'f') \
     AND k.connamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {schema})",
    "SELECT 'trigger ' || g.tgname, 'on ' || c.relname || CASE WHEN g.tgenabled IN ('O', 'A') THEN '' ELSE ', disabled' END \
     FROM pg_catalog.pg_trigger g JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid WHERE NOT g.tgisinternal \
     AND c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {schema})",
    "SELECT 'routine ' || p.proname, '' FROM pg_catalog.pg_proc p \
     WHERE p.pronamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {schema})",
    "SELECT 'comment on ' || c.relname || COALESCE('.' || a.attname, ''), d.description \
     FROM pg_catalog.pg_description d JOIN pg_catalog.pg_class c ON c.oid = d.objoid \
     LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.objsubid AND a.attnum > 0 \
     WHERE d.classoid = 'pg_catalog.pg_class'::regclass AND c.relkind IN ('r', 'p') \
     AND c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = {schema})",
];

const MSSQL: &[&str] = &[
    "SELECT N'table ' + t.name, N'' FROM sys.tables t WHERE t.schema_id = SCHEMA_ID({schema})",
    "SELECT N'view ' + v.name, N'' FROM sys.views v WHERE v.schema_id = SCHEMA_ID({schema})",
    "SELECT N'routine ' + p.name, N'' FROM sys.procedures p WHERE p.schema_id = SCHEMA_ID({schema})",
    "SELECT N'column ' + t.name + N'.' + c.name, y.name + \
     CASE WHEN y.name = N'nvarchar' AND c.max_length = -1 THEN N'(max)' \
     WHEN y.name = N'nvarchar' THEN N'(' + CONVERT(nvarchar(11), c.max_length / 2) + N')' \
     WHEN y.name = N'binary' THEN N'(' + CONVERT(nvarchar(11), c.max_length) + N')' \
     WHEN y.name = N'datetime2' THEN N'(' + CONVERT(nvarchar(11), c.scale) + N')' ELSE N'' END + \
     CASE WHEN c.collation_name IS NULL THEN N'' WHEN UPPER(c.collation_name) LIKE N'%BIN2' THEN N' collate BIN2' \
     ELSE N' collate ' + c.collation_name END + \
     CASE WHEN c.is_nullable = 1 THEN N'' ELSE N' not null' END + \
     ISNULL(N' default ' + REPLACE(REPLACE(d.definition, N'(', N''), N')', N''), N'') \
     FROM sys.tables t JOIN sys.columns c ON c.object_id = t.object_id \
     JOIN sys.types y ON y.user_type_id = c.user_type_id \
     LEFT JOIN sys.default_constraints d ON d.parent_object_id = c.object_id AND d.parent_column_id = c.column_id \
     WHERE t.schema_id = SCHEMA_ID({schema})",
];

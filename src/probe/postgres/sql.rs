//! What is asked of a server of a replicated database, what it answers, and what an administrator has to create.

use std::time::Duration;

use super::message;
use crate::probe::database::Found;

/// A text as PostgreSQL reads it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// One statement, so that all of the answer is of one moment. A server whose transactions are read-only by default is fenced, and
/// takes no writes. The lag is what postgres_exporter asks for: the engine's word.
pub(super) fn status(table: &str, vantage: &str) -> String {
    format!(
        "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on', \
         (SELECT incarnation || ' ' || sequence FROM {table} WHERE vantage = {}), \
         pg_last_wal_receive_lsn() - '0/0'::pg_lsn, \
         EXISTS (SELECT FROM pg_stat_wal_receiver), \
         CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END, \
         CASE WHEN NOT pg_is_in_recovery() THEN NULL \
         WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0 \
         ELSE greatest(0, extract(epoch FROM now() - pg_last_xact_replay_timestamp())) END, \
         (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)",
        literal(vantage)
    )
}

/// Writes a token. A later one of the same process stays, should two writes change their order.
pub(super) fn upsert(table: &str, vantage: &str, incarnation: u64, sequence: u64) -> String {
    format!(
        "INSERT INTO {table} AS t (vantage, incarnation, sequence) VALUES ({}, {incarnation}, {sequence}) \
         ON CONFLICT (vantage) DO UPDATE SET incarnation = excluded.incarnation, sequence = excluded.sequence \
         WHERE t.incarnation <> excluded.incarnation OR t.sequence < excluded.sequence",
        literal(vantage)
    )
}

/// Reads a row of [`status`]; nothing if it is none.
pub(super) fn found(row: &[u8]) -> Option<Found> {
    let columns: [Option<&str>; 7] = message::columns(row)?.try_into().ok()?;
    let [in_recovery, token, received, receiver, paused, engine_lag, superuser] = columns;
    let flag = |text: Option<&str>| match text {
        Some("t") => Some(true),
        Some("f") => Some(false),
        _ => None,
    };
    let token = match token {
        Some(text) => {
            let (incarnation, sequence) = text.split_once(' ')?;
            Some((incarnation.parse().ok()?, sequence.parse().ok()?))
        }
        None => None,
    };
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    Some(Found {
        writable: !flag(in_recovery)?,
        // What takes writes replicates from none.
        no_tokens: None,
        tokens: token.into_iter().collect(),
        received: received.and_then(|text| text.parse().ok()),
        receiver: flag(receiver)?,
        paused: flag(paused)?,
        engine_lag: engine_lag.and_then(seconds),
        superuser: flag(superuser).unwrap_or(false),
    })
}

/// What an administrator has to run at the primary: the table, and a role with no other right.
pub fn postgres_setup(role: &str, table: &str) -> String {
    let schema = table.split_once('.').map_or_else(String::new, |(schema, _)| {
        format!("CREATE SCHEMA IF NOT EXISTS {schema};\nGRANT USAGE ON SCHEMA {schema} TO {role};\n")
    });
    format!(
        "-- Run this at the primary, in the database that the configuration names. Replicas get it by replication.\n\
         -- The role gets its password by \\password {role} in psql, so that no log has it.\n\
         CREATE ROLE {role} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION CONNECTION LIMIT 50;\n\
         {schema}\
         CREATE TABLE IF NOT EXISTS {table} (\n    \
         vantage text PRIMARY KEY,\n    \
         incarnation bigint NOT NULL,\n    \
         sequence bigint NOT NULL\n\
         ) WITH (fillfactor = 50);\n\
         REVOKE ALL ON {table} FROM PUBLIC;\n\
         GRANT SELECT, INSERT, UPDATE ON {table} TO {role};\n"
    )
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn row(columns: &[Option<&str>]) -> Vec<u8> {
        let mut row = u16::try_from(columns.len()).unwrap().to_be_bytes().to_vec();
        for column in columns {
            match column {
                Some(text) => {
                    row.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
                    row.extend(text.as_bytes());
                }
                None => row.extend([0xff; 4]),
            }
        }
        row
    }

    #[test]
    fn a_token_counts_for_the_process_that_wrote_it() {
        let t = Some("t");
        let found = found(&row(&[t, Some("7 41"), Some("50331648"), t, Some("f"), Some("1.5"), Some("f")])).unwrap();
        let now = Instant::now();
        let reading = found.reading(7, now, now);
        assert_eq!((reading.token, reading.received, reading.writable), (Some(41), Some(50_331_648), false));
        assert_eq!(reading.engine_lag, Some(Duration::from_millis(1500)));
        assert_eq!(found.reading(8, now, now).token, None);
    }

    #[test]
    fn a_row_of_something_else_is_none() {
        let t = Some("t");
        for columns in [
            &[][..],
            &[t; 6],
            &[t; 8],
            &[None; 7],
            &[t, Some("x"), None, t, t, None, t],
            &[t, Some("1 -1"), None, t, t, None, t],
        ] {
            assert_eq!(found(&row(columns)), None, "{columns:?}");
        }
        let infinite = found(&row(&[t, None, None, t, t, Some("inf"), t])).unwrap();
        assert_eq!(infinite.engine_lag, None);
        assert_eq!(found(&row(&[t; 7])[..9]), None);
    }

    #[test]
    fn texts_cannot_end_a_statement() {
        assert!(upsert("t", "o'hare", 1, 2).contains("('o''hare', 1, 2)"));
    }
}

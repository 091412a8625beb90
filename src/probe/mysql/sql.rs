//! What is asked of a server of a replicated database, what it answers, and what an administrator has to create.

use std::time::Duration;

use super::packet::{self, Part};
use crate::probe::database::{Found, NoTokens};

/// What a session is set up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Transactions can only read.
    Read,
    Write,
}

/// The state of the replication, since MariaDB 10.5 and MySQL 8.0.22.
pub(super) const REPLICATION: &str = "SHOW REPLICA STATUS";

/// Each statement is its own transaction, and ends by itself after this time. What stands in a comment is read by MariaDB or
/// by MySQL alone, from that version on. MySQL has no limit for statements that write, but for the locks that they wait for.
pub(super) fn set_up(mode: Mode, limit: Duration) -> String {
    let (seconds, exact, millis) = (limit.as_secs_f64().ceil(), limit.as_secs_f64(), limit.as_millis());
    let read_only = match mode {
        Mode::Read => " /*M!100101 , tx_read_only = 1 */ /*!50720 , transaction_read_only = 1 */",
        Mode::Write => "",
    };
    format!(
        "SET SESSION autocommit = 1, lock_wait_timeout = {seconds}, innodb_lock_wait_timeout = {seconds} \
         /*M!100101 , max_statement_time = {exact:.3} */ /*!50708 , max_execution_time = {millis} */{read_only}"
    )
}

/// One statement, so that all of the answer is of one moment. The name of a vantage needs no escape. Replicas of Aurora are `innodb_read_only`. A user who may write
/// in spite of `read_only` counts as a superuser.
pub(super) fn status(table: &str, vantage: &str) -> String {
    format!(
        "SELECT @@global.read_only, @@global.innodb_read_only, \
         (SELECT CONCAT(incarnation, ' ', sequence) FROM {table} WHERE vantage = '{vantage}'), \
         EXISTS (SELECT 1 FROM information_schema.user_privileges \
         WHERE privilege_type IN ('SUPER', 'READ_ONLY ADMIN', 'CONNECTION_ADMIN') \
         AND grantee = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), ''''))"
    )
}

/// Writes a token. The columns change from left to right, so the incarnation is the old one where the sequence is compared.
pub(super) fn upsert(table: &str, vantage: &str, incarnation: u64, sequence: u64) -> String {
    format!(
        "INSERT INTO {table} (vantage, incarnation, sequence) VALUES ('{vantage}', {incarnation}, {sequence}) \
         ON DUPLICATE KEY UPDATE \
         sequence = IF(incarnation <> {incarnation} OR sequence < {sequence}, {sequence}, sequence), \
         incarnation = {incarnation}"
    )
}

/// A row of [`status`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StatusRow {
    read_only: bool,
    token: Option<(u64, u64)>,
    superuser: bool,
}

/// Reads a row of [`status`]; nothing if it is none.
pub(super) fn status_row(row: &[u8]) -> Option<StatusRow> {
    let values: [Option<&str>; 4] = packet::values(row)?.try_into().ok()?;
    let [read_only, innodb_read_only, token, superuser] = values;
    // From MariaDB 12 on it has more values than two, all of which but this one take no writes.
    let is_off = |value: &str| value == "0" || value.eq_ignore_ascii_case("OFF");
    let token = match token {
        Some(text) => {
            let (incarnation, sequence) = text.split_once(' ')?;
            Some((incarnation.parse().ok()?, sequence.parse().ok()?))
        }
        None => None,
    };
    let read_only = !is_off(read_only?) || !is_off(innodb_read_only?);
    Some(StatusRow { read_only, token, superuser: superuser == Some("1") })
}

impl StatusRow {
    /// What both answers say. Where the state of the replication is not shown, a replica counts as one that believes to
    /// replicate.
    pub(super) fn found(self, replication: Option<&ReplicaStatus>) -> Found {
        let state = replication.map(|status| &status.state);
        let no_tokens = match state {
            Some(state) => state.runs.then_some(NoTokens::Replicates),
            None => Some(NoTokens::MayReplicate),
        };
        Found {
            writable: !self.read_only,
            no_tokens,
            tokens: self.token.into_iter().collect(),
            received: state.and_then(|state| state.received),
            receiver: state.is_none_or(|state| state.receives),
            paused: state.is_some_and(|state| state.paused),
            engine_lag: state.and_then(|state| state.lag),
            superuser: self.superuser,
        }
    }
}

/// The columns that count. MariaDB has the old words, and MySQL the new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    IoRunning,
    SqlRunning,
    SecondsBehind,
    LogFile,
    LogPosition,
    Other,
}

impl Column {
    const fn named(name: &[u8]) -> Self {
        match name {
            b"Slave_IO_Running" | b"Replica_IO_Running" => Self::IoRunning,
            b"Slave_SQL_Running" | b"Replica_SQL_Running" => Self::SqlRunning,
            b"Seconds_Behind_Master" | b"Seconds_Behind_Source" => Self::SecondsBehind,
            b"Master_Log_File" | b"Source_Log_File" => Self::LogFile,
            b"Read_Master_Log_Pos" | b"Read_Source_Log_Pos" => Self::LogPosition,
            _ => Self::Other,
        }
    }
}

/// The answer to [`REPLICATION`]: a row for each server that it replicates from, and none at a primary.
#[derive(Debug, Default)]
pub(super) struct ReplicaStatus {
    columns: Vec<Column>,
    state: ReplicaState,
}

/// What all rows say together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct ReplicaState {
    /// A thread of the replication runs.
    runs: bool,
    /// It has a connection to a primary.
    receives: bool,
    /// It does not apply what it has received.
    paused: bool,
    received: Option<u64>,
    lag: Option<Duration>,
}

impl ReplicaStatus {
    pub(super) fn take(&mut self, part: Part<'_>) {
        match part {
            Part::Column(name) => self.columns.push(Column::named(name)),
            Part::Row(row) => {
                if let Some(values) = packet::values(row) {
                    self.row(&values);
                }
            }
        }
    }

    fn row(&mut self, values: &[Option<&str>]) {
        let value = |column: Column| {
            let place = self.columns.iter().position(|other| *other == column)?;
            values.get(place).copied().flatten()
        };
        let runs = |column: Column| value(column).is_some_and(|state| state != "No");
        let is_on = |column: Column| value(column) == Some("Yes");
        let position: Option<u64> = value(Column::LogPosition).and_then(|text| text.parse().ok());
        // Such as `binlog.000017`: positions start again in each file.
        let file = value(Column::LogFile).and_then(|name| name.rsplit('.').next()?.parse::<u64>().ok()).unwrap_or(0);
        let received = position.map(|position| (file << 40).wrapping_add(position));
        let seconds: Option<u64> = value(Column::SecondsBehind).and_then(|text| text.parse().ok());
        let row = ReplicaState {
            runs: runs(Column::IoRunning) || runs(Column::SqlRunning),
            receives: is_on(Column::IoRunning),
            paused: !is_on(Column::SqlRunning),
            received,
            lag: seconds.map(Duration::from_secs),
        };
        let state = &mut self.state;
        state.runs |= row.runs;
        state.receives |= row.receives;
        state.paused |= row.paused;
        state.received = match (state.received, row.received) {
            (Some(one), Some(other)) => Some(one.wrapping_add(other)),
            (one, other) => one.or(other),
        };
        state.lag = state.lag.max(row.lag);
    }
}

/// What an administrator has to run at the primary: the table, and a user with no other right. The user is locked until it has a
/// password.
pub fn mysql_setup(role: &str, table: &str) -> String {
    let database = table
        .split_once('.')
        .map_or_else(String::new, |(database, _)| format!("CREATE DATABASE IF NOT EXISTS {database};\n"));
    format!(
        "-- Run this at the primary, in the database that the configuration names. Replicas get it by replication.\n\
         -- Then give the user its password:\n\
         -- ALTER USER {role} IDENTIFIED BY 'PASSWORD' ACCOUNT UNLOCK;\n\
         {database}\
         CREATE TABLE IF NOT EXISTS {table} (\n    \
         vantage varchar(63) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY,\n    \
         incarnation bigint NOT NULL,\n    \
         sequence bigint NOT NULL\n\
         ) ENGINE = InnoDB;\n\
         CREATE USER IF NOT EXISTS {role} WITH MAX_USER_CONNECTIONS 50 ACCOUNT LOCK;\n\
         GRANT SELECT, INSERT, UPDATE ON {table} TO {role};\n\
         GRANT /*M!100509 SLAVE MONITOR */ /*!50708 REPLICATION CLIENT */ ON *.* TO {role};\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[Option<&str>]) -> Vec<u8> {
        let mut row = Vec::new();
        for value in values {
            match value {
                Some(text) => {
                    row.push(u8::try_from(text.len()).unwrap());
                    row.extend(text.as_bytes());
                }
                None => row.push(0xfb),
            }
        }
        row
    }

    fn replication(columns: &[&str], rows: &[&[Option<&str>]]) -> ReplicaStatus {
        let mut status = ReplicaStatus::default();
        columns.iter().for_each(|name| status.take(Part::Column(name.as_bytes())));
        rows.iter().for_each(|values| status.take(Part::Row(&row(values))));
        status
    }

    const MARIADB: &[&str] = &[
        "Slave_IO_State",
        "Master_Log_File",
        "Read_Master_Log_Pos",
        "Slave_IO_Running",
        "Slave_SQL_Running",
        "Seconds_Behind_Master",
    ];

    const WRITABLE: StatusRow = StatusRow { read_only: false, token: None, superuser: false };
    const READ_ONLY: StatusRow = StatusRow { read_only: true, ..WRITABLE };

    #[test]
    fn a_token_counts_for_the_process_that_wrote_it_and_the_role_is_that_of_read_only() {
        let read = |values: &[Option<&str>]| status_row(&row(values));
        let (off, on) = (Some("0"), Some("1"));
        assert_eq!(read(&[off, off, Some("7 41"), off]), Some(StatusRow { token: Some((7, 41)), ..WRITABLE }));
        assert_eq!(read(&[Some("OFF"), off, None, on]), Some(StatusRow { superuser: true, ..WRITABLE }));
        for (read_only, innodb) in [(on, off), (off, on), (Some("ON"), off), (Some("NO_LOCK_NO_ADMIN"), off)] {
            assert_eq!(read(&[read_only, innodb, None, off]), Some(READ_ONLY));
        }
        for other in
            [&[][..], &[off; 3], &[off; 5], &[None; 4], &[off, off, Some("7"), off], &[off, off, Some("7 -1"), off]]
        {
            assert_eq!(read(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_server_that_takes_writes_gets_tokens_only_if_it_says_that_it_replicates_from_none() {
        let running = [Some("Waiting"), Some("binlog.000002"), Some("1234"), Some("Yes"), Some("Yes"), Some("0")];
        let connecting = [None, Some("binlog.000002"), Some("1234"), Some("Connecting"), Some("Yes"), None];
        let stopped = [None, Some("binlog.000002"), Some("1234"), Some("No"), Some("No"), None];
        let no_tokens = |rows: &[&[Option<&str>]]| WRITABLE.found(Some(&replication(MARIADB, rows))).no_tokens;
        assert_eq!(no_tokens(&[]), None);
        assert_eq!(no_tokens(&[&stopped]), None, "it was promoted");
        assert_eq!(no_tokens(&[&running]), Some(NoTokens::Replicates));
        assert_eq!(no_tokens(&[&connecting]), Some(NoTokens::Replicates));
        assert_eq!(no_tokens(&[&stopped, &running]), Some(NoTokens::Replicates));
        assert_eq!(WRITABLE.found(None).no_tokens, Some(NoTokens::MayReplicate));
    }

    #[test]
    fn the_state_of_a_replica_is_that_of_its_threads() {
        let state = |io: &str, sql: &str, behind| {
            let values = [Some(""), Some("binlog.000002"), Some("1234"), Some(io), Some(sql), behind];
            let found = READ_ONLY.found(Some(&replication(MARIADB, &[&values])));
            (found.receiver, found.paused, found.received, found.engine_lag)
        };
        let received = Some((2 << 40) + 1234);
        assert_eq!(state("Yes", "Yes", Some("3")), (true, false, received, Some(Duration::from_secs(3))));
        assert_eq!(state("Yes", "No", None), (true, true, received, None));
        assert_eq!(state("Connecting", "Yes", None), (false, false, received, None));
        // The words of MySQL 8.
        let columns = ["Source_Log_File", "Read_Source_Log_Pos", "Replica_IO_Running", "Replica_SQL_Running"];
        let values = [Some("binlog.000001"), Some("9"), Some("Yes"), Some("Yes")];
        let found = READ_ONLY.found(Some(&replication(&columns, &[&values])));
        assert_eq!((found.receiver, found.paused, found.received), (true, false, Some((1 << 40) + 9)));
        // No replica at all, and one whose state is not shown.
        assert!(!READ_ONLY.found(Some(&replication(MARIADB, &[]))).receiver);
        let hidden = READ_ONLY.found(None);
        assert!(hidden.receiver && !hidden.paused && hidden.received.is_none());
    }

    #[test]
    fn a_row_that_is_none_or_has_fewer_values_says_nothing() {
        let mut status = replication(MARIADB, &[&[Some("x")]]);
        status.take(Part::Row(b"\xff\xff"));
        assert_eq!(status.state, ReplicaState { paused: true, ..ReplicaState::default() });
    }

    #[test]
    fn limits_of_statements_are_those_of_either_engine() {
        let sql = set_up(Mode::Read, Duration::from_millis(1250));
        for part in
            ["lock_wait_timeout = 2,", "max_statement_time = 1.250 ", "max_execution_time = 1250 ", "read_only = 1"]
        {
            assert!(sql.contains(part), "{sql}");
        }
        assert!(!set_up(Mode::Write, Duration::from_millis(1)).contains("read_only"));
    }
}

//! `sql`: what an administrator has to create in a database.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::report::{self, USAGE};
use crate::{
    logging,
    probe::{self, RedisSpec, TOKEN_TABLE},
};

#[derive(Debug, Args)]
pub(super) struct SqlArgs {
    #[command(subcommand)]
    engine: Engine,
}

#[derive(Debug, Subcommand)]
enum Engine {
    /// Print the statements for PostgreSQL: a table for tokens, and a role with no other right.
    Postgres(Names),
    /// Print the statements for MySQL and MariaDB: a table for tokens, and a user with no other right.
    Mysql(Names),
    /// Print the command for Redis: a user with rights to the keys of the tokens, and no other.
    Redis(User),
}

#[derive(Debug, Args)]
struct Names {
    /// Role or user that logs in: `user` of the database in the configuration.
    #[arg(long, value_name = "NAME", default_value = "regionwatch")]
    role: String,
    /// Table that holds the tokens: `table` of the database in the configuration.
    #[arg(long, value_name = "NAME", default_value = TOKEN_TABLE)]
    table: String,
}

/// The user of Redis alone: its keys have names that cannot be chosen.
#[derive(Debug, Args)]
struct User {
    /// User that logs in: `user` of the database in the configuration.
    #[arg(long, value_name = "NAME", default_value = "regionwatch")]
    role: String,
}

/// Whether a flag has a name that needs no quotes. Says so if not.
fn is_plain(flag: &str, name: &str) -> bool {
    let plain = probe::is_sql_name(name) && (flag != "--role" || !name.contains('.'));
    if !plain {
        logging::to_stderr(format_args!(
            "{flag} {name:?}: is not a name that needs no quotes; write lower-case letters, digits and _"
        ));
    }
    plain
}

pub(super) fn run(args: &SqlArgs) -> ExitCode {
    let sql = match &args.engine {
        Engine::Postgres(Names { role, table }) if is_plain("--role", role) && is_plain("--table", table) => {
            probe::postgres_setup(role, table)
        }
        Engine::Mysql(Names { role, table }) if is_plain("--role", role) && is_plain("--table", table) => {
            probe::mysql_setup(role, table)
        }
        Engine::Redis(User { role }) if is_plain("--role", role) => {
            if role == RedisSpec::DEFAULT_USER {
                logging::to_stderr(format_args!("--role {role:?}: is the user of every client; write another name"));
                return USAGE.into();
            }
            // redis-cli has no comments.
            logging::to_stderr(format_args!(
                "Run this at every server: replicas do not get users from the primary. Then give the user its password, and \
                 keep it:\n  ACL SETUSER {role} on >PASSWORD\n  ACL SAVE, or CONFIG REWRITE where there is no aclfile"
            ));
            probe::redis_setup(role)
        }
        Engine::Postgres(_) | Engine::Mysql(_) | Engine::Redis(_) => return USAGE.into(),
    };
    match io::stdout().write_all(sql.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::failed(format!("stdout: {error}")),
    }
}

//! `sql`: what an administrator has to create in a database.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Args, Subcommand};

use super::report::{self, USAGE};
use crate::{
    logging,
    probe::{self, TOKEN_TABLE},
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

pub(super) fn run(args: &SqlArgs) -> ExitCode {
    let (Engine::Postgres(Names { role, table }) | Engine::Mysql(Names { role, table })) = &args.engine;
    for (flag, name) in [("--role", role), ("--table", table)] {
        if !probe::is_sql_name(name) || flag == "--role" && name.contains('.') {
            logging::to_stderr(format_args!(
                "{flag} {name:?}: is not a name that needs no quotes; write lower-case letters, digits and _"
            ));
            return USAGE.into();
        }
    }
    let sql = match &args.engine {
        Engine::Postgres(_) => probe::postgres_setup(role, table),
        Engine::Mysql(_) => probe::mysql_setup(role, table),
    };
    match io::stdout().write_all(sql.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::failed(format!("stdout: {error}")),
    }
}

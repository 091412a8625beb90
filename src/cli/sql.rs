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
    Postgres(PostgresArgs),
}

#[derive(Debug, Args)]
struct PostgresArgs {
    /// Role that logs in: `user` of the database in the configuration.
    #[arg(long, value_name = "NAME", default_value = "regionwatch")]
    role: String,
    /// Table that holds the tokens: `table` of the database in the configuration.
    #[arg(long, value_name = "NAME", default_value = TOKEN_TABLE)]
    table: String,
}

pub(super) fn run(args: &SqlArgs) -> ExitCode {
    let Engine::Postgres(PostgresArgs { role, table }) = &args.engine;
    for (flag, name) in [("--role", role), ("--table", table)] {
        if !probe::is_sql_name(name) || flag == "--role" && name.contains('.') {
            logging::to_stderr(format_args!(
                "{flag} {name:?}: is not a name that needs no quotes; write lower-case letters, digits and _"
            ));
            return USAGE.into();
        }
    }
    match io::stdout().write_all(probe::postgres_setup(role, table).as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::failed(format!("stdout: {error}")),
    }
}

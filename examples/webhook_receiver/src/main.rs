//! An example of the program behind the failover webhook: it decides once, records before it answers, and then runs
//! a command. docs/webhook.md describes the contract that it keeps.

// They panic if the disk is full; `regionwatch::logging::to_stderr` does not.
#![deny(clippy::print_stderr, clippy::print_stdout)]

mod ledger;
mod order;
mod server;
mod verify;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Parser;
use ledger::{Ledger, Rules};
use regionwatch::logging::{self, to_stderr};
use server::{Receiver, Runner};
use verify::Verifier;

/// Receives failover webhooks from Alertmanager, records each order once, and runs a command for it.
///
/// Routes: POST / (the webhook), GET /incidents (the record), GET /-/healthy, POST /regions/NAME/on (a region that
/// was failed over is in service again; needs --token-file; append ?environment=NAME if it was in several).
#[derive(Debug, Parser)]
#[command(name = "webhook_receiver", max_term_width = 100)]
struct Arguments {
    /// Address to listen on.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9099")]
    listen: SocketAddr,
    /// File that orders are appended to, one JSON object a line; read again at the start.
    #[arg(long, value_name = "FILE", default_value = "failovers.jsonl")]
    record: PathBuf,
    /// All regions, such as eu-west-1,us-east-1: orders are refused that would leave none of them in service.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    regions: Vec<String>,
    /// Seconds in which a region is failed over at most once.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    block: u64,
    /// File with the token that callers must send as "Authorization: Bearer TOKEN".
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Shell command to run for a webhook of stage execute. Its environment has PEER_REGION, FAILOVER_TARGET, STAGE,
    /// INCIDENT_ID, ONSET, EXPIRES_AT, DRY_RUN (true or false), and ENVIRONMENT if the order has one.
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// File with the public keys of the vantages, one "VANTAGE PUBLIC-KEY" a line. Orders of stage execute then need
    /// signatures, and an unsigned one of rules waits for the approval of a person.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Vantages that must have signed an order.
    #[arg(long, value_name = "COUNT", default_value_t = 2, requires = "keys")]
    min_signatures: usize,
    /// Environment of this receiver; orders of others are skipped.
    #[arg(long, value_name = "NAME")]
    environment: Option<String>,
    /// Shell command to run for an order that waits for approval, with the environment of --exec; it should page a person.
    #[arg(long, value_name = "COMMAND")]
    on_approval: Option<String>,
    /// Run the command for stage prepare too (STAGE=prepare).
    #[arg(long, requires = "exec")]
    exec_prepare: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // From here on no order waits for who reads the log.
    logging::start();
    let result = run(&arguments);
    if let Err(error) = &result {
        to_stderr(format_args!("webhook_receiver: {error}"));
    }
    logging::flush();
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    let token = arguments.token_file.as_ref().map(|path| {
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("--token-file {}: {error}", path.display()))?;
        let token = text.trim().to_owned();
        if token.is_empty() { Err(format!("--token-file {}: is empty", path.display())) } else { Ok(token) }
    });
    let rules = Rules {
        regions: arguments.regions.iter().map(|name| name.trim().to_owned()).collect(),
        block_millis: arguments.block.saturating_mul(1000),
    };
    let ledger = Ledger::open(&arguments.record, rules)?;
    if arguments.exec.is_some() {
        for order in ledger.unfinished() {
            let key = order.key();
            to_stderr(format_args!("{key} was ordered and its end was never recorded: see what became of it"));
        }
    }
    let runner = Runner {
        command: arguments.exec.clone(),
        prepare: arguments.exec_prepare,
        on_approval: arguments.on_approval.clone(),
        ..Runner::default()
    };
    let verifier = Verifier::new(arguments.keys.as_deref(), arguments.min_signatures, arguments.environment.clone())?;
    let receiver = Arc::new(Receiver::new(ledger, token.transpose()?, runner, verifier));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(arguments.listen)
            .await
            .map_err(|error| format!("cannot listen on {}: {error}; give another --listen", arguments.listen))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        to_stderr(format_args!("listening on {address}"));
        tokio::select! {
            () = receiver.serve(listener) => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(())
    })
}

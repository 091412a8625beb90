//! `release`: a region that was failed over may take over again, and its slot is free.

use std::process::ExitCode;

use clap::Args;

use super::{
    operator::{Operator, OperatorArgs, report},
    report::{failed, print, usage},
};
use crate::{model::Region, signing::Action};

#[derive(Debug, Args)]
pub(super) struct ReleaseArgs {
    /// The region that was failed over. It must be healthy, and its incident over.
    region: String,
    #[command(flatten)]
    operator: OperatorArgs,
}

pub(super) fn run(args: &ReleaseArgs) -> ExitCode {
    let operator = match Operator::new(&args.operator) {
        Ok(operator) => operator,
        Err(errors) => return usage(&errors),
    };
    let answers = operator.and_then(|operator| {
        let region = Region::new(&args.region).map_err(|reason| format!("{:?} {reason}", args.region))?;
        operator.send(&operator.sign(Some(region), Action::Release, None, None)?, false)
    });
    match answers {
        Ok(answers) => match print(&report(&answers)) {
            Ok(()) if answers.iter().all(|answer| answer.done == Some(true)) => ExitCode::SUCCESS,
            Ok(()) => failed("the failover counts until every instance has released it; try again"),
            Err(error) => failed(format_args!("stdout: {error}")),
        },
        Err(error) => failed(error),
    }
}

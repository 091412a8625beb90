//! Probes: what a peer is asked, how long the answer takes, and what it is worth. A kind of probe is one file here and one
//! line in the list below.

mod database;
mod kind;
mod login;
mod pattern;
mod prober;
mod tls;
mod writing;

use std::sync::Arc;

pub(crate) use self::database::TokenSetup;
use self::kind::{ProbeKind, SHARED_SOCKETS, kinds};
pub use self::login::DatabaseLogin;
pub use self::{
    database::{Password, TOKEN_TABLE, is_sql_name},
    pattern::Pattern,
    prober::{Lookup, Probe, ProbeError, ProberContext, ProberVisitor, ResponseSender, SetupError},
    writing::Writing,
};
use crate::{
    model::{Failure, Host, Kind, Phase, Shape},
    net::TlsSpec,
    yaml::{Fields, ReadContext, writer::Writer},
};

kinds! {
    icmp: Icmp(IcmpSpec);
    dns: Dns(DnsSpec);
    tcp: Tcp(TcpSpec);
    http: Http(HttpSpec);
    sidecar: Sidecar(SidecarSpec);
    grpc: Grpc(GrpcSpec);
    postgres: Postgres(PostgresSpec);
    mysql: Mysql(MysqlSpec);
    redis: Redis(RedisSpec);
}

/// The kind of this name.
pub fn kind_named(name: &str) -> Option<Kind> {
    KINDS.into_iter().find(|kind| kind.as_str() == name)
}

#[doc(hidden)]
pub mod hostile {
    //! The parsers that see a peer's bytes, for the fuzz targets.
    pub use super::{
        dns::fuzz_answer, grpc::fuzz_health, icmp::fuzz_reply, mysql::fuzz_mysql_session, pattern::fuzz_pattern,
        postgres::fuzz_session, redis::fuzz_redis_session,
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_kind_has_a_name_a_preference_and_a_cadence_of_its_own() {
        let names: BTreeSet<_> = KINDS.iter().map(|kind| kind.as_str()).collect();
        let preferences: BTreeSet<_> = KINDS.iter().map(|kind| kind.preference()).collect();
        assert_eq!((names.len(), preferences.len()), (KINDS.len(), KINDS.len()));
        for kind in KINDS {
            assert!(kind.default_cadence().in_flight() > 0);
            assert_eq!(kind_named(kind.as_str()), Some(kind));
        }
    }
}

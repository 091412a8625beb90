//! Two databases with a primary and a replica each, and an instance that measures them. One of them loses its primary, and
//! what its replica had not received.

use std::{net::SocketAddr, path::Path, time::Duration};

use testkit::{
    postgres::{Postgres, token_tables},
    process::{Running, eventually, free, get, sidecar, write},
};

/// Longer than the first token takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many tokens are lost, at least.
pub(crate) const LOST: f64 = 2.0;

pub(crate) struct Stores {
    /// The page of the instance.
    pub(crate) page: SocketAddr,
    billing: [Postgres; 2],
    _orders: [Postgres; 2],
    _instance: Running,
}

fn pair(sql: &str) -> [Postgres; 2] {
    let primary = Postgres::start("host all regionwatch 127.0.0.1/32 trust\n", &["wal_level=replica"]);
    primary.run_sql(sql);
    let replica = Postgres::replica(primary.addr, &["hot_standby=on"]);
    [primary, replica]
}

impl Stores {
    /// Starts all of it. Its vantage `store-a` has the primaries, and `store-b` the replicas.
    pub(crate) fn start(folder: &Path) -> Self {
        let sql = token_tables(["regionwatch_tokens"]);
        let (orders, billing) = (pair(&sql), pair(&sql));
        let page = free();
        let mut config = format!("region: store-a\nlisten: {page}\ndatabases:\n");
        for (name, servers) in [("orders", &orders), ("billing", &billing)] {
            let [primary, replica] = servers.each_ref().map(|server| server.addr.port());
            config.push_str(&format!(
                "  - name: {name}\n    kind: postgres\n    user: regionwatch\n    database: postgres\n    servers:\n      \
                 - {{region: store-a, host: 127.0.0.1, port: {primary}}}\n      \
                 - {{region: store-b, host: 127.0.0.1, port: {replica}}}\n"
            ));
        }
        let port = orders[1].addr.port();
        config.push_str(&format!(
            "peers:\n  - region: store-b\n    targets:\n      - {{host: 127.0.0.1, probes: [{{kind: tcp, port: {port}}}]}}\n"
        ));
        let config = write(folder, "stores.yaml", &config);
        let instance = sidecar(&["run", "--config", &config], &[], page);
        Self { page, billing, _orders: orders, _instance: instance }
    }

    fn value(&self, database: &str, metric: &str, region: &str, more: &str) -> Option<f64> {
        let labels = format!("{{vantage_region=\"store-a\",database=\"{database}\",peer_region=\"{region}\"{more}}} ");
        let start = format!("regionwatch_database_{metric}{labels}");
        get(self.page, "/metrics").lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
    }

    /// Nothing arrives at the replica of one database any more, its primary ends, and the replica takes its place.
    pub(crate) fn lose_a_primary(&self) {
        for database in ["orders", "billing"] {
            eventually("the replica has a token", PATIENCE, || {
                self.value(database, "state", "store-b", ",state=\"caught_up\"").filter(|is| *is == 1.0)
            });
        }
        let [primary, replica] = &self.billing;
        replica.run_sql("ALTER SYSTEM SET primary_conninfo = ''");
        replica.run_sql("SELECT pg_reload_conf()");
        eventually("it is behind", PATIENCE, || {
            self.value("billing", "replication_lag_seconds", "store-b", ",bound=\"lower\"")
                .filter(|lag| *lag > LOST + 1.0)
        });
        primary.kill();
        replica.run_sql("SELECT pg_promote()");
        eventually("the loss is counted", PATIENCE, || self.value("billing", "lost_tokens", "store-b", ""));
    }
}

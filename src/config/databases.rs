//! `databases`: the same list on every vantage.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc, time::Duration};

use super::types::{Database, DatabaseServer};
use crate::{
    model::{Kind, Region, TargetName},
    probe::{DatabaseLogin, POSTGRES, TOKEN_TABLE, is_sql_name},
    yaml::{
        Item, ReadContext, addresses,
        diagnostics::one_of,
        units::{self, Parsed},
        writer::Writer,
    },
};

/// The key in the file's top level.
pub(super) const KEY: &str = "databases";

/// The keys of a database that are not those of its login.
const KEYS: [&str; 5] = ["name", "kind", TABLE, "rpo", "servers"];

/// The key of what holds the tokens, which not every kind has.
const TABLE: &str = "table";

const SERVERS_HINT: &str = "write one for each region, such as {region: eu-west-1, host: db.eu.example.com}";

/// What a failover may lose where the configuration says nothing else. Tokens are written every second, so much less is never
/// known to hold.
const RPO: Duration = Duration::from_secs(5);

/// The least and the most that it may say.
const RPO_RANGE: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(86_400);

const MAX_SERVERS: usize = 16;
const MAX_DATABASES: usize = 64;

/// Reads the list of databases.
pub(super) fn read(item: &Item<'_>, reading: &ReadContext<'_>) -> Vec<Database> {
    let mut seen: HashMap<TargetName, String> = HashMap::new();
    let read = |item: &Item<'_>| {
        let fields = item.fields_of(&keys(POSTGRES))?;
        let kinds = DatabaseLogin::KINDS;
        let kind = fields.read("kind", |item| item.choice(&kinds));
        let known = kind.unwrap_or(POSTGRES);
        let keys = keys(known);
        let fields = fields.only(|_| format!("write {}", one_of(&keys)), &keys);
        fields.required("kind", &format!("write {}", one_of(&kinds.map(|(name, _)| name))));
        let name = fields.required("name", "write a name for the database, such as orders").and_then(|item| {
            let name = item.read(addresses::target_name)?;
            if let Some(first) = seen.get(&name) {
                item.wrong_value(&format!("is a duplicate of {first}; write another name"));
            }
            seen.insert(name.clone(), item.key().to_owned());
            Some(name)
        });
        let table = match DatabaseLogin::tokens_of(known) {
            Some(tokens) => Some(tokens.into()),
            None => fields.get(TABLE).map_or_else(|| Some(TOKEN_TABLE.into()), |item| item.read(table)),
        };
        let rpo = fields.get("rpo").map_or(Some(RPO), |item| item.read(units::duration_in(RPO_RANGE)));
        let port = DatabaseLogin::port_of(known);
        let servers = fields.required("servers", SERVERS_HINT).and_then(|item| servers(&item, port));
        let names_database = table.as_ref().is_some_and(|table| table.contains('.'));
        let login = DatabaseLogin::read(known, &fields, reading, names_database);
        kind?;
        Some(Database { name: name?, table: table?, rpo: rpo?, servers: servers?, login: login? })
    };
    let databases = item.each(read).unwrap_or_default();
    if databases.len() > MAX_DATABASES {
        item.wrong(format!("has {} entries; write at most {MAX_DATABASES}", databases.len()));
    }
    databases
}

/// The keys of a database of this kind.
fn keys(kind: Kind) -> Vec<&'static str> {
    let own = KEYS.iter().filter(|key| **key != TABLE || DatabaseLogin::tokens_of(kind).is_none());
    own.chain(DatabaseLogin::keys_of(kind)).copied().collect()
}

fn table(text: &str) -> Parsed<Arc<str>> {
    match is_sql_name(text) {
        true => Ok(text.into()),
        false => {
            Err("is not the name of a table; write lower-case letters, digits and _, such as monitoring.tokens"
                .to_owned())
        }
    }
}

fn servers(item: &Item<'_>, usual_port: u16) -> Option<Vec<DatabaseServer>> {
    let mut seen: HashMap<Region, String> = HashMap::new();
    let servers = item.each(|item| {
        let fields = item.fields(&["region", "host", "port"])?;
        let region = fields.required("region", "write the region of the server, such as us-east-1").and_then(|item| {
            let region = item.read(addresses::region)?;
            if let Some(first) = seen.get(&region) {
                item.wrong_value(&format!("is a duplicate of {first}; write one server for each region"));
            }
            seen.insert(region.clone(), item.key().to_owned());
            Some(region)
        });
        let host = fields.required("host", "write its name or address").and_then(|item| item.read(addresses::host));
        let port = fields.get("port").map_or(Some(usual_port), |item| item.port());
        Some(DatabaseServer { region: region?, host: host?, port: port? })
    })?;
    if item.list_is_empty() || servers.len() > MAX_SERVERS {
        item.wrong(format!("has {} entries; write 1 to {MAX_SERVERS}", servers.len()));
    }
    Some(servers)
}

/// All databases in one line.
pub(super) fn print(databases: &[Database]) -> String {
    let mut page = Writer::default();
    page.items(KEY, databases, write);
    page.finish().split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Writes a database with all defaults.
pub(super) fn write(page: &mut Writer, database: &Database) {
    page.text("name", &database.name);
    page.raw("kind", database.login.kind());
    database.login.write(page);
    if DatabaseLogin::tokens_of(database.login.kind()).is_none() {
        page.text(TABLE, &database.table);
    }
    page.raw("rpo", units::duration_text(database.rpo));
    page.items("servers", &database.servers, |page, server| {
        page.text("region", &server.region);
        page.text("host", format!("{:#}", server.host));
        page.raw("port", server.port);
    });
}

//! The architecture, held: a module imports only from rows above its own (the table in `lib.rs`), and in no folder do
//! files import each other in a circle.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::collections::BTreeSet;

use testkit::{
    root,
    source::{Module, Sources},
};

const ROWS: &[&[&str]] = &[
    &["model", "geography"],
    &["yaml", "net", "logging", "signing", "window"],
    &["probe"],
    &["config", "schedule", "decision", "replication"],
    &["metrics", "status"],
    &["engine", "alert", "server"],
    &["app"],
    &["bench"],
    &["coldstart"],
    &["cli", "lib", "main"],
];

fn row(module: &str) -> Option<usize> {
    ROWS.iter().position(|row| row.contains(&module))
}

fn sources() -> Sources {
    let sources = Sources::read(&root().join("src"));
    let files = sources.texts().len();
    assert!(files > 20, "only {files} files were found");
    sources
}

/// The module of the crate to which a file belongs.
fn top(module: &Module) -> &str {
    module.first().map_or("lib", String::as_str)
}

#[test]
fn modules_import_only_from_the_rows_above_them() {
    let sources = sources();
    let imports = sources.imports();
    assert!(imports.len() > 100, "only {} imports were seen", imports.len());
    let mut broken = BTreeSet::new();
    for (user, used) in imports {
        let (own, other) = (top(user), top(used));
        let allowed = own == other || row(other).is_some_and(|other| row(own).is_some_and(|own| other < own));
        if !allowed {
            broken.insert(format!("src/{}: imports {}", sources.path(user).display(), used.join("::")));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn no_folder_has_an_import_cycle() {
    let cycles = sources().cycles();
    assert!(cycles.is_empty(), "{cycles:#?}");
}

#[test]
fn libraries_are_named_only_where_they_belong() {
    let owners = [
        ("prometheus::", &["metrics"][..]),
        // Its sockets are made in the one, its packets decoded in the other.
        ("surge_ping::", &["net/ping.rs", "probe/icmp"]),
        ("unsafe {", &["net"]),
        ("hickory_resolver::", &["net/resolver"]),
        ("hickory_proto::", &["probe/dns/message.rs"]),
        ("rustls::", &["net/tls.rs", "net/tls/", "net/http_failure.rs", "yaml/secrets.rs", "signing/key.rs"]),
        // rustls has a module of that name.
        (
            "use ring::",
            &[
                "decision/votes/signature.rs",
                "net/tls/certificate.rs",
                "probe/mysql/scramble.rs",
                "probe/postgres/scram.rs",
                "signing",
            ],
        ),
        ("saphyr_parser::", &["yaml/tree.rs"]),
        ("clap::", &["cli"]),
    ];
    for (path, text) in sources().texts() {
        let relative = path.to_str().unwrap();
        for (library, owners) in owners {
            let own = owners.iter().any(|owner| relative.starts_with(owner));
            assert!(own || !text.contains(library), "{relative} names {library}, which is for {owners:?}");
        }
    }
}

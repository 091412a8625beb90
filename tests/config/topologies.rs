//! The files of docs/topologies.md, for each region in them.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use regionwatch::config::{Config, Maintenance, Voters};

/// Each file of the page, with the heading above it.
fn files() -> Vec<(String, String)> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/topologies.md")).unwrap();
    let sections = page.split("\n## ").filter_map(|section| {
        let (_, rest) = section.split_once("```yaml\n")?;
        Some((section.lines().next()?.to_owned(), rest.split_once("```")?.0.to_owned()))
    });
    sections.collect()
}

#[test]
fn every_file_loads_for_each_of_its_regions_and_every_outage_can_be_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("votes.key");
    fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let files = files();
    assert_eq!(files.len(), 4, "{files:?}");
    for (heading, text) in files {
        let regions: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("  - region: ")).collect();
        for own in &regions {
            let variables = [("REGIONWATCH_REGION".into(), own.into())];
            let loaded = Config::load(Some((&folder.path().join("regionwatch.yaml"), &text)), variables);
            let loaded = loaded.unwrap_or_else(|errors| panic!("{heading}, {own}: {errors}"));
            assert_eq!(loaded.warnings, [] as [String; 0], "{heading}, {own}");
            let (config, voters) = (&loaded.config, Voters::of(&loaded.config));
            assert_eq!(config.peers.len() + 1, regions.len(), "{heading}, {own}");
            assert!(config.peers.iter().all(|peer| voters.can_confirm(&peer.region)), "{heading}, {own}");
            // The witness is never failed over, and no target.
            assert_eq!(config.maintenance == Maintenance::Yes, *own == "witness", "{heading}, {own}");
        }
    }
}

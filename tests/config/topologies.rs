//! The files of docs/topologies.md, for each region and each witness in them.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use regionwatch::config::{Config, Voters};

/// Each section of the page that has files: its heading, and the texts of the files.
fn sections() -> Vec<(String, Vec<String>)> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/topologies.md")).unwrap();
    let sections = page.split("\n## ").filter_map(|section| {
        let files = section.split("```yaml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0.to_owned());
        let files: Vec<_> = files.collect();
        (!files.is_empty()).then(|| (section.lines().next().unwrap().to_owned(), files))
    });
    sections.collect()
}

/// What follows this at the beginning of lines.
fn after<'a>(files: &'a [String], begin: &str) -> Vec<&'a str> {
    files.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix(begin)).collect()
}

#[test]
fn every_file_loads_for_each_of_its_vantages_and_every_outage_can_be_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("votes.key");
    fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let sections = sections();
    let headings: Vec<_> = sections.iter().map(|(heading, _)| heading.as_str()).collect();
    let expected = [
        "Three regions",
        "Two regions",
        "Two regions and a witness",
        "Many regions from one file",
        "Public ingress only",
    ];
    assert_eq!(headings, expected);
    for (heading, files) in &sections {
        let regions = after(files, "  - region: ");
        let witnesses = after(files, "  - name: ");
        assert_eq!(witnesses.len(), usize::from(heading.contains("witness")), "{heading}");
        // A file with a name stands beside the others; the first one of the section is that of an instance.
        for text in files {
            if let Some(name) = text.lines().next().and_then(|line| line.strip_prefix("# ")) {
                fs::write(folder.path().join(name), text).unwrap();
            }
        }
        for own in regions.iter().chain(&witnesses) {
            let is_own = files[0].contains("\nregion: ");
            let text = files[0].replace("\nregion: eu-west-1\n", &format!("\nregion: {own}\n"));
            let variables = [("REGIONWATCH_REGION".into(), own.into())];
            let variables = variables.into_iter().filter(|_| !is_own);
            let loaded = Config::load(Some((&folder.path().join("regionwatch.yaml"), &text)), variables);
            let loaded = loaded.unwrap_or_else(|errors| panic!("{heading}, {own}: {errors}"));
            assert_eq!(loaded.warnings, [] as [String; 0], "{heading}, {own}");
            let (config, voters) = (&loaded.config, Voters::of(&loaded.config));
            let is_witness = witnesses.contains(own);
            assert_eq!(config.region.as_str(), *own, "{heading}");
            assert_eq!(config.is_witness(), is_witness, "{heading}, {own}");
            assert_eq!(config.peers.len() + usize::from(!is_witness), regions.len(), "{heading}, {own}");
            assert!(config.peers.iter().all(|peer| voters.can_confirm(&peer.region)), "{heading}, {own}");
            let vantages = regions.len() + witnesses.len();
            assert_eq!(voters.vantages(), vantages, "{heading}, {own}: the witness is counted");
        }
    }
}

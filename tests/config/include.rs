//! `include` of further files.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use regionwatch::config::{Config, ConfigErrors, Loaded};
use tempfile::TempDir;

const US: &str = "peers: [{region: us-east-1, targets: [{host: us.example.com, probes: [{kind: icmp}]}]}]\n";
const AP: &str = "peers: [{region: ap-south-1, targets: [{host: ap.example.com, probes: [{kind: icmp}]}]}]\n";

/// A folder with these files; the first one is loaded.
struct Files {
    folder: TempDir,
    main: PathBuf,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let main = folder.path().join(files[0].0);
        Self { folder, main }
    }

    fn load(&self) -> Result<Loaded, ConfigErrors> {
        let text = fs::read_to_string(&self.main).unwrap();
        Config::load(Some((&self.main, &text)), [])
    }

    fn config(&self) -> Config {
        self.load().unwrap_or_else(|errors| panic!("{errors}")).config
    }

    /// The errors, without the folder.
    fn errors(&self) -> Vec<String> {
        let errors = self.load().err().map(|errors| errors.lines().collect::<Vec<_>>()).unwrap_or_default();
        let folder = format!("{}/", self.folder.path().display());
        errors.iter().map(|line| line.replace(&folder, "")).collect()
    }
}

fn regions(config: &Config) -> Vec<&str> {
    config.peers.iter().map(|peer| peer.region.as_str()).collect()
}

#[test]
fn one_file_for_all_regions_is_included_beside_the_value_that_differs() {
    let fleet = format!("zone: eu\nfailover: {{min_capacity: 0.3}}\n{US}");
    let files = Files::new(&[
        ("eu-west-1.yaml", "region: eu-west-1\ninclude: [shared/fleet.yaml, more.yaml]\nfailover: {max_down: 2}\n"),
        ("shared/fleet.yaml", &format!("include: limits.yaml\n{fleet}")),
        ("shared/limits.yaml", "failover: {execute_after: 7s}\ndefaults: {icmp: {interval: 2s}}\n"),
        ("more.yaml", &format!("window: 1m\ndefaults: {{icmp: {{timeout: 3s}}}}\n{AP}")),
    ]);
    let config = files.config();
    assert_eq!((config.region.as_str(), config.zone.as_deref()), ("eu-west-1", Some("eu")));
    assert_eq!(regions(&config), ["us-east-1", "ap-south-1"], "lists are joined in the order of the files");
    let failover = &config.failover;
    assert_eq!((failover.max_down, failover.min_capacity, failover.execute_after.as_secs()), (2, 0.3, 7));
    assert_eq!(config.window.as_secs(), 60);
    let cadence = config.peers[0].targets[0].probes[0].cadence;
    assert_eq!((cadence.interval().as_secs(), cadence.timeout().as_secs()), (2, 3));
    // What is printed is the whole, without any file beside it.
    let printed = config.to_yaml();
    let again =
        Config::load(Some((Path::new("printed.yaml"), &printed)), []).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again.config, config, "{printed}");
    assert!(!printed.contains("include"), "{printed}");
}

/// The own region may be in the included list.
#[test]
fn the_own_region_takes_its_attributes_from_the_included_list() {
    let fleet = "peers:\n- {region: eu-west-1, zone: eu, capacity: 0.4, location: {latitude: 1, longitude: 2}, targets: [{host: a, probes: [{kind: icmp}]}]}\n\
                 - {region: us-east-1, zone: us, targets: [{host: b, probes: [{kind: icmp}]}]}\n";
    let files = Files::new(&[("a.yaml", "region: eu-west-1\ninclude: [fleet.yaml]\n"), ("fleet.yaml", fleet)]);
    let config = files.config();
    let location = config.location.map(|location| (location.latitude, location.longitude));
    assert_eq!((config.zone.as_deref(), config.capacity, location), (Some("eu"), Some(0.4), Some((1.0, 2.0))));
    assert_eq!(regions(&config), ["us-east-1"]);
}

#[test]
fn an_error_names_the_included_file_the_line_and_the_value() {
    let broken = US.replace("host: us", "\n  host: u s");
    let files = Files::new(&[
        ("a.yaml", "region: a\ninclude: [sub/b.yaml, c.yaml]\nwindow: 5\n"),
        ("sub/b.yaml", &format!("# a comment\nlog: {{level: loud}}\n{broken}")),
        ("c.yaml", "zone: [\n"),
    ]);
    let errors = files.errors();
    let [window, syntax, level, host] = &errors[..] else { panic!("{errors:#?}") };
    assert!(window.starts_with("a.yaml:3:9: window: \"5\" has no unit"), "{window}");
    assert!(syntax.starts_with("c.yaml:") && syntax.contains("is not YAML"), "{syntax}");
    assert!(level.starts_with("sub/b.yaml:2:14: log.level: \"loud\" "), "{level}");
    assert!(host.starts_with("sub/b.yaml:4:9: peers[0].targets[0].host: \"u s.example.com\" "), "{host}");
}

#[test]
fn a_key_that_is_given_twice_names_both_places() {
    let files = Files::new(&[
        ("a.yaml", &format!("region: a\ninclude: [b.yaml, c.yaml]\nfailover: {{max_down: 2}}\n{US}")),
        ("b.yaml", "zone: eu\nfailover: {min_capacity: 1, max_down: 3}\noperators: []\n"),
        ("c.yaml", "operators: []\nzone: us\nregion: b\n"),
    ]);
    assert_eq!(
        files.errors(),
        [
            "b.yaml:2:29: failover.max_down: is given twice, also at a.yaml:3:12; delete one of them",
            "c.yaml:1:1: operators: is given twice, also at b.yaml:3:1; delete one of them",
            "c.yaml:2:1: zone: is given twice, also at b.yaml:1:1; delete one of them",
            "c.yaml:3:1: region: is given twice, also at a.yaml:1:1; delete one of them",
        ]
    );
    let twice = Files::new(&[("a.yaml", &format!("region: a\ninclude: b.yaml\n{US}")), ("b.yaml", US)]);
    let errors = twice.errors();
    assert!(
        errors[0].starts_with("b.yaml:1:18: peers[1].region: \"us-east-1\" is a duplicate of peers[0].region"),
        "{errors:?}"
    );
}

#[test]
fn cycles_and_files_that_cannot_be_read_are_errors_and_nothing_hangs() {
    let mut files = Files::new(&[
        (
            "a.yaml",
            &format!(
                "region: a\ninclude: [b.yaml, b.yaml, pipe, folder, a.yaml, latin, list.yaml, large, secret]\n{US}"
            ),
        ),
        ("b.yaml", "include:\n- sub/../c.yaml\n"),
        ("c.yaml", "include: [b.yaml]\nzone: eu\n"),
        ("folder/x", ""),
        ("sub/x", ""),
        ("list.yaml", "- zone\n"),
        ("secret", "zone: us\n"),
    ]);
    let path = |name: &str| files.folder.path().join(name);
    assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    fs::write(path("latin"), b"zone: \xe9\n").unwrap();
    fs::write(path("large"), vec![b'#'; 4 << 20]).unwrap();
    fs::set_permissions(path("secret"), fs::Permissions::from_mode(0o000)).unwrap();
    let mut errors = files.errors();
    let root = fs::read(path("secret")).is_ok();
    let expected = [
        "a.yaml:2:19: include[1]: \"b.yaml\" is included twice, also at a.yaml:2:11; delete one of them",
        "a.yaml:2:27: include[2]: \"pipe\" is a named pipe and not a regular file; write the path of a file",
        "a.yaml:2:33: include[3]: \"folder\" is a directory and not a regular file; write the path of a file",
        "a.yaml:2:41: include[4]: \"a.yaml\" includes the file that this line is in, or leads back to it; delete it",
        "a.yaml:2:49: include[5]: \"latin\" is not UTF-8; save the file in that encoding",
        "a.yaml:2:67: include[7]: \"large\" makes the configuration larger than 4 MiB; split the peers over several instances",
        if root {
            "secret:1:1: zone: is given twice, also at sub/../c.yaml:2:1; delete one of them"
        } else {
            "a.yaml:2:74: include[8]: \"secret\" cannot be read (permission denied); allow this process's user to read it"
        },
        "sub/../c.yaml:1:11: include[0]: \"b.yaml\" includes the file that this line is in, or leads back to it; delete it",
        "list.yaml:1:1: is not a mapping; write lines of key: value",
    ];
    let mut expected: Vec<_> = expected.into_iter().collect();
    expected.sort_unstable();
    errors.sort_unstable();
    assert_eq!(errors, expected);

    // By a link it is the same file.
    fs::remove_file(path("b.yaml")).unwrap();
    std::os::unix::fs::symlink(path("a.yaml"), path("b.yaml")).unwrap();
    fs::write(path("a.yaml"), format!("region: a\ninclude: b.yaml\n{US}")).unwrap();
    files.main = path("a.yaml");
    let errors = files.errors();
    assert!(errors[0].contains("leads back to it") && errors.len() == 1, "{errors:?}");
}

#[test]
fn more_files_than_the_limit_are_an_error() {
    let names: Vec<_> = (0..65).map(|n| format!("{n}.yaml")).collect();
    let main = format!("region: a\ninclude: [{}]\n{US}", names.join(", "));
    let files: Vec<_> = [("a.yaml", &*main)].into_iter().chain(names.iter().map(|name| (&**name, ""))).collect();
    let errors = Files::new(&files).errors();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("\"64.yaml\" is one file too many; include at most 64"), "{errors:?}");
}

/// Below an error is the line of the file that it is in.
#[test]
fn the_excerpt_under_an_error_is_of_the_included_file() {
    let files = Files::new(&[("a.yaml", &format!("region: a\ninclude: b.yaml\n{US}")), ("b.yaml", "\nwindow: 300\n")]);
    let errors = files.load().unwrap_err();
    let text = fs::read_to_string(&files.main).unwrap();
    let excerpts: Vec<_> = errors.with_excerpts(&text).map(|(_, excerpt)| excerpt.unwrap_or_default()).collect();
    assert_eq!(excerpts, ["  2 | window: 300\n    |         ^"]);
}

/// Neither what is shown nor what is debugged has a secret of an included file.
#[test]
fn no_error_contains_a_secret_of_an_included_file() {
    let secret = "peers: [{region: b, targets: [{host: h, probes: [{kind: http, url: 'http://h', basic_auth: {username: u, password: hunter2, x: y}}]}]}]\n";
    let files = Files::new(&[("a.yaml", "region: a\ninclude: b.yaml\n"), ("b.yaml", secret)]);
    let errors = files.load().unwrap_err();
    let text = fs::read_to_string(&files.main).unwrap();
    let excerpts: Vec<_> = errors.with_excerpts(&text).collect();
    assert!(!format!("{errors} {errors:?} {excerpts:?}").contains("hunter2"), "{errors}");
    assert!(errors.to_string().contains("b.yaml:1:"), "{errors}");
}

#[test]
fn a_setting_that_needs_a_restart_has_its_place_in_the_included_file() {
    let files =
        Files::new(&[("a.yaml", &format!("region: a\ninclude: b.yaml\n{US}")), ("b.yaml", "\nlisten: 127.0.0.1:1\n")]);
    let place = files.load().unwrap().locations["listen"].clone();
    assert!(place.ends_with("/b.yaml:2:9"), "{place}");
}

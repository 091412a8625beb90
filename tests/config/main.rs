//! Configurations as operators write them: good ones load, broken ones report every error.
//!
//! A case is `NAME.yaml` (the file), `NAME.env` (lines of `NAME=VALUE`), or both. Beside each broken case
//! `NAME.expected` has the exact text of the errors. `BLESS=1 cargo test --test config` writes these again; read the
//! difference before you commit it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use regionwatch::{
    config::{Config, ConfigErrors, Loaded, Location, Maintenance, SETTINGS, Secret},
    probe::ProbeSpec,
    signing::PrivateKey,
};

mod include;
mod roundtrip;
mod secrets;
mod topologies;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name)
}

/// The names of the cases in a folder.
fn cases(folder: &Path) -> BTreeSet<String> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let cases = files.filter(|path| path.extension().is_some_and(|extension| extension != "expected"));
    cases.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn variables(text: &str) -> Vec<(OsString, OsString)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('=').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
}

/// Loads a case as if its file were named `regionwatch.yaml`.
fn load(folder: &Path, name: &str) -> Result<Loaded, ConfigErrors> {
    let file = fs::read_to_string(folder.join(format!("{name}.yaml"))).ok();
    let environment = fs::read_to_string(folder.join(format!("{name}.env"))).unwrap_or_default();
    Config::load(file.as_deref().map(|text| (Path::new("regionwatch.yaml"), text)), variables(&environment))
}

#[test]
fn valid_configurations_load_and_round_trip() {
    let folder = folder("good");
    for name in cases(&folder) {
        let loaded = load(&folder, &name).unwrap_or_else(|errors| panic!("{name}:\n{errors}"));
        let printed = loaded.config.to_yaml();
        let again = Config::load(Some((Path::new("printed.yaml"), &printed)), [])
            .unwrap_or_else(|errors| panic!("{name}:\n{errors}\n{printed}"));
        assert_eq!(again.config.to_yaml(), printed, "{name}");
        if !printed.contains("<secret>") {
            assert_eq!(again.config, loaded.config, "{name}\n{printed}");
        }
    }
}

/// Each takes what the list says about its own region, and has the others as peers.
#[test]
fn one_file_serves_every_region() {
    let file = fs::read_to_string(folder("good").join("shared-file.yaml")).unwrap();
    let all = ["eu-west-1", "us-east-1", "mars"];
    let of = |region: &str, more: &[(&str, &str)]| {
        let variables = [("REGIONWATCH_REGION", region)]
            .into_iter()
            .chain(more.iter().copied())
            .map(|(name, value)| (name.into(), value.into()));
        Config::load(Some((Path::new("regionwatch.yaml"), &file)), variables.collect::<Vec<_>>()).unwrap().config
    };
    for region in all {
        let config = of(region, &[]);
        let peers: Vec<_> = config.peers.iter().map(|peer| peer.region.as_str()).collect();
        assert_eq!(peers, all.into_iter().filter(|other| *other != region).collect::<Vec<_>>());
    }
    let [eu, us, mars] = all.map(|region| of(region, &[]));
    assert_eq!((eu.zone.as_deref(), eu.capacity, eu.maintenance), (Some("eu"), Some(0.5), Maintenance::No));
    assert_eq!((us.failure_domain.as_deref(), us.priority, us.maintenance), (Some("one"), 1, Maintenance::Yes));
    assert!(mars.location.is_some() && mars.zone.is_none());
    let set = of("us-east-1", &[("REGIONWATCH_ZONE", "elsewhere"), ("REGIONWATCH_MAINTENANCE", "false")]);
    assert_eq!(
        (set.zone.as_deref(), set.maintenance, set.priority),
        (Some("elsewhere"), Maintenance::No, 1),
        "settings win"
    );
}

#[test]
fn a_signing_key_that_the_shared_file_does_not_list_is_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let ((key, pem), (other, _)) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
    let path = folder.path().join("signing.pem");
    fs::write(&path, pem).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let warned = |listed: &str| {
        let text = format!(
            "region: a\nsigning: {{key_file: signing.pem}}\npeers:\n- {{region: a, public_keys: [{listed}], targets: [{{host: a, probes: [{{kind: icmp}}]}}]}}\n\
             - {{region: b, targets: [{{host: b, probes: [{{kind: icmp}}]}}]}}\n"
        );
        let loaded = Config::load(Some((&folder.path().join("c.yaml"), &text)), []).unwrap();
        loaded.warnings.iter().any(|warning| warning.starts_with("signing.key_file: its public key is not among"))
    };
    let (key, other) = (format!("'{}'", key.public()), format!("'{}'", other.public()));
    assert!(warned(&other));
    assert!(!warned(&format!("{other}, {key}")) && !warned(""));
}

#[test]
fn broken_configurations_report_every_error() {
    let folder = folder("broken");
    let cases = cases(&folder);
    assert!(cases.len() >= 45, "only {} cases", cases.len());
    let mut failures = Vec::new();
    for name in &cases {
        let told = match load(&folder, name) {
            Ok(_) => {
                failures.push(format!("{name}: is not broken"));
                continue;
            }
            Err(errors) => format!("{errors}\n"),
        };
        let path = folder.join(format!("{name}.expected"));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &told).unwrap();
        }
        match fs::read_to_string(&path) {
            Ok(expected) if expected == told => {}
            Ok(expected) => failures.push(format!("{name}:\n--- expected\n{expected}--- told\n{told}")),
            Err(error) => failures.push(format!("{name}.expected: {error}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// An expectation that outlived its case proves nothing.
#[test]
fn every_expectation_has_its_case() {
    let folder = folder("broken");
    let cases = cases(&folder);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        assert!(cases.contains(path.file_stem().unwrap().to_str().unwrap()), "{}", path.display());
    }
}

/// Each line names a place, then says what is wrong, then what to do.
#[test]
fn every_error_has_place_reason_and_fix() {
    let folder = folder("broken");
    for name in cases(&folder) {
        let Err(errors) = load(&folder, &name) else { continue };
        for line in errors.lines() {
            let (place, text) = line.split_once(": ").unwrap_or_else(|| panic!("{name}: {line}"));
            let in_file = place.strip_prefix("regionwatch.yaml:").is_some_and(|position| {
                position.split(':').count() == 2 && position.split(':').all(|n| n.parse::<u32>().is_ok_and(|n| n > 0))
            });
            assert!(in_file || place.starts_with("REGIONWATCH_") || place == "configuration", "{name}: {line}");
            assert!(text.contains("; ") && !text.ends_with(['.', ' ']), "{name}: {line}");
            assert!(!line.contains(['\n', '\r', '\0']), "{name}: {line}");
        }
    }
}

/// No error repeats a password, whatever is wrong and wherever it is.
#[test]
fn no_error_contains_a_secret() {
    let folder = folder("broken");
    let mut secrets = 0;
    for name in cases(&folder) {
        let source = fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap_or_default();
        secrets += source.matches("hunter2").count();
        let Err(errors) = load(&folder, &name) else { continue };
        assert!(!errors.to_string().contains("hunter2"), "{name}:\n{errors}");
        assert!(!format!("{errors:?}").contains("hunter2"), "{name}");
    }
    assert!(secrets > 10);
}

#[test]
fn secrets_are_not_in_printed_or_debug_output() {
    let loaded = load(&folder("good"), "secrets").unwrap();
    let shown = format!("{loaded:?}{:#?}{}", loaded.config, loaded.config.to_yaml());
    // In plain, and as basic authentication carries them.
    for secret in ["hunter2", "s3cret", "cHJvYmU6aHVudGVyMg", "Bearer", "Basic"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("<secret>"));
    let [peer] = &loaded.config.peers[..] else { panic!("one peer") };
    let sent: Vec<_> = peer.targets[0]
        .probes
        .iter()
        .flat_map(|probe| match &probe.spec {
            ProbeSpec::Sidecar(spec) => spec.request.headers.iter().map(|(_, value)| value.to_str().unwrap()).collect(),
            ProbeSpec::Http(spec) => spec.headers.iter().map(|(_, value)| value.to_str().unwrap()).collect(),
            _ => Vec::new(),
        })
        .collect();
    assert_eq!(sent, ["key hunter2", "text/plain", "Basic cHJvYmU6aHVudGVyMg==", "Bearer s3cret-token"]);
    let pushed = loaded.config.alertmanagers.iter().flat_map(|to| &to.access.headers);
    let pushed: Vec<_> = pushed.map(|(_, value)| value.to_str().unwrap()).collect();
    assert_eq!(pushed, ["Basic cHJvYmU6aHVudGVyMg==", "hunter2", "Bearer s3cret-token"]);
}

const PEERS: &str = "peers: [{region: us-east-1, targets: [{host: us.example.com, probes: [{kind: icmp}]}]}]\n";

fn with_peers(text: &str) -> String {
    format!("{text}{PEERS}")
}

#[test]
fn environment_variables_override_the_file() {
    let file =
        with_peers("region: eu-west-1\nwindow: 1m\nzone: eu\ndefaults: {icmp: {interval: 100ms, timeout: 3s}}\n");
    let environment = variables(
        "REGIONWATCH_WINDOW=2m\nREGIONWATCH_ICMP_INTERVAL=200ms\nREGIONWATCH_ZONE=\n\
         REGIONWATCH_PEERS=ap-south-1=https://ap.example.com/\n",
    );
    let Loaded { config, warnings, .. } = Config::load(Some((Path::new("a/b.yaml"), &file)), environment).unwrap();
    assert_eq!(config.window.as_secs(), 120);
    assert_eq!(config.zone.as_deref(), Some("eu"));
    assert_eq!(config.peers[0].region.as_str(), "ap-south-1");
    let cadence = config.peers[0].targets[0].probes[0].cadence;
    assert_eq!((cadence.interval().as_millis(), cadence.timeout().as_millis()), (200, 3000));
    assert_eq!(warnings, ["REGIONWATCH_PEERS: replaces the 1 peers of a/b.yaml"]);
}

/// An empty list would look as if no status were a success.
#[test]
fn the_default_success_statuses_are_printed() {
    let printed = |expect: &str| {
        let probe = format!("{{kind: http, url: 'https://b.example.com/'{expect}}}");
        let text = format!("region: a\npeers: [{{region: b, targets: [{{probes: [{probe}]}}]}}]");
        let yaml = Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap().config.to_yaml();
        yaml.lines().find_map(|line| line.trim().strip_prefix("status: ")).unwrap().to_owned()
    };
    assert_eq!(printed(""), "[] # 200 to 299");
    assert_eq!(printed(", expect: {status: [200, 404]}"), "[200, 404]");
}

#[test]
fn unknown_variables_warn_and_service_links_do_not() {
    let file = with_peers("region: eu-west-1\n");
    let environment = variables(
        "REGIONWATCH_REGOIN=x\nREGIONWATCH_COLOUR=red\nREGIONWATCH_PORT=tcp://10.0.0.1:9877\nOTHER=1\n\
         REGIONWATCH_SERVICE_PORT_METRICS=9877\nREGIONWATCH_CONFIG=x.yaml\nREGIONWATCH_REGIONWATCH_REGION=us\n",
    );
    let loaded = Config::load(Some((Path::new("x.yaml"), &file)), environment).unwrap();
    assert_eq!(
        loaded.warnings,
        [
            "REGIONWATCH_COLOUR: is not a known variable and has no effect; unset it",
            "REGIONWATCH_REGIONWATCH_REGION: is not a known variable and has no effect; unset it",
            "REGIONWATCH_REGOIN: is not a known variable and has no effect; did you mean REGIONWATCH_REGION?",
        ]
    );
    assert_eq!(loaded.config.region.as_str(), "eu-west-1");
}

/// Each setting is read from its key and from its variable, which an error names. None takes a control character.
#[test]
fn a_rejected_value_is_reported_with_the_key_or_variable_of_its_setting() {
    for setting in SETTINGS {
        let errors = |file: &str, environment: Vec<(OsString, OsString)>| {
            let file = with_peers(file);
            let errors = Config::load(Some((Path::new("x.yaml"), &file)), environment).unwrap_err();
            errors.lines().collect::<Vec<_>>()
        };
        let line = match setting.key.split_once('.') {
            Some((section, key)) => format!("{section}: {{{key}: \"?\\a\"}}\n"),
            None => format!("{}: \"?\\a\"\n", setting.key),
        };
        let in_file = errors(&if setting.key == "region" { line } else { format!("region: a\n{line}") }, Vec::new());
        let named = |line: &String| line.starts_with("x.yaml:") && line.contains(&format!(": {}: ", setting.key));
        assert!(in_file.len() == 1 && named(&in_file[0]), "{in_file:?}");
        let variable = errors("region: a\n", vec![(setting.variable.into(), "?\u{7}".into())]);
        assert!(variable.len() == 1 && variable[0].starts_with(setting.variable), "{variable:?}");
    }
}

#[test]
fn an_obsolete_setting_of_an_earlier_version_is_read_with_a_warning_and_not_printed() {
    let file = with_peers("region: eu-west-1\nfailover: {rpo: 9s}\n");
    let loaded = Config::load(Some((Path::new("x.yaml"), &file)), []).unwrap();
    assert_eq!(loaded.warnings, ["x.yaml:2:17: failover.rpo: has no effect; delete it"]);
    let loaded = Config::load(Some((Path::new("x.yaml"), &with_peers("region: a\n"))), variables("REGIONWATCH_RPO=9s"));
    let Loaded { config, warnings, .. } = loaded.unwrap();
    assert_eq!(warnings, ["REGIONWATCH_RPO: has no effect; delete it"]);
    assert!(!config.to_yaml().contains("rpo"), "{}", config.to_yaml());
}

/// A setting that was renamed keeps its old names, which warn.
#[test]
fn renamed_settings_accept_the_old_name_with_a_warning() {
    let load = |file: &str, environment: &str| {
        let file = with_peers(&format!("region: eu-west-1\n{file}"));
        let loaded = Config::load(Some((Path::new("x.yaml"), &file)), variables(environment)).unwrap();
        (loaded.config.failover.confirm_burst, loaded.warnings)
    };
    assert_eq!(load("", ""), (true, vec![]));
    let warning = "x.yaml:2:24: failover.edge_burst: is now called confirm_burst; rename it".to_owned();
    assert_eq!(load("failover: {edge_burst: false}\n", ""), (false, vec![warning.clone()]));
    let other = "REGIONWATCH_EDGE_BURST: is now called REGIONWATCH_CONFIRM_BURST; rename it".to_owned();
    assert_eq!(load("", "REGIONWATCH_EDGE_BURST=false"), (false, vec![other.clone()]));
    assert_eq!(load("failover: {edge_burst: true}\n", "REGIONWATCH_EDGE_BURST=false"), (false, vec![warning, other]));
    assert_eq!(load("failover: {confirm_burst: true}\n", "REGIONWATCH_CONFIRM_BURST=false"), (false, vec![]));
}

/// envy panics on these when it is left to read the environment.
#[cfg(unix)]
#[test]
fn variables_that_are_not_utf8_never_panic() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(vec![0xff, 0xfe]);
    let file = with_peers("region: eu-west-1\n");
    let load = |name: OsString| Config::load(Some((Path::new("x.yaml"), &file)), [(name, bytes())]);
    assert!(load("OTHER".into()).unwrap().warnings.is_empty());
    assert!(load(bytes()).unwrap().warnings.is_empty());
    assert_eq!(load("REGIONWATCH_COLOUR".into()).unwrap().warnings.len(), 1);
    let told = load("REGIONWATCH_ZONE".into()).unwrap_err().to_string();
    assert_eq!(told, "REGIONWATCH_ZONE: is not UTF-8; set it to text");
}

#[test]
fn letters_that_are_sent_as_more_than_one_byte_warn_with_their_line() {
    let warnings = |keys: &str| {
        let probe = format!("{{kind: tcp, port: 1, {keys}}}");
        let text = format!("region: a\npeers: [{{region: b, targets: [{{host: h, probes: [{probe}]}}]}}]\n");
        Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap_or_else(|errors| panic!("{errors}")).warnings
    };
    let [warning] = warnings("send: \"\\xd2\"").try_into().unwrap();
    let expected = "peers[0].targets[0].probes[0].send: has letters outside ASCII, which are sent as UTF-8; write bytes in send_hex";
    assert!(warning.starts_with("x.yaml:2:") && warning.ends_with(expected), "{warning}");
    assert!(warnings("send: \"\\x41\"").is_empty() && warnings("send_hex: d2").is_empty());
}

/// An operator who names Alertmanagers wants failovers; a warning says why none would be confirmed.
#[test]
fn a_failover_that_can_never_be_confirmed_warns() {
    let warnings = |lines: &str, sidecars: &[bool], tls: &str| {
        let peers = sidecars.iter().enumerate().map(|(n, sidecar)| {
            format!(
                "{{region: p{n}, targets: [{{host: h, probes: [{{kind: icmp}}, {{kind: tcp, port: 1}}, {{kind: http, url: \
                 'https://p{n}.example.com/api/v1/regions', sidecar: {sidecar}{tls}}}]}}]}},"
            )
        });
        let text = format!("region: here\n{lines}peers: [{}]\n", peers.collect::<String>());
        let loaded = Config::load(Some((&folder("any.yaml"), &text)), []).unwrap_or_else(|m| panic!("{m}\n{text}"));
        // How a checkout creates the key file is another matter.
        let other = loaded.warnings.iter().filter(|warning| !warning.contains("can be read by every user"));
        let keys = other.map(|warning| warning.split(':').next().unwrap().to_owned());
        keys.collect::<Vec<_>>()
    };
    let to = "alertmanagers: ['http://am:9093']\n";
    let keys = &format!("{to}votes: {{key_file: files/votes.key}}\n");
    let anchors = "anchors: ['tcp://192.0.2.1:443', 'tcp://198.51.100.1:443']\n";
    let identity = ", tls: {cert_file: files/ca.pem, key_file: files/key.pem}";
    let none: [&str; 0] = [];
    assert_eq!(warnings("", &[false, false], ""), none);
    assert_eq!(warnings(to, &[false, false], ""), ["peers"]);
    assert_eq!(warnings(to, &[true, false], ""), ["votes"]);
    assert_eq!(warnings(to, &[true, true], identity), none);
    assert_eq!(warnings(keys, &[true, true], ""), none);
    assert_eq!(warnings(keys, &[false, false], ""), ["peers"]);
    assert_eq!(warnings(keys, &[true, false], ""), ["failover"]);
    assert_eq!(warnings(keys, &[true, true, false], ""), none);
    assert_eq!(warnings(keys, &[true], ""), ["failover", "anchors"]);
    assert_eq!(warnings(to, &[false], ""), ["failover", "anchors"]);
    assert_eq!(warnings(&format!("{keys}{anchors}"), &[true], ""), ["failover"]);
    let alone = "failover: {allow_single_vantage: true}\n";
    assert_eq!(warnings(&format!("{keys}{anchors}{alone}"), &[true], ""), none);
}

/// A sidecar that is away is no sign that its region is down.
#[test]
fn a_peer_with_only_sidecar_probes_warns() {
    let warnings = |other: &str| {
        let text = format!(
            "region: here\nalertmanagers: ['http://am:9093']\nvotes: {{key_file: files/votes.key}}\npeers: \
             [{{region: a, targets: [{{host: h, probes: [{{kind: icmp}}, {{kind: tcp, port: 1}}, {{kind: sidecar, url: 'http://a:9877'}}]}}]}}, \
             {{region: b, targets: [{{host: h, probes: [{other}{{kind: sidecar, url: 'http://b:9877'}}]}}]}}]\n"
        );
        let loaded = Config::load(Some((&folder("any.yaml"), &text)), []).unwrap_or_else(|m| panic!("{m}\n{text}"));
        loaded.warnings.into_iter().filter(|warning| warning.starts_with("peers: ")).collect::<Vec<_>>()
    };
    assert_eq!(
        warnings(""),
        ["peers: b has only sidecar probes, whose failures say nothing about the region, so it is never down; add \
             {kind: icmp} and {kind: tcp, port: 443} to a target"]
    );
    assert_eq!(
        warnings("{kind: icmp}, "),
        [
            "peers: b has one kind of probe only, so an outage is found later, and a firewall can look like one; add {kind: tcp, \
             port: 443} to a target"
        ]
    );
    assert!(warnings("{kind: icmp}, {kind: tcp, port: 1}, ").is_empty());
}

#[test]
fn regions_without_coordinates_warn_if_others_have_some() {
    let warnings = |own: &str, peer: &str| {
        let text = format!(
            "region: {own}\nalertmanagers: http://am:9093\npeers: [{{region: {peer}, targets: [{{host: h, probes: [{{kind: \
             icmp}}]}}]}}]\n"
        );
        let loaded = Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap();
        loaded.warnings.into_iter().filter(|warning| warning.starts_with("location")).collect::<Vec<_>>()
    };
    assert!(warnings("home", "office").is_empty() && warnings("eu-west-1", "us-east-1").is_empty());
    let [warning] = warnings("eu-west-1", "office").try_into().unwrap();
    assert!(warning.starts_with("location: office has none, so its distance"), "{warning}");
}

#[test]
fn a_sidecar_probe_that_requests_no_votes_warns() {
    let warnings = |paths: &[&str]| {
        let peers = paths.iter().enumerate().map(|(n, path)| {
            let probe = format!("{{kind: http, sidecar: true, url: 'http://127.0.0.1:9877{path}'}}");
            format!("{{region: p{n}, targets: [{{probes: [{probe}]}}]}},")
        });
        let text = format!("region: here\npeers: [{}]\n", peers.collect::<String>());
        Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap_or_else(|m| panic!("{m}\n{text}")).warnings
    };
    let good = ["/api/v1/regions", "/behind/a/proxy/api/v1/regions", "/api/v1/regions?token=x"];
    assert!(warnings(&good).is_empty());
    assert_eq!(
        warnings(&["/", good[0], "/api/v1/regions/"]),
        ["peers: the sidecar probe of p0 and 1 other peer requests /, which has no votes; write url: \
             \"http://HOST:9877/api/v1/regions\""]
    );
}

/// The command writes the key to the path that is read, in any working directory.
#[test]
fn the_suggested_key_command_writes_the_file_that_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = with_peers("region: a\nvotes: {key_file: votes.key}\n");
    let key = folder.path().join("votes.key");
    let command = format!("(umask 077; openssl rand -hex 32 > {})", key.display());
    for content in [None, Some(""), Some("short\n"), Some("no text: \u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\n")] {
        content.into_iter().for_each(|content| fs::write(&key, content).unwrap());
        let told = Config::load(Some((&folder.path().join("a.yaml"), &file)), []).unwrap_err().to_string();
        assert!(told.ends_with(&command), "{told}");
    }
}

/// A filter that no region can pass would only show on the day of the failover.
#[test]
fn a_filter_that_no_region_passes_warns() {
    let warnings = |text: &str| {
        let text = format!("region: home\n{text}");
        let loaded = Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap_or_else(|m| panic!("{m}\n{text}"));
        loaded.warnings
    };
    let peers = |keys: &str| {
        format!(
            "peers: [{{region: us-east-1, {keys} targets: [{{host: h, probes: [{{kind: icmp}}]}}]}}, \
             {{region: there, {keys} targets: [{{host: h, probes: [{{kind: icmp}}]}}]}}]\n"
        )
    };
    let gates = "failover: {allowed_zones: [eu], min_distance: 1km, min_capacity: 0.1}\n";
    let told = warnings(&format!("{gates}{}", peers("")));
    assert_eq!(
        told,
        [
            "failover.allowed_zones: home and 2 other regions have no zone, so they can never be a failover target; add \
             zone: NAME",
            "failover.min_distance: home and 1 other region have no location, so they can never be a failover target; add \
             location: {latitude: DEGREES, longitude: DEGREES}",
            "failover.min_capacity: home and 2 other regions have no capacity, so they can never be a failover target; add \
             capacity: 0.5",
        ]
    );
    let known = "zone: eu, location: {latitude: 1, longitude: 1}, capacity: 1,";
    let own = "zone: eu\nlocation: {latitude: 9, longitude: 9}\ncapacity: 1\n";
    assert!(warnings(&format!("{gates}{own}{}", peers(known))).is_empty());
    assert!(warnings(&peers("")).is_empty());
}

/// Regions with the name of a cloud region have a location unless the configuration gives another.
#[test]
fn regions_of_public_clouds_have_a_location() {
    let text = "region: eu-west-1\npeers: [{region: us-east-1, location: {latitude: 1, longitude: 2}, \
                targets: [{host: h, probes: [{kind: icmp}]}]}, \
                {region: europe-west3, targets: [{host: h, probes: [{kind: icmp}]}]}, \
                {region: dc1, targets: [{host: h, probes: [{kind: icmp}]}]}]";
    let config = Config::load(Some((Path::new("x.yaml"), text)), []).unwrap().config;
    let place = |location: Option<Location>| location.map(|location| (location.latitude, location.longitude));
    assert_eq!(place(config.location), Some((53.3, -6.3)));
    let peers: Vec<_> = config.peers.iter().map(|peer| place(peer.location)).collect();
    assert_eq!(peers, [Some((1.0, 2.0)), Some((50.1, 8.7)), None]);
    let environment = variables("REGIONWATCH_REGION=a\nREGIONWATCH_PEERS=westeurope=https://b.example.com/");
    let config = Config::load(None, environment).unwrap().config;
    assert_eq!(place(config.peers[0].location), Some((52.4, 4.9)));
}

#[test]
fn vote_keys_are_read_and_never_printed() {
    let file = with_peers("region: eu-west-1\nvotes: {key_file: files/votes.key}\n");
    let load = |environment: &str| {
        let environment = variables(environment);
        Config::load(Some((&folder("any.yaml"), &file)), environment).unwrap().config
    };
    let config = load("");
    let votes = config.votes.as_ref().unwrap();
    let keys: Vec<_> = votes.keys.iter().map(Secret::as_bytes).collect();
    assert_eq!(keys, [b"test-key-0123456789abcdef01234567"]);
    assert_eq!(votes.file, folder("files/votes.key"));
    let shown = format!("{config:?}{config:#?}{}", config.to_yaml());
    assert!(!shown.contains("0123456789") && shown.contains("files/votes.key"), "{shown}");
    let other = load("REGIONWATCH_VOTES_KEY_FILE=files/two.key").votes.unwrap();
    assert_eq!((other.file, other.keys.len()), (folder("files/two.key"), 2));
}

#[test]
fn a_sidecar_probe_can_be_written_in_two_ways() {
    let load = |probe: &str| {
        let text = format!("region: a\npeers: [{{region: b, targets: [{{probes: [{{{probe}}}]}}]}}]");
        Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap_or_else(|errors| panic!("{errors}"))
    };
    let votes = "url: 'http://b.example.com:9877/api/v1/regions'";
    let kind = load(&format!("kind: sidecar, {votes}"));
    let alias = load(&format!("kind: http, sidecar: true, {votes}"));
    assert_eq!((&kind.config, &kind.warnings), (&alias.config, &alias.warnings));
    assert_eq!(kind.config, load("kind: sidecar, url: 'http://b.example.com:9877'").config);
    let http = load(&format!("kind: http, sidecar: false, {votes}"));
    assert!(matches!(http.config.peers[0].targets[0].probes[0].spec, ProbeSpec::Http(_)));
    let printed = kind.config.to_yaml();
    assert!(printed.contains("kind: sidecar\n") && !printed.contains("sidecar: "), "{printed}");
}

/// It saves a round trip per vote request.
#[test]
fn sidecar_probes_keep_their_connection_by_default() {
    let keeps = |keys: &str| {
        let text = format!(
            "region: a\npeers: [{{region: b, targets: [{{probes: [{{kind: http, url: 'http://b.example.com/'{keys}}}]}}]}}]"
        );
        let config = Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap().config;
        match &config.peers[0].targets[0].probes[0].spec {
            ProbeSpec::Http(spec) => spec.keep_alive,
            ProbeSpec::Sidecar(spec) => spec.request.keep_alive,
            other => panic!("{other:?}"),
        }
    };
    assert!(keeps(", sidecar: true"));
    assert!(!keeps(", sidecar: true, keep_alive: false"));
    assert!(!keeps(""));
}

/// Relative paths start at the folder of the file that names them, as in Prometheus.
#[test]
fn relative_secret_paths_start_at_the_configuration_file() {
    let file = "region: eu-west-1\npeers: [{region: us-east-1, targets: [{probes: [{kind: http, \
                url: 'https://a.example.com/', bearer_token_file: files/token}]}]}]\n";
    assert!(Config::load(Some((&folder("any.yaml"), file)), []).is_ok());
    let told = Config::load(Some((Path::new("/nowhere/any.yaml"), file)), []).unwrap_err().to_string();
    assert!(told.contains("does not exist as /nowhere/files/token; "), "{told}");
}

/// Files of the allowed size with errors everywhere are rejected soon, with bounded output.
#[test]
fn files_full_of_errors_are_rejected_quickly() {
    let keys: String = (0..60_000).map(|n| format!("k{n}: 1\n")).collect();
    let headers: String = (0..60_000).map(|n| format!("h{n}: '(',")).collect();
    let urls: String = (0..40_000).map(|n| format!("http://a{n},")).collect();
    for text in [
        format!("peers: [{}]", "1,".repeat(350_000)),
        keys,
        format!("peers: [{{targets: [{{probes: [{{kind: http, expect: {{headers: {{{headers}}}}}}}]}}]}}]"),
        format!("alertmanagers: [{urls}]"),
        format!("buckets: [{}]", "-1,".repeat(200_000)),
        format!("a: [{}]", "*a,".repeat(200_000)),
        format!("{}: 1", "x".repeat(1_000_000)),
        format!("region: {}", "x".repeat(1_000_000)),
    ] {
        let (took, errors) = testkit::cpu::timed(|| Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap_err());
        let start: String = text.chars().take(40).collect();
        assert!(errors.len() <= 1001 && errors.to_string().len() < 1_000_000, "{start}");
        assert!(took.as_secs() < 10, "{start} took {took:?}");
    }
}

/// A file that is cut, or has a character inserted anywhere, is loaded or rejected, in bounded time.
#[test]
fn damaged_files_never_panic() {
    let source = fs::read_to_string(folder("good").join("everything.yaml")).unwrap();
    let load = |text: &str| drop(Config::load(Some((Path::new("x.yaml"), text)), []));
    for at in (0..source.len()).filter(|at| source.is_char_boundary(*at)) {
        let (before, after) = source.split_at(at);
        load(before);
        for inserted in
            ["'", "\"", "\n", "\t", "[", "}", ":", "- ", "#", "\0", "\u{2028}"].into_iter().skip(at % 4).step_by(4)
        {
            load(&format!("{before}{inserted}{after}"));
        }
    }
}

#[test]
fn two_variables_give_every_peer_all_four_kinds() {
    let paths = |servers: Option<&str>| {
        let mut text =
            String::from("REGIONWATCH_REGION=a\nREGIONWATCH_PEERS=b=https://b.example.com/x,c=http://192.0.2.1/");
        if let Some(servers) = servers {
            text.push_str(&format!("\nREGIONWATCH_DNS_SERVERS={servers}"));
        }
        let config = Config::load(None, variables(&text)).unwrap().config;
        config.paths().map(|(path, probe)| format!("{path} {}", probe.host)).collect::<Vec<_>>()
    };
    let default = paths(None);
    for (peer, host) in [("b", "b.example.com"), ("c", "192.0.2.1")] {
        for kind in ["icmp", "dns", "tcp", "http"] {
            let wanted = format!("{peer}/{host}/{kind} {host}");
            assert!(default.contains(&wanted), "{wanted} in {default:?}");
        }
    }
    let told = paths(Some("b=ns.example.com,c=none"));
    assert!(told.contains(&"b/ns.example.com/dns ns.example.com".to_owned()), "{told:?}");
    assert_eq!(told.iter().filter(|path| path.contains("/dns")).count(), 1, "{told:?}");
}

#[test]
fn the_signing_key_is_read_again_and_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("signing.key");
    let file = with_peers("region: eu-west-1\nsigning: {key_file: signing.key}\n");
    let load = || Config::load(Some((&folder.path().join("c.yaml"), &file)), []);
    let (first, pem) = PrivateKey::generate().unwrap();
    fs::write(&path, &pem).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let loaded = load().unwrap();
    assert_eq!(loaded.config.signing.as_ref().unwrap().key, first);
    assert!(!loaded.warnings.iter().any(|warning| warning.contains("signing.key_file")), "{:?}", loaded.warnings);
    let body = pem.lines().nth(1).unwrap();
    assert!(!format!("{loaded:?}{}", loaded.config.to_yaml()).contains(&body[24..]));
    let (second, pem) = PrivateKey::generate().unwrap();
    fs::write(&path, pem).unwrap();
    assert_eq!(load().unwrap().config.signing.unwrap().key, second);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = load().unwrap().warnings;
    let exposed = format!("can be read by every user of this machine; run: chmod o-rwx {}", path.display());
    assert!(warnings.iter().any(|warning| warning.ends_with(&exposed)), "{warnings:?}");
}

#[test]
fn public_keys_come_from_the_file_or_from_a_variable() {
    let keys: Vec<_> = (0..3).map(|_| PrivateKey::generate().unwrap().0.public()).collect();
    let environment = variables(&format!(
        "REGIONWATCH_REGION=here\nREGIONWATCH_PEERS=a=https://a.example.com/,b=https://b.example.com/\n\
         REGIONWATCH_PUBLIC_KEYS=a={},b={},a={}",
        keys[0], keys[1], keys[2]
    ));
    let config = Config::load(None, environment).unwrap().config;
    let read: Vec<_> = config.peers.iter().map(|peer| peer.public_keys.clone()).collect();
    assert_eq!(read, [vec![keys[0], keys[2]], vec![keys[1]]]);
}

/// With a key anywhere, each vantage without one is named: its orders would not be carried out.
#[test]
fn vantages_that_do_not_sign_are_warned_of() {
    let folder = tempfile::tempdir().unwrap();
    let (own, pem) = PrivateKey::generate().unwrap();
    let peer = PrivateKey::generate().unwrap().0.public();
    fs::write(folder.path().join("signing.key"), pem).unwrap();
    let warnings = |signing: &str, keys: [&str; 2]| {
        let peers = keys.iter().enumerate().map(|(n, key)| {
            format!(
                "- {{region: p{n}, public_keys: [{key}], targets: [{{host: h, probes: [{{kind: icmp}}, \
                 {{kind: sidecar, url: 'http://h:1'}}]}}]}}\n"
            )
        });
        let text =
            format!("region: a\nalertmanagers: ['http://am:9093']\n{signing}peers:\n{}", peers.collect::<String>());
        let loaded = Config::load(Some((&folder.path().join("c.yaml"), &text)), []).unwrap_or_else(|m| panic!("{m}"));
        loaded.warnings.into_iter().filter(|warning| warning.contains("key")).collect::<Vec<_>>()
    };
    let signing = "signing: {key_file: signing.key}\n";
    let told = |warnings: Vec<String>, part: &str| {
        assert!(warnings.iter().any(|warning| warning.contains(part)), "{part} in {warnings:?}");
    };
    let silent = |warnings: Vec<String>| {
        assert!(!warnings.iter().any(|warning| warning.contains("sign")), "{warnings:?}");
    };
    silent(warnings("", ["", ""]));
    told(warnings("", [&format!("'{peer}'"), ""]), "signing: is missing, so this vantage's orders");
    told(warnings(signing, [&format!("'{peer}'"), ""]), "peers: p1 has no public_keys");
    told(warnings(signing, [&format!("'{}'", own.public()), ""]), "peers: p0 has the public key of this vantage");
}

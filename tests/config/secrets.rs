//! Where a secret may be written, and where it is never shown.

use std::{fs, path::Path};

use regionwatch::{
    config::{Config, ConfigErrors, Loaded},
    probe::{DnsTransport, ProbeSpec},
};

use crate::{folder, load};

/// A secret that is in the file itself.
const WRITTEN: &str = "hunter2";
/// The value of `${TOKEN}`.
const VALUE: &str = "s3cret";

fn read(text: &str) -> Result<Loaded, ConfigErrors> {
    Config::load(Some((Path::new("any.yaml"), text)), [("TOKEN".into(), VALUE.into())])
}

/// Whatever is shown of a configuration, valid or not: errors, warnings, `check --print`, the lines of `check`.
fn shown(read: &Result<Loaded, ConfigErrors>, text: &str) -> String {
    match read {
        Err(errors) => format!("{errors}\n{errors:?}\n{:?}", errors.with_excerpts(text).collect::<Vec<_>>()),
        Ok(loaded) => {
            let config = &loaded.config;
            let lines: Vec<_> = config.paths().map(|(_, probe)| probe.spec.destination(&probe.host)).collect();
            format!("{}\n{loaded:?}\n{:?}\n{lines:?}", config.to_yaml(), loaded.warnings)
        }
    }
}

/// Every key that is printed, and those of which only the result is.
fn every_key() -> String {
    let printed = load(&folder("good"), "everything").unwrap().config.to_yaml();
    let more = "
  - region: ap-south-1
    targets:
      - probes:
          - kind: http
            url: https://ap.example.com/
            headers:
              X-Key: x
            basic_auth:
              username: x
              password: x
      - probes:
          - kind: http
            url: https://ap2.example.com/
            bearer_token: x
      - probes:
          - kind: http
            url: https://ap3.example.com/
            bearer_token_file: tests/config/files/token
      - probes:
          - kind: http
            url: https://ap5.example.com/
            unix_socket: /run/app.sock
      - probes:
          - kind: http
            url: https://ap6.example.com/
            proxy:
              url: http://ap7.example.com:3128
              basic_auth:
                username: x
                password: x
      - probes:
          - kind: http
            url: https://ap4.example.com/
            basic_auth:
              username: x
              password_file: tests/config/files/token
";
    printed + more.trim_start_matches('\n')
}

/// The configuration with this value at each key in turn.
fn with_each(value: &str) -> impl Iterator<Item = (String, String)> {
    let text = every_key();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    let value = value.to_owned();
    (0..lines.len()).filter_map(move |n| {
        let (key, _) = lines[n].split_once(": ")?;
        let mut lines = lines.clone();
        lines[n] = format!("{key}: {value}");
        Some((key.trim_start_matches([' ', '-']).to_owned(), lines.join("\n")))
    })
}

#[test]
fn the_value_of_a_variable_is_never_shown_and_its_name_never_sent() {
    read(&every_key()).unwrap_or_else(|errors| panic!("{errors}"));
    let forms =
        ["\"${TOKEN}\"", "[\"${TOKEN}\"]", "\"https://b.example/${TOKEN}?a=${TOKEN}&${TOKEN}\"", "\"/x?${TOKEN}\""];
    let (mut taken, mut refused) = (0, 0);
    for form in forms {
        for (key, text) in with_each(form) {
            let read = read(&text);
            let shown = shown(&read, &text);
            assert!(!shown.contains(VALUE), "{key}: {form}:\n{shown}");
            match read {
                Ok(_) => {
                    taken += 1;
                    assert!(!shown.contains("${"), "{key}: {form} is neither replaced nor refused:\n{shown}");
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(taken >= 15 && refused > 100, "{taken} taken, {refused} refused");
}

#[test]
fn a_value_in_a_broken_file_is_shown_only_if_its_error_repeats_it() {
    // Under its key and under one that is misspelled, in block and flow style.
    for value in ["[[hunter2]]", "{a: hunter2}", "[hunter2, hunter2", "\"hunter2", "|\n  hunter2", "hunter2: hunter2 }"]
    {
        for (key, text) in with_each(value) {
            for text in [text.replace(&format!("{key}: "), &format!("{key}s: ")), text] {
                let read = read(&text);
                let Err(errors) = &read else { continue };
                for (line, excerpt) in errors.with_excerpts(&text) {
                    let excerpt = excerpt.unwrap_or_default();
                    assert!(!excerpt.contains(WRITTEN) || line.contains(WRITTEN), "{key}: {value}:\n{line}\n{excerpt}");
                }
            }
        }
    }
}

#[test]
fn the_query_of_a_url_is_never_shown_whatever_its_key() {
    let urls =
        ["https://b.example/x?token=hunter2", "b.example/?token=hunter2", "https://b.example/?hunter2", "/x?a=hunter2"];
    let broken = ["https://b.example/a b?token=hunter2", "https://b.example/#hunter2", "ftp://b.example?x=a,hunter2"];
    for url in urls.into_iter().chain(broken) {
        for (key, text) in with_each(&format!("\"{url}\"")).chain(with_each(&format!("[\"{url}\"]"))) {
            let read = read(&text);
            // What is expected is no secret, and a path that begins with no scheme may be that of a file.
            let is_expected = read.is_ok() && matches!(&*key, "expect" | "body" | "content-type" | "answers");
            let is_file = (key.ends_with("_file") || key == "unix_socket") && !url.contains("://");
            // A link may lead to a place in a page.
            let is_place = read.is_ok() && key.ends_with("_url") && url.contains('#');
            if !is_expected && !is_file && !is_place {
                let shown = shown(&read, &text);
                assert!(!shown.contains(WRITTEN), "{key}: {url}:\n{shown}");
            }
        }
    }
}

#[test]
fn bodies_and_what_is_sent_are_never_shown() {
    let keys = ["body", "send", "X-Key", "username", "password", "bearer_token"];
    for form in ["hunter2", "[hunter2]", "\"hunter2 ${\"", "\"hunter2\\u0001\\u00e4\""] {
        for (key, text) in with_each(form).filter(|(key, _)| keys.contains(&&**key)) {
            // `expect.body` is a pattern.
            let at = text.find(WRITTEN).unwrap();
            if !text[..at].trim_end_matches([' ', '"', '[']).ends_with("              body:") {
                let shown = shown(&read(&text), &text);
                assert!(!shown.contains(WRITTEN), "{key}: {form}:\n{shown}");
            }
        }
    }
}

#[test]
fn variables_are_replaced_wherever_bytes_are_sent() {
    let text = "region: a\npeers: [{region: b, targets: [{host: h, probes: [\
        {kind: http, url: 'https://h/${TOKEN}?token=${TOKEN}&a=1', body: 'b ${TOKEN} $${TOKEN}'}, \
        {kind: tcp, port: 1, send: 's ${TOKEN}'}, \
        {kind: dns, query: h, transport: https, path: '/${TOKEN}?k=${TOKEN}'}]}]}]";
    let config = read(text).unwrap_or_else(|errors| panic!("{errors}")).config;
    let sent = config.peers[0].targets[0].probes.iter().map(|probe| match &probe.spec {
        ProbeSpec::Http(spec) => {
            format!("{} {}", spec.url.sent(), String::from_utf8_lossy(spec.body.as_ref().unwrap().as_bytes()))
        }
        ProbeSpec::Tcp(spec) => String::from_utf8_lossy(spec.send.as_ref().unwrap().as_bytes()).into_owned(),
        ProbeSpec::Dns(spec) => match &spec.transport {
            DnsTransport::Https { path, .. } => path.as_str().to_owned(),
            _ => panic!("another transport"),
        },
        _ => panic!("another kind"),
    });
    let sent: Vec<_> = sent.collect();
    assert_eq!(sent, ["https://h/s3cret?token=s3cret&a=1 b s3cret ${TOKEN}", "s s3cret", "/s3cret?k=s3cret"]);
    let yaml = config.to_yaml();
    for line in [
        "url: \"https://h/<secret>?token=<secret>&a=<secret>\"",
        "body: \"<secret>\"",
        "path: \"/<secret>?k=<secret>\"",
    ] {
        assert!(yaml.contains(line), "{line}\n{yaml}");
    }
}

/// Only the value of a link that is a placeholder is no secret.
#[test]
fn links_are_printed_without_the_values_of_their_query() {
    let link =
        "https://g.example/d?orgId=hunter2&var-peer={peer_region}&x=hunter2{peer_region}&hunter2#{vantage_region}";
    let text = format!(
        "region: a\ndashboard_url: '{link}'\npeers: [{{region: b, targets: [{{host: h, probes: [{{kind: icmp}}]}}]}}]"
    );
    let config =
        Config::load(Some((Path::new("x.yaml"), &text)), []).unwrap_or_else(|errors| panic!("{errors}")).config;
    let printed = config.to_yaml();
    let line = "\"https://g.example/d?orgId=<secret>&var-peer={peer_region}&x=<secret>&<secret>#{vantage_region}\"";
    assert!(printed.contains(line), "{printed}");
    assert!(
        config
            .dashboard_url
            .link(&[("peer_region", "b"), ("vantage_region", "a")])
            .unwrap()
            .contains("orgId=hunter2&var-peer=b")
    );
    let again = Config::load(Some((Path::new("x.yaml"), &printed)), []).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(again.config.to_yaml(), printed);
}

/// What earlier versions printed or took still loads.
#[test]
fn a_dollar_without_a_brace_is_no_variable() {
    let good = fs::read_to_string(folder("good/everything.yaml")).unwrap();
    let text = good.replace("^SSH-2", "^S{2}H$|^SSH-2").replace("hello", "$hello $");
    assert!(read(&text).is_ok());
}

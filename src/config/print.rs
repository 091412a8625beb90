//! The effective configuration as YAML, which loads again to the same [`Config`] but for its secrets.

use http::HeaderValue;

use super::{
    peers,
    probes::KINDS,
    settings::Config,
    types::{DnsSpec, DnsTransport, HttpSpec, HttpVersion, Peer, ProbeConfig, ProbeSpec, Target, TlsSpec},
    values::{Coordinates, ValueType},
};
use crate::yaml::{
    secrets::MASK,
    units::{duration_text, size_text},
    writer::{Writer, quote},
};

impl Config {
    /// The effective whole as YAML: every default written out, secrets as `<secret>`, never what a file holds.
    pub fn to_yaml(&self) -> String {
        let mut page = Writer::default();
        self.print_settings(&mut page);
        page.items(peers::KEY, &self.peers, peer);
        page.finish()
    }
}

fn peer(page: &mut Writer, peer: &Peer) {
    page.text("region", &peer.region);
    page.option("zone", peer.zone.as_ref());
    page.option("failure_domain", peer.failure_domain.as_ref());
    if let Some(location) = &peer.location {
        page.raw("location", Coordinates.print(location));
    }
    page.raw("priority", peer.priority);
    if let Some(capacity) = peer.capacity {
        page.raw("capacity", capacity);
    }
    page.raw("maintenance", peer.maintenance);
    page.items("targets", &peer.targets, target);
}

fn target(page: &mut Writer, target: &Target) {
    page.text("name", &target.name);
    page.option("host", target.probes.iter().find(|probe| !matches!(probe.spec, ProbeSpec::Http(_))).map(|p| &p.host));
    if let Some(probe) = target.probes.first() {
        page.raw("address_family", probe.family);
        if let Some(tos) = probe.tos {
            page.raw("tos", tos);
        }
    }
    page.items("probes", &target.probes, probe);
}

fn probe(page: &mut Writer, probe: &ProbeConfig) {
    let index = match &probe.spec {
        ProbeSpec::Icmp(_) => 0,
        ProbeSpec::Dns(_) => 1,
        ProbeSpec::Tcp(_) => 2,
        ProbeSpec::Http(_) => 3,
    };
    page.raw("kind", KINDS[index].0);
    page.raw("interval", duration_text(probe.cadence.interval()));
    page.raw("timeout", duration_text(probe.cadence.timeout()));
    page.raw("critical", probe.critical);
    match &probe.spec {
        ProbeSpec::Icmp(spec) => {
            page.raw("size", spec.size);
            if let Some(ttl) = spec.ttl {
                page.raw("ttl", ttl);
            }
            page.raw("dont_fragment", spec.dont_fragment);
        }
        ProbeSpec::Dns(spec) => dns(page, spec),
        ProbeSpec::Tcp(spec) => {
            page.raw("port", spec.port);
            if let Some(spec) = &spec.tls {
                tls(page, spec);
            }
            page.option("send", spec.send.as_ref().map(|bytes| String::from_utf8_lossy(bytes)));
            page.option("expect", spec.expect.as_ref().map(|pattern| pattern.source()));
        }
        ProbeSpec::Http(spec) => http_probe(page, spec),
    }
}

fn dns(page: &mut Writer, spec: &DnsSpec) {
    page.raw("port", spec.port);
    let (name, settings) = match &spec.transport {
        DnsTransport::Udp => ("udp", None),
        DnsTransport::Tcp => ("tcp", None),
        DnsTransport::Tls(settings) => ("tls", Some(settings)),
        DnsTransport::Https { tls, .. } => ("https", Some(tls)),
    };
    page.raw("transport", name);
    page.text("query", &spec.query);
    page.raw("record", spec.record.name());
    page.raw("recursion", spec.recursion);
    page.mapping("expect", |page| {
        let names: Vec<_> = spec.rcodes.iter().map(|rcode| rcode.name()).collect();
        page.list("rcode", &names);
        page.list("answers", &spec.answers);
    });
    if spec.transport == DnsTransport::Udp {
        page.raw("retry_over_tcp", spec.retry_over_tcp);
    }
    if let DnsTransport::Https { path, .. } = &spec.transport {
        page.text("path", path);
    }
    if let Some(settings) = settings {
        tls(page, settings);
    }
}

fn http_probe(page: &mut Writer, spec: &HttpSpec) {
    page.text("url", &spec.url);
    page.text("method", &spec.method);
    if !spec.headers.is_empty() {
        page.mapping("headers", |page| {
            for (name, value) in &spec.headers {
                page.text(&quote(name.as_str()), shown(value));
            }
        });
    }
    page.option("body", spec.body.as_ref().map(|bytes| String::from_utf8_lossy(bytes)));
    page.raw("body_limit", size_text(spec.body_limit));
    page.mapping("expect", |page| {
        let default = if spec.status.is_empty() { " # 200 to 299" } else { "" };
        page.raw("status", format_args!("{:?}{default}", spec.status));
        if !spec.expect_headers.is_empty() {
            page.mapping("headers", |page| {
                for (name, pattern) in &spec.expect_headers {
                    page.text(&quote(name.as_str()), pattern.source());
                }
            });
        }
        page.option("body", spec.expect_body.as_ref().map(|pattern| pattern.source()));
    });
    page.raw("redirects", spec.redirects);
    let version = match spec.version {
        HttpVersion::Auto => "auto",
        HttpVersion::Http1 => "1",
        HttpVersion::Http2 => "2",
    };
    page.raw("version", version);
    if spec.url.https {
        tls(page, &spec.tls);
    }
    page.raw("keep_alive", spec.keep_alive);
    page.raw("sidecar", spec.sidecar);
}

/// A header's value, where it is no secret.
fn shown(value: &HeaderValue) -> &str {
    if value.is_sensitive() { MASK } else { value.to_str().unwrap_or(MASK) }
}

fn tls(page: &mut Writer, spec: &TlsSpec) {
    page.mapping("tls", |page| {
        page.option("server_name", spec.server_name.as_ref());
        page.option("ca_file", spec.ca_file.as_ref().map(|path| path.display()));
        if let Some((certificate, key)) = &spec.identity {
            page.text("cert_file", certificate.display());
            page.text("key_file", key.display());
        }
        page.raw("insecure_skip_verify", spec.insecure_skip_verify);
    });
}

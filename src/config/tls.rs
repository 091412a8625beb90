//! How a TLS handshake is made and judged.

use super::types::TlsSpec;
use crate::yaml::{Item, ReadContext, addresses};

/// Reads a `tls` mapping. Its files are looked at, so that a wrong one is told now.
pub(super) fn read(item: &Item<'_>, reading: &ReadContext<'_>) -> Option<TlsSpec> {
    let secrets = &reading.secrets;
    let fields = item.fields(&["server_name", "ca_file", "cert_file", "key_file", "insecure_skip_verify"])?;
    let certificate = fields.get("cert_file");
    let key = fields.get("key_file");
    if certificate.is_some() != key.is_some() {
        let missing = if key.is_none() { "key_file" } else { "cert_file" };
        fields.missing(missing, "write both cert_file and key_file, or none of them");
    }
    let certificate = certificate.and_then(|item| item.read(|text| secrets.certificates(text)));
    let key = key.and_then(|item| item.read(|text| secrets.private_key(text)));
    Some(TlsSpec {
        server_name: fields.read("server_name", |item| item.read(addresses::server_name)),
        ca_file: fields.read("ca_file", |item| item.read(|text| secrets.certificates(text))),
        identity: certificate.zip(key),
        insecure_skip_verify: fields.read("insecure_skip_verify", |item| item.flag()).unwrap_or(false),
    })
}

//! The `tls` mapping of a probe.

use crate::{
    net::{PemFile, TlsSpec},
    yaml::{Item, addresses, secrets::Secrets, writer::Writer},
};

/// Reads the mapping. Its files are read too, so that a wrong one is reported now.
pub(super) fn read(item: &Item<'_>, secrets: &Secrets<'_>) -> Option<TlsSpec> {
    let fields = item.fields(&["server_name", "ca_file", "cert_file", "key_file", "insecure_skip_verify"])?;
    let certificate = fields.get("cert_file");
    let key = fields.get("key_file");
    if certificate.is_some() != key.is_some() {
        let missing = if key.is_none() { "key_file" } else { "cert_file" };
        fields.missing(missing, "write both cert_file and key_file, or none of them");
    }
    let pem = |(path, content)| PemFile { path, content };
    let certificates = |item: &Item<'_>| item.read(|text| secrets.certificates(text)).map(pem);
    let certificate = certificate.and_then(|item| certificates(&item));
    let key = key.and_then(|item| item.read(|text| secrets.private_key(text))).map(pem);
    Some(TlsSpec {
        server_name: fields.read("server_name", |item| item.read(addresses::server_name)),
        ca_file: fields.read("ca_file", certificates),
        identity: certificate.zip(key),
        insecure_skip_verify: fields.read("insecure_skip_verify", |item| item.flag()).unwrap_or(false),
    })
}

/// Writes the mapping.
pub(super) fn write(page: &mut Writer, spec: &TlsSpec) {
    page.mapping("tls", |page| {
        page.option("server_name", spec.server_name.as_ref());
        page.option("ca_file", spec.ca_file.as_ref().map(|file| file.path.display()));
        if let Some((certificate, key)) = &spec.identity {
            page.text("cert_file", certificate.path.display());
            page.text("key_file", key.path.display());
        }
        page.raw("insecure_skip_verify", spec.insecure_skip_verify);
    });
}

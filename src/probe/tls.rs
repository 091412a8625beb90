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
    let key_pem = key.as_ref().and_then(|item| item.read(|text| secrets.private_key(text))).map(pem);
    let authorities = fields.get("ca_file");
    let spec = TlsSpec {
        server_name: fields.read("server_name", |item| item.read(addresses::server_name)),
        ca_file: authorities.as_ref().and_then(certificates),
        identity: certificate.zip(key_pem),
        insecure_skip_verify: fields.read("insecure_skip_verify", |item| item.flag()).unwrap_or(false),
    };
    // What keeps a probe from being made is an error of the file, and has a line.
    if let (Some(item), Err(error)) = (authorities, spec.check_authorities()) {
        item.wrong(format!("{error}; write a file with the certificates of authorities"));
    }
    if let (Some(item), Err(error)) = (key, spec.check_identity()) {
        item.wrong(format!("cannot be used with cert_file: {error}; write the two files of one certificate"));
    }
    Some(spec)
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

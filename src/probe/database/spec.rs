//! The keys of a login that all engines have.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::yaml::{Fields, Item, ReadContext, Secret, secrets, units::Parsed, writer::Writer};

/// A password, and the file that it was read from. Two of one file are the same, whatever it held: it is read again when
/// the password is refused.
#[derive(Debug, Clone)]
pub struct Password {
    /// The file, which is read again when the password is refused.
    pub file: Option<PathBuf>,
    /// What it held.
    pub secret: Secret,
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.file == other.file && (self.file.is_some() || self.secret == other.secret)
    }
}

/// Reads `password` or `password_file`.
pub(crate) fn read_password_of(fields: &Fields<'_>, context: &ReadContext<'_>) -> Option<Password> {
    let file = fields.get("password_file");
    let given = fields.get("password").map(Item::secret);
    if let (Some(_), Some(item)) = (&given, &file) {
        item.wrong("is a second password; write either password or password_file");
    }
    if let Some(item) = given {
        let secret = item.read_raw(|text| context.secrets.expand(text).and_then(|password| whole(password.sent)))?;
        return Some(Password { file: None, secret });
    }
    file?.read(|text| {
        let secret = whole(context.secrets.file(text)?)?;
        Ok(Password { file: Some(context.secrets.path(text)?), secret })
    })
}

/// Writes either key, but no secret.
pub(crate) fn write_password(page: &mut Writer, password: Option<&Password>) {
    match password {
        Some(Password { file: Some(path), .. }) => page.text("password_file", path.display()),
        Some(Password { file: None, secret }) => page.text("password", secret),
        None => {}
    }
}

/// Reads the file of a password again.
pub(super) fn read_password(path: &Path) -> Parsed<Secret> {
    whole(secrets::read_line(path)?)
}

/// What a message can carry: it ends such texts with a NUL.
fn check_text(text: &str) -> Parsed<()> {
    match text {
        "" => Err("is empty; write a text".to_owned()),
        _ if text.contains('\0') => Err("has a NUL, which a database cannot take; delete it".to_owned()),
        _ => Ok(()),
    }
}

fn whole(password: String) -> Parsed<Secret> {
    check_text(&password)?;
    Ok(Secret::new(password.into_bytes()))
}

/// A role or a database.
pub(crate) fn name(text: &str) -> Parsed<Arc<str>> {
    check_text(text)?;
    Ok(text.into())
}

/// One statement: a second one could end the transaction that can only read.
pub(crate) fn statement(text: &str) -> Parsed<Arc<str>> {
    check_text(text)?;
    match text.contains(';') {
        true => Err("has a semicolon; write one statement, such as SELECT 1".to_owned()),
        false => Ok(text.into()),
    }
}

//! `keygen`: the key that signs orders.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use super::report;
use crate::{
    logging,
    signing::{PrivateKey, PublicKey},
    yaml::file::{self, Content, Unreadable},
};

/// The largest file that is read.
const FILE_LIMIT: u64 = 64 << 10;

#[derive(Debug, Args)]
pub(super) struct KeygenArgs {
    /// File to create, with mode 0600. An existing file is never overwritten.
    #[arg(value_name = "FILE", default_value = "signing.key")]
    file: PathBuf,
    /// Create nothing: print the public key of the existing FILE.
    #[arg(long)]
    public: bool,
}

pub(super) fn run(args: &KeygenArgs) -> ExitCode {
    let key = if args.public { public(&args.file) } else { create(&args.file) };
    let printed = key.and_then(|key| writeln!(io::stdout(), "{key}").map_err(|error| format!("stdout: {error}")));
    if let Err(error) = printed {
        return report::failed(error);
    }
    if !args.public {
        let file = args.file.display();
        logging::to_stderr(format_args!(
            "{file} is the private key: write signing: {{key_file: {file}}} into this instance's configuration.\n\
             The line above is the public key: add it to public_keys of this region in every other instance."
        ));
    }
    ExitCode::SUCCESS
}

fn create(path: &Path) -> Result<PublicKey, String> {
    let place = path.display();
    let (key, pem) =
        PrivateKey::generate().map_err(|_| "the system provides no random numbers; try again".to_owned())?;
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                format!("{place}: exists already; name another file, or print its key with: regionwatch keygen --public {place}")
            }
            ErrorKind::NotFound => format!("{place}: the directory does not exist; create it first"),
            _ => format!("{place}: cannot be created ({error}); name a file in a directory that you may write to"),
        })?;
    file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).map_err(|error| {
        // Half a key is none.
        let _ = fs::remove_file(path);
        format!("{place}: cannot be written ({error}); name a file elsewhere")
    })?;
    Ok(key.public())
}

fn public(path: &Path) -> Result<PublicKey, String> {
    let place = path.display();
    let owned = path.to_owned();
    let Content { bytes, .. } =
        file::in_time(move || file::read(&owned, FILE_LIMIT))?.map_err(|error| match error {
            Unreadable::Not(kind) => format!("{place}: is {kind}; name the file that regionwatch keygen made"),
            Unreadable::TooLarge => {
                format!("{place}: is larger than 64 KiB; name the file that regionwatch keygen made")
            }
            Unreadable::Io(error) if error.kind() == ErrorKind::NotFound => {
                format!("{place}: does not exist; create it with: regionwatch keygen {place}")
            }
            Unreadable::Io(error) => format!("{place}: cannot be read ({error}); run this as a user who may read it"),
        })?;
    Ok(PrivateKey::from_pem(&bytes).map_err(|error| format!("{place}: {error}"))?.public())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("signing.key");
        let key = create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let before = fs::read(&path).unwrap();
        let error = create(&path).unwrap_err();
        assert!(error.contains("exists already; name another file, or print its key with: regionwatch"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(public(&path), Ok(key));
    }

    #[test]
    fn each_error_names_the_file_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = create(&folder.path().join("none/signing.key")).unwrap_err();
        assert!(error.contains("signing.key: the directory does not exist; create it first"), "{error}");
        let error = public(&folder.path().join("none")).unwrap_err();
        assert!(error.contains("none: does not exist; create it with: regionwatch keygen"), "{error}");
        assert!(public(folder.path()).unwrap_err().contains("name the file that regionwatch keygen made"));
        let other = folder.path().join("other");
        fs::write(&other, "hunter2").unwrap();
        let error = public(&other).unwrap_err();
        assert!(error.ends_with("other: contains no Ed25519 key in PEM form; create one with regionwatch keygen FILE"));
    }
}

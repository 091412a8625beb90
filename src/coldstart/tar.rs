//! Archives of tar (POSIX.1-1988 ustar): those that are sent to an engine.

/// A block; every header and every file begins at one.
const BLOCK: usize = 512;

/// Adds a regular file to an archive. The name has at most 100 bytes.
fn append(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, format!("{mode:07o}").as_bytes());
    put(108, b"0000000");
    put(116, b"0000000");
    put(124, format!("{:011o}", content.len()).as_bytes());
    // No time: the same content is the same layer.
    put(136, b"00000000000");
    // The checksum is that of a header with spaces in its place.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive.extend_from_slice(&header);
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}

/// An archive of these files: name, mode, content.
pub(super) fn archive<'a>(files: impl IntoIterator<Item = (&'a str, u32, &'a [u8])>) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, mode, content) in files {
        append(&mut archive, name, mode, content);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn tar_extracts_what_is_archived() {
        let folder = tempfile::tempdir().unwrap();
        let large = vec![b'x'; 1000];
        let written = archive([("null", 0o755, &b"program"[..]), ("b", 0o644, &large)]);
        fs::write(folder.path().join("a.tar"), written).unwrap();
        let done = Command::new("tar").args(["-xf", "a.tar"]).current_dir(folder.path()).output().unwrap();
        assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
        assert_eq!(fs::read(folder.path().join("null")).unwrap(), b"program");
        assert_eq!(fs::read(folder.path().join("b")).unwrap(), large);
    }
}

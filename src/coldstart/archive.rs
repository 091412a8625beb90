//! Reads archives of tar as their bytes come: ustar (POSIX.1-1988) with the long names of pax and GNU. What they contain is
//! bounded.

/// A block; every header and every file begins at one.
const BLOCK: usize = 512;

/// The longest name.
const MAX_NAME: usize = 4096;

/// The most bytes of an extended header.
const MAX_EXTENDED: u64 = 1 << 20;

/// The type of a file with holes, of which the archive has the rest (GNU).
const SPARSE: u8 = b'S';

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path, without a `/` or `./` before it.
    pub(super) path: String,
    /// The bytes of its content.
    pub(super) size: u64,
    /// Whether it is a regular file, and no folder, link or device.
    pub(super) is_file: bool,
}

/// Takes what an archive contains.
pub(super) trait Visitor {
    /// A piece of the archive itself: a header, which comes before its file begins, or what fills a block up, which comes
    /// before its file ends.
    fn framing(&mut self, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
    /// A file begins.
    fn begin(&mut self, entry: Entry) -> Result<(), String>;
    /// A piece of its content.
    fn data(&mut self, bytes: &[u8]) -> Result<(), String>;
    /// It ends.
    fn end(&mut self) -> Result<(), String>;
}

/// What the bytes that come next are.
#[derive(Debug)]
enum State {
    Header,
    /// The map of a sparse file goes on after its header (GNU).
    Map {
        size: u64,
    },
    Content {
        left: u64,
        padding: usize,
    },
    Extended {
        left: u64,
        padding: usize,
        kind: u8,
    },
    /// What fills the last block up, of a file where it `ends` one.
    Padding {
        left: usize,
        ends: bool,
    },
    End,
}

/// A reader that is fed with the bytes of an archive.
#[derive(Debug)]
pub(super) struct Reader<V> {
    pub(super) visitor: V,
    state: State,
    header: Vec<u8>,
    extended: Vec<u8>,
    /// The name and the size that an extended header gave the next file.
    next_name: Option<String>,
    next_size: Option<u64>,
}

impl<V: Visitor> Reader<V> {
    pub(super) const fn new(visitor: V) -> Self {
        Self {
            visitor,
            state: State::Header,
            header: Vec::new(),
            extended: Vec::new(),
            next_name: None,
            next_size: None,
        }
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Header => {
                    let (taken, rest) = bytes.split_at(bytes.len().min(BLOCK - self.header.len()));
                    self.header.extend_from_slice(taken);
                    bytes = rest;
                    if self.header.len() == BLOCK {
                        let header = std::mem::take(&mut self.header);
                        self.visitor.framing(&header)?;
                        self.state = self.read_header(&header)?;
                    }
                }
                State::Map { size } => {
                    let (taken, rest) = bytes.split_at(bytes.len().min(BLOCK - self.header.len()));
                    self.header.extend_from_slice(taken);
                    bytes = rest;
                    if self.header.len() == BLOCK {
                        let size = *size;
                        let block = std::mem::take(&mut self.header);
                        self.visitor.framing(&block)?;
                        self.state = if block[504] == 0 { content(size) } else { State::Map { size } };
                    }
                }
                State::Content { left, padding } => {
                    let (taken, rest) = bytes.split_at(first(bytes, *left));
                    self.visitor.data(taken)?;
                    bytes = rest;
                    *left -= taken.len() as u64;
                    if *left == 0 {
                        self.state = State::Padding { left: *padding, ends: true };
                    }
                }
                State::Extended { left, padding, kind } => {
                    let (taken, rest) = bytes.split_at(first(bytes, *left));
                    self.extended.extend_from_slice(taken);
                    self.visitor.framing(taken)?;
                    bytes = rest;
                    *left -= taken.len() as u64;
                    if *left == 0 {
                        let kind = *kind;
                        self.state = State::Padding { left: *padding, ends: false };
                        self.read_extended(kind);
                    }
                }
                State::Padding { left, .. } => {
                    let (taken, rest) = bytes.split_at(bytes.len().min(*left));
                    self.visitor.framing(taken)?;
                    *left -= taken.len();
                    bytes = rest;
                }
                State::End => return Ok(()),
            }
            if let State::Padding { left: 0, ends } = self.state {
                self.state = State::Header;
                if ends {
                    self.visitor.end()?;
                }
            }
        }
        Ok(())
    }

    fn read_header(&mut self, header: &[u8]) -> Result<State, String> {
        if header.iter().all(|byte| *byte == 0) {
            return Ok(State::End);
        }
        let size = number(&header[124..136]).ok_or("an archive has a file without a size")?;
        let kind = header[156];
        if matches!(kind, b'x' | b'g' | b'L' | b'K') {
            if size > MAX_EXTENDED {
                return Err("an archive has an extended header that is too large".to_owned());
            }
            self.extended.clear();
            return Ok(match size {
                0 => State::Header,
                _ => State::Extended { left: size, padding: padding(size), kind },
            });
        }
        // Links, devices and folders have a size now and then, and no content. What is not known has some.
        let has_content = !matches!(kind, b'1'..=b'6');
        let is_file = matches!(kind, 0 | b'0' | b'7' | SPARSE);
        let size = if has_content { self.next_size.take().unwrap_or(size) } else { 0 };
        let path = self.next_name.take().unwrap_or_else(|| name(header));
        self.next_size = None;
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        self.visitor.begin(Entry { path, size, is_file })?;
        Ok(if kind == SPARSE && header[482] != 0 { State::Map { size } } else { content(size) })
    }

    fn read_extended(&mut self, kind: u8) {
        match kind {
            b'L' => {
                let end = self.extended.iter().position(|byte| *byte == 0).unwrap_or(self.extended.len());
                self.next_name = Some(lossy(&self.extended[..end.min(MAX_NAME)]));
            }
            b'x' => {
                for (key, value) in records(&self.extended) {
                    match key {
                        b"path" => self.next_name = Some(lossy(&value[..value.len().min(MAX_NAME)])),
                        b"size" => self.next_size = std::str::from_utf8(value).ok().and_then(|size| size.parse().ok()),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
}

/// What fills up the last block of so many bytes.
const fn padding(size: u64) -> usize {
    ((BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64) as usize
}

const fn content(size: u64) -> State {
    match size {
        0 => State::Padding { left: 0, ends: true },
        _ => State::Content { left: size, padding: padding(size) },
    }
}

/// How many of the bytes belong to what is left.
fn first(bytes: &[u8], left: u64) -> usize {
    bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A text that ends at a zero.
fn until_zero(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())]
}

fn name(header: &[u8]) -> String {
    let (name, prefix) = (until_zero(&header[..100]), until_zero(&header[345..500]));
    if prefix.is_empty() || &header[257..262] != b"ustar" || header[262] != 0 {
        return lossy(name);
    }
    format!("{}/{}", lossy(prefix), lossy(name))
}

/// A number in octal digits, or in binary where the first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let (high, low) = field.split_at(field.len() - 8);
        let is_small = high[0] == 0x80 && high[1..].iter().all(|byte| *byte == 0);
        return is_small.then(|| low.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)));
    }
    let text = std::str::from_utf8(until_zero(field)).ok()?.trim();
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok() }
}

/// The records of an extended header: `LENGTH KEY=VALUE`.
fn records(mut bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut found = Vec::new();
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length = std::str::from_utf8(&bytes[..space]).ok().and_then(|length| length.parse::<usize>().ok());
        let Some(record) = length.and_then(|length| bytes.get(space + 1..length)) else { break };
        let record_end = space + 1 + record.len();
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        if let Some(equals) = record.iter().position(|byte| *byte == b'=') {
            found.push((&record[..equals], &record[equals + 1..]));
        }
        bytes = &bytes[record_end..];
    }
    found
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::{Seek, SeekFrom, Write},
        process::Command,
    };

    use super::*;
    use crate::coldstart::tar::archive;

    #[derive(Default)]
    struct Seen(Vec<(Entry, Vec<u8>)>);

    impl Visitor for Seen {
        fn begin(&mut self, entry: Entry) -> Result<(), String> {
            self.0.push((entry, Vec::new()));
            Ok(())
        }

        fn data(&mut self, bytes: &[u8]) -> Result<(), String> {
            self.0.last_mut().unwrap().1.extend_from_slice(bytes);
            Ok(())
        }

        fn end(&mut self) -> Result<(), String> {
            let (entry, content) = self.0.last().unwrap();
            assert_eq!(entry.size, content.len() as u64);
            Ok(())
        }
    }

    fn read(bytes: &[u8], piece: usize) -> Vec<(String, Vec<u8>)> {
        let mut reader = Reader::new(Seen::default());
        for piece in bytes.chunks(piece) {
            reader.feed(piece).unwrap();
        }
        reader
            .visitor
            .0
            .into_iter()
            .filter(|(entry, _)| entry.is_file)
            .map(|(entry, content)| (entry.path, content))
            .collect()
    }

    #[test]
    fn what_is_archived_is_read_in_whatever_pieces() {
        let large = vec![b'x'; 1300];
        let written = archive([("a/b", 0o644, &b"one"[..]), ("empty", 0o644, b""), ("c", 0o644, &large)]);
        let expected =
            vec![("a/b".to_owned(), b"one".to_vec()), ("empty".to_owned(), Vec::new()), ("c".to_owned(), large)];
        for piece in [1, 7, 511, 512, 513, 100_000] {
            assert_eq!(read(&written, piece), expected, "{piece}");
        }
    }

    #[test]
    fn long_names_of_gnu_and_pax_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("{}/{}", "d".repeat(200), "f".repeat(200));
        fs::create_dir(folder.path().join("d".repeat(200))).unwrap();
        fs::write(folder.path().join(&long), "content").unwrap();
        for format in ["gnu", "pax", "posix"] {
            let done = Command::new("tar")
                .args(["--format", format, "-cf", "a.tar", &long])
                .current_dir(folder.path())
                .status();
            assert!(done.unwrap().success());
            let bytes = fs::read(folder.path().join("a.tar")).unwrap();
            assert_eq!(read(&bytes, 1000), [(long.clone(), b"content".to_vec())], "{format}");
        }
    }

    #[test]
    fn a_file_with_holes_does_not_hide_what_follows_it() {
        let folder = tempfile::tempdir().unwrap();
        // More pieces than the map in the header has room for, and than the first block after it has.
        let mut holes = fs::File::create(folder.path().join("holes")).unwrap();
        for n in 0..40 {
            holes.seek(SeekFrom::Start(n << 17)).unwrap();
            holes.write_all(&[b'x'; 4096]).unwrap();
        }
        holes.set_len(80 << 17).unwrap();
        fs::write(folder.path().join("next"), "content").unwrap();
        let done = Command::new("tar")
            .args(["--sparse", "--format=gnu", "-cf", "a.tar", "holes", "next"])
            .current_dir(folder.path())
            .status();
        assert!(done.unwrap().success());
        let bytes = fs::read(folder.path().join("a.tar")).unwrap();
        assert_eq!(bytes[156], SPARSE);
        let found = read(&bytes, 1000);
        assert_eq!(found[0].0, "holes");
        assert_eq!(found[1..], [("next".to_owned(), b"content".to_vec())]);
    }

    #[test]
    fn a_file_of_an_unknown_type_has_content_and_is_none() {
        let mut written = archive([("a", 0o644, &b"one"[..]), ("b", 0o644, b"two")]);
        written[156] = b'Z';
        assert_eq!(read(&written, 1000), [("b".to_owned(), b"two".to_vec())]);
    }

    #[test]
    fn a_broken_archive_is_an_error_and_never_a_panic() {
        let whole = archive([("a", 0o644, &[b'y'; 600][..]), ("b", 0o644, b"z")]);
        for at in 0..whole.len().min(1600) {
            for byte in [0, b'9', 0xff] {
                let mut broken = whole.clone();
                broken[at] = byte;
                let mut reader = Reader::new(Ignoring);
                let _ = reader.feed(&broken);
            }
        }
    }

    struct Ignoring;

    impl Visitor for Ignoring {
        fn begin(&mut self, _: Entry) -> Result<(), String> {
            Ok(())
        }

        fn data(&mut self, _: &[u8]) -> Result<(), String> {
            Ok(())
        }

        fn end(&mut self) -> Result<(), String> {
            Ok(())
        }
    }
}

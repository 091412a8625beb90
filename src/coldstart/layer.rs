//! A layer: its files, with the bytes that each takes on the wire, from its archive.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use flate2::{Compression, write::GzEncoder};
use serde::Deserialize;

use super::archive::{Entry, Reader, Visitor};

/// The most files of an image, and the most bytes of their names.
const MAX_FILES: usize = 2_000_000;
const MAX_NAMES: usize = 256 << 20;

/// The most bytes of a document that is kept.
pub(super) const MAX_DOCUMENT: usize = 16 << 20;

/// The file in which npm notes what it installed.
const NPM_LOCK: &str = "node_modules/.package-lock.json";

/// The bytes of files that share what they take on the wire. A compressor tells that only when it is flushed, which costs a
/// few bytes each time.
const WINDOW: u64 = 32 << 10;

/// The bytes that the compressor is given at a time. What it makes of an archive depends a little on how that is cut, and
/// an engine cuts it otherwise each time.
const PIECE: usize = 64 << 10;

/// A file of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: Box<str>,
    /// Its bytes in the archive, with its header and what fills its blocks up. What comes before it and is no file, such as
    /// its folder, counts as its own.
    pub(super) size: u64,
    /// Its share of the bytes of the compressed layer.
    pub(super) packed: u64,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Layer {
    pub(super) files: Vec<File>,
    /// Paths that it removes: files, and folders with all that is in them.
    pub(super) removed: Vec<Box<str>>,
    /// Folders whose earlier content it hides.
    pub(super) emptied: Vec<Box<str>>,
    /// Its bytes as an archive.
    pub(super) size: u64,
    /// Its bytes when it is pulled.
    pub(super) packed: u64,
    /// Packages of npm that are for development only, by the path of each.
    pub(super) development: Vec<Box<str>>,
}

/// What may still be kept of an image, which may be hostile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    files: usize,
    names: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { files: MAX_FILES, names: MAX_NAMES }
    }
}

impl Budget {
    fn take(&mut self, name: &str) -> Result<(), String> {
        self.files = self.files.checked_sub(1).ok_or_else(|| format!("the image has more than {MAX_FILES} files"))?;
        self.names = self
            .names
            .checked_sub(name.len())
            .ok_or_else(|| format!("the names of the files of the image are longer than {} MiB", MAX_NAMES >> 20))?;
        Ok(())
    }
}

/// Counts what is written.
#[derive(Debug, Default)]
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a layer, and compresses it to know what its files weigh on the wire.
pub(super) struct LayerReader(Reader<Inner>);

struct Inner {
    layer: Layer,
    budget: Budget,
    encoder: GzEncoder<Counter>,
    /// What it is not given yet.
    piece: Vec<u8>,
    /// The files that have their share, and the compressed bytes up to them.
    shared: usize,
    before: u64,
    /// The bytes of the files after them.
    pending: u64,
    /// The bytes after the last file.
    size: u64,
    /// The note of npm that is being read.
    lock: Option<Vec<u8>>,
    current: Option<Box<str>>,
}

impl LayerReader {
    pub(super) fn new(budget: Budget) -> Self {
        Self(Reader::new(Inner {
            layer: Layer::default(),
            budget,
            encoder: GzEncoder::new(Counter::default(), Compression::new(6)),
            piece: Vec::with_capacity(PIECE),
            shared: 0,
            before: 0,
            pending: 0,
            size: 0,
            lock: None,
            current: None,
        }))
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.visitor.layer.size += bytes.len() as u64;
        self.0.feed(bytes)
    }

    /// The layer, and what it left of the budget.
    pub(super) fn finish(mut self) -> Result<(Layer, Budget), String> {
        self.0.visitor.share()?;
        self.0.visitor.pass_on()?;
        let Inner { mut layer, budget, encoder, .. } = self.0.visitor;
        layer.packed = encoder.finish().map_err(|error| error.to_string())?.0;
        Ok((layer, budget))
    }
}

impl Inner {
    fn compress(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        self.size += bytes.len() as u64;
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(taken);
            if self.piece.len() == PIECE {
                self.pass_on()?;
            }
            bytes = rest;
        }
        Ok(())
    }

    /// Gives the compressor the piece that was collected.
    fn pass_on(&mut self) -> Result<(), String> {
        self.encoder.write_all(&self.piece).map_err(|error| error.to_string())?;
        self.piece.clear();
        Ok(())
    }

    /// Shares what was compressed among the files since the last time, by their bytes.
    fn share(&mut self) -> Result<(), String> {
        if self.pending == 0 {
            return Ok(());
        }
        self.pass_on()?;
        self.encoder.flush().map_err(|error| error.to_string())?;
        let packed = (self.encoder.get_ref().0 - self.before) as f64 / self.pending as f64;
        for file in &mut self.layer.files[self.shared..] {
            file.packed = (file.size as f64 * packed).round() as u64;
        }
        (self.shared, self.before, self.pending) = (self.layer.files.len(), self.encoder.get_ref().0, 0);
        Ok(())
    }
}

impl Visitor for Inner {
    fn framing(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.compress(bytes)
    }

    fn begin(&mut self, entry: Entry) -> Result<(), String> {
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        if name == ".wh..wh..opq" {
            self.budget.take(folder)?;
            self.layer.emptied.push(folder.into());
            return Ok(());
        }
        if let Some(removed) = name.strip_prefix(".wh.") {
            let path = if folder.is_empty() { removed.to_owned() } else { format!("{folder}/{removed}") };
            self.budget.take(&path)?;
            self.layer.removed.push(path.into());
            return Ok(());
        }
        if !entry.is_file {
            return Ok(());
        }
        self.budget.take(&entry.path)?;
        // A large file shares with no small one.
        if entry.size >= WINDOW {
            self.share()?;
        }
        self.lock = entry.path.ends_with(NPM_LOCK).then(Vec::new);
        self.current = Some(entry.path.into());
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(lock) = &mut self.lock
            && lock.len() + bytes.len() <= MAX_DOCUMENT
        {
            lock.extend_from_slice(bytes);
        }
        self.compress(bytes)
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(path) = self.current.take() else { return Ok(()) };
        if let Some(lock) = self.lock.take() {
            let root = path.strip_suffix(NPM_LOCK).unwrap_or_default();
            for package in development(&lock) {
                let package = format!("{root}{package}");
                self.budget.take(&package)?;
                self.layer.development.push(package.into());
            }
        }
        let size = std::mem::take(&mut self.size);
        self.layer.files.push(File { path, size, packed: 0 });
        self.pending += size;
        if self.pending >= WINDOW { self.share() } else { Ok(()) }
    }
}

/// The packages of a note of npm that are for development only, as paths such as `node_modules/webpack`.
fn development(lock: &[u8]) -> Vec<String> {
    #[derive(Deserialize)]
    struct Lock {
        #[serde(default)]
        packages: BTreeMap<String, Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        #[serde(default)]
        dev: bool,
    }
    let lock = serde_json::from_slice::<Lock>(lock).map(|lock| lock.packages).unwrap_or_default();
    lock.into_iter().filter(|(_, package)| package.dev).map(|(path, _)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coldstart::tar::archive;

    fn read(layer: &[u8], budget: Budget) -> Result<Layer, String> {
        let mut reader = LayerReader::new(budget);
        layer.chunks(1000).try_for_each(|piece| reader.feed(piece))?;
        Ok(reader.finish()?.0)
    }

    #[test]
    fn npm_says_which_packages_are_for_development() {
        let lock = br#"{"packages":{"node_modules/a":{"version":"1"},"node_modules/b":{"dev":true,"x":[1]}}}"#;
        assert_eq!(development(lock), ["node_modules/b"]);
        assert!(development(b"[").is_empty());
        let layer = archive([("app/node_modules/.package-lock.json", 0o644, &lock[..])]);
        assert_eq!(read(&layer, Budget::default()).unwrap().development, ["app/node_modules/b".into()]);
    }

    #[test]
    fn the_names_of_a_hostile_image_are_bounded_and_so_is_their_number() {
        let lock = br#"{"packages":{"b":{"dev":true}}}"#;
        let layer = archive([
            ("folder/one", 0o644, &b""[..]),
            ("folder/.wh.two", 0o644, b""),
            ("three/.wh..wh..opq", 0o644, b""),
            ("node_modules/.package-lock.json", 0o644, lock),
        ]);
        let names = ["folder/one", "folder/two", "three", "node_modules/.package-lock.json", "b"].concat().len();
        assert!(read(&layer, Budget { files: 5, names }).is_ok());
        assert!(read(&layer, Budget { files: 4, names }).unwrap_err().contains("more than 2000000 files"));
        let long = read(&layer, Budget { files: 5, names: names - 1 });
        assert!(long.unwrap_err().contains("longer than 256 MiB"));
    }

    #[test]
    fn a_layer_weighs_the_same_however_its_archive_arrives() {
        // As in a program, much of it stands further up too, and how much of that a compressor finds depends on where it looks.
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as usize
        };
        let mut text = Vec::<u8>::new();
        while text.len() < 3_000_000 {
            let (from, length) = (next(), 3 + next() % 60);
            if from % 3 == 0 || text.len() < 100_000 {
                text.extend((0..length).map(|_| next() as u8));
            } else {
                let from = text.len() - 100_000 + from % 99_000;
                text.extend_from_within(from..from + length);
            }
        }
        let layer = archive([("a", 0o644, &text[..1_000_000]), ("b", 0o644, &text[1_000_000..])]);
        let arrived = |piece: usize| {
            let mut reader = LayerReader::new(Budget::default());
            layer.chunks(piece).try_for_each(|piece| reader.feed(piece)).unwrap();
            reader.finish().unwrap().0
        };
        let whole = arrived(layer.len());
        for piece in [997, 4_096, 16_384, 33_333, 65_536, 1_000_003] {
            assert_eq!(arrived(piece), whole, "in pieces of {piece} bytes");
        }
    }

    #[test]
    fn the_parts_of_a_layer_are_its_whole() {
        let line = |n: usize, k: usize| format!("{} is {k} times {n}\n", n * k);
        let text = |n: usize| (0..n % 90).map(|k| line(n, k)).collect::<String>();
        let files: Vec<_> = (0..1000).map(|n| (format!("a/{n}"), text(n))).collect();
        let layer = archive(files.iter().map(|(name, text)| (name.as_str(), 0o644, text.as_bytes())));
        let found = read(&layer, Budget::default()).unwrap();
        let sum = |of: fn(&File) -> u64| found.files.iter().map(of).sum::<u64>();
        // The end of an archive is two blocks.
        assert_eq!(sum(|file| file.size) + 1024, found.size);
        assert!(found.packed.abs_diff(sum(|file| file.packed)) < 2000, "{} {}", found.packed, sum(|file| file.packed));
        let mut whole = GzEncoder::new(Vec::new(), Compression::new(6));
        whole.write_all(&layer).unwrap();
        let whole = whole.finish().unwrap().len() as f64;
        assert!((found.packed as f64 / whole - 1.0).abs() < 0.05, "{} {whole}", found.packed);
    }
}

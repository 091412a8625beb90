//! What is in an image: its layers and files, with the bytes that each takes on the wire, from the archive that an engine
//! exports.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{self, Write},
};

use flate2::{
    Compression,
    write::{GzEncoder, MultiGzDecoder},
};
use serde::Deserialize;

use super::archive::{Entry, Reader, Visitor};

/// The most files of an image.
const MAX_FILES: usize = 2_000_000;

/// The most bytes of a document that is kept.
const MAX_DOCUMENT: usize = 16 << 20;

/// The file in which npm notes what it installed.
const NPM_LOCK: &str = "node_modules/.package-lock.json";

/// A file of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) path: Box<str>,
    /// Its bytes.
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

/// What is in an image, from the first layer on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Anatomy {
    pub(super) layers: Vec<Layer>,
}

impl Anatomy {
    /// The files that are in a layer, and not in the image: a later layer removes or replaces them. By layer and number.
    pub(super) fn wasted(&self) -> HashSet<(usize, usize)> {
        let mut wasted = HashSet::new();
        let mut gone: HashSet<&str> = HashSet::new();
        let mut emptied: HashSet<&str> = HashSet::new();
        for (n, layer) in self.layers.iter().enumerate().rev() {
            for (number, file) in layer.files.iter().enumerate() {
                let is_below = |folders: &HashSet<&str>| {
                    let ends = file.path.match_indices('/').map(|(at, _)| &file.path[..at]);
                    ends.into_iter().any(|folder| folders.contains(folder))
                };
                if gone.contains(&*file.path) || is_below(&gone) || is_below(&emptied) {
                    wasted.insert((n, number));
                }
            }
            gone.extend(layer.files.iter().map(|file| &*file.path));
            gone.extend(layer.removed.iter().map(|path| &**path));
            emptied.extend(layer.emptied.iter().map(|path| &**path));
        }
        wasted
    }
}

/// Reads the archive of an image as its bytes come.
pub(super) struct ImageReader(Reader<Outer>);

impl ImageReader {
    pub(super) fn new() -> Self {
        Self(Reader::new(Outer::default()))
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.feed(bytes)
    }

    /// What is in the image.
    pub(super) fn finish(self) -> Result<Anatomy, String> {
        let Outer { mut layers, documents, .. } = self.0.visitor;
        let manifest = documents.get("manifest.json").ok_or("the archive of the image has no manifest.json")?;
        let manifests: Vec<Manifest> = serde_json::from_slice(manifest)
            .map_err(|error| format!("the manifest of the image is broken: {error}"))?;
        let names = manifests.into_iter().next().map(|manifest| manifest.layers).unwrap_or_default();
        let ordered = names.iter().map(|name| match layers.remove(name) {
            Some(layer) => Ok(layer),
            // A link to a layer is empty; what has content and was no archive was not understood.
            None if documents.get(name).is_some_and(|content| !content.is_empty()) => Err(format!(
                "the layer {name} is neither plain nor compressed by gzip; build the image with gzip layers"
            )),
            // The same layer twice is exported once, and is empty: nothing else repeats.
            None => Ok(Layer::default()),
        });
        Ok(Anatomy { layers: ordered.collect::<Result<_, String>>()? })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    layers: Vec<String>,
}

/// The files of the archive: layers and documents.
#[derive(Default)]
struct Outer {
    layers: HashMap<String, Layer>,
    documents: BTreeMap<String, Vec<u8>>,
    /// The bytes of all documents.
    documented: usize,
    files: usize,
    path: String,
    size: u64,
    /// The first bytes of a file, until it is known what it is.
    start: Vec<u8>,
    content: Content,
}

#[derive(Default)]
enum Content {
    #[default]
    Unknown,
    Document,
    Layer(Box<LayerReader>),
    /// A layer that is compressed.
    Packed(Box<MultiGzDecoder<Feeding>>),
}

/// What is needed to tell an archive: its magic is at 257.
const TELLING: usize = 512;

const GZIP: [u8; 2] = [0x1f, 0x8b];

impl Visitor for Outer {
    fn begin(&mut self, entry: Entry) -> Result<(), String> {
        (self.path, self.size) = (entry.path, entry.size);
        self.start.clear();
        self.content = Content::Unknown;
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), String> {
        match &mut self.content {
            Content::Unknown => {
                self.start.extend_from_slice(bytes);
                if self.start.len() >= TELLING { self.decide() } else { Ok(()) }
            }
            Content::Document => {
                self.documented += bytes.len();
                if self.documented > MAX_DOCUMENT {
                    return Err(
                        "the archive of the image has too large documents, or layers in another compression than \
                                gzip; build the image with gzip layers"
                            .to_owned(),
                    );
                }
                self.documents.entry(self.path.clone()).or_default().extend_from_slice(bytes);
                Ok(())
            }
            Content::Layer(layer) => layer.feed(bytes),
            Content::Packed(decoder) => decoder.write_all(bytes).map_err(|error| error.to_string()),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        if matches!(self.content, Content::Unknown) {
            self.decide()?;
        }
        let layer = match std::mem::take(&mut self.content) {
            Content::Layer(layer) => layer.finish()?,
            Content::Packed(decoder) => {
                let reader = decoder.finish().map_err(|error| format!("a layer is broken: {error}"))?.0;
                Layer { packed: self.size, ..reader.finish()? }
            }
            Content::Unknown | Content::Document => return Ok(()),
        };
        self.files += layer.files.len();
        if self.files > MAX_FILES {
            return Err(format!("the image has more than {MAX_FILES} files"));
        }
        self.layers.insert(self.path.clone(), layer);
        Ok(())
    }
}

impl Outer {
    /// What the file is, by its first bytes.
    fn decide(&mut self) -> Result<(), String> {
        let start = std::mem::take(&mut self.start);
        let is_archive = start.get(257..262) == Some(b"ustar");
        // A layer without a file is two blocks of zeros.
        let is_empty = start.len() >= TELLING && start.iter().all(|byte| *byte == 0);
        self.content = if start.starts_with(&GZIP) {
            Content::Packed(Box::new(MultiGzDecoder::new(Feeding(Box::new(LayerReader::new())))))
        } else if is_archive || is_empty {
            Content::Layer(Box::new(LayerReader::new()))
        } else {
            Content::Document
        };
        self.data(&start)
    }
}

/// Writes what is decompressed to a reader.
struct Feeding(Box<LayerReader>);

impl Write for Feeding {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.feed(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
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
struct LayerReader(Reader<Inner>);

struct Inner {
    layer: Layer,
    encoder: GzEncoder<Counter>,
    /// What was compressed before the current file.
    before: u64,
    /// The note of npm that is being read.
    lock: Option<Vec<u8>>,
    current: Option<(Box<str>, u64)>,
}

impl LayerReader {
    fn new() -> Self {
        Self(Reader::new(Inner {
            layer: Layer::default(),
            encoder: GzEncoder::new(Counter::default(), Compression::new(6)),
            before: 0,
            lock: None,
            current: None,
        }))
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.0.visitor.layer.size += bytes.len() as u64;
        self.0.feed(bytes)
    }

    fn finish(self) -> Result<Layer, String> {
        let Inner { mut layer, encoder, .. } = self.0.visitor;
        layer.packed = encoder.finish().map_err(|error| error.to_string())?.0;
        // What the compressor still had belongs to the last files.
        let known: u64 = layer.files.iter().map(|file| file.packed).sum();
        if let Some(largest) = layer.files.iter_mut().max_by_key(|file| file.size) {
            largest.packed += layer.packed.saturating_sub(known);
        }
        Ok(layer)
    }
}

impl Visitor for Inner {
    fn begin(&mut self, entry: Entry) -> Result<(), String> {
        let Layer { files, removed, emptied, .. } = &self.layer;
        if files.len() + removed.len() + emptied.len() >= MAX_FILES {
            return Err(format!("the image has more than {MAX_FILES} files"));
        }
        let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
        if name == ".wh..wh..opq" {
            self.layer.emptied.push(folder.into());
            return Ok(());
        }
        if let Some(removed) = name.strip_prefix(".wh.") {
            let path = if folder.is_empty() { removed.to_owned() } else { format!("{folder}/{removed}") };
            self.layer.removed.push(path.into());
            return Ok(());
        }
        self.lock = entry.path.ends_with(NPM_LOCK).then(Vec::new);
        self.before = self.encoder.get_ref().0;
        self.current = entry.is_file.then(|| (entry.path.into(), entry.size));
        Ok(())
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), String> {
        if let Some(lock) = &mut self.lock
            && lock.len() + bytes.len() <= MAX_DOCUMENT
        {
            lock.extend_from_slice(bytes);
        }
        self.encoder.write_all(bytes).map_err(|error| error.to_string())
    }

    fn end(&mut self) -> Result<(), String> {
        let Some((path, size)) = self.current.take() else { return Ok(()) };
        if let Some(lock) = self.lock.take() {
            let root = path.strip_suffix(NPM_LOCK).unwrap_or_default();
            self.layer
                .development
                .extend(development(&lock).into_iter().map(|package| format!("{root}{package}").into()));
        }
        let packed = self.encoder.get_ref().0 - self.before;
        self.layer.files.push(File { path, size, packed });
        Ok(())
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
pub(super) mod tests {
    use super::*;
    use crate::coldstart::tar::archive;

    /// What an engine exports for an image of these layers.
    pub(in crate::coldstart) fn exported(layers: &[Vec<u8>]) -> Vec<u8> {
        let names: Vec<_> = (0..layers.len()).map(|n| format!("{n}/layer.tar")).collect();
        let manifest = serde_json::json!([{ "Config": "c.json", "RepoTags": ["a:b"], "Layers": &names }]).to_string();
        let files = names.iter().zip(layers).map(|(name, layer)| (name.as_str(), 0o644, &layer[..]));
        archive(files.chain([("c.json", 0o644, &b"{}"[..]), ("manifest.json", 0o644, manifest.as_bytes())]))
    }

    pub(in crate::coldstart) fn read(bytes: &[u8]) -> Result<Anatomy, String> {
        let mut reader = ImageReader::new();
        for piece in bytes.chunks(1000) {
            reader.feed(piece)?;
        }
        reader.finish()
    }

    /// Bytes that no compressor makes smaller.
    pub(in crate::coldstart) fn noise(count: usize, seed: u64) -> Vec<u8> {
        use rand::{Rng, SeedableRng, rngs::StdRng};
        let mut bytes = vec![0; count];
        StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
        bytes
    }

    fn packed(layer: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
        encoder.write_all(layer).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_file_weighs_what_it_adds_to_the_compressed_layer() {
        let (text, random) = (vec![b'a'; 2_000_000], noise(1_000_000, 1));
        let layer = archive([("text", 0o644, &text[..]), ("random", 0o644, &random), ("more", 0o644, &text)]);
        for layer in [layer.clone(), packed(&layer)] {
            let anatomy = read(&exported(&[layer])).unwrap();
            let of = |name: &str| anatomy.layers[0].files.iter().find(|file| &*file.path == name).unwrap().packed;
            assert!((950_000..1_100_000).contains(&of("random")), "{}", of("random"));
            assert!(of("text") < 100_000 && of("more") < 100_000, "{} {}", of("text"), of("more"));
        }
    }

    #[test]
    fn what_a_later_layer_removes_or_replaces_is_wasted() {
        let first = archive([
            ("kept", 0o644, &b"1"[..]),
            ("replaced", 0o644, b"2"),
            ("removed", 0o644, b"3"),
            ("folder/a", 0o644, b"4"),
            ("hidden/b", 0o644, b"5"),
            ("folders/c", 0o644, b"6"),
        ]);
        let second = archive([
            ("replaced", 0o644, &b"7"[..]),
            (".wh.removed", 0o644, b""),
            (".wh.folder", 0o644, b""),
            ("hidden/.wh..wh..opq", 0o644, b""),
            ("hidden/new", 0o644, b"8"),
        ]);
        let anatomy = read(&exported(&[first, second])).unwrap();
        let mut wasted: Vec<_> =
            anatomy.wasted().into_iter().map(|(layer, file)| &*anatomy.layers[layer].files[file].path).collect();
        wasted.sort_unstable();
        assert_eq!(wasted, ["folder/a", "hidden/b", "removed", "replaced"]);
    }

    #[test]
    fn npm_says_which_packages_are_for_development() {
        let lock = br#"{"packages":{"node_modules/a":{"version":"1"},"node_modules/b":{"dev":true,"x":[1]}}}"#;
        assert_eq!(development(lock), ["node_modules/b"]);
        assert!(development(b"[").is_empty());
        let layer = archive([("app/node_modules/.package-lock.json", 0o644, &lock[..])]);
        let anatomy = read(&exported(&[layer])).unwrap();
        assert_eq!(anatomy.layers[0].development, ["app/node_modules/b".into()]);
    }

    #[test]
    fn a_broken_export_is_an_error() {
        assert!(read(b"").unwrap_err().contains("no manifest.json"));
        let broken = archive([("manifest.json", 0o644, &b"{"[..])]);
        assert!(read(&broken).unwrap_err().contains("is broken"));
        let cut = packed(&archive([("a", 0o644, &b"b"[..])]));
        assert!(read(&exported(&[cut[..cut.len() / 2].to_vec()])).is_err());
    }
}

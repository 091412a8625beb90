//! What is in an image: its layers and files, with the bytes that each takes on the wire, from the archive that an engine
//! exports.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    io::{self, Write},
};

use flate2::write::MultiGzDecoder;
use serde::Deserialize;

use super::{
    archive::{Entry, Reader, Visitor},
    facts::HistoryStep,
    layer::{Budget, Layer, LayerReader, MAX_DOCUMENT},
};

/// What is in an image, from the first layer on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Anatomy {
    pub(super) layers: Vec<Layer>,
    /// How it was made, the oldest step first; empty where that is not known.
    pub(super) history: Vec<HistoryStep>,
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
        let Manifest { config, layers: names } = manifests.into_iter().next().unwrap_or_default();
        let config = documents.get(&config).and_then(|config| serde_json::from_slice::<Config>(config).ok());
        let ordered = names.iter().map(|name| match layers.remove(name) {
            Some(layer) => Ok(layer),
            // A link to a layer is empty; what has content and was no archive was not understood.
            None if documents.get(name).is_some_and(|content| !content.is_empty()) => Err(format!(
                "the layer {name} is neither plain nor compressed by gzip; build the image with gzip layers, or add --present all"
            )),
            // The same layer twice is exported once, and is empty: nothing else repeats.
            None => Ok(Layer::default()),
        });
        Ok(Anatomy { layers: ordered.collect::<Result<_, String>>()?, history: config.unwrap_or_default().history })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Manifest {
    config: String,
    layers: Vec<String>,
}

/// The configuration of an image (OCI Image Specification).
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    history: Vec<HistoryStep>,
}

/// The files of the archive: layers and documents.
#[derive(Default)]
struct Outer {
    layers: HashMap<String, Layer>,
    documents: BTreeMap<String, Vec<u8>>,
    /// The bytes of all documents.
    documented: usize,
    budget: Budget,
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
        let (layer, budget) = match std::mem::take(&mut self.content) {
            Content::Layer(layer) => layer.finish()?,
            Content::Packed(decoder) => {
                let reader = decoder.finish().map_err(|error| format!("a layer is broken: {error}"))?.0;
                let (layer, budget) = reader.finish()?;
                (Layer { packed: self.size, ..layer }, budget)
            }
            Content::Unknown | Content::Document => return Ok(()),
        };
        self.budget = budget;
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
            Content::Packed(Box::new(MultiGzDecoder::new(Feeding(Box::new(LayerReader::new(self.budget))))))
        } else if is_archive || is_empty {
            Content::Layer(Box::new(LayerReader::new(self.budget)))
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

#[cfg(test)]
pub(super) mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;
    use crate::coldstart::tar::archive;

    /// What an engine exports for an image of these layers.
    pub(in crate::coldstart) fn exported(layers: &[Vec<u8>]) -> Vec<u8> {
        exported_with(layers, "{}")
    }

    /// The same with this configuration.
    pub(in crate::coldstart) fn exported_with(layers: &[Vec<u8>], config: &str) -> Vec<u8> {
        let names: Vec<_> = (0..layers.len()).map(|n| format!("{n}/layer.tar")).collect();
        let manifest = serde_json::json!([{ "Config": "c.json", "RepoTags": ["a:b"], "Layers": &names }]).to_string();
        let files = names.iter().zip(layers).map(|(name, layer)| (name.as_str(), 0o644, &layer[..]));
        archive(files.chain([("c.json", 0o644, config.as_bytes()), ("manifest.json", 0o644, manifest.as_bytes())]))
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

    /// A layer as a registry has it.
    pub(in crate::coldstart) fn packed(layer: &[u8]) -> Vec<u8> {
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
    fn a_broken_export_is_an_error() {
        assert!(read(b"").unwrap_err().contains("no manifest.json"));
        let broken = archive([("manifest.json", 0o644, &b"{"[..])]);
        assert!(read(&broken).unwrap_err().contains("is broken"));
        let cut = packed(&archive([("a", 0o644, &b"b"[..])]));
        assert!(read(&exported(&[cut[..cut.len() / 2].to_vec()])).is_err());
    }
}

//! Style sheet, script and icons. Their names change with their content, so browsers may cache them.

use bytes::Bytes;

use crate::status::Severity;

/// The Content-Security-Policy: a page may load its own style sheet, script and icon, and fetch itself again.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file that the pages load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asset {
    Style,
    Script,
    IconFine,
    IconWatch,
    IconDown,
}

struct File {
    url: String,
    content_type: &'static str,
    content: &'static str,
}

/// In the order of [`Asset`].
static FILES: std::sync::LazyLock<[File; Asset::ALL.len()]> = std::sync::LazyLock::new(|| {
    Asset::ALL.map(|asset| {
        let (name, ending, content_type, content) = asset.source();
        let url = format!("/assets/{name}.{:016x}.{ending}", fnv(content.as_bytes()));
        File { url, content_type, content }
    })
});

impl Asset {
    const ALL: [Self; 5] = [Self::Style, Self::Script, Self::IconFine, Self::IconWatch, Self::IconDown];

    const fn source(self) -> (&'static str, &'static str, &'static str, &'static str) {
        const CSS: &str = "text/css; charset=utf-8";
        const JS: &str = "text/javascript; charset=utf-8";
        const SVG: &str = "image/svg+xml";
        match self {
            Self::Style => ("status", "css", CSS, include_str!("../assets/status.css")),
            Self::Script => ("status", "js", JS, include_str!("../assets/status.js")),
            Self::IconFine => ("fine", "svg", SVG, include_str!("../assets/fine.svg")),
            Self::IconWatch => ("watch", "svg", SVG, include_str!("../assets/watch.svg")),
            Self::IconDown => ("down", "svg", SVG, include_str!("../assets/down.svg")),
        }
    }

    /// The icon of a page.
    pub(super) const fn icon(severity: Severity) -> Self {
        match severity {
            Severity::Fine => Self::IconFine,
            Severity::Watch => Self::IconWatch,
            Severity::Down | Severity::Isolated => Self::IconDown,
        }
    }

    /// Where it is served.
    pub(crate) fn url(self) -> &'static str {
        &FILES[self as usize].url
    }

    /// The file with this URL.
    pub(crate) fn of(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|asset| asset.url() == url)
    }

    /// Its type and its content.
    pub(crate) fn content(self) -> (&'static str, Bytes) {
        let File { content_type, content, .. } = &FILES[self as usize];
        (content_type, Bytes::from_static(content.as_bytes()))
    }
}

/// FNV-1a, 64 bits: distinguishes versions of a file; it is not a checksum against attacks.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_asset_is_found_by_its_name_and_none_by_another() {
        for asset in Asset::ALL {
            assert_eq!(Asset::of(asset.url()), Some(asset));
            assert!(!asset.content().1.is_empty());
        }
        for wrong in ["/assets/", "/assets/status.css", "/assets/status.0.css", "/assets/../status.css"] {
            assert_eq!(Asset::of(wrong), None, "{wrong}");
        }
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn no_asset_loads_anything_from_another_server() {
        for asset in Asset::ALL {
            let content = asset.source().3.replace("http://www.w3.org/2000/svg", "");
            assert!(!content.contains("://") && !content.contains("@import"), "{asset:?}");
        }
    }
}

//! Style sheet, script and icons. Their names change with their content, so browsers may cache them.

use std::sync::LazyLock;

use crate::status::Severity;

/// The Content-Security-Policy: a page may load its own style sheet, script and icon, and fetch itself again.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file that the pages load.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asset {
    /// Where it is served.
    pub(crate) url: String,
    pub(crate) content_type: &'static str,
    pub(crate) content: &'static str,
}

/// All files that the pages load.
pub(crate) struct Assets {
    pub(super) style: Asset,
    pub(super) script: Asset,
    icon_fine: Asset,
    icon_watch: Asset,
    icon_down: Asset,
}

pub(crate) static ASSETS: LazyLock<Assets> = LazyLock::new(|| {
    let icon = |name, content| Asset::new(name, "svg", "image/svg+xml", content);
    Assets {
        style: Asset::new("status", "css", "text/css; charset=utf-8", include_str!("../assets/status.css")),
        script: Asset::new("status", "js", "text/javascript; charset=utf-8", include_str!("../assets/status.js")),
        icon_fine: icon("fine", include_str!("../assets/fine.svg")),
        icon_watch: icon("watch", include_str!("../assets/watch.svg")),
        icon_down: icon("down", include_str!("../assets/down.svg")),
    }
});

impl Asset {
    fn new(name: &str, ending: &str, content_type: &'static str, content: &'static str) -> Self {
        let url = format!("/assets/{name}.{:016x}.{ending}", fnv(content.as_bytes()));
        Self { url, content_type, content }
    }
}

impl Assets {
    fn all(&self) -> [&Asset; 5] {
        [&self.style, &self.script, &self.icon_fine, &self.icon_watch, &self.icon_down]
    }

    /// The file with this URL.
    pub(crate) fn get(&self, url: &str) -> Option<&Asset> {
        self.all().into_iter().find(|asset| asset.url == url)
    }

    /// The icon of a page.
    pub(super) const fn icon(&self, severity: Severity) -> &Asset {
        match severity {
            Severity::Fine => &self.icon_fine,
            Severity::Watch => &self.icon_watch,
            Severity::Down | Severity::Isolated => &self.icon_down,
        }
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
        for asset in ASSETS.all() {
            assert_eq!(ASSETS.get(&asset.url), Some(asset));
            assert!(!asset.content.is_empty());
        }
        for wrong in ["/assets/", "/assets/status.css", "/assets/status.0.css", "/assets/../status.css"] {
            assert_eq!(ASSETS.get(wrong), None, "{wrong}");
        }
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn no_asset_loads_anything_from_another_server() {
        for asset in ASSETS.all() {
            let content = asset.content.replace("http://www.w3.org/2000/svg", "");
            assert!(!content.contains("://") && !content.contains("@import"), "{asset:?}");
        }
    }
}

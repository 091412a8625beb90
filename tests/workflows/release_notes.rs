//! `.github/release-notes`.

use std::fs;

use testkit::root;

use crate::{script, text};

const CHANGELOG: &str = "# Changelog\n\n## [Unreleased]\n\n## [1.10.0] - 2026-03-01\n\n### Added\n\n- Ten.\n\n\
    ## [1.1.0] - 2026-02-01\n\n### Fixed\n\n- One.\n- Two.\n\n## [1.0.0] - 2026-01-01\n\n[1.0.0]: https://example.com/\n";

fn notes(version: &str) -> (bool, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), CHANGELOG).unwrap();
    let output = script("release-notes").arg(version).arg(file.path()).output().unwrap();
    (output.status.success(), text(&output))
}

#[test]
fn a_version_gets_its_own_section_and_nothing_of_its_neighbours() {
    assert_eq!(notes("v1.1.0"), (true, "### Fixed\n\n- One.\n- Two.\n".into()));
    assert_eq!(notes("1.10.0"), (true, "### Added\n\n- Ten.\n".into()));
}

#[test]
fn a_version_without_a_section_is_an_error_that_says_what_to_write() {
    for version in ["1.1", "1x1.0", "2.0.0"] {
        let (passed, said) = notes(version);
        assert!(!passed && said.contains(&format!("## [{version}] - ")), "{said}");
    }
}

#[test]
fn an_empty_section_is_an_error() {
    for version in ["1.0.0", "Unreleased"] {
        let (passed, said) = notes(version);
        assert!(!passed && said.contains("is empty"), "{said}");
    }
}

#[test]
fn the_changelog_of_this_repository_can_be_read() {
    let output = script("release-notes").arg("Unreleased").output().unwrap();
    let said = text(&output);
    let released = fs::read_to_string(root().join("CHANGELOG.md")).unwrap().matches("\n## [").count() > 1;
    assert!(output.status.success() || released && said.contains("is empty"), "{said}");
}

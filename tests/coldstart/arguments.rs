//! What is wrong with the arguments, said before an engine is asked.

use testkit::process::{output, write};

#[test]
fn every_mistake_of_a_file_has_its_line_with_a_caret_and_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let text = "images:\n  - image: shop:1\n    memory: 12\n  - image: shop:2\n    cpu: 2\n  - {name: a}\n\
                \x20 - dockerfile: none.Dockerfile\n  - {image: shop:3, probe: 'ftp://a'}\n";
    let file = write(folder.path(), "images.yaml", text);
    let run = output(&["coldstart", "--file", &file, "--engine", "unix:///nothing"], &[]);
    let said = String::from_utf8_lossy(&run.stderr).replace(&format!("{}/", folder.path().display()), "");
    assert_eq!((run.status.code(), &*run.stdout), (Some(64), &b""[..]), "{said}");
    let expected = "images.yaml:3:13: images[0].memory: \"12\" is not a size; write one such as 256MiB or 1GiB
  3 |     memory: 12
    |             ^
images.yaml:5:5: images[1].cpu: is not a known key; did you mean cpus?
  5 |     cpu: …
    |     ^
images.yaml:6:5: images[2]: has not one of image and dockerfile; write one, such as image: shop:1
images.yaml:7:17: images[3].dockerfile: the Dockerfile none.Dockerfile: No such file or directory (os error 2)
  7 |   - dockerfile: …
    |                 ^
images.yaml:8:28: images[4].probe: \"ftp://a\" has the host \"a\"";
    assert!(said.starts_with(expected), "{said}");
    assert!(said.ends_with("\n  8 | … probe: ftp://a\n    |          ^\n"), "{said}");
}

#[test]
fn a_file_that_is_not_yaml_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "images.yaml", "images: [{image: a}\n");
    let run = output(&["coldstart", "--file", &file, "--engine", "unix:///nothing"], &[]);
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(64), "{said}");
    assert!(said.contains("images.yaml:2:1: is not YAML: a bracket or brace is not closed"), "{said}");
}

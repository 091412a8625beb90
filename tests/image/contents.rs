//! What is in the image, and what is said of it.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use testkit::{
    engine::{build, docker, image, layers, need_engine, read, unpacked},
    needs::{Need::Tool, program, require},
    root,
};

const MIB: u64 = 1 << 20;

fn command(program: &str, args: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(args).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The program headers' types of a 64-bit little-endian ELF file (System V ABI, chapters 4 and 5).
fn segments(elf: &[u8]) -> Vec<u32> {
    assert_eq!(&elf[..6], b"\x7fELF\x02\x01");
    let half = |at: usize| u16::from_le_bytes(elf[at..at + 2].try_into().unwrap()) as usize;
    let start = u64::from_le_bytes(elf[32..40].try_into().unwrap()) as usize;
    let (size, count) = (half(54), half(56));
    (0..count).map(|n| start + n * size).map(|at| u32::from_le_bytes(elf[at..at + 4].try_into().unwrap())).collect()
}

#[test]
fn the_image_is_one_static_binary_and_nothing_else() {
    need_engine();
    let folder = tempfile::tempdir().unwrap();
    let layers = layers(image(), folder.path());
    let [layer] = &layers[..] else { panic!("more than one layer: {layers:?}") };
    let listing = command("tar", &["-tvf", layer.to_str().unwrap(), "--numeric-owner"], folder.path());
    let [line] = listing.lines().collect::<Vec<_>>()[..] else { panic!("more than one file:\n{listing}") };
    assert!(line.starts_with("-rwxr-xr-x 0/0 ") && line.ends_with(" 1970-01-01 00:00 regionwatch"), "{line}");
    command("tar", &["-xf", layer.to_str().unwrap()], folder.path());
    let binary = fs::read(folder.path().join("regionwatch")).unwrap();
    const INTERPRETER: u32 = 3;
    assert!(!segments(&binary).contains(&INTERPRETER), "it asks for a dynamic linker");
    let text = String::from_utf8_lossy(&binary);
    for folder in ["/src/src/", "/usr/local/cargo/registry"] {
        assert!(!text.contains(folder), "the binary names a folder of its builder: {folder}");
    }
    // The size that is promised, of the image and of what is pulled.
    let packed = command("sh", &["-c", &format!("gzip -c '{}' | wc -c", layer.display())], folder.path());
    // Of its only layer, because what the engine calls its size is gzipped or not, by where the engine keeps images.
    let size = fs::metadata(layer).unwrap().len();
    let packed: u64 = packed.trim().parse().unwrap();
    assert!(size <= 8 * MIB && packed <= 4 * MIB, "{size} bytes, {packed} packed");
}

#[test]
fn a_layer_is_measured_uncompressed_however_the_engine_saves_it() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("layer.tar");
    fs::write(&plain, [0; 10240]).unwrap();
    let packed = folder.path().join("abcdef");
    fs::write(&packed, Command::new("gzip").arg("-c").arg(&plain).output().unwrap().stdout).unwrap();
    assert!(fs::metadata(&packed).unwrap().len() < 1024);
    for file in [plain, packed] {
        assert_eq!(fs::read(unpacked(file)).unwrap(), [0; 10240]);
    }
}

#[test]
fn the_image_declares_user_entrypoint_port_and_health_check() {
    need_engine();
    let all: Value = serde_json::from_str(&docker(&["inspect", "--format", "{{json .Config}}", image()])).unwrap();
    for (key, value) in [
        ("User", json!("65532:65532")),
        ("Entrypoint", json!(["/regionwatch"])),
        ("Cmd", json!(["run"])),
        ("ExposedPorts", json!({"9877/tcp": {}})),
    ] {
        assert_eq!(all[key], value, "{key}");
    }
    assert_eq!(all["Healthcheck"]["Test"], json!(["CMD", "/regionwatch", "healthcheck"]));
    // PATH is what the engine sets by itself.
    let environment = all["Env"].as_array().unwrap();
    let own: Vec<_> = environment.iter().filter(|entry| !entry.as_str().unwrap().starts_with("PATH=")).collect();
    assert_eq!(own, ["MALLOC_ARENA_MAX=1", "MALLOC_TOP_PAD_=65536"]);
    let label = |name: &str| all["Labels"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("revision"), "0123456789abcdef");
    for name in ["title", "description", "source", "documentation", "licenses"] {
        assert!(label(name).as_str().is_some_and(|text| !text.is_empty()), "{name}");
    }
}

#[test]
fn the_build_context_contains_only_the_sources() {
    need_engine();
    let (folder, tag) = (tempfile::tempdir().unwrap(), "regionwatch:test-context");
    build(tag, "FROM scratch\nCOPY . /\n", root(), &[]);
    let layers = layers(tag, folder.path());
    let listing = command("tar", &["-tf", layers[0].to_str().unwrap()], folder.path());
    docker(&["rmi", tag]);
    // Of the other members of the workspace the manifests alone.
    let sent = ["Cargo.lock", "docker/", "docker/compile", "examples/", "fuzz/", "testkit/", "testkit/macros/"];
    let foreign: Vec<_> = listing
        .lines()
        .filter(|name| !sent.contains(name) && !name.ends_with("Cargo.toml"))
        .filter(|name| !name.starts_with("src/") && !name.starts_with("examples/webhook_receiver/"))
        .collect();
    assert!(listing.contains("src/main.rs") && foreign.is_empty(), "{foreign:?}");
}

#[test]
fn hadolint_accepts_the_dockerfile_and_finds_a_seeded_fault() {
    require(&[Tool("hadolint")]);
    let check = |path: &Path| Command::new(program("hadolint").unwrap()).arg(path).output().unwrap();
    let output = check(&root().join("Dockerfile"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let folder = tempfile::tempdir().unwrap();
    let faulty = folder.path().join("Dockerfile");
    fs::write(&faulty, read("Dockerfile").replace("ENTRYPOINT [\"/regionwatch\"]", "ENTRYPOINT /regionwatch")).unwrap();
    let said = String::from_utf8(check(&faulty).stdout).unwrap();
    assert!(said.contains("DL3025"), "{said}");
}

/// Features that engine 20.10 does not have.
#[test]
fn the_dockerfile_uses_no_feature_newer_than_engine_20_10() {
    let text = read("Dockerfile");
    let instructions: String = text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    for newer in ["<<", "--link", "--network=", "--security=", "--start-interval", "--parents", "--exclude"] {
        assert!(!instructions.contains(newer), "{newer}");
    }
    assert!(!text.to_lowercase().contains("syntax="), "a frontend would be pulled");
    assert!(text.contains("secret,id=ca"), "a build behind a proxy needs its certificate");
}

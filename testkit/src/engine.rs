//! A container engine: the image that the Dockerfile makes there, networks without a way out, and containers.

use std::{
    fs,
    io::{Read as _, Write},
    net::{IpAddr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    needs::{Need, require},
    root,
};

/// What every container of the product is held to here.
pub const HARDENED: [&str; 11] = [
    "--read-only",
    "--cap-drop",
    "ALL",
    "--security-opt",
    "no-new-privileges",
    "--memory",
    "32m",
    "--cpus",
    "0.05",
    "--pids-limit",
    "64",
];

/// The port that the image listens on.
pub const PORT: u16 = 9877;

/// An engine.
pub fn engine() -> Need {
    let answers = run(&["version", "--format", "{{.Server.Version}}"], None).is_ok_and(|out| out.status.success());
    Need::Other("a container engine that docker reaches", answers)
}

/// See [`require`].
pub fn need_engine() {
    require(&[engine()]);
}

fn run(args: &[&str], input: Option<&str>) -> std::io::Result<Output> {
    // Whatever hangs in the engine ends, too.
    let mut child = Command::new("timeout")
        .args(["-k", "1", "900", "docker"])
        .args(args)
        .env("DOCKER_BUILDKIT", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("it is piped");
    // Whoever does not read it says so by its status.
    let _ = stdin.write_all(input.unwrap_or_default().as_bytes());
    drop(stdin);
    child.wait_with_output()
}

/// What a command of `docker` says.
pub fn docker(args: &[&str]) -> String {
    tried(args).unwrap_or_else(|said| panic!("docker {args:?}: {said}"))
}

/// What a command of `docker` says, or all that it said when it failed.
pub fn tried(args: &[&str]) -> Result<String, String> {
    let output = run(args, None).map_err(|error| error.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text([output.stdout, output.stderr].concat())) }
}

/// A file of the project.
pub fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Builds an image of a Dockerfile's text, with a folder as context.
pub fn build(tag: &str, dockerfile: &str, context: &Path, options: &[&str]) {
    // The builder's own network reaches the registry on every engine; one without a bridge has no other.
    let mut args = vec!["build", "--network", "host", "--tag", tag, "--file", "-"];
    args.extend(options);
    args.push(context.to_str().unwrap());
    let output = run(&args, Some(dockerfile)).unwrap();
    assert!(output.status.success(), "docker build: {}", String::from_utf8_lossy(&output.stderr));
}

/// The layers of an image, as tar archives in a folder. An engine that keeps its images in containerd saves them gzipped.
pub fn layers(image: &str, folder: &Path) -> Vec<PathBuf> {
    let archive = folder.join("image.tar");
    docker(&["save", "--output", archive.to_str().unwrap(), image]);
    let extracted = Command::new("tar").args(["-xf", "image.tar"]).current_dir(folder).status().unwrap();
    assert!(extracted.success());
    fs::remove_file(archive).unwrap();
    let manifest: Value = serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let layers = manifest[0]["Layers"].as_array().unwrap();
    layers.iter().map(|layer| unpacked(folder.join(layer.as_str().unwrap()))).collect()
}

/// The file, or what it is where it is gzipped, in its place.
pub fn unpacked(file: PathBuf) -> PathBuf {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let mut start = Vec::new();
    fs::File::open(&file).unwrap().take(2).read_to_end(&mut start).unwrap();
    if start == GZIP {
        let packed = file.with_extension("gz");
        fs::rename(&file, &packed).unwrap();
        let done = Command::new("gzip").arg("-dc").arg(&packed).stdout(fs::File::create(&file).unwrap()).status();
        assert!(done.unwrap().success(), "{}", file.display());
    }
    file
}

/// The image of the receiver of webhooks; [`image`] builds it too.
pub const RECEIVER: &str = "regionwatch-webhook-receiver:test";

/// The image of the project's Dockerfile, built once.
pub fn image() -> &'static str {
    static BUILT: LazyLock<()> = LazyLock::new(|| {
        let output = Command::new(root().join("tests/engine/images")).output().unwrap();
        assert!(output.status.success(), "tests/engine/images: {}", String::from_utf8_lossy(&output.stderr));
    });
    LazyLock::force(&BUILT);
    "regionwatch:test"
}

/// Takes the image's program out of it, into a folder.
pub fn binary(folder: &Path) -> PathBuf {
    let (name, file) = (name(), folder.join("regionwatch"));
    docker(&["create", "--pull", "never", "--name", &name, "--network", "none", image()]);
    let copied = tried(&["cp", &format!("{name}:/regionwatch"), file.to_str().unwrap()]);
    docker(&["rm", &name]);
    copied.unwrap();
    file
}

/// A name that no other test has.
fn name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("regionwatch-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A network without a way out; removed when dropped.
pub struct Network {
    name: String,
    number: u8,
}

impl Network {
    pub fn new() -> Self {
        let name = name();
        let first = std::process::id() as u8;
        for number in (0..=u8::MAX).map(|n| n.wrapping_add(first)) {
            let subnet = format!("10.231.{number}.0/24");
            match tried(&["network", "create", "--internal", "--subnet", &subnet, &name]) {
                Ok(_) => return Self { name, number },
                Err(said) => assert!(said.contains("overlap"), "{said}"),
            }
        }
        panic!("all of 10.231.0.0/16 is in use");
    }

    /// An address of it; 1 is this machine.
    pub fn address(&self, host: u8) -> IpAddr {
        IpAddr::from([10, 231, self.number, host])
    }

    /// The interface of this machine in it.
    pub fn bridge(&self) -> String {
        let id = docker(&["network", "inspect", "--format", "{{.Id}}", &self.name]);
        format!("br-{}", &id[..12])
    }

    /// Cuts a container off.
    pub fn disconnect(&self, container: &Container) {
        docker(&["network", "disconnect", &self.name, &container.name]);
    }

    /// Joins it again, at its address.
    pub fn connect(&self, container: &Container, host: u8) {
        docker(&["network", "connect", "--ip", &self.address(host).to_string(), &self.name, &container.name]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = tried(&["network", "rm", &self.name]);
    }
}

/// The files of a container, in `/etc/regionwatch`.
pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The image's user is nobody here.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
}

/// A container; removed when dropped.
pub struct Container {
    pub name: String,
    /// Where its sidecar serves.
    pub addr: SocketAddr,
    /// They live as long as it does.
    files: Option<Files>,
}

impl Container {
    /// Starts the product's image at an address of a network.
    pub fn start(network: &Network, host: u8, options: &[&str], command: &[&str]) -> Self {
        let container = Self::create(image(), network, host, options, command);
        container.does("start");
        container
    }

    /// Makes one that is yet to be started.
    pub fn create(image: &str, network: &Network, host: u8, options: &[&str], command: &[&str]) -> Self {
        let (name, ip) = (name(), network.address(host));
        let address = ip.to_string();
        let own = ["create", "--pull", "never", "--name", &name, "--network", &network.name, "--ip", &address];
        docker(&[&own[..], options, &[image], command].concat());
        Self { name, addr: SocketAddr::new(ip, PORT), files: None }
    }

    /// Starts a hardened one that measures what its `regionwatch.yaml` says.
    pub fn configured(network: &Network, host: u8, files: Files) -> Self {
        Self::with_files(network, host, &HARDENED, files)
    }

    /// Starts one that measures what its `regionwatch.yaml` says.
    pub fn with_files(network: &Network, host: u8, options: &[&str], files: Files) -> Self {
        let volume = format!("{}:/etc/regionwatch:ro", files.0.path().display());
        let options = [options, &["--volume", &volume]].concat();
        let command = ["run", "--config", "/etc/regionwatch/regionwatch.yaml"];
        let mut container = Self::start(network, host, &options, &command);
        container.files = Some(files);
        container
    }

    pub fn inspect(&self, format: &str) -> String {
        docker(&["inspect", "--format", format, &self.name])
    }

    /// What it wrote.
    pub fn said(&self) -> String {
        let output = run(&["logs", &self.name], None).unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }

    /// Does something to it, such as `pause`.
    pub fn does(&self, verb: &str) {
        docker(&[verb, &self.name]);
    }

    /// Sends its process a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        docker(&["kill", "--signal", name, &self.name]);
    }

    /// A line of its process's `/proc/PID/status`, in KiB.
    pub fn memory_kib(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.inspect("{{.State.Pid}}"))).unwrap();
        let line =
            status.lines().find_map(|text| text.strip_prefix(line)).unwrap_or_else(|| panic!("{line}: {status}"));
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} said:\n{}", self.name, self.said());
        }
        let _ = tried(&["rm", "--force", "--volumes", &self.name]);
    }
}

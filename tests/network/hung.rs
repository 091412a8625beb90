//! A Unix socket on a file system that does not answer, as NFS without its server.

use std::process::Command;

use testkit::{
    needs::{Need, require},
    space::{Host, need_namespaces},
};

use crate::servers::{folder, write};

/// Mounts a file system of which this process is the server, and never answers; then becomes the command.
const MOUNT: &str = "\
import ctypes, os, sys
fuse = os.open('/dev/fuse', os.O_RDWR)
os.set_inheritable(fuse, True)
options = f'fd={fuse},rootmode=40000,user_id=0,group_id=0'.encode()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b'hung', sys.argv[1].encode(), b'fuse', 0, options):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[2], sys.argv[2:])
";

/// What a shell command prints, with such a file system at a folder. It is killed after a minute.
fn beside_a_hung_mount(host: &Host, mount: &str, command: &str) -> String {
    let arguments = ["-s", "KILL", "60", "unshare", "--mount", "python3", "-c", MOUNT, mount, "sh", "-c", command];
    let arguments = arguments.map(str::to_owned);
    let output = host.run(move || Command::new("timeout").args(arguments).output().unwrap());
    assert!(!output.stdout.is_empty(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_path_that_hangs_fails_its_own_probes_alone_and_at_their_deadline() {
    need_namespaces();
    let fuse = std::fs::File::open("/dev/fuse").is_ok();
    require(&[Need::Tool("curl"), Need::Tool("python3"), Need::Other("/dev/fuse", fuse)]);
    let (host, folder) = (Host::new(), folder());
    let mount = folder.path().join("mount");
    std::fs::create_dir(&mount).unwrap();
    let mount = mount.display().to_string();
    let _listener = host.run(|| std::net::TcpListener::bind("127.0.0.1:80").unwrap());
    let hung: String = (0..3)
        .map(|n| {
            let url = "url: 'http://app.invalid/'";
            format!("{{name: hung-{n}, probes: [{{kind: http, {url}, unix_socket: {mount}/app.sock}}]}}, ")
        })
        .collect();
    let open = "{name: open, host: 127.0.0.1, probes: [{kind: tcp, port: 80}]}";
    let text = format!("region: here\npeers: [{{region: there, targets: [{hung}{open}]}}]\n");
    let config = write(&folder, "regionwatch.yaml", &text);
    // It hangs for others, too.
    let curl = format!(
        "timeout --foreground -s KILL 2 curl --silent --unix-socket {mount}/app.sock http://app.invalid/ ; echo $?"
    );
    assert_eq!(beside_a_hung_mount(&host, &mount, &curl).trim(), "137");

    let check = format!("{} check --probe --config {config}", testkit::binary());
    let table = beside_a_hung_mount(&host, &mount, &check);
    let row = |name: &str| table.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {table}"));
    assert_eq!(row("open").split_whitespace().nth(3), Some("ok"), "{table}");
    for name in ["hung-0", "hung-1", "hung-2"] {
        assert_eq!(row(name).split_whitespace().nth(3), Some("local"), "{table}");
        assert!(row(name).ends_with("the file system of the Unix socket does not answer"), "{table}");
    }
}

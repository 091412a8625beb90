//! `.github/actions/bench`: checked as a workflow is, and its steps run with the binary of this tree.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use testkit::{
    binary,
    needs::{Need, require},
    root,
};

use crate::{
    checkers::{actionlint, need_actionlint, schema_named, scripts, shellcheck},
    text,
};

fn file() -> PathBuf {
    root().join(".github/actions/bench/action.yml")
}

fn action() -> String {
    fs::read_to_string(file()).unwrap()
}

/// The steps as a job of a workflow.
fn as_workflow(action: &str) -> String {
    let steps = action.split_once("\n  steps:\n").unwrap().1.replace("inputs.", "vars.");
    let steps: String = steps.lines().map(|line| format!("  {line}\n")).collect();
    format!("on: push\npermissions: {{}}\njobs:\n  bench:\n    runs-on: ubuntu-24.04\n    steps:\n{steps}")
}

#[test]
fn actionlint_the_schema_and_shellcheck_accept_the_action_and_find_a_seeded_fault() {
    need_actionlint();
    require(&[Need::Tool("check-jsonschema"), Need::Tool("shellcheck")]);
    let folder = tempfile::tempdir().unwrap();
    let lint = |action: &str| {
        let file = folder.path().join("workflow.yml");
        fs::write(&file, as_workflow(action)).unwrap();
        actionlint(&[&file])
    };
    let output = lint(&action());
    assert!(output.status.success(), "{}", text(&output));
    assert!(!lint(&action().replace("shell: bash", "shel: bash")).status.success());
    let output = schema_named("vendor.github-actions", &[&file()]);
    assert!(output.status.success(), "{}", text(&output));
    let broken = folder.path().join("action.yml");
    fs::write(&broken, action().replace("using: composite", "uses: composite")).unwrap();
    assert!(!schema_named("vendor.github-actions", &[&broken]).status.success());
    for (line, script) in scripts(&action()) {
        assert!(!script.contains("${{"), "action.yml:{line}: an expression inside a script; use env");
        let output = shellcheck(folder.path(), &script);
        assert!(output.status.success(), "action.yml:{line}: {}", text(&output));
    }
}

/// The default of each input.
fn defaults(action: &str) -> Vec<(String, String)> {
    let inputs = action.split_once("\ninputs:\n").unwrap().1.split_once("\noutputs:\n").unwrap().0;
    let named = inputs.split("\n    required:").zip(inputs.split("default: ").skip(1));
    let name = |part: &str| {
        part.lines()
            .rev()
            .find(|line| line.starts_with("  ") && !line.starts_with("   "))
            .unwrap()
            .trim()
            .trim_end_matches(':')
            .to_uppercase()
    };
    named.map(|(part, value)| (name(part), value.lines().next().unwrap().trim_matches('"').to_owned())).collect()
}

/// Runs the steps with these inputs. Returns the status, the summary of the job and the outputs.
fn run(folder: &Path, inputs: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let (summary, outputs) = (folder.join("summary"), folder.join("outputs"));
    fs::write(&summary, "").unwrap();
    fs::write(&outputs, "").unwrap();
    let path = format!("{}:{}", Path::new(binary()).parent().unwrap().display(), env::var("PATH").unwrap());
    let scripts = scripts(&action());
    assert_eq!(scripts.len(), 1);
    let output = Command::new("bash")
        .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &scripts[0].1])
        .current_dir(folder)
        .envs(defaults(&action()))
        .envs(inputs.iter().copied())
        .env("PATH", path)
        .env("GITHUB_STEP_SUMMARY", &summary)
        .env("GITHUB_OUTPUT", &outputs)
        .output()
        .unwrap();
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    (output.status.code(), format!("{}{}", text(&output), read(&summary)), read(&outputs))
}

/// A server whose answers take 5 to 36 ms, each on its own. On a busy machine the latencies of a server that answers at
/// once depend on each other, and then twenty are rightly called too few to compare.
fn served() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, mut stream) in (0_u64..).zip(listener.incoming().flatten()) {
            // The golden ratio scatters consecutive numbers evenly: the upper five bits.
            let delay = Duration::from_millis(5 + (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 59));
            thread::spawn(move || {
                if stream.read(&mut [0; 1024]).is_ok_and(|read| read > 0) {
                    thread::sleep(delay);
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
                }
            });
        }
    });
    address
}

#[test]
fn the_steps_gate_a_deploy_on_thresholds_and_on_the_baseline_of_an_earlier_run() {
    let folder = tempfile::tempdir().unwrap();
    let targets = format!("us=http://{}/\neu=http://{}/\n", served(), served());
    let common = [("TARGETS", targets.as_str()), ("DURATION", "2s"), ("BASELINE", "kept/samples.json")];
    let pass = [("THRESHOLDS", "probe_duration{peer_region=\"us\"}: max<10000\nprobe_failed: rate<1\n")];
    let (status, said, outputs) = run(folder.path(), &[&common[..], &pass].concat());
    assert_eq!((status, outputs.as_str()), (Some(0), "status=0\n"), "{said}");
    assert!(said.contains("::notice::there is no baseline kept/samples.json yet"), "{said}");
    assert!(said.contains("### Latency by region") && said.contains("| **pass** | probe\\_duration"), "{said}");
    let report = folder.path().join("regionwatch-bench");
    for name in ["report.html", "junit.xml", "report.json", "samples.json"] {
        assert!(fs::metadata(report.join(name)).unwrap().len() > 100, "{name}");
    }
    // The samples of the run become the baseline, as if every latency had been a hundredth.
    fs::create_dir(folder.path().join("kept")).unwrap();
    let mut samples: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(report.join("samples.json")).unwrap()).unwrap();
    for series in samples["series"].as_array_mut().unwrap() {
        for latency in series["latency_ns"].as_array_mut().unwrap() {
            *latency = (latency.as_u64().unwrap() / 100).into();
        }
    }
    let text = samples.to_string();
    // The mark of the format comes first.
    let (mark, rest) = (
        "{\"regionwatch_results\":1,",
        text.replace("\"regionwatch_results\":1,", "").replace(",\"regionwatch_results\":1", ""),
    );
    fs::write(folder.path().join("kept/samples.json"), rest.replacen('{', mark, 1)).unwrap();
    let (status, said, outputs) = run(folder.path(), &common);
    assert_eq!((status, outputs.as_str()), (Some(99), "status=99\n"), "{said}");
    assert!(said.contains("| fail | ") && said.contains("Hodges-Lehmann shift"), "{said}");
}

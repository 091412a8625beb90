//! Images to compare: a small static server, alone, that waits before it listens or answers.

use std::{path::Path, process::Command, sync::LazyLock};

use tempfile::TempDir;

use crate::{
    engine::{build, engine},
    needs::{Need, require},
    root,
};

/// What making them needs.
pub fn needs() -> [Need; 2] {
    [engine(), Need::Tool("cc")]
}

/// See [`require`].
pub fn need() {
    require(&needs());
}

/// A folder with the server in it.
pub fn context() -> &'static Path {
    static CONTEXT: LazyLock<TempDir> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let source = root().join("tests/coldstart/server.c");
        let program = folder.path().join("server");
        let built = Command::new("cc").args(["-O1", "-static", "-s", "-o"]).arg(&program).arg(source).output().unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        folder
    });
    CONTEXT.path()
}

/// The name of an image whose server gets these arguments.
pub fn server(name: &str, arguments: &[&str]) -> String {
    let command: Vec<_> = ["/server"].iter().chain(arguments).map(|word| format!("{word:?}")).collect();
    let command = command.join(", ");
    dockerfile(name, &format!("FROM scratch\nCOPY server /server\nEXPOSE 8080\nENTRYPOINT [{command}]\n"))
}

/// The name of an image that is only a Dockerfile.
pub fn dockerfile(name: &str, text: &str) -> String {
    let tag = format!("regionwatch-coldstart-test:{name}");
    build(&tag, text, context(), &[]);
    tag
}

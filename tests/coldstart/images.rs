//! The images that are compared: a small static server, alone.

use std::{path::Path, process::Command, sync::LazyLock};

use tempfile::TempDir;
use testkit::{
    engine::{build, engine},
    needs::{Need, require},
    root,
};

/// What these tests need.
pub(crate) fn need() {
    require(&[engine(), Need::Tool("cc")]);
}

/// A folder with the server in it.
pub(crate) fn context() -> &'static Path {
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
pub(crate) fn server(name: &str, arguments: &[&str]) -> String {
    let tag = format!("regionwatch-coldstart-test:{name}");
    let command: Vec<_> = ["/server"].iter().chain(arguments).map(|word| format!("{word:?}")).collect();
    let command = command.join(", ");
    let dockerfile = format!("FROM scratch\nCOPY server /server\nEXPOSE 8080\nENTRYPOINT [{command}]\n");
    build(&tag, &dockerfile, context(), &[]);
    tag
}

/// The name of an image that is only a Dockerfile.
pub(crate) fn dockerfile(name: &str, text: &str) -> String {
    let tag = format!("regionwatch-coldstart-test:{name}");
    build(&tag, text, context(), &[]);
    tag
}

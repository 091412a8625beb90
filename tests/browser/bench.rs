//! The report of `bench` as a page: what it shows, in light and dark, and that it loads nothing.

use std::{
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    path::Path,
    thread,
};

use serde_json::{Value, json};
use testkit::process::{output, write};

use crate::{driver::need_browser, page::Page};

/// A load test of three regions, one of them with a name that would be markup, and of one that is down.
fn report(folder: &Path) -> String {
    let mut jtl = "timeStamp,elapsed,label,responseCode,success,Latency,Connect\n".to_owned();
    for n in 0..600_u64 {
        for (region, least) in [("us-east-1", 60), ("eu-central-1", 20), ("<b>ap</b><script>alert(1)</script>", 240)] {
            let elapsed = least + n * 7 % 13 + if n % 50 == 0 { least } else { 0 };
            let ok = region != "us-east-1" || !(300..330).contains(&n);
            let at = 1_795_985_000_000 + n * 100;
            let (latency, connect) = (elapsed - 2, least / 3);
            let _ =
                writeln!(jtl, "{at},{elapsed},{region},{},{ok},{latency},{connect}", if ok { "200" } else { "503" });
        }
        let _ = writeln!(
            jtl,
            "{},0,down,Non HTTP response code: java.net.ConnectException,false,0,0",
            1_795_985_000_000 + n * 100
        );
    }
    let (file, page) = (write(folder, "results.jtl", &jtl), folder.join("report.html"));
    let thresholds = ["probe_duration{region:us-east-1}: med<70", "probe_failed{region:us-east-1}: rate<0.01"];
    let out = page.display().to_string();
    let args = ["bench", "judge", &file, "--out", &out, "--threshold", thresholds[0], "--threshold", thresholds[1]];
    let told = output(&args, &[]);
    assert_eq!(told.status.code(), Some(99), "{}", String::from_utf8_lossy(&told.stderr));
    fs::read_to_string(page).unwrap()
}

/// Serves the page and nothing else.
fn serve(page: String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or_default();
            let is_page = request[..read].starts_with(b"GET / ");
            let (status, body) = if is_page { ("200 OK", page.as_str()) } else { ("404 Not Found", "") };
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

#[test]
fn the_report_of_a_benchmark_has_charts_in_light_and_dark_and_loads_nothing() {
    need_browser();
    let folder = tempfile::tempdir().unwrap();
    let html = report(folder.path());
    let page = Page::open(&format!("http://{}/", serve(html.clone())));
    let rows = page.order("rows", json!({}));
    assert_eq!(rows["headings"], json!(["Latency by region"]));
    for none in ["unnamedTables", "unscopedHeaders", "unnamedPictures"] {
        assert_eq!(rows[none], 0, "{none}");
    }
    let texts = |told: Value| -> Vec<String> { serde_json::from_value(told).unwrap() };
    assert_eq!(texts(page.order("audit", json!({"hold": false}))), Vec::<String>::new());
    assert_eq!(texts(page.order("layout", json!({}))), Vec::<String>::new());
    assert_eq!(texts(page.order("moving", json!({}))), Vec::<String>::new());
    let picture = |scheme: &str, width: u32| {
        let file = folder.path().join(format!("{scheme}-{width}.png"));
        let told = page.order("picture", json!({"file": file, "colorScheme": scheme, "width": width}));
        assert!(fs::metadata(&file).unwrap().len() > 10_000, "{scheme}");
        if let Some(kept) = std::env::var_os("REGIONWATCH_PICTURES") {
            fs::copy(&file, Path::new(&kept).join(file.file_name().unwrap())).unwrap();
        }
        told
    };
    let (light, dark) = (picture("light", 1280), picture("dark", 1280));
    picture("light", 360);
    assert_eq!(
        (&light["backgroundColor"], &dark["backgroundColor"]),
        (&"rgb(255, 255, 255)".into(), &"rgb(18, 23, 29)".into())
    );
    // Four regions, each with a distribution, a time line and phases.
    assert!(light["drawn"].as_u64().unwrap() >= 12, "{light}");
    assert_eq!(light["requests"], 0, "{light}");
    assert_eq!(page.close(), Vec::<String>::new());
    assert!(
        !html.contains("<script") && !html.contains("http://") && !html.contains("https://") && !html.contains("url(")
    );
}

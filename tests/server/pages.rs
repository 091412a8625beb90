//! The status page, as browsers get it.

use std::{thread, time::Duration};

use regionwatch::server::Limits;

use crate::support::{Answer, Prober, Running, Setup, gunzipped};

const PAGES: [&str; 4] = ["/", "/peer/us-east-1", "/path/us-east-1/edge-7/tcp", "/config"];

fn running() -> Running {
    Setup::default().run()
}

/// Everything that a page leads to or loads.
fn links(page: &Answer) -> Vec<String> {
    let text = page.text();
    let after = |mark: &str| {
        text.split(mark).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    [after("href=\""), after("src=\"")].concat()
}

#[test]
fn every_link_of_every_page_resolves_on_this_server() {
    let server = running();
    for page in PAGES {
        let answer = server.get(page);
        assert_eq!(answer.status, 200, "{page}");
        let links = links(&answer);
        assert!(links.len() > 5, "{page}: {links:?}");
        for link in links.iter().filter(|link| !link.starts_with('#')) {
            assert!(link.starts_with('/'), "{page}: {link}");
            assert_eq!(server.get(link).status, 200, "{page}: {link}");
        }
    }
}

#[test]
fn pages_load_only_from_this_server_and_are_not_cached() {
    let server = running();
    for page in PAGES.into_iter().chain(["/peer/nobody"]) {
        let answer = server.get(page);
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("vary", "Accept-Encoding"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{page}");
        }
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'none'"] {
            assert!(policy.contains(part), "{page}: {policy}");
        }
        let text = answer.text();
        assert!(!text.contains(" style=") && !text.contains("<style") && !text.contains(" onclick"), "{page}");
        assert!(text.contains("<html lang=\"en\">") && text.matches("<h1").count() == 1, "{page}");
    }
}

#[test]
fn assets_are_immutable_because_their_names_change() {
    let server = running();
    let assets: Vec<_> = links(&server.get("/")).into_iter().filter(|link| link.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3, "{assets:?}");
    for asset in assets {
        let answer = server.get(&asset);
        assert_eq!(answer.header("cache-control"), Some("public, max-age=31536000, immutable"), "{asset}");
        assert_ne!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{asset}");
    }
    assert_eq!(server.get("/assets/status.0000000000000000.css").status, 404);
}

#[test]
fn a_missing_page_is_a_404_page_with_a_link_back() {
    let server = running();
    for missing in [
        "/peer/",
        "/peer/nobody",
        "/peer/us-east-1/more",
        "/peer/%3Cscript%3E",
        "/path/",
        "/path/us-east-1",
        "/path/us-east-1/edge-7/ping",
        "/path/us-east-1/edge-8/tcp",
        "/path/us-east-1/edge-7/tcp/more",
        "/path/us-east-1/..%2f/tcp",
    ] {
        let answer = server.get(missing);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, Some("text/html; charset=utf-8")),
            "{missing}"
        );
        assert!(answer.text().contains("<a href=\"/\">"), "{missing}");
        assert!(!answer.text().contains("script>"), "{missing}");
    }
    let nobody = server.get("/peer/nobody");
    let nobody = nobody.text();
    assert!(
        nobody.contains("no peer \u{201c}nobody\u{201d}") && nobody.contains("<a href=\"/peer/us-east-1\">"),
        "{nobody}"
    );
    let long = server.get(&format!("/peer/{}", "a".repeat(2_000)));
    let long = long.text();
    assert!(!long.contains(&"a".repeat(101)), "{long}");
    // A browser is told by a page, and a program by what there is.
    let browser = server.ask("GET", "/config/", "Accept: text/html,*/*;q=0.8\r\n");
    assert!(browser.status == 404 && browser.text().contains("no page \u{201c}/config/\u{201d}"), "{}", browser.text());
    assert!(server.get("/config/").text().contains("/metrics"));
    assert_eq!(server.ask("POST", "/peer/us-east-1", "").status, 405);
}

#[test]
fn pages_support_head_and_gzip() {
    let server = running();
    for page in PAGES {
        let head = server.ask("HEAD", page, "");
        assert_eq!((head.status, head.body.len()), (200, 0), "{page}");
        let gzip = server.ask("GET", page, "Accept-Encoding: gzip\r\n");
        assert_eq!(gzip.header("content-encoding"), Some("gzip"), "{page}");
        assert!(String::from_utf8(gunzipped(&gzip.body)).unwrap().ends_with("</html>\n"), "{page}");
    }
}

#[test]
fn the_configuration_has_no_secrets() {
    let page = running().get("/config");
    assert!(page.text().contains("bearer") || page.text().contains("&lt;secret&gt;"), "{}", page.text());
    assert!(!page.text().contains("hush"));
}

#[test]
fn the_page_of_a_path_shows_the_phase_in_which_probes_failed() {
    let page = running().get("/path/us-east-1/edge-7/tcp");
    assert!(page.text().contains("data-result=\"ok\"") && page.text().contains("data-result=\"timeout\""));
    assert!(page.text().contains("timeout in connect"), "{}", page.text());
}

/// However many clients request however many pages.
#[test]
fn the_engine_copies_at_most_two_overviews_per_second() {
    let limits = Limits { overview_max_age: Duration::from_secs(60), ..Limits::default() };
    let server = Setup { limits, ..Setup::default() }.run();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| PAGES.map(|page| assert_eq!(server.get(page).status, 200)));
        }
    });
    assert_eq!(server.copies.overviews.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(Limits::default().overview_max_age, Duration::from_millis(500));
}

#[test]
fn pages_time_out_if_the_engine_is_silent() {
    let limits = Limits { query_timeout: Duration::from_millis(100), ..Limits::default() };
    let server = Setup { prober: Prober::Silent, limits, ..Setup::default() }.run();
    for page in PAGES {
        let answer = server.get(page);
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{page}");
    }
}

//! `keybound health`, as an orchestrator runs it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;

use crate::{Ran, folder, run};

/// An admin port that gives these answers, one a connection, and then returns the request lines.
fn admin(answers: &[&str]) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    let asked = move |answer: String| {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(&stream).lines().map(Result::unwrap);
        let first = lines.next().unwrap();
        let rest: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        assert!(rest.iter().any(|field| field.eq_ignore_ascii_case(&format!("host: {address}"))), "{rest:?}");
        // Whoever does not wait for the whole answer is gone by now.
        let _ = (&stream).write_all(answer.as_bytes());
        first
    };
    (address, std::thread::spawn(move || answers.into_iter().map(asked).collect()))
}

#[test]
fn only_status_200_is_healthy() {
    let folder = folder();
    let (address, asked) = admin(&[
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 10\r\n\r\nnot ready\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 302 Found\r\nlocation: /healthz\r\ncontent-length: 0\r\n\r\n",
    ]);
    let url = format!("http://{address}");
    for (more, code, out, err) in [
        (&[][..], 0, "ok\n", String::new()),
        (&["--ready"], 0, "ready\n", String::new()),
        (&["--ready"], 1, "not ready\n", format!("{url}/readyz: 503 Service Unavailable\n")),
        (&[], 1, "", format!("{url}/healthz: 204 No Content\n")),
        (&[], 1, "", format!("{url}/healthz: 302 Found\n")),
    ] {
        let ran = run(&folder, &[&["health", "--admin", &url], more].concat());
        assert_eq!((ran.code, &*ran.out, &*ran.err), (code, out, &*err), "{more:?}");
    }
    let [live, ready] = ["healthz", "readyz"].map(|path| format!("GET /{path} HTTP/1.1"));
    assert_eq!(asked.join().unwrap(), [&live, &ready, &ready, &live, &live].map(Clone::clone));
}

#[test]
fn no_answer_is_not_healthy() {
    let folder = folder();
    let endless = format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{}", "x".repeat(1_000_000));
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", "SSH-2.0-x\r\n", &*endless] {
        let (address, asked) = admin(&[answer]);
        let Ran { code, out, err } = run(&folder, &["health", "--admin", &format!("http://{address}/")]);
        assert!(code == 1 && out.is_empty(), "{out}");
        assert!(err.starts_with(&format!("error: no answer from http://{address}/healthz: ")), "{err}");
        asked.join().unwrap();
    }
    // Nobody listens; somebody listens and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [nobody, silent.local_addr().unwrap()] {
        let Ran { code, err, .. } =
            run(&folder, &["health", "--timeout", "200ms", "--admin", &format!("http://{address}")]);
        assert!(code == 1 && err.starts_with("error: no answer from "), "{err}");
    }
}

#[test]
fn an_admin_port_is_named_by_scheme_and_authority() {
    let folder = folder();
    for (url, part) in [
        ("127.0.0.1:9090", "must be absolute"),
        ("https://127.0.0.1:9090", "plain HTTP"),
        ("http://127.0.0.1:9090/healthz", "has no path"),
        ("http://127.0.0.1:9090/?x", "has no path and no query"),
        ("http://a:hidden@127.0.0.1:9090", "must not hold a user name"),
        ("unix:admin.sock", "`unix:` and an absolute path"),
        ("unix:", "`unix:` and an absolute path"),
        (&format!("unix:/{}", "x".repeat(107)), "at most 107 bytes"),
    ] {
        let Ran { code, out, err } = run(&folder, &["health", "--admin", url]);
        assert!(code == 2 && out.is_empty() && err.contains(part) && !err.contains("hidden"), "{url}: {err}");
        assert!(err.starts_with("error: --admin: "), "{err}");
    }
}

use std::fs;

use serde_json::json;

use super::*;
use crate::keys::read_jwks_file;

fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let gateway = Gateway::run("https://as.example", KeySource::File(path.clone()));
    until(|| gateway.last_error().contains("No such file")).await;
    assert!(gateway.last_error().contains("jwks.json"));

    fs::write(&path, jwks(&[ec("one")])).unwrap();
    assert_eq!(gateway.loaded().await.knows("one"), 1);
    fs::write(&path, jwks(&[ec("two")])).unwrap();
    until(|| gateway.knows("two") == 1).await;
    assert_eq!(gateway.knows("one"), 0);

    fs::write(&path, "garbage").unwrap();
    until(|| gateway.last_error().contains("expected a JSON object, found something else")).await;
    fs::remove_file(&path).unwrap();
    until(|| gateway.last_error().contains("No such file")).await;
    assert_eq!(gateway.knows("two"), 1);

    // As Kubernetes does it: the name stays, what it links to is another file.
    let other = folder.path().join("other.json");
    fs::write(&other, jwks(&[ec("three")])).unwrap();
    std::os::unix::fs::symlink(&other, &path).unwrap();
    until(|| gateway.knows("three") == 1).await;
    assert_eq!(gateway.issuer().status().last_error, None);
}

#[test]
fn an_operator_learns_what_is_wrong_with_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let rules = IssuerRules::new("https://as.example", Vec::new());
    let read = || read_jwks_file(&path, &rules).map(|(keys, skipped)| (keys.len(), skipped.len()));
    let cases = [
        (String::new(), "found nothing"),
        ("<html>".to_owned(), "found an HTML or XML page"),
        ("-----BEGIN PUBLIC KEY-----".to_owned(), "expected a JSON object"),
        ("{}".to_owned(), "expected an array under \"keys\""),
        (jwks(&[]), "no usable key: it is empty"),
        (
            jwks(&[json!({"kty": "oct", "k": "AAAA"}), json!(1)]),
            "keys[0]: it holds private or symmetric material, keys[1]:",
        ),
        (" ".repeat(600_000), "expected at most 524288 bytes"),
    ];
    assert!(read().unwrap_err().contains("No such file"));
    for (content, expected) in cases {
        fs::write(&path, content).unwrap();
        let error = read().unwrap_err();
        assert!(error.contains(expected) && error.contains("jwks.json"), "{error}");
    }
    fs::write(&path, jwks(&[ec("one"), json!({"kty": "oct", "k": "AAAA"})])).unwrap();
    assert_eq!(read(), Ok((1, 1)));
    assert!(read_jwks_file(folder.path(), &rules).unwrap_err().contains("expected a regular file"));
}

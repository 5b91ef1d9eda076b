//! The chart, as helm renders it. What `kubernetes.rs` demands of manifests holds for it too.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::configurations::is_valid;
use crate::kubernetes::{built, of_kind};
use crate::tools::{at, documents, program, ran, repository, said, text};

const CHART: &str = "deploy/helm/keybound";

/// Everything that can be switched on or added.
const EVERYTHING: &str = r#"
image: { tag: "9.9", digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", pullPolicy: Always }
imagePullSecrets: [{ name: registry }]
extraVolumes: [{ name: authorities, secret: { secretName: authorities, defaultMode: 0440 } }]
extraVolumeMounts: [{ name: authorities, mountPath: /etc/keybound/authorities, readOnly: true }]
extraEnv: [{ name: REGION, value: north }]
podDisruptionBudget: { maxUnavailable: 25% }
service: { type: LoadBalancer, annotations: { example.com/passes: tcp } }
serviceAccount: { name: gateway, annotations: { example.com/role: none } }
networkPolicy: { clients: [{ ipBlock: { cidr: 192.0.2.0/24 } }] }
serviceMonitor: { enabled: true, labels: { release: prometheus } }
prometheusRule: { enabled: true, labels: { release: prometheus } }
podAnnotations: { example.com/one: "1" }
podLabels: { example.com/two: two }
priorityClassName: system-cluster-critical
nodeSelector: { kubernetes.io/os: linux }
tolerations: [{ key: example.com/gateways, operator: Exists, effect: NoSchedule }]
affinity: { nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, preference: { matchExpressions: [{ key: example.com/gateways, operator: Exists }] } }] } }
"#;

/// One gateway, alone.
const LITTLE: &str = r#"
config: |
  listeners: [{ address: "0.0.0.0:8443", tls: { certificate_file: /etc/keybound/tls/tls.crt, key_file: /etc/keybound/tls/tls.key } }]
  issuers: [{ issuer: https://auth.example.com, audiences: [https://api.example.com] }]
  replicas: 1
  routes: [{ upstream: "http://127.0.0.1:8080" }]
  admin: { address: "0.0.0.0:9090" }   # "{{ quoted }}", and as it stands
secrets: { redis: "", nonce: "" }
replicaCount: 1
autoscaling: { enabled: false }
podDisruptionBudget: { enabled: false }
serviceAccount: { create: false, name: existing }
networkPolicy: { enabled: false }
"#;

/// Arguments of helm for these values.
fn template(release: &str, folder: &Path, values: &str) -> Vec<String> {
    let file = folder.join("values.yaml");
    fs::write(&file, values).unwrap();
    ["template", release, CHART, "--values", file.to_str().unwrap()].map(str::to_owned).to_vec()
}

pub fn rendered(release: &str, values: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    documents(&said("helm", &template(release, folder.path(), values)))
}

pub fn with_everything() -> Vec<Value> {
    rendered("front", EVERYTHING)
}

fn configuration(resources: &[Value]) -> &str {
    of_kind(resources, "ConfigMap")[0]["data"]["keybound.yaml"].as_str().unwrap()
}

/// What only Helm says, and only Kustomize.
fn without_labels(value: &mut Value) {
    match value {
        Value::Object(members) => {
            let own = ["helm.sh/chart", "app.kubernetes.io/instance", "checksum/config", "imagePullPolicy"];
            members.retain(|name, _| !own.contains(&name.as_str()));
            members.values_mut().for_each(without_labels);
        }
        Value::Array(items) => items.iter_mut().for_each(without_labels),
        // The hash in its name.
        Value::String(text) if text.starts_with("keybound-") && text.len() == "keybound-".len() + 10 => {
            text.truncate("keybound".len());
        }
        _ => {}
    }
}

#[test]
fn helm_finds_no_fault() {
    let words = said("helm", &["lint", "--strict", CHART]);
    assert!(words.contains("1 chart(s) linted, 0 chart(s) failed"), "{words}");
}

#[test]
fn it_says_what_the_base_says() {
    let (base, chart) = (built("base"), rendered("keybound", ""));
    let kinds = ["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"];
    for kind in kinds {
        let specs = |resources: &[Value]| {
            let mut resources: Vec<Value> = of_kind(resources, kind).into_iter().cloned().collect();
            resources.sort_by_key(|resource| at(resource, "metadata.name").to_string());
            resources.iter_mut().for_each(without_labels);
            resources.into_iter().map(|resource| resource["spec"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(specs(&chart), specs(&base), "{kind}");
    }
    assert_eq!(of_kind(&chart, "ServiceAccount")[0]["automountServiceAccountToken"], false);
    assert_eq!(configuration(&chart), text("deploy/kubernetes/base/keybound.yaml"));
    let others = ["ConfigMap", "ServiceAccount"];
    let known = |resource: &Value| kinds.iter().chain(&others).any(|kind| resource["kind"] == **kind);
    assert!(chart.iter().all(known), "{chart:?}");
}

#[test]
fn the_configuration_passes_as_it_stands() {
    let little = rendered("a", LITTLE);
    let kinds: Vec<&str> = little.iter().map(|resource| resource["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ConfigMap", "Service", "Service", "Deployment"]);
    let written = LITTLE.split("config: |\n").nth(1).unwrap().split("secrets:").next().unwrap();
    let written: String = written.lines().map(|line| format!("{}\n", &line[2..])).collect();
    assert_eq!(configuration(&little), written);
    let deployment = of_kind(&little, "Deployment")[0];
    assert_eq!(at(deployment, "metadata.name"), "a-keybound");
    assert_eq!(
        (at(deployment, "spec.replicas"), at(deployment, "spec.template.spec.serviceAccountName")),
        (&json!(1), &json!("existing"))
    );
    for resources in [&little, &with_everything()] {
        is_valid("deploy/helm", configuration(resources));
    }
}

#[test]
fn another_configuration_is_another_rollout() {
    let checksum = |values: &str| {
        let resources = rendered("a", values);
        let deployment = of_kind(&resources, "Deployment")[0];
        deployment["spec"]["template"]["metadata"]["annotations"]["checksum/config"].as_str().unwrap().to_owned()
    };
    assert_eq!(checksum(LITTLE), checksum(LITTLE));
    assert_ne!(checksum(LITTLE), checksum(&LITTLE.replace("auth.example.com", "login.example.com")));
}

#[test]
fn the_operator_gets_the_same_rules() {
    assert_eq!(text("deploy/helm/keybound/files/rules.yaml"), text("deploy/prometheus/rules.yaml"));
    let resources = with_everything();
    let rules = documents(&text("deploy/prometheus/rules.yaml")).remove(0);
    assert_eq!(of_kind(&resources, "PrometheusRule")[0]["spec"], rules);
}

/// The valid case, one change.
#[test]
fn wrong_values_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    rendered("keybound", "");
    for (values, part) in [
        ("replicas: 3", "additional properties 'replicas' not allowed"),
        ("ports: { https: 0 }", "at '/ports/https': minimum"),
        ("config: { listeners: [] }", "at '/config': got object, want string"),
        ("image: { digest: latest }", "at '/image/digest'"),
        ("service: { type: ExternalName }", "at '/service/type'"),
        ("secrets: { tls: [keybound-tls] }", "at '/secrets/tls': got array, want string"),
        (
            "autoscaling: { maxReplicas: 11 }",
            "expected replicas: 11 or more, as many gateways as there may be; found 10",
        ),
        ("{ autoscaling: { enabled: false }, replicaCount: 12 }", "expected replicas: 12 or more"),
        ("config: 'listeners: ['", "config: expected a configuration with listeners; error converting YAML"),
        ("config: 'routes: []'", "config: expected a configuration with listeners; there are none"),
        ("serviceAccount: { create: false }", "serviceAccount.name: expected a name"),
    ] {
        let arguments = template("keybound", folder.path(), values);
        let (success, words) = ran(Command::new(program("helm")).args(arguments).current_dir(repository("")));
        assert!(!success && words.contains(part), "{values}: {words}");
    }
}

/// Only `helm install` prints them, and it wants a cluster, unless it only plays.
#[test]
fn the_notes_name_what_must_be_there() {
    let mut arguments = vec!["install", "keybound", CHART, "--dry-run=client", "--namespace", "gateways"];
    let words = said("helm", &arguments);
    let notes = words.split("NOTES:").nth(1).expect("notes");
    for part in
        ["keybound in gateways.", "Secrets are there: keybound-tls, keybound-redis, keybound-nonce.", "health --ready"]
    {
        assert!(notes.contains(part), "{part}: {notes}");
    }
    arguments.extend(["--set", "secrets.tls=,secrets.redis=,secrets.nonce="]);
    assert!(!said("helm", &arguments).contains("Secrets are there"));
}

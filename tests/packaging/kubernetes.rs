//! The manifests, as kubectl and helm build them: valid for a current Kubernetes, and true to themselves.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::helm;
use crate::tools::{at, documents, list, program, ran, repository, said, text};

/// Kinds of the Prometheus Operator, which Kubernetes itself does not know.
const FOREIGN: [&str; 2] = ["PrometheusRule", "ServiceMonitor"];

const BUILT: [&str; 5] = ["base", "monitoring", "example", "the chart", "the chart with everything"];

/// All resources of a kustomization, or of the chart.
pub fn built(name: &str) -> Vec<Value> {
    match name {
        "the chart" => return helm::rendered("keybound", ""),
        "the chart with everything" => return helm::with_everything(),
        _ => {}
    }
    let output = said("kubectl", &["kustomize", &format!("deploy/kubernetes/{name}")]);
    assert!(!output.contains("Warning"), "{output}");
    documents(&output)
}

pub fn of_kind<'a>(resources: &'a [Value], kind: &str) -> Vec<&'a Value> {
    resources.iter().filter(|resource| resource["kind"] == kind).collect()
}

fn name(resource: &Value) -> &str {
    at(resource, "metadata.name").as_str().unwrap()
}

/// Its own pod template.
fn pod(deployment: &Value) -> &Value {
    at(deployment, "spec.template.spec")
}

/// Those that run as long as the pod does.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    list(pod, "initContainers").chain(list(pod, "containers"))
}

fn gateway(deployment: &Value) -> &Value {
    containers(pod(deployment)).find(|container| container["name"] == "keybound").expect("a gateway")
}

/// The configuration that a deployment's gateway reads.
fn configuration(resources: &[Value], deployment: &Value) -> Value {
    let volumes = list(pod(deployment), "volumes").filter_map(|volume| at(volume, "configMap.name").as_str());
    let maps: Vec<&str> = volumes.collect();
    let map = of_kind(resources, "ConfigMap").into_iter().find(|map| maps.contains(&name(map)));
    let map = map.unwrap_or_else(|| panic!("none of {maps:?} is there"));
    documents(map["data"]["keybound.yaml"].as_str().unwrap()).remove(0)
}

/// Whether a selector's labels are all among these.
fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(wanted) = selector.as_object() else { return false };
    !wanted.is_empty() && wanted.iter().all(|(label, value)| labels.get(label) == Some(value))
}

#[test]
fn every_resource_is_valid() {
    for name in BUILT {
        let folder = tempfile::tempdir().unwrap();
        for (index, resource) in built(name).iter().enumerate() {
            let kind = resource["kind"].as_str().unwrap();
            if FOREIGN.contains(&kind) {
                assert_eq!(resource["apiVersion"], "monitoring.coreos.com/v1");
                continue;
            }
            fs::write(folder.path().join(format!("{index}-{kind}.yaml")), resource.to_string()).unwrap();
        }
        let mut files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let (success, words) = ran(Command::new(program("kubernetes-validate")).arg("--strict").args(&files));
        let passed = words.lines().filter(|line| line.contains(" passed for resource ")).count();
        assert!(success && passed == files.len() && passed >= 3, "{name}: {passed} of {}: {words}", files.len());
    }
}

/// Pod Security Standards, `restricted`, and more.
#[test]
fn containers_may_do_next_to_nothing() {
    for name in BUILT {
        for deployment in of_kind(&built(name), "Deployment") {
            let pod = pod(deployment);
            assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
            for container in containers(pod) {
                let either = |field: &str| {
                    let own = &container["securityContext"][field];
                    if own.is_null() { pod["securityContext"][field].clone() } else { own.clone() }
                };
                assert_eq!(either("runAsNonRoot"), true, "{container}");
                assert!(either("runAsUser").as_u64().is_some_and(|user| user > 0), "{container}");
                assert_eq!(either("seccompProfile"), json!({"type": "RuntimeDefault"}), "{container}");
                let own = &container["securityContext"];
                assert_eq!(own["allowPrivilegeEscalation"], false, "{container}");
                assert_eq!(own["readOnlyRootFilesystem"], true, "{container}");
                assert_eq!(own["capabilities"], json!({"drop": ["ALL"]}), "{container}");
                for resource in ["requests.cpu", "requests.memory", "limits.memory"] {
                    assert!(!at(&container["resources"], resource).is_null(), "{resource}: {container}");
                }
                assert!(container["image"].as_str().unwrap().contains(':'), "a version is named: {container}");
            }
        }
    }
}

#[test]
fn what_is_named_is_there() {
    for built_name in BUILT {
        let resources = built(built_name);
        let deployment = of_kind(&resources, "Deployment")[0];
        let labels = at(deployment, "spec.template.metadata.labels");
        assert!(selects(at(deployment, "spec.selector.matchLabels"), labels));
        let gateway = gateway(deployment);
        let ports: BTreeSet<&str> = list(gateway, "ports").map(|port| port["name"].as_str().unwrap()).collect();
        for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
            assert!(ports.contains(at(&gateway[probe], "httpGet.port").as_str().unwrap()), "{probe}");
        }
        assert_eq!(at(gateway, "readinessProbe.httpGet.path"), "/readyz");
        assert_eq!(at(gateway, "livenessProbe.httpGet.path"), "/healthz");
        for service in of_kind(&resources, "Service") {
            assert!(selects(at(service, "spec.selector"), labels), "{service}");
            for port in list(service, "spec.ports") {
                assert!(ports.contains(port["targetPort"].as_str().unwrap()), "{service}");
            }
        }
        for policy in of_kind(&resources, "NetworkPolicy") {
            assert!(selects(at(policy, "spec.podSelector.matchLabels"), labels), "{policy}");
            let store = at(policy, "spec.egress.2.to.0.podSelector.matchLabels");
            assert_eq!(store, &json!({"app.kubernetes.io/name": "redis"}));
            for port in list(policy, "spec.ingress").flat_map(|rule| list(rule, "ports")) {
                assert!(ports.contains(port["port"].as_str().unwrap()), "{policy}");
            }
        }
        for budget in of_kind(&resources, "PodDisruptionBudget") {
            assert!(selects(at(budget, "spec.selector.matchLabels"), labels), "{budget}");
        }
        for monitor in of_kind(&resources, "ServiceMonitor") {
            let watched = of_kind(&resources, "Service")
                .into_iter()
                .find(|service| selects(at(monitor, "spec.selector.matchLabels"), at(service, "metadata.labels")));
            let watched = watched.expect("a service that is watched");
            let port = at(monitor, "spec.endpoints.0.port");
            assert!(list(watched, "spec.ports").any(|offered| offered["name"] == *port), "{monitor}");
            let job = at(monitor, "spec.jobLabel").as_str().unwrap();
            assert_eq!(at(watched, "metadata.labels")[job], "keybound", "rules go by the job's name");
        }
        for scaler in of_kind(&resources, "HorizontalPodAutoscaler") {
            let target = at(scaler, "spec.scaleTargetRef");
            assert!(target["kind"] == "Deployment" && target["name"] == name(deployment), "{scaler}");
            assert!(at(deployment, "spec.replicas").is_null(), "two would say how many there are");
        }
        // Every file that the configuration names lies below a mounted volume.
        let mounts: Vec<&str> =
            list(gateway, "volumeMounts").map(|mount| mount["mountPath"].as_str().unwrap()).collect();
        let volumes: BTreeSet<&str> =
            list(pod(deployment), "volumes").map(|volume| volume["name"].as_str().unwrap()).collect();
        assert!(list(gateway, "volumeMounts").all(|mount| volumes.contains(mount["name"].as_str().unwrap())));
        let configuration = configuration(&resources, deployment).to_string();
        let mut paths: Vec<&str> = configuration.split('"').filter(|text| text.starts_with("/etc/")).collect();
        paths.extend(list(gateway, "args").filter_map(Value::as_str).filter(|argument| argument.starts_with('/')));
        assert!(paths.len() >= 4, "{paths:?}");
        for path in paths {
            assert!(mounts.iter().any(|mount| path.starts_with(&format!("{mount}/"))), "{path} is not mounted");
        }
    }
}

#[test]
fn the_configuration_fits_its_place() {
    for name in BUILT {
        let resources = built(name);
        let deployment = of_kind(&resources, "Deployment")[0];
        let configuration = configuration(&resources, deployment);
        let duration =
            |field: &str| humantime::parse_duration(configuration["limits"][field].as_str().unwrap()).unwrap();
        let grace = Duration::from_secs(pod(deployment)["terminationGracePeriodSeconds"].as_u64().unwrap());
        assert!(grace > duration("drain_delay") + duration("drain_timeout"), "{name}: killed while it drains");
        let most = of_kind(&resources, "HorizontalPodAutoscaler").first().map(|scaler| at(scaler, "spec.maxReplicas"));
        let most = most.unwrap_or(at(deployment, "spec.replicas"));
        assert!(configuration["replicas"].as_u64() >= most.as_u64(), "{name}: {most}");
        let container_ports: Vec<u64> =
            list(gateway(deployment), "ports").map(|port| port["containerPort"].as_u64().unwrap()).collect();
        let listens: [u64; 2] = [at(&configuration, "listeners.0.address"), at(&configuration, "admin.address")]
            .map(|address| address.as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap());
        assert_eq!(container_ports, listens, "{name}");
    }
}

#[test]
fn a_sidecar_leaves_the_api_as_it_is() {
    let before = documents(&text("deploy/kubernetes/example/api.yaml"));
    let after = built("example");
    let (before, after) = (of_kind(&before, "Deployment")[0], of_kind(&after, "Deployment")[0]);
    let own = list(pod(after), "containers").find(|container| container["name"] == "orders");
    assert_eq!(own, list(pod(before), "containers").next());
    assert_eq!(list(pod(after), "containers").count(), 1);
    assert_eq!(pod(after)["securityContext"], pod(before)["securityContext"]);
    // It starts before the API and ends after it, but lets clients go first. They are gone when the API ends, and there is
    // time for what it has under way.
    let gateway = gateway(after);
    assert_eq!((list(pod(after), "initContainers").count(), &gateway["restartPolicy"]), (1, &json!("Always")));
    assert_eq!(at(gateway, "lifecycle.preStop.exec.command"), &json!(["/usr/local/bin/keybound", "drain"]));
    let configuration = documents(&text("deploy/kubernetes/sidecar/keybound.yaml")).remove(0);
    let duration =
        |field: &str| humantime::parse_duration(configuration["limits"][field].as_str().unwrap()).unwrap().as_secs();
    let stays = at(own.unwrap(), "lifecycle.preStop.sleep.seconds").as_u64().unwrap();
    let grace = pod(after)["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(stays > duration("drain_delay") && grace > stays + duration("drain_timeout"), "{stays} {grace}");
}

#[test]
fn another_configuration_is_another_rollout() {
    let map = |resources: &[Value]| name(of_kind(resources, "ConfigMap")[0]).to_owned();
    let folder = tempfile::tempdir().unwrap();
    let (success, words) =
        ran(Command::new("cp").arg("-r").arg(repository("deploy/kubernetes/base")).arg(folder.path()));
    assert!(success, "{words}");
    let base = folder.path().join("base");
    let copied = |base: &std::path::Path| documents(&said("kubectl", &["kustomize", base.to_str().unwrap()]));
    let first = copied(&base);
    assert_eq!(map(&first), map(&built("base")));
    let changed =
        fs::read_to_string(base.join("keybound.yaml")).unwrap().replace("auth.example.com", "login.example.com");
    fs::write(base.join("keybound.yaml"), changed).unwrap();
    let second = copied(&base);
    assert_ne!(map(&first), map(&second));
    assert_ne!(of_kind(&first, "Deployment"), of_kind(&second, "Deployment"));
}

#[test]
fn the_operator_gets_the_same_rules() {
    let resources = built("monitoring");
    let rules = documents(&text("deploy/prometheus/rules.yaml")).remove(0);
    assert_eq!(of_kind(&resources, "PrometheusRule")[0]["spec"], rules);
}

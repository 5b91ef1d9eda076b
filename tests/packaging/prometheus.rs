//! A real Prometheus that watches the real program at work: rules and dashboard against what is really there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use http::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::eventually;
use crate::stage::{Gateway, Stage, message};
use crate::support::Identity;
use crate::support::wire::{Dialer, Http, Message};
use crate::tools::{at, documents, list, program, said, text};

/// It ends with this.
struct Prometheus {
    address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Prometheus {
    /// With `deploy/prometheus`, but faster, and for this gateway.
    async fn watch(gateway: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut configuration = text("deploy/prometheus/prometheus.yaml");
        for (from, to) in [("15s", "500ms"), ("keybound:9090", &gateway.to_string())] {
            assert!(configuration.contains(from), "{from}");
            configuration = configuration.replace(from, to);
        }
        fs::write(folder.path().join("prometheus.yml"), configuration).unwrap();
        fs::write(folder.path().join("rules.yaml"), text("deploy/prometheus/rules.yaml")).unwrap();
        // Nobody listens there; Prometheus cannot let the system pick one.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(program("prometheus"));
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address={address}")).current_dir(folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut prometheus = Self { address, child: command.spawn().unwrap(), folder };
        eventually("Prometheus answers", async || {
            let ended = prometheus.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {}", prometheus.log());
            // It listens before it answers.
            let listens = tokio::net::TcpStream::connect(address).await.is_ok();
            (listens && prometheus.query("up").await.is_ok()).then_some(())
        })
        .await;
        prometheus
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// An answer of the HTTP API.
    async fn ask(&self, path: &str, form: &[(&str, &str)]) -> Result<Value, String> {
        let dialer = Dialer { address: self.address, tls: None, server_name: String::new(), announce: Vec::new() };
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut question =
            message(&format!("/api/v1/{path}"), &[("Content-Type", "application/x-www-form-urlencoded")]);
        if !form.is_empty() {
            question.method = Method::POST.to_string();
            question.headers.push(("Content-Length".to_owned(), body.len().to_string().into()));
            question.body = body.into_bytes();
        }
        question.host = Some(self.address.to_string());
        let answer = dialer.send(Http::One, &question).await.map_err(|error| format!("{error:?}"))?;
        let value: Value = serde_json::from_str(&answer.text()).map_err(|_| answer.text())?;
        if value["status"] == "success" { Ok(value["data"].clone()) } else { Err(value["error"].to_string()) }
    }

    /// The series that an expression has now.
    async fn query(&self, expression: &str) -> Result<Vec<Value>, String> {
        let data = self.ask("query", &[("query", expression)]).await?;
        Ok(data["result"].as_array().unwrap().clone())
    }

    /// Asked as a panel with a time axis asks.
    async fn query_range(&self, expression: &str) -> Result<Vec<Value>, String> {
        let now = crate::stage::now();
        let [start, end] = [now - 60, now + 1].map(|time| time.to_string());
        let form = [("query", expression), ("start", &*start), ("end", &*end), ("step", "1")];
        Ok(self.ask("query_range", &form).await?["result"].as_array().unwrap().clone())
    }

    async fn value(&self, expression: &str) -> Option<f64> {
        let series = self.query(expression).await.unwrap();
        series.first()?["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A gateway in front of an issuer that should answer questions about opaque tokens and does not, and with a route that observes.
async fn gateway(stage: &Stage) -> Gateway {
    fs::write(stage.file("introspection.secret"), "correct-horse-battery-staple").unwrap();
    stage
        .gateway_with(|configuration| {
            configuration.keys += ", introspection: { endpoint: 'http://127.0.0.1:1/introspect', \
                                   client_id: gateway, client_secret_file: introspection.secret }";
            let api = stage.api.address;
            configuration.replay +=
                &format!("\nupstreams: {{ two: {{ endpoints: ['http://{api}', 'http://localhost:{}'] }} }}", api.port());
            configuration.routes +=
                "\n  - { name: two, match: { path_prefix: /two }, upstream: two, access: { mode: public } }";
            configuration.routes += &format!(
                "\n  - {{ name: old, match: {{ path_prefix: /old }}, upstream: 'http://{}', access: {{ mode: observe }} }}",
                stage.api.address
            );
        })
        .await
}

/// One of each kind.
async fn traffic(stage: &Stage, gateway: &Gateway) {
    let identity = Identity::self_signed();
    let token = stage.token().compact();
    assert_eq!(gateway.status(&stage.call_with("/api/item", &token)).await, 200);
    let bound = stage.call_bound_to("/api/item", &identity);
    assert_eq!(gateway.dialer_of(&identity).send(Http::One, &bound).await.unwrap().status, 200);
    assert_eq!(gateway.status(&message("/open/x", &[])).await, 200);
    assert_eq!(gateway.status(&message("/api/x", &[])).await, 401);
    assert_eq!(gateway.status(&message("/old/x", &[("Authorization", "Bearer legacy")])).await, 200);
    assert_eq!(gateway.status(&stage.call("/down/x")).await, 502);
    assert_eq!(gateway.status(&message("/api/x", &[("Authorization", "Bearer opaque")])).await, 503);
}

/// Nine copies of a request that was good once.
async fn replays(stage: &Stage, gateway: &Gateway) {
    let once: Message = stage.call("/api/item");
    assert_eq!(gateway.status(&once).await, 200);
    for _ in 0..9 {
        assert_eq!(gateway.status(&once).await, 401);
    }
}

/// Every expression of the rules, with its rule's name.
fn rules() -> Vec<(String, String)> {
    let rules = documents(&text("deploy/prometheus/rules.yaml")).remove(0);
    let name = |rule: &Value| rule.get("alert").or(rule.get("record")).unwrap().as_str().unwrap().to_owned();
    let all = list(&rules, "groups").flat_map(|group| list(group, "rules"));
    all.map(|rule| (name(rule), rule["expr"].as_str().unwrap().to_owned())).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&text("deploy/grafana/keybound.json")).unwrap()
}

/// Every query of the dashboard, as Grafana sends it, with its panel's title and whether it is about a range.
fn queries() -> Vec<(String, String, bool)> {
    let mut queries = Vec::new();
    for panel in list(&dashboard(), "panels") {
        for target in list(panel, "targets") {
            let mut expression = target["expr"].as_str().unwrap().to_owned();
            for (variable, value) in [("$__rate_interval", "1m"), ("$job", ".*"), ("$instance", ".*"), ("$route", ".*")]
            {
                expression = expression.replace(variable, value);
            }
            assert!(!expression.contains('$'), "{expression}");
            queries.push((panel["title"].as_str().unwrap().to_owned(), expression, target["range"] == true));
        }
    }
    queries
}

/// The words of an expression that may be names of metrics or labels: not those in quotes.
fn words(expression: &str) -> BTreeSet<String> {
    let outside: String = expression.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':');
    outside.split(word).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Labels that an expression matches on or groups by.
fn labels(expression: &str) -> BTreeSet<String> {
    let mut labels = BTreeSet::new();
    let outside: String = expression.split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    for matchers in outside.split('{').skip(1) {
        let matchers = matchers.split('}').next().unwrap();
        labels.extend(matchers.split(',').map(|matcher| matcher.split(['=', '!']).next().unwrap().trim().to_owned()));
    }
    for grouping in ["by (", "on ("] {
        for names in outside.split(grouping).skip(1) {
            labels.extend(names.split(')').next().unwrap().split(',').map(|name| name.trim().to_owned()));
        }
    }
    labels
}

#[test]
fn the_rules_pass_their_own_tests() {
    said("promtool", &["check", "rules", "--lint-fatal", "deploy/prometheus/rules.yaml"]);
    said("promtool", &["test", "rules", "deploy/prometheus/rules_test.yaml"]);
    said("promtool", &["check", "config", "deploy/prometheus/prometheus.yaml"]);
    // No alert goes untested, and none without a word for whom it wakes.
    let words = text("docs/deploy.md");
    let tests = text("deploy/prometheus/rules_test.yaml");
    for (name, _) in rules().iter().filter(|(name, _)| name.starts_with("Keybound")) {
        assert!(tests.contains(&format!("\"{name}\"")), "{name} has no test");
        assert!(words.contains(&format!("`{name}`")), "{name} is not explained");
    }
}

#[test]
fn the_dashboard_is_well_formed() {
    let dashboard = dashboard();
    let panels: Vec<&Value> = list(&dashboard, "panels").collect();
    let distinct = |field: &str| panels.iter().map(|panel| panel[field].to_string()).collect::<BTreeSet<_>>().len();
    assert_eq!((distinct("id"), distinct("title")), (panels.len(), panels.len()));
    let place = |panel: &Value| ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
    for (index, panel) in panels.iter().enumerate() {
        let [x, y, w, h] = place(panel);
        assert!(x + w <= 24, "{panel}");
        for other in &panels[..index] {
            let [left, top, width, height] = place(other);
            let apart = x >= left + width || left >= x + w || y >= top + height || top >= y + h;
            assert!(apart, "{} lies on {}", panel["title"], other["title"]);
        }
        for target in list(panel, "targets") {
            assert_eq!(at(target, "datasource.uid"), "${datasource}", "{panel}");
        }
    }
}

#[tokio::test]
async fn every_rule_and_panel_has_what_it_asks_for() {
    let stage = Stage::set().await;
    let gateway = gateway(&stage).await;
    let prometheus = Prometheus::watch(gateway.admin).await;
    traffic(&stage, &gateway).await;
    eventually("a first scrape of it", async || {
        let scraped = prometheus.value(r#"keybound_requests_total{route="down"}"#).await;
        traffic(&stage, &gateway).await;
        scraped.map(drop)
    })
    .await;
    // A rate wants two scrapes, and each rule its turn.
    eventually("rates", async || {
        let rates = r#"count(rate(keybound_requests_total[1m])) >= 6 and count(keybound:refusals:ratio5m)"#;
        prometheus.value(rates).await.map(drop)
    })
    .await;

    // Rules: evaluated, without a mistake.
    let written = rules();
    let groups = prometheus.ask("rules", &[]).await.unwrap();
    let evaluated: Vec<&Value> = list(&groups, "groups").flat_map(|group| list(group, "rules")).collect();
    assert_eq!(evaluated.len(), written.len());
    for rule in evaluated {
        assert!(rule["health"] != "err" && rule.get("lastError").is_none(), "{rule}");
    }

    // Every name is one of a metric that is there, with the labels that go with it.
    let mut known = BTreeMap::<String, BTreeSet<String>>::new();
    for series in prometheus.query(r#"{__name__=~".+"}"#).await.unwrap() {
        let metric = series["metric"].as_object().unwrap();
        let name = metric["__name__"].as_str().unwrap().to_owned();
        known.entry(name).or_default().extend(metric.keys().filter(|label| *label != "__name__").cloned());
    }
    let asked = queries().into_iter().map(|(title, expression, _)| (title, expression));
    for (name, expression) in written.into_iter().chain(asked) {
        let is_metric = |word: &&String| {
            ["keybound_", "keybound:", "process_"].iter().any(|prefix| word.starts_with(prefix)) || *word == "up"
        };
        let words = words(&expression);
        let metrics: Vec<&String> = words.iter().filter(is_metric).collect();
        let mut there: BTreeSet<String> = BTreeSet::new();
        for metric in metrics {
            there.extend(known.get(metric).unwrap_or_else(|| panic!("{name}: there is no {metric}")).clone());
        }
        if expression.contains("ALERTS") {
            there.extend(["alertname", "alertstate"].map(str::to_owned));
        }
        let strange: Vec<String> = labels(&expression).difference(&there).cloned().collect();
        assert!(strange.is_empty(), "{name}: no such label {strange:?} in {expression}");
    }

    // Panels: none is in error, and all have data.
    for (title, expression, range) in queries() {
        let series =
            if range { prometheus.query_range(&expression).await } else { prometheus.query(&expression).await };
        let series = series.unwrap_or_else(|error| panic!("{title}: {error} in {expression}"));
        assert!(!series.is_empty() || WAITS.contains(&&*title), "{title} has no data: {expression}");
    }

    // An attack from its first request, though no series was there before it.
    let firing = r#"ALERTS{alertname="KeyboundReplayAttackSuspected",alertstate="firing",route="api"}"#;
    assert_eq!(prometheus.value(firing).await, None);
    replays(&stage, &gateway).await;
    eventually("the alert", async || prometheus.value(firing).await).await;
    let alerts = prometheus.ask("alerts", &[]).await.unwrap();
    let alert = list(&alerts, "alerts").find(|alert| alert["labels"]["alertname"] == "KeyboundReplayAttackSuspected");
    let words = alert.expect("the alert")["annotations"].to_string();
    assert!(words.contains("to route api") && words.contains("9 proofs in 5 minutes"), "{words}");
    let errors: Vec<Value> =
        list(&alerts, "alerts").filter(|alert| alert["annotations"].to_string().contains("<error")).cloned().collect();
    assert!(errors.is_empty(), "{errors:?}");
}

/// Panels that have nothing to show in these moments.
const WAITS: [&str; 2] = ["Alerts", "Proofs replayed"];

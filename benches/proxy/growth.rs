//! How cost and memory grow with the work, ten times at a step: flat is right.

use std::fmt::Write as _;
use std::fs;

use keybound::verify::Algorithm;

use crate::Arguments;
use crate::credentials::{Client, Flaw};
use crate::load::{self, Aim, Calls, Run, Shape};
use crate::machine;
use crate::peers::Nginx;
use crate::stage::{Setup, Stage};

const API: &str = "/api/items/17";

struct Table(String);

impl Table {
    fn add(&mut self, what: &str, size: usize, run: &Run, nginx: &Run) {
        let ratio = run.cpu_micros() / nginx.cpu_micros();
        let (micros, mib) = (run.cpu_micros(), run.memory_kib as f64 / 1024.0);
        println!("{what:<14}{size:>9}{micros:>10.1} µs{ratio:>8.2} × nginx{mib:>10.1} MiB");
        writeln!(self.0, "| {what} | {size} | {micros:.1} | {ratio:.2} | {mib:.1} |").unwrap();
    }
}

pub async fn measure(arguments: &Arguments) {
    let stage = Stage::set().await;
    let nginx = Nginx::start(&stage);
    let client = stage.client(false);
    let aim_of_nginx = nginx.server.aim(nginx.plain, &client);
    let mut table =
        Table("| what grows | to | CPU µs per request | × nginx | MiB |\n| --- | --- | --- | --- | --- |\n".to_owned());
    let requests = (20_000.0 * arguments.scale) as usize;
    let one = vec![stage.issuer.client(Algorithm::Es256)];

    for keys in [1, 10, 100, 1_000, 10_000, 100_000] {
        let (server, address, _) = stage.keybound(&arguments.keybound, "keys", &Setup::default());
        let aim = server.aim(address, &client);
        let clients: Vec<Client> = (0..keys).map(|_| stage.issuer.client(Algorithm::Es256)).collect();
        // Each key twice before the clock starts, so that what can be remembered is; and where there is room for tables of
        // all, as often as it takes to have one.
        let shape = Shape::Http1(64);
        let rounds = if keys <= 1_000 { 12 } else { 2 };
        for _ in 0..rounds {
            load::run(&aim, shape, &proofs(&aim, &clients, keys + shape.warm_up()), keys, 200).await;
        }
        compare(&mut table, "client keys", keys, &aim, &aim_of_nginx, &clients, shape, requests).await;
    }
    for (what, sizes) in [("routes", &[2, 10, 100, 1_000][..]), ("issuers", &[1, 10, 100])] {
        for size in sizes {
            let mut setup = Setup::default();
            if what == "routes" {
                setup.routes = *size
            } else {
                setup.issuers = *size
            }
            let (server, address, _) = stage.keybound(&arguments.keybound, what, &setup);
            let aim = server.aim(address, &client);
            compare(&mut table, what, *size, &aim, &aim_of_nginx, &one, Shape::Http1(64), requests).await;
        }
    }
    // Each is two open files of the proxy, and two of this process, to which nginx keeps a thousand more.
    let most = (machine::open_files() / 2 - 1_000).min(10_000);
    for connections in [10, 100, 1_000, most] {
        let (server, address, _) = stage.keybound(&arguments.keybound, "connections", &Setup::default());
        let aim = server.aim(address, &client);
        let count = requests.max(connections * 2);
        compare(&mut table, "connections", connections, &aim, &aim_of_nginx, &one, Shape::Http1(connections), count)
            .await;
    }
    fs::create_dir_all(&arguments.out).unwrap();
    fs::write(arguments.out.join("growth.md"), format!("{}.\n\n{}", machine::description(), table.0)).unwrap();
}

#[expect(clippy::too_many_arguments, reason = "one row of a table")]
async fn compare(
    table: &mut Table,
    what: &str,
    size: usize,
    aim: &Aim,
    nginx: &Aim,
    clients: &[Client],
    shape: Shape,
    requests: usize,
) {
    let plain = Calls::Same(clients[0].call("https://localhost", API, Flaw::None));
    let theirs = load::run(nginx, shape, &plain, requests, 200).await;
    let own = load::run(aim, shape, &proofs(aim, clients, requests + shape.warm_up()), requests, 200).await;
    table.add(what, size, &own, &theirs);
}

/// Fresh proofs, by each client in turn; of more clients than proofs, by some of all of them.
fn proofs(aim: &Aim, clients: &[Client], count: usize) -> Calls {
    let origin = format!("https://localhost:{}", aim.address.port());
    let step = clients.len().div_ceil(count).max(1);
    Calls::Each((0..count).map(|at| clients[at * step % clients.len()].call(&origin, API, Flaw::None)).collect())
}

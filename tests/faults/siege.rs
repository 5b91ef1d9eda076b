//! A gateway under siege: how good clients fare before and meanwhile, and what is left of it afterwards.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::PATIENCE;
use crate::crowd::{Account, Crowd};
use crate::stage::{Configuration, Gateway, Stage};

/// No good client may wait longer: the attackers share a small machine with the gateway and its clients.
const WAIT: Duration = Duration::from_secs(10);

/// What may be left of an attack: an allocator keeps some of what it had.
const LEFT: u64 = 48 * 1024 * 1024;

/// One siege at a time, however many tests run at once: attackers must not take from the clients of another one.
static ALONE: Semaphore = Semaphore::const_new(1);

/// `KEYBOUND_SIEGE=full` plays the large numbers; that takes a long while.
pub fn full() -> bool {
    std::env::var("KEYBOUND_SIEGE").is_ok_and(|value| value == "full")
}

/// How many: in the suite, and in full.
pub fn how_many(suite: usize, all: usize) -> usize {
    if full() { all } else { suite }
}

/// How long good clients are watched before the attack.
fn quiet() -> Duration {
    Duration::from_secs(if full() { 10 } else { 1 })
}

pub struct Siege {
    pub stage: Arc<Stage>,
    pub gateway: Arc<Gateway>,
    crowd: Crowd,
    name: &'static str,
    begun: Instant,
    quiet: [(Duration, usize); 2],
    base: u64,
    _alone: SemaphorePermit<'static>,
}

impl Siege {
    pub async fn of(name: &'static str, change: impl FnOnce(&mut Configuration)) -> Self {
        Self::on(Arc::new(Stage::set().await), name, change).await
    }

    pub async fn on(stage: Arc<Stage>, name: &'static str, change: impl FnOnce(&mut Configuration)) -> Self {
        let alone = ALONE.acquire().await.unwrap();
        let gateway = Arc::new(stage.gateway_with(change).await);
        let crowd = Crowd::gathers(&stage, gateway.address);
        crowd.passes().await;
        let begun = Instant::now();
        tokio::time::sleep(quiet()).await;
        let (quiet, base) = (crowd.p99(begun), gateway.program.memory("VmRSS"));
        gateway.program.forget_peak();
        Self { stage, gateway, crowd, name, begun: Instant::now(), quiet, base, _alone: alone }
    }

    /// Something that many do at once, each on a thread of its own: good clients wait for the gateway alone. Returns what
    /// they have to say.
    pub async fn by<T: Send + 'static, F: Future<Output = T>>(
        &self,
        attackers: usize,
        attack: impl Fn(Arc<Stage>, Arc<Gateway>, usize) -> F + Clone + Send + 'static,
    ) -> Vec<T> {
        let start = |number| -> JoinHandle<T> {
            let (attack, stage, gateway) = (attack.clone(), Arc::clone(&self.stage), Arc::clone(&self.gateway));
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(attack(stage, gateway, number))
            })
        };
        let attackers: Vec<_> = (0..attackers).map(start).collect();
        while !attackers.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        attackers.into_iter().map(|attacker| attacker.join().unwrap()).collect()
    }

    /// The attack is over: good clients have passed all the while, and memory comes back.
    pub async fn ends(self, others: &[&str]) -> Account {
        let Self { _alone, stage, gateway, crowd, name, begun, quiet, base } = self;
        let (meanwhile, took) = (crowd.p99(begun), begun.elapsed());
        let peak = gateway.program.memory("VmHWM");
        crowd.passes().await;
        crowd.is_robbed_in_vain().await;
        let account = crowd.goes_beside(&stage.api, &[200], others).await;
        let comes_back = async {
            while gateway.program.memory("VmRSS") > base + LEFT {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let came_back = tokio::time::timeout(PATIENCE, comes_back).await.is_ok();
        let after = gateway.program.memory("VmRSS");
        let [kept, new] = [0, 1].map(|way| {
            let ((before, few), (then, many)) = (quiet[way], meanwhile[way]);
            let factor = then.as_secs_f64() / before.as_secs_f64();
            format!("{before:?} of {few} before, {then:?} of {many} meanwhile, {factor:.1} times")
        });
        let mib = |bytes: u64| bytes as f64 / 1024.0 / 1024.0;
        println!(
            "{name}, in {took:?}: p99 over kept connections {kept}; over new ones {new}; slowest {:?}",
            account.slowest
        );
        println!("{name}: memory {:.1} MiB before, {:.1} at most, {:.1} after", mib(base), mib(peak), mib(after));
        assert!(came_back, "{name}: memory does not come back");
        assert!(account.slowest < WAIT, "{name}: a good client waited {:?}", account.slowest);
        account
    }
}

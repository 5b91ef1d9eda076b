//! Waiting, bounded: nothing here takes longer, however busy the machine is.

use std::time::Duration;

pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something that is bound to happen soon and that nobody announces.
pub async fn eventually<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(what, wait).await
}

/// Waits for something that must happen.
pub async fn in_time<T>(what: &str, happens: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, happens).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

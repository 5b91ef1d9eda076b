//! How requests are traced under a configuration, and the end of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::lasting::Lasting;
use super::settings::Settings;
use super::state::{Gateway, GatewayError};
use crate::forward::UpstreamSettings;
use crate::routes::Route;
use crate::telemetry::{Exporter, Metrics, TracedRoute, Tracer};

/// Whoever traces, if anyone does. Traces go on to the collector as before if that is told the same as `earlier`.
pub(super) fn tracer(
    settings: &Settings,
    routes: &[Arc<Route>],
    upstreams: &[UpstreamSettings],
    metrics: &Metrics,
    lasting: &Lasting,
    earlier: Option<&Gateway>,
) -> Result<Option<Tracer>, GatewayError> {
    let Some(told) = &settings.telemetry.traces else { return Ok(None) };
    let known = earlier.and_then(|earlier| earlier.ledger.tracer.as_ref()).map(Tracer::exporter);
    let exporter = match known.filter(|exporter| exporter.settings().same_way(told)) {
        Some(exporter) => Arc::clone(exporter),
        None => Exporter::start(told, &lasting.instance(), metrics.spans.clone(), &Handle::try_current()?)?,
    };
    let routes = routes.iter().map(|route| named(route, upstreams)).collect();
    Ok(Some(Tracer::new(told.share, routes, exporter)))
}

fn named(route: &Route, upstreams: &[UpstreamSettings]) -> TracedRoute {
    let upstream = route.upstream.and_then(|index| upstreams.get(index));
    let address = |upstream: &UpstreamSettings| match &upstream.endpoints[..] {
        [one] => Some(one.clone()),
        _ => None,
    };
    TracedRoute {
        name: route.name.clone(),
        path_prefix: route.matches.path_prefix.clone(),
        upstream: upstream.map(|upstream| (upstream.name.clone(), address(upstream))),
    }
}

impl Gateway {
    /// Waits until the traces of requests that are through have been exported, but no longer than this.
    pub async fn flush_traces(&self, patience: Duration) {
        if let Some(tracer) = &self.ledger.tracer {
            tracer.exporter().flush(patience).await;
        }
    }
}

//! Where traces go.

use http::{HeaderName, HeaderValue, Uri};

use crate::telemetry::share::Share;

/// Which requests are traced, and where their traces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSettings {
    /// The collector's address for traces: `https` or `http`.
    pub endpoint: Uri,
    /// Of the requests that bring no trace, or one that is recorded.
    pub share: Share,
    /// What the gateway is called in traces.
    pub service_name: String,
    /// What the collector wants to see, credentials for example. Marked as sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl TraceSettings {
    /// The documented default of `service_name`.
    pub const SERVICE_NAME: &str = "keybound";

    /// Whether both lead to the same collector, under the same name.
    pub fn same_way(&self, other: &Self) -> bool {
        let Self { endpoint, share: _, service_name, headers } = self;
        *endpoint == other.endpoint && *service_name == other.service_name && *headers == other.headers
    }
}

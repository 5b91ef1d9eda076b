//! Asks endpoints whether they are well, off the requests' way.

use std::error::Error;

use bytes::Bytes;
use http::header::{HOST, USER_AGENT};
use http::uri::Authority;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::dial::Dialer;
use super::endpoints::{Endpoint, Endpoints};
use super::settings::HealthCheck;
use super::streams::handshake;
use super::upstream::cause;
use crate::keys::fetch::AGENT;

/// Asks one endpoint again and again. Never ends.
pub async fn check(endpoints: &Endpoints, index: usize, authority: &Authority, settings: &HealthCheck) {
    let Some(Endpoint { pool, .. }) = endpoints.all().get(index) else { return };
    let mut tick = interval(settings.interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        endpoints.checked(index, once(pool.dialer(), pool.is_http2(), authority, settings).await);
    }
}

/// Asks one endpoint once. The error says in words what came instead of a good answer.
pub async fn once(dialer: &Dialer, http2: bool, authority: &Authority, settings: &HealthCheck) -> Result<(), String> {
    match timeout(settings.timeout, ask(dialer, http2, authority, settings)).await {
        Ok(Ok(status)) if status.is_success() => Ok(()),
        Ok(Ok(status)) => Err(format!("status {}", status.as_u16())),
        Ok(Err(error)) => Err(cause(&*error)),
        Err(_) => Err(format!("no answer within {}", humantime::format_duration(settings.timeout))),
    }
}

/// One question, over a connection of its own: whether new ones can be had is a part of it.
async fn ask(
    dialer: &Dialer,
    http2: bool,
    authority: &Authority,
    settings: &HealthCheck,
) -> Result<StatusCode, Box<dyn Error + Send + Sync>> {
    let (stream, _) = dialer.dial().await?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = Uri::from(settings.path.clone());
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(authority.as_str())?);
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    if http2 {
        dialer.adapt(&mut request);
        let (mut sender, connection) = handshake(stream).await?;
        let mut answer = std::pin::pin!(sender.send_request(request));
        let answer = tokio::select! {
            answer = &mut answer => answer?,
            _ = connection => answer.await?,
        };
        return Ok(answer.status());
    }
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer?,
        // What it brought is still to be read.
        _ = connection => answer.await?,
    };
    Ok(answer.status())
}

/// Keeps the addresses of one endpoint's name fresh. Never ends.
pub async fn look_up(endpoints: &Endpoints, upstream: &str, index: usize) {
    let Some(Endpoint { url, pool }) = endpoints.all().get(index) else { return };
    let mut told = false;
    loop {
        match pool.dialer().look_up().await {
            Err(error) if !told => {
                tracing::warn!(upstream, endpoint = %url, %error, "the name of an endpoint cannot be looked up");
                told = true;
            }
            Ok(()) if told => {
                tracing::info!(upstream, endpoint = %url, "the name of an endpoint can be looked up again");
                told = false;
            }
            Ok(()) | Err(_) => {}
        }
        pool.dialer().is_due().await;
    }
}

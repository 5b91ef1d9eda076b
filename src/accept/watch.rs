//! Runs a step of a connection under its deadlines and the gate's phases.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep};

use super::activity::{Activity, Overdue};
use super::gate::{Phase, Phases};

/// One timer for a connection's whole life. It is set to the nearest deadline and only looked at when it rings, or
/// when a nearer one appears; a request costs no timer.
pub(super) struct Watch {
    activity: Arc<Activity>,
    phases: Phases,
    alarm: Pin<Box<Sleep>>,
}

/// Why a step was left.
pub(super) enum Turn<T> {
    /// It came to its end.
    Done(T),
    /// The gate moved on.
    Gate(Phase),
    /// A deadline passed.
    Overdue(Overdue),
}

impl Watch {
    pub(super) fn new(activity: Arc<Activity>, phases: Phases) -> Self {
        let alarm = Box::pin(sleep(activity.patience()));
        Self { activity, phases, alarm }
    }

    /// Polls `step` until something happens. It may be polled again afterwards.
    pub(super) async fn over<F: Future>(&mut self, step: Pin<&mut F>) -> Turn<F::Output> {
        let Self { activity, phases, alarm } = self;
        tokio::select! {
            // The step first: what it did decides which deadline is the next.
            biased;
            output = step => Turn::Done(output),
            phase = phases.next() => Turn::Gate(phase),
            overdue = poll_fn(|cx| poll_overdue(activity, alarm.as_mut(), cx)) => Turn::Overdue(overdue),
        }
    }
}

fn poll_overdue(activity: &Activity, mut alarm: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<Overdue> {
    loop {
        let deadline = activity.deadline();
        if let Some((at, _)) = deadline
            && at < alarm.deadline()
        {
            alarm.as_mut().reset(at);
        }
        ready!(alarm.as_mut().poll(cx));
        match deadline {
            Some((at, overdue)) if at <= alarm.deadline() => return Poll::Ready(overdue),
            Some((at, _)) => alarm.as_mut().reset(at),
            None => alarm.as_mut().reset(Instant::now() + activity.patience()),
        }
    }
}

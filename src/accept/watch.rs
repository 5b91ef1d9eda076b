//! Runs a step of a connection under its deadlines and the gate's phases.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep};

use super::activity::{Activity, Overdue};
use super::gate::{Phase, Phases};

/// One timer for a connection's whole life. It is set to the nearest deadline and only looked at when it rings, or
/// when a nearer one appears; a request costs no timer.
pub(super) struct Watch {
    activity: Arc<Activity>,
    phases: Phases,
    /// Tells at the price of a memory load whether there may be a new phase.
    news: Phases,
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
        let mut news = phases.clone();
        news.catch_up();
        Self { activity, phases, news, alarm }
    }

    /// Polls `step` until something happens. It may be polled again afterwards.
    pub(super) async fn over<F: Future>(&mut self, mut step: Pin<&mut F>) -> Turn<F::Output> {
        let Self { activity, phases, news, alarm } = self;
        let mut phase = pin!(coop::unconstrained(phases.next_spared(|| activity.newcomer_until())));
        // Whom phase and alarm will wake. As long as it is the same task, they need not be told again; they are told
        // even if the step did so much that it has to make way for other tasks.
        let mut known: Option<Waker> = None;
        poll_fn(|cx| {
            // The step first: what it did decides which deadline is the next.
            if let Poll::Ready(output) = step.as_mut().poll(cx) {
                return Poll::Ready(Turn::Done(output));
            }
            let stranger = known.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker()));
            if (stranger || news.are_there())
                && let Poll::Ready(phase) = phase.as_mut().poll(cx)
            {
                return Poll::Ready(Turn::Gate(phase));
            }
            let overdue = poll_overdue(activity, alarm.as_mut(), stranger, cx);
            if stranger {
                known = Some(cx.waker().clone());
            }
            overdue.map(Turn::Overdue)
        })
        .await
    }
}

/// `stranger`: whether the alarm has to be told whom to wake.
fn poll_overdue(
    activity: &Activity,
    mut alarm: Pin<&mut Sleep>,
    mut stranger: bool,
    cx: &mut Context<'_>,
) -> Poll<Overdue> {
    loop {
        let deadline = activity.deadline();
        if let Some((at, _)) = deadline
            && at < alarm.deadline()
        {
            alarm.as_mut().reset(at);
            stranger = true;
        }
        if !stranger && !alarm.is_elapsed() {
            return Poll::Pending;
        }
        ready!(Pin::new(&mut coop::unconstrained(alarm.as_mut())).poll(cx));
        match deadline {
            Some((at, overdue)) if at <= alarm.deadline() => return Poll::Ready(overdue),
            Some((at, _)) => alarm.as_mut().reset(at),
            None => alarm.as_mut().reset(Instant::now() + activity.patience()),
        }
        stranger = true;
    }
}

//! Events as JSON: `deployctl/event/1`. Fields are only ever added.

use deploy_core::rollout::Standing;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Rollout;
use super::end::End;
use super::event::{Event, HostEvent, Tally};

const SCHEMA: &str = "deployctl/event/1";

/// Returns the object of an event.
pub(crate) fn event(event: &Event, rollout: &Rollout, now: Timestamp) -> Value {
    let (kind, fields) = match event {
        Event::Start(tally) => ("rollout.start", start(rollout, tally)),
        Event::Host(event) => host(event),
        Event::Held(hold) => (
            "rollout.held",
            json!({"by": hold.by, "why": hold.why, "until": hold.until}),
        ),
        Event::Released => ("rollout.released", json!({})),
        Event::Progress(tally) => ("rollout.progress", self::tally(tally)),
        Event::LinkLost => ("link.lost", json!({})),
        Event::LinkBack => ("link.back", json!({})),
    };
    object(kind, rollout, (now, fields))
}

/// Returns the object of the end, the last event always.
pub(crate) fn end(end: &End, rollout: &Rollout, now: Timestamp) -> Value {
    object("rollout.end", rollout, (now, end.fields()))
}

/// Returns how many hosts are where.
pub(crate) fn tally(tally: &Tally) -> Value {
    json!({
        "total": tally.total, "live": tally.total - tally.offline.len(), "there": tally.there,
        "working": tally.working, "waiting": tally.waiting, "failed": tally.failed,
        "blocked": tally.blocked, "offline": tally.offline.len(),
    })
}

fn object(kind: &str, rollout: &Rollout, (now, fields): (Timestamp, Value)) -> Value {
    let mut event = Map::new();
    event.insert("schema".to_owned(), SCHEMA.into());
    event.insert(
        "at".to_owned(),
        now.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string().into(),
    );
    event.insert("rollout".to_owned(), rollout.number.into());
    event.insert("service".to_owned(), rollout.service.as_str().into());
    event.insert("type".to_owned(), kind.into());
    if let Value::Object(fields) = fields {
        event.extend(fields);
    }
    Value::Object(event)
}

fn start(rollout: &Rollout, tally: &Tally) -> Value {
    json!({
        "kind": rollout.kind, "from": rollout.from, "to": rollout.to,
        "by": rollout.by, "why": rollout.why, "hosts": self::tally(tally),
    })
}

fn host(event: &HostEvent) -> (&'static str, Value) {
    let error = event.error.as_ref();
    let message = error.map(|error| error.message.as_str());
    let (kind, mut fields) = match event.standing {
        Standing::Done => ("host.serving", json!({"build": event.serving})),
        Standing::Staged => ("host.staged", json!({})),
        Standing::Failed => (
            "host.failed",
            json!({
                "step": error.map(|error| error.step.as_str()), "message": message,
                "log": error.map_or(&[][..], |error| &error.log), "serving": event.serving,
            }),
        ),
        Standing::Blocked => (
            "host.blocked",
            json!({"step": error.map(|error| error.step.as_str()), "message": message}),
        ),
        Standing::Offline => ("host.offline", json!({})),
        Standing::Idle | Standing::Unseen if event.is_back => ("host.back", json!({})),
        Standing::Idle | Standing::Unseen => {
            ("host.unseen", json!({"report_error": event.unreadable}))
        }
        Standing::Working | Standing::Waiting => {
            let step = event.step.as_ref();
            let done = step.and_then(|step| step.done);
            let total = step.and_then(|step| step.total);
            let fields = json!({
                "phase": event.phase, "step": step.map(|step| step.name.as_str()),
                "done": done, "total": total, "percent": percent(done, total),
            });
            ("host.step", fields)
        }
    };
    if let Value::Object(fields) = &mut fields {
        fields.insert("host".to_owned(), event.host.as_str().into());
        fields.insert("there".to_owned(), event.tally.there.into());
        fields.insert("hosts".to_owned(), event.tally.total.into());
    }
    (kind, fields)
}

fn percent(done: Option<u64>, total: Option<u64>) -> Option<u64> {
    let (done, total) = (done?, total.filter(|total| *total > 0)?);
    Some(done.min(total).saturating_mul(100) / total)
}

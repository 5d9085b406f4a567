//! The keys of `[[service]]` and the tables below it.

use std::path::Path;

use deploy_core::name::ServiceName;
use deploy_zk::config::is_host_port;

use super::decode::{DAY_S, absolute, duration};
use super::table::Table;
use super::{
    Check, Drain, DrainAction, DrainMethod, Hooks, Instance, Owners, Probe, Restart, RestartMethod,
    Service, bare,
};

/// Instances of one service on one host; more is a mistake.
const INSTANCES_MAX: usize = 1000;

pub(super) fn service(table: &Table<'_, '_>, owners: &mut Owners) -> Option<Service> {
    let name = name(table, owners);
    let dir = absolute(table, "dir");
    if table.value("dir").is_none() {
        table.problem(
            table.span(),
            "`dir` is missing: where `current` and `releases` of the service are",
        );
    }
    if dir.as_deref() == Some(Path::new("/")) {
        let message = "`dir` is \"/\"; expected a directory of the service's own";
        table.problem(table.place("dir"), message);
    }
    let user = table.text("user").and_then(|(span, text)| {
        let bad = text
            .chars()
            .any(|c| c.is_whitespace() || c.is_control() || c == ':' || c == '/');
        if bad {
            table.problem(span, format!("`{text}` is not a user name"));
        }
        (!text.is_empty()).then(|| text.to_owned())
    });
    let instances = instances(table, owners);
    let hooks = hooks(&table.table("hooks"));
    let restart = restart(&table.table("restart"), &instances);
    let drain = drain(&table.table("drain"), &instances, &restart);
    let probe = probe(&table.table("probe"), &instances);
    Some(Service {
        name: name?,
        dir: dir?,
        user,
        instances,
        hooks,
        restart,
        drain,
        probe,
    })
}

fn name(table: &Table<'_, '_>, owners: &mut Owners) -> Option<ServiceName> {
    let Some((span, text)) = table.text("name") else {
        if table.value("name").is_none() {
            table.problem(table.span(), "`name` is missing: the name of the service");
        }
        return None;
    };
    match ServiceName::parse(text) {
        Ok(name) => {
            unique(table, owners, ("name", &format!("service {name}")));
            Some(name)
        }
        Err(error) => {
            table.problem(span, error.to_string());
            None
        }
    }
}

/// Complains where `what`, the value of `key`, is there twice in the file.
fn unique(table: &Table<'_, '_>, owners: &mut Owners, (key, what): (&'static str, &str)) {
    if owners.insert(what.to_owned(), key.to_owned()).is_some() {
        table.problem(table.place(key), format!("{what} is there twice"));
    }
}

/// Complains where a unit is there twice in the file, as it is written or by the name that systemd knows it by.
fn unique_unit(table: &Table<'_, '_>, owners: &mut Owners, unit: &str) {
    let known = owners.insert(format!("unit {}", bare(unit)), unit.to_owned());
    let Some(known) = known else { return };
    let same = match known == unit {
        true => String::new(),
        false => format!(": systemd takes {known} for the same"),
    };
    table.problem(
        table.place("unit"),
        format!("unit {unit} is there twice{same}"),
    );
}

fn instances(table: &Table<'_, '_>, owners: &mut Owners) -> Vec<Instance> {
    let tables = table.tables("instances");
    if tables.len() > INSTANCES_MAX {
        table.problem(table.span(), format!("more than {INSTANCES_MAX} instances"));
    }
    let mut instances = Vec::new();
    for entry in tables {
        let port = entry
            .value("port")
            .map(|_| entry.number("port", (1, 65535), 0));
        // One that is out of bounds is told as that, and is nobody's.
        let port = port.and_then(|port| u16::try_from(port).ok());
        let port = port.filter(|port| *port > 0);
        if let Some(port) = port {
            unique(&entry, owners, ("port", &format!("port {port}")));
        }
        match entry.text("unit") {
            Some((span, text)) if !is_unit(text) => {
                entry.problem(span, format!("`{text}` is not a unit name"));
            }
            Some((_, text)) => {
                unique_unit(&entry, owners, text);
                instances.push(Instance {
                    unit: text.to_owned(),
                    port,
                });
            }
            None if entry.value("unit").is_none() => {
                entry.problem(entry.span(), "`unit` of an instance is missing");
            }
            None => {}
        }
        entry.finish();
    }
    instances
}

/// What may be an argument of systemctl and never an option of it.
fn is_unit(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && !text.starts_with('-')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b))
}

fn hooks(table: &Table<'_, '_>) -> Hooks {
    let hooks = Hooks {
        post_extract: table.arguments("post_extract"),
        post_install: table.arguments("post_install"),
        post_restart: table.arguments("post_restart"),
        timeout: duration(table, "timeout_s", (0.1, DAY_S), 300.0),
    };
    table.finish();
    hooks
}

#[derive(Clone, Copy)]
enum RestartWord {
    Systemd,
    Reload,
    Command,
    None,
}

fn restart(table: &Table<'_, '_>, instances: &[Instance]) -> Restart {
    let words = [
        ("systemd", RestartWord::Systemd),
        ("reload", RestartWord::Reload),
        ("command", RestartWord::Command),
        ("none", RestartWord::None),
    ];
    let word = table.word("method", &words);
    let command = table.arguments("command");
    closed(table, "command", &command);
    if !command.is_empty() && !matches!(word, RestartWord::Command) {
        without_use(table, "command", "restart `method` is not command");
    }
    let method = match word {
        RestartWord::Systemd => RestartMethod::Systemd,
        RestartWord::Reload => RestartMethod::Reload,
        RestartWord::None => RestartMethod::None,
        RestartWord::Command => {
            if command.is_empty() {
                table.problem(
                    table.span(),
                    "restart `method` is command, and `command` is empty",
                );
            }
            needs_port(table, ("command", &command), instances);
            RestartMethod::Command(command)
        }
    };
    let batch = usize::try_from(table.number("batch", (1, INSTANCES_MAX as u64), 1)).unwrap_or(1);
    let timeout = duration(table, "timeout_s", (0.1, DAY_S), 60.0);
    table.finish();
    Restart {
        method,
        batch,
        timeout,
    }
}

#[derive(Clone, Copy)]
enum DrainWord {
    Iptables,
    Command,
    None,
}

fn drain(table: &Table<'_, '_>, instances: &[Instance], restart: &Restart) -> Drain {
    let words = [
        ("iptables", DrainWord::Iptables),
        ("command", DrainWord::Command),
        ("none", DrainWord::None),
    ];
    let word = table.word("method", &words);
    let action = table.word(
        "action",
        &[("reject", DrainAction::Reject), ("drop", DrainAction::Drop)],
    );
    let command = table.arguments("command");
    if !command.is_empty() && !matches!(word, DrainWord::Command) {
        without_use(table, "command", "drain `method` is not command");
    }
    let restarts = restart.method != RestartMethod::None;
    let method = match word {
        DrainWord::None => DrainMethod::None,
        DrainWord::Iptables => {
            let nameless = instances.iter().find(|instance| instance.port.is_none());
            if let Some(instance) = nameless.filter(|_| restarts) {
                let unit = &instance.unit;
                table.problem(
                    table.span(),
                    format!("drain by iptables needs the `port` of {unit}"),
                );
            }
            DrainMethod::Iptables(action)
        }
        DrainWord::Command => {
            if command.is_empty() {
                table.problem(
                    table.span(),
                    "drain `method` is command, and `command` is empty",
                );
            }
            DrainMethod::Command(command)
        }
    };
    let timeout = duration(table, "timeout_s", (0.0, DAY_S), 30.0);
    let settle = duration(table, "settle_s", (0.0, DAY_S), 2.0);
    table.finish();
    Drain {
        method,
        timeout,
        settle,
    }
}

fn probe(table: &Table<'_, '_>, instances: &[Instance]) -> Probe {
    let mut checks = Vec::new();
    checks.extend(http(table, instances));
    checks.extend(tcp(table, instances));
    let command = table.arguments("command");
    if !command.is_empty() {
        closed(table, "command", &command);
        needs_port(table, ("command", &command), instances);
        checks.push(Check::Command(command));
    }
    if checks.len() > 1 {
        table.problem(
            table.span(),
            "a probe is one of `http`, `tcp` and `command`, not several",
        );
    }
    let probe = Probe {
        check: checks.pop(),
        interval: duration(table, "interval_s", (0.05, 3600.0), 1.0),
        successes: u32::try_from(table.number("successes", (1, 1000), 2)).unwrap_or(2),
        timeout: duration(table, "timeout_s", (0.1, DAY_S), 30.0),
        burn_in: duration(table, "burn_in_s", (0.0, DAY_S), 0.0),
    };
    let least = probe.time_min().filter(|_| probe.check.is_some());
    if let Some(least) = least.filter(|least| *least >= probe.timeout) {
        let message = format!(
            "no instance can pass: `timeout_s` is {}; expected more than {} for {} `successes`, {} s apart",
            probe.timeout.as_secs_f64(),
            least.as_secs_f64(),
            probe.successes,
            probe.interval.as_secs_f64(),
        );
        // Told, and no reason for a host that runs not to start: nothing is worse than it was.
        table.warning(table.place("timeout_s"), message);
    }
    table.finish();
    probe
}

fn http(table: &Table<'_, '_>, instances: &[Instance]) -> Option<Check> {
    let status = table.number("expect_status", (100, 599), 200);
    let status = u16::try_from(status).unwrap_or(200);
    let body = table.text("expect_body").map_or("", |(_, text)| text);
    let Some((span, url)) = table.text("http") else {
        let expected = [
            ("expect_status", table.value("expect_status").is_some()),
            ("expect_body", !body.is_empty()),
        ];
        for (key, _) in expected.iter().filter(|(_, is_there)| *is_there) {
            without_use(table, key, "no `http` is asked");
        }
        return None;
    };
    match url::Url::parse(&filled(url)) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => {}
        _ => table.problem(span, format!("`http` is \"{url}\"; expected an http URL")),
    }
    let texts = [url.to_owned()];
    closed(table, "http", &texts);
    needs_port(table, ("http", &texts), instances);
    Some(Check::Http {
        url: url.to_owned(),
        status,
        body: body.to_owned(),
    })
}

fn tcp(table: &Table<'_, '_>, instances: &[Instance]) -> Option<Check> {
    let (span, address) = table.text("tcp")?;
    if !is_host_port(&filled(address)) {
        table.problem(span, format!("`tcp` is \"{address}\"; expected host:port"));
    }
    needs_port(table, ("tcp", &[address.to_owned()]), instances);
    Some(Check::Tcp(address.to_owned()))
}

/// A text as it is asked of some instance.
fn filled(text: &str) -> String {
    let instance = Instance {
        unit: "unit".to_owned(),
        port: Some(1),
    };
    instance.fill(text)
}

/// Tells of a key that does nothing.
fn without_use(table: &Table<'_, '_>, key: &'static str, why: &str) {
    table.warning(table.place(key), format!("`{key}` does nothing: {why}"));
}

/// Complains of what is to be filled in and has no end, which stays as it is.
fn closed(table: &Table<'_, '_>, key: &'static str, texts: &[String]) {
    for open in ["{unit", "{port"] {
        // Up to the next brace that opens: each has its own end.
        let is_open = |after: &str| !after.split('{').next().unwrap_or_default().contains('}');
        let mut parts = texts.iter().flat_map(|text| text.split(open).skip(1));
        if parts.any(is_open) {
            let message = format!("`{key}` has {open} without a closing brace; expected {open}}}");
            table.problem(table.place(key), message);
        }
    }
}

/// Complains where `{port}` is to be filled in and an instance has none.
fn needs_port(
    table: &Table<'_, '_>,
    (key, texts): (&'static str, &[String]),
    instances: &[Instance],
) {
    if !texts.iter().any(|text| text.contains("{port}")) {
        return;
    }
    if let Some(instance) = instances.iter().find(|instance| instance.port.is_none()) {
        table.problem(
            table.place(key),
            format!("`{key}` has {{port}}, and {} has none", instance.unit),
        );
    }
}

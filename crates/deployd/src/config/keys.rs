//! The keys of `[[service]]` and the tables below it.

use deploy_core::name::ServiceName;

use super::decode::{DAY_S, absolute, duration};
use super::table::Table;
use super::{
    Check, Drain, DrainAction, DrainMethod, Hooks, Instance, Owners, Probe, Restart, RestartMethod,
    Service,
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
    if let Some(dir) = &dir {
        unique(table, owners, ("dir", &format!("dir {}", dir.display())));
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
    let span = table.value(key).map_or(table.span(), |value| value.span());
    if owners.insert(what.to_owned(), key.to_owned()).is_some() {
        table.problem(span, format!("{what} is there twice"));
    }
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
            .map(|_| entry.number("port", (1, 65535), 1));
        let port = port.and_then(|port| u16::try_from(port).ok());
        if let Some(port) = port {
            unique(&entry, owners, ("port", &format!("port {port}")));
        }
        match entry.text("unit") {
            Some((span, text)) if !is_unit(text) => {
                entry.problem(span, format!("`{text}` is not a unit name"));
            }
            Some((_, text)) => {
                unique(&entry, owners, ("unit", &format!("unit {text}")));
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
    let status = table.number("expect_status", (100, 599), 200);
    let status = u16::try_from(status).unwrap_or(200);
    let body = table
        .text("expect_body")
        .map(|(_, text)| text.to_owned())
        .unwrap_or_default();
    let mut checks = Vec::new();
    if let Some((span, url)) = table.text("http") {
        let filled = Instance {
            unit: "unit".to_owned(),
            port: Some(1),
        }
        .fill(url);
        match url::Url::parse(&filled) {
            Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => {}
            _ => table.problem(span, format!("`http` is \"{url}\"; expected an http URL")),
        }
        needs_port(table, ("http", &[url.to_owned()]), instances);
        checks.push(Check::Http {
            url: url.to_owned(),
            status,
            body,
        });
    }
    if let Some((span, address)) = table.text("tcp") {
        let filled = Instance {
            unit: "unit".to_owned(),
            port: Some(1),
        }
        .fill(address);
        if filled
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.parse::<u16>().is_err())
        {
            table.problem(span, format!("`tcp` is \"{address}\"; expected host:port"));
        }
        needs_port(table, ("tcp", &[address.to_owned()]), instances);
        checks.push(Check::Tcp(address.to_owned()));
    }
    let command = table.arguments("command");
    if !command.is_empty() {
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
    table.finish();
    probe
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
        let span = table.value(key).map_or(table.span(), |value| value.span());
        table.problem(
            span,
            format!("`{key}` has {{port}}, and {} has none", instance.unit),
        );
    }
}

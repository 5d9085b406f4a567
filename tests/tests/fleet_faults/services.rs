//! Two services of the same hosts are deployed at a time.

use tests::eventually::eventually;
use tests::fleet::Fleet;
use tests::fleet::sampler::Sampler;

use crate::config::{self, HELLO, SALUT, Service};
use crate::gate::{Gate, Moment};
use crate::rig::{SOON, is_whole, start_agents};

const HOSTS: u8 = 6;
const UNIT_OF_SECOND: &str = "cd /etc/systemd/system && \
    sed 's:/srv/hello:/srv/salut:' hello@.service > salut@.service && \
    systemctl daemon-reload && systemctl enable --quiet salut@8003 salut@8004 && \
    mkdir /srv/salut";

#[test]
fn one_host_at_a_time() {
    two_services(1);
}

#[test]
fn two_hosts_at_a_time() {
    two_services(2);
}

fn two_services(concurrency: usize) {
    let Some(fleet) = Fleet::boot_all(&format!("services-{concurrency}"), HOSTS) else {
        return;
    };
    for host in fleet.hosts() {
        fleet.on(&host, UNIT_OF_SECOND).well();
    }
    start_agents(&fleet, &config::second_service());
    let services = [HELLO, SALUT];
    for build in ["b1", "b2"] {
        config::make_build(&fleet, build, "waits");
        register(&fleet, SALUT, build);
    }
    for service in services {
        service.may_be_out(&fleet, HOSTS.into());
        service.begin(&fleet, "b1");
    }
    for service in services {
        is_whole(&fleet, service, "b1");
        service.may_be_out(&fleet, concurrency);
    }

    let samplers = services.map(|service| Sampler::start(&fleet, &service.ports));
    // So that both begin on the same host.
    for host in fleet.hosts().iter().skip(1) {
        fleet.on(host, "systemctl stop deployd").well();
    }
    let gates = services.map(|service| Gate::close(&fleet, service, Moment::Drained));
    for service in services {
        service.begin(&fleet, "b2");
    }
    let [first, second] = gates;
    for gate in [&first, &second] {
        assert_eq!(gate.reached(&fleet, concurrency), "h1");
    }
    // The chain is replaced as a whole, and neither takes the other's rules away.
    drains(&fleet, &[8001, 8003]);
    for host in fleet.hosts().iter().skip(1) {
        fleet.on(host, "systemctl start deployd").well();
    }
    first.open(&fleet);
    eventually("h1 is done with hello", SOON, || {
        HELLO.answers(&fleet, "h1", "b2")
    });
    drains(&fleet, &[8003]);
    second.open(&fleet);
    for service in services {
        is_whole(&fleet, service, "b2");
    }
    for sampler in samplers {
        let samples = sampler.finish();
        samples.never_more_than(concurrency);
        assert_eq!(samples.most(), concurrency, "{samples}");
        println!("two services (restart concurrency {concurrency}): {samples}");
    }
}

/// Waits until h1 refuses exactly these ports, by both families.
fn drains(fleet: &Fleet, ports: &[u16]) {
    eventually(&format!("h1 drains {ports:?}"), SOON, || {
        let mut seen = Vec::new();
        for program in ["iptables", "ip6tables"] {
            let rules = fleet
                .on("h1", &format!("{program} -S DEPLOYD-DRAIN"))
                .well();
            let ports = [8001, 8002, 8003, 8004];
            let refused = |port: &u16| rules.stdout.contains(&format!("--dport {port} "));
            seen.push(ports.into_iter().filter(refused).collect::<Vec<u16>>());
        }
        if seen.iter().all(|seen| seen == ports) {
            Ok(())
        } else {
            Err(seen)
        }
    });
}

/// Registers a build of `hello` as one of another service.
fn register(fleet: &Fleet, service: Service, build: &str) {
    let archive = format!("hello-{build}.tar.gz");
    let file = fleet.dir().join("builds").join(&archive);
    let line = format!(
        "build add {} {build} --url http://10.77.0.1:8080/{archive} --file {}",
        service.name,
        file.display()
    );
    fleet.ctl(&line).well();
}

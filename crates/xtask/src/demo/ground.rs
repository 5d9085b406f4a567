//! Where the farm stands: in a private network where that is allowed, else on the machine's loopback
//! address.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::network::{self, HUB};
use super::{Options, ports, trial};
use crate::debian;
use crate::netns::Netns;

/// The hosts of the farm.
pub(crate) const HOSTS: [&str; 3] = ["host-1", "host-2", "host-3"];
const INSTANCES_PER_HOST: u16 = 2;
/// In a network of one's own every port is free: these are as on a server.
const FIRST_INSTANCE_PORT: u16 = 8001;
const ZOOKEEPER_PORT: u16 = 2181;
const BUILDS_PORT: u16 = 8000;
/// What `cargo xtask ci` says may not be missing.
const REQUIRE: &str = "DEPLOY_TEST_REQUIRE";

/// Whether instances are drained before they restart.
#[derive(Debug)]
pub(crate) enum Draining {
    /// By each host's packet filter.
    Iptables,
    /// Somebody wants to see what happens without.
    NotWanted,
    /// Not here, and why.
    Forbidden(String),
}

impl Draining {
    /// Returns the lines of `[service.drain]`.
    pub(crate) fn settings(&self) -> &'static str {
        match self {
            // The balancer takes an instance back after two checks: 0.2 s, and some.
            Draining::Iptables => "  method = \"iptables\"\n  timeout_s = 10\n  settle_s = 0.3",
            Draining::NotWanted | Draining::Forbidden(_) => "  method = \"none\"",
        }
    }
}

/// The addresses of all that the demo runs.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) zookeeper: SocketAddr,
    pub(crate) builds: SocketAddr,
    pub(crate) draining: Draining,
    pub(crate) sites: Vec<Site>,
}

/// Where a host is.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) name: &'static str,
    pub(crate) address: Ipv4Addr,
    /// Those of its instances.
    pub(crate) ports: Vec<u16>,
    /// What its instances listen on.
    pub(crate) listen: Ipv4Addr,
    netns: Option<Netns>,
}

impl Ground {
    /// Finds the best that this user is allowed here, and moves this process there. To be called
    /// before any thread is started.
    pub(crate) fn find(options: &Options, own_program: &Path) -> Result<Ground> {
        let possible = debian::install(debian::FOR_DRAINING).and_then(|()| trial::ask(own_program));
        if let Err(error) = &possible
            && is_required()
        {
            bail!("{REQUIRE} names netns, and there is none: {error:#}");
        }
        let draining = match &possible {
            _ if options.no_drain => Draining::NotWanted,
            Ok(()) => Draining::Iptables,
            Err(error) => Draining::Forbidden(format!("{error:#}")),
        };
        match possible {
            Ok(()) => Ground::private(draining),
            Err(_) => Ground::on_loopback(draining),
        }
    }

    /// Says in a line what it is.
    pub(crate) fn describe(&self) -> String {
        let drained = match &self.draining {
            Draining::Iptables => "instances are drained before they restart",
            Draining::NotWanted => "nothing is drained",
            Draining::Forbidden(cause) => {
                return format!("none of its own here, so nothing is drained: {cause}");
            }
        };
        match self.is_private() {
            true => format!("private, each host with a packet filter; {drained}"),
            false => format!("that of this machine, its loopback address; {drained}"),
        }
    }

    /// Tells whether the hosts are in networks of their own.
    pub(crate) fn is_private(&self) -> bool {
        self.sites.iter().any(|site| site.netns.is_some())
    }

    fn private(draining: Draining) -> Result<Ground> {
        let places = network::make(&HOSTS).context("failed to make the network of the demo")?;
        let last = FIRST_INSTANCE_PORT + INSTANCES_PER_HOST;
        let sites = HOSTS.into_iter().zip(places).map(|(name, place)| Site {
            name,
            address: place.address,
            ports: (FIRST_INSTANCE_PORT..last).collect(),
            listen: Ipv4Addr::UNSPECIFIED,
            netns: Some(place.netns),
        });
        Ok(Ground {
            zookeeper: (HUB, ZOOKEEPER_PORT).into(),
            builds: (HUB, BUILDS_PORT).into(),
            draining,
            sites: sites.collect(),
        })
    }

    fn on_loopback(draining: Draining) -> Result<Ground> {
        let per_host = usize::from(INSTANCES_PER_HOST);
        let ports = ports::free(2 + HOSTS.len() * per_host)?;
        let (of_hub, of_hosts) = ports.split_at(2);
        let address = Ipv4Addr::LOCALHOST;
        let sites = HOSTS.into_iter().zip(of_hosts.chunks(per_host));
        let sites = sites.map(|(name, ports)| Site {
            name,
            address,
            ports: ports.to_vec(),
            listen: address,
            netns: None,
        });
        Ok(Ground {
            zookeeper: (address, of_hub[0]).into(),
            builds: (address, of_hub[1]).into(),
            draining,
            sites: sites.collect(),
        })
    }
}

/// Tells whether the demo may not go without draining: as for the tests.
fn is_required() -> bool {
    env::var(REQUIRE).is_ok_and(|names| names.split(',').any(|name| name == "netns"))
}

impl Site {
    /// Does something in the network of the host: what is started by it stays there.
    pub(crate) fn within<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        match &self.netns {
            Some(netns) => netns.within(act),
            None => act(),
        }
    }

    /// Returns the addresses of its instances.
    pub(crate) fn instances(&self) -> impl Iterator<Item = SocketAddr> {
        self.ports
            .iter()
            .map(|port| SocketAddr::from((self.address, *port)))
    }
}

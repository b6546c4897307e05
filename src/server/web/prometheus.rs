//! `GET /metrics`: the latest values in Prometheus's text format 0.0.4, in base units.
//!
//! An admin's bearer token and requests from this machine see everything; a user's token sees that user's VMs; all
//! other requests are rejected. A cookie grants nothing here. An unknown value has no line: never zero, never NaN.

use super::request_context;
use crate::{
    model::{
        ApiError, CollectorHealth, CollectorState, HostUsage, Role, VmStatus, VmUsage, VmView, VmsBySource,
    },
    server::{internal, state::AppState, vms::Scope},
};
use axum::{
    extract::{ConnectInfo, FromRequestParts, State},
    http::{HeaderMap, header, request::Parts},
    response::{IntoResponse, Response},
};
use prometheus::{
    TEXT_FORMAT, TextEncoder,
    proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType},
};
use std::{
    net::{IpAddr, SocketAddr},
    time::Instant,
};

const BYTES_PER_MB: f64 = 1024.0 * 1024.0;
const BYTES_PER_GB: f64 = 1024.0 * 1024.0 * 1024.0;

/// Headers by which a proxy shows that it forwards a request.
const FORWARDED: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// What a scraper may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Everything,
    VmsOf(i64),
}

impl FromRequestParts<AppState> for Access {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        if let Some(user) = request_context::authenticate_bearer(state, parts).await? {
            return Ok(match user.role {
                Role::Admin => Self::Everything,
                Role::User => Self::VmsOf(user.id),
            });
        }
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        // With https there is a proxy: if it runs on this machine, every client seems to be local.
        let may_be_proxied = state.https || peer.is_some_and(|peer| state.network.trusts(peer));
        if !may_be_proxied && is_from_this_machine(peer, &parts.headers) {
            return Ok(Self::Everything);
        }
        Err(ApiError::not_signed_in())
    }
}

/// Whether the request comes from a program on this machine: not through a proxy, and not from a browser's page of another
/// site whose name resolves to this machine.
fn is_from_this_machine(peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    let ours = headers.get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(|host| {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse();
        name.eq_ignore_ascii_case("localhost") || address.is_ok_and(is_loopback)
    });
    let for_itself = !headers.contains_key(header::AUTHORIZATION)
        && !FORWARDED.iter().any(|name| headers.contains_key(*name));
    peer.is_some_and(is_loopback) && ours && for_itself
}

pub async fn metrics(State(state): State<AppState>, access: Access) -> Result<Response, ApiError> {
    let snapshot = state.latest.get();
    // Once ticks have stopped, their values are not current.
    let old = snapshot.is_old(state.interval_secs);
    let scope = match access {
        Access::Everything => Scope::All,
        Access::VmsOf(user_id) => Scope::User(user_id),
    };
    let mut vms = state.vms.list(scope).await?;
    if old {
        vms.iter_mut().for_each(|vm| vm.usage = VmUsage::default());
    }
    let mut families = vec![of_build()];
    families.extend(of_vms(&vms));
    if access == Access::Everything {
        families.extend(of_host(&if old { HostUsage::default() } else { snapshot.host }));
        families.extend(of_collector(&state.health.report(Instant::now(), state.interval_secs)));
    }
    families.retain(|family| !family.get_metric().is_empty());
    let text = TextEncoder::new().encode_to_string(&families).map_err(internal)?;
    Ok(([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response())
}

/// A metric of a `T`: its name and how it is read.
struct MetricDefinition<T> {
    kind: MetricType,
    name: &'static str,
    help: &'static str,
    read: fn(&T) -> Option<f64>,
}

const fn gauge<T>(
    name: &'static str,
    help: &'static str,
    read: fn(&T) -> Option<f64>,
) -> MetricDefinition<T> {
    MetricDefinition { kind: MetricType::GAUGE, name, help, read }
}

const fn counter<T>(
    name: &'static str,
    help: &'static str,
    read: fn(&T) -> Option<f64>,
) -> MetricDefinition<T> {
    MetricDefinition { kind: MetricType::COUNTER, name, help, read }
}

const VM: [MetricDefinition<VmView>; 10] = [
    gauge("twarga_vm_cpu_usage_ratio", "CPU usage of the VM as a share of its cores, 0 to 1.", |vm| {
        vm.usage.cpu_percent.map(ratio)
    }),
    gauge("twarga_vm_memory_used_bytes", "Memory used in the guest.", |vm| {
        vm.usage.memory_used_mb.map(bytes_of_mb)
    }),
    gauge("twarga_vm_memory_available_bytes", "Memory available in the guest.", |vm| {
        vm.usage.memory_available_mb.map(bytes_of_mb)
    }),
    gauge("twarga_vm_disk_used_bytes", "Used space of the guest's root file system.", |vm| {
        vm.usage.of_file_system(|usage| usage.disk_used_gb).map(bytes_of_gb)
    }),
    gauge("twarga_vm_disk_available_bytes", "Free space of the guest's root file system.", |vm| {
        vm.usage.of_file_system(|usage| usage.disk_available_gb).map(bytes_of_gb)
    }),
    gauge("twarga_vm_image_used_bytes", "Size of the VM's disk images on the host.", |vm| {
        vm.usage.image_used_gb.map(bytes_of_gb)
    }),
    gauge("twarga_vm_image_available_bytes", "How much the VM's disk images can still grow.", |vm| {
        vm.usage.image_available_gb.map(bytes_of_gb)
    }),
    counter("twarga_vm_network_receive_bytes_total", "Bytes received by the VM since its boot.", |vm| {
        vm.usage.network_rx_mb.map(bytes_of_mb)
    }),
    counter("twarga_vm_network_transmit_bytes_total", "Bytes sent by the VM since its boot.", |vm| {
        vm.usage.network_tx_mb.map(bytes_of_mb)
    }),
    gauge("twarga_vm_uptime_seconds", "Seconds since the VM's boot; 0 while it does not run.", |vm| {
        vm.usage.uptime_seconds.map(|secs| secs as f64)
    }),
];

const HOST: [MetricDefinition<HostUsage>; 13] = [
    gauge("twarga_host_cpu_usage_ratio", "CPU usage of the host as a share of its cores, 0 to 1.", |host| {
        host.cpu_percent.map(ratio)
    }),
    gauge("twarga_host_cpu_cores", "Cores of the host.", |host| {
        (host.cpu_cores > 0).then_some(f64::from(host.cpu_cores))
    }),
    gauge("twarga_host_memory_used_bytes", "Memory used on the host.", |host| {
        host.memory_used_gb.map(bytes_of_gb)
    }),
    gauge("twarga_host_memory_size_bytes", "Total memory of the host.", |host| {
        host.memory_total_gb.map(bytes_of_gb)
    }),
    gauge("twarga_host_disk_used_bytes", "Used space of the file system with the data folder.", |host| {
        host.disk_used_gb.map(bytes_of_gb)
    }),
    gauge("twarga_host_disk_size_bytes", "Size of the file system with the data folder.", |host| {
        host.disk_total_gb.map(bytes_of_gb)
    }),
    gauge("twarga_host_swap_used_bytes", "Swap space used on the host.", |host| {
        host.swap_used_gb.map(bytes_of_gb)
    }),
    gauge("twarga_host_swap_size_bytes", "Total swap space of the host.", |host| {
        host.swap_total_gb.map(bytes_of_gb)
    }),
    gauge("twarga_host_load1", "Load average of the host over 1 minute.", |host| host.load_1),
    gauge("twarga_host_load5", "Load average of the host over 5 minutes.", |host| host.load_5),
    gauge("twarga_host_load15", "Load average of the host over 15 minutes.", |host| host.load_15),
    gauge(
        "twarga_host_network_receive_bytes_per_second",
        "Bytes per second that the host received in the last interval.",
        |host| host.net_recv_speed.map(bytes_of_mb),
    ),
    gauge(
        "twarga_host_network_transmit_bytes_per_second",
        "Bytes per second that the host sent in the last interval.",
        |host| host.net_send_speed.map(bytes_of_mb),
    ),
];

const COLLECTOR: [MetricDefinition<CollectorHealth>; 7] = [
    gauge(
        "twarga_collector_working",
        "1 while samples are recorded and the hypervisor responds.",
        |health| Some(f64::from(u8::from(health.state == CollectorState::Working))),
    ),
    gauge("twarga_collector_newest_tick_timestamp_seconds", "Time of the newest tick.", |health| {
        health.newest_tick_at.map(|at| at.0 as f64 / 1000.0)
    }),
    gauge("twarga_collector_tick_duration_seconds", "Duration of the newest tick.", |health| {
        health.tick_ms.last.map(|millis| millis / 1000.0)
    }),
    counter("twarga_collector_ticks_total", "Ticks that were written.", |health| Some(health.ticks as f64)),
    counter(
        "twarga_collector_ticks_skipped_total",
        "Ticks skipped because an earlier one was still running.",
        |health| Some(health.ticks_skipped as f64),
    ),
    counter("twarga_collector_ticks_failed_total", "Ticks that could not be written.", |health| {
        Some(health.ticks_failed as f64)
    }),
    counter(
        "twarga_collector_readings_failed_total",
        "Ticks in which the hypervisor did not respond.",
        |health| Some(health.samples_failed as f64),
    ),
];

fn ratio(percent: f64) -> f64 {
    percent / 100.0
}

fn bytes_of_mb(mb: f64) -> f64 {
    mb * BYTES_PER_MB
}

fn bytes_of_gb(gb: f64) -> f64 {
    gb * BYTES_PER_GB
}

fn of_build() -> MetricFamily {
    let info = gauge("twarga_build_info", "The version of Twarga Cloud, as a label.", |(): &()| Some(1.0));
    family(&info, [(labels([("version", env!("CARGO_PKG_VERSION"))]), &())])
}

fn of_vms(vms: &[VmView]) -> impl Iterator<Item = MetricFamily> {
    let rows = || vms.iter().map(|vm| (vm_labels(vm), vm));
    let status =
        gauge("twarga_vm_status", "1 for the status that the VM has, 0 for every other.", |is: &f64| {
            Some(*is)
        });
    let statuses = vms.iter().flat_map(|vm| {
        VmStatus::ALL.iter().map(|status| {
            let mut labels = vm_labels(vm);
            labels.extend(self::labels([("status", status.as_str())]));
            (labels, if *status == vm.status { &1.0 } else { &0.0 })
        })
    });
    VM.iter().map(move |definition| family(definition, rows())).chain([family(&status, statuses)])
}

fn of_host(host: &HostUsage) -> impl Iterator<Item = MetricFamily> {
    HOST.iter().map(move |definition| family(definition, [(Vec::new(), host)]))
}

fn of_collector(health: &CollectorHealth) -> impl Iterator<Item = MetricFamily> {
    let VmsBySource { guest, hypervisor, simulated, none } = health.vms;
    let counts = [("guest", guest), ("hypervisor", hypervisor), ("simulated", simulated), ("none", none)];
    let help = "VMs with a metric from this source in the newest tick; \"none\": without any metric.";
    let vms = gauge("twarga_collector_vms", help, |count: &u32| Some(f64::from(*count)));
    let by_source = family(&vms, counts.iter().map(|(source, count)| (labels([("source", *source)]), count)));
    COLLECTOR.iter().map(move |definition| family(definition, [(Vec::new(), health)])).chain([by_source])
}

/// All known values of a metric. An unknown value, or one that is not a number, has no line.
fn family<'a, T: 'a>(
    definition: &MetricDefinition<T>,
    rows: impl IntoIterator<Item = (Vec<LabelPair>, &'a T)>,
) -> MetricFamily {
    let metrics = rows.into_iter().filter_map(|(labels, of)| {
        let value = (definition.read)(of).filter(|value| value.is_finite())?;
        let mut metric = Metric::from_label(labels);
        if definition.kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        Some(metric)
    });
    let mut family = MetricFamily::default();
    family.set_name(definition.name.into());
    family.set_help(definition.help.into());
    family.set_field_type(definition.kind);
    family.set_metric(metrics.collect());
    family
}

fn vm_labels(vm: &VmView) -> Vec<LabelPair> {
    let (vm_id, owner_id) = (vm.id.to_string(), vm.owner_id.to_string());
    labels([("vm_id", vm_id.as_str()), ("vm", &vm.name), ("owner_id", &owner_id)])
}

fn labels<const N: usize>(pairs: [(&str, &str); N]) -> Vec<LabelPair> {
    let label = |(name, value): (&str, &str)| {
        let mut label = LabelPair::default();
        label.set_name(name.into());
        label.set_value(value.into());
        label
    };
    pairs.into_iter().map(label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Source;
    use axum::http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    fn from_this_machine(peer: &str, headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        is_from_this_machine(peer.parse().ok(), &headers)
    }

    #[test]
    fn a_program_on_this_machine_is_let_in() {
        for peer in ["127.0.0.1", "127.3.4.5", "::1", "::ffff:127.0.0.1"] {
            for host in ["127.0.0.1:3000", "localhost", "LOCALHOST:3000", "[::1]:3000", "[::1]"] {
                assert!(from_this_machine(peer, &[("host", host)]), "{peer} {host}");
            }
        }
    }

    #[test]
    fn others_and_those_who_ask_for_others_are_not() {
        let host = ("host", "127.0.0.1:3000");
        for peer in ["192.0.2.7", "10.0.0.1", "::ffff:192.0.2.7", "2001:db8::1", "no peer"] {
            assert!(!from_this_machine(peer, &[host]), "{peer}");
        }
        for name in FORWARDED {
            assert!(!from_this_machine("127.0.0.1", &[host, (name, "127.0.0.1")]), "{name}");
        }
        assert!(
            !from_this_machine("127.0.0.1", &[host, ("authorization", "Bearer x")]),
            "a token that is none"
        );
    }

    #[test]
    fn a_page_of_another_site_whose_name_leads_here_is_not() {
        for host in
            ["evil.example:3000", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.7:3000", ""]
        {
            assert!(!from_this_machine("127.0.0.1", &[("host", host)]), "{host}");
        }
        assert!(!from_this_machine("127.0.0.1", &[]));
    }

    fn written(name: &str, value: Option<f64>) -> String {
        let definition = gauge("twarga_test", "Help.", |value: &Option<f64>| *value);
        let family = family(&definition, [(labels([("vm", name)]), &value)]);
        TextEncoder::new().encode_to_string(&[family]).unwrap_or_default()
    }

    #[test]
    fn what_is_not_known_or_no_number_has_no_line() {
        assert_eq!(
            written("web-1", Some(0.5)),
            "# HELP twarga_test Help.\n# TYPE twarga_test gauge\ntwarga_test{vm=\"web-1\"} 0.5\n"
        );
        for value in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            assert_eq!(written("web-1", value), "");
        }
    }

    #[test]
    fn an_image_is_never_shown_as_a_file_system() {
        let shown = |source| {
            let mut vm = crate::components::feed::tests::vm(1);
            (vm.usage.disk_used_gb, vm.usage.disk_available_gb) = (Some(1.0), Some(9.0));
            (vm.usage.image_used_gb, vm.usage.image_available_gb) = (Some(2.0), Some(8.0));
            vm.usage.sources.disk = source;
            let vms = [vm];
            let known = of_vms(&vms).filter(|family| !family.get_metric().is_empty());
            known
                .filter_map(|family| {
                    family.name().strip_suffix("_used_bytes")?.strip_prefix("twarga_vm_").map(str::to_owned)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(Source::Guest), ["disk", "image"]);
        assert_eq!(shown(Source::Simulated), ["disk", "image"]);
        assert_eq!(shown(Source::Hypervisor), ["image"]);
    }

    #[test]
    fn names_are_in_base_units_and_only_counters_are_totals() {
        let named = |kind, name: &str| {
            let units = [
                "_ratio",
                "_bytes",
                "_seconds",
                "_bytes_per_second",
                "_cores",
                "_working",
                "_total",
                "_load1",
                "_load5",
                "_load15",
            ];
            assert!(units.iter().any(|unit| name.ends_with(unit)), "{name}");
            assert_eq!(name.ends_with("_total"), kind == MetricType::COUNTER, "{name}");
        };
        VM.iter().for_each(|definition| named(definition.kind, definition.name));
        HOST.iter().for_each(|definition| named(definition.kind, definition.name));
        COLLECTOR.iter().for_each(|definition| named(definition.kind, definition.name));
    }

    proptest! {
        /// By the format's rules: a label's value has `\\`, `\"` and `\n` escaped, a line ends in its value.
        #[test]
        fn any_label_and_any_value_can_be_read_back(name in "\\PC*|[a\"\\\\\n{}=, ]*", value in any::<f64>()) {
            prop_assume!(value.is_finite());
            let text = written(&name, Some(value));
            let line = text.lines().nth(2).unwrap();
            let rest = line.strip_prefix("twarga_test{vm=\"").unwrap();
            let (label, number) = rest.rsplit_once("\"} ").unwrap();
            let mut characters = label.chars();
            let mut unescaped = String::new();
            while let Some(character) = characters.next() {
                unescaped.push(match character {
                    '\\' => match characters.next().unwrap() {
                        'n' => '\n',
                        escaped => escaped,
                    },
                    plain => plain,
                });
            }
            prop_assert_eq!(text.lines().count(), 3);
            prop_assert_eq!(unescaped, name);
            prop_assert_eq!(number.parse::<f64>().unwrap(), value);
        }
    }
}

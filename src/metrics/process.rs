//! The metrics of the process, as every client library of Prometheus has them.

use prometheus::{
    Encoder, TextEncoder,
    core::Collector,
    process_collector::ProcessCollector,
    proto::{Counter, LabelPair, MetricFamily},
};

use crate::{model::ConstantLabels, net::process_cpu_time};

/// The families in the text format, each series with these labels.
pub(super) fn text(constant: &ConstantLabels) -> Vec<u8> {
    let mut text = Vec::new();
    let mut families = families(&ProcessCollector::for_self());
    families.iter_mut().for_each(|family| label(family, constant));
    if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
        tracing::error!("cannot write the metrics of the process: {error}");
    }
    text
}

fn label(family: &mut MetricFamily, constant: &ConstantLabels) {
    let pair = |(name, value): (&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value.to_owned());
        pair
    };
    let mut metrics = family.take_metric();
    for metric in &mut metrics {
        let mut labels = metric.take_label();
        labels.extend(constant.iter().map(pair));
        metric.set_label(labels);
    }
    family.set_metric(metrics);
}

/// The collector knows the CPU time in whole seconds only: a quiet instance needs minutes for one.
fn families(collector: &ProcessCollector) -> Vec<MetricFamily> {
    let mut families = collector.collect();
    let cpu = families.iter_mut().find(|family| family.name() == "process_cpu_seconds_total");
    if let (Some(family), Ok(time)) = (cpu, process_cpu_time()) {
        let mut metrics = family.take_metric();
        for metric in &mut metrics {
            let mut counter = Counter::default();
            counter.set_value(time.as_secs_f64());
            metric.set_counter(counter);
        }
        family.set_metric(metrics);
    }
    families
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_has_a_resolution_of_a_hundredth_of_a_second_or_better() {
        let collector = ProcessCollector::for_self();
        let seconds = || {
            let families = families(&collector);
            let family = families.iter().find(|family| family.name() == "process_cpu_seconds_total").unwrap();
            family.get_metric()[0].get_counter().get_value()
        };
        let before = seconds();
        let mut steps = 0;
        let mut last = before;
        while last - before < 0.1 {
            let now = seconds();
            assert!(now >= last, "{now} after {last}");
            steps += u32::from(now > last);
            last = now;
        }
        assert!(steps >= 10, "0.1 s in {steps} steps");
    }
}

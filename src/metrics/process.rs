//! The process's own metrics.

use prometheus::{
    core::{Collector, Desc},
    process_collector::ProcessCollector,
    proto::{Counter, MetricFamily},
};

use crate::net::process_cpu_time;

/// The crate's collector, which knows the CPU time in whole seconds only: a quiet sidecar needs minutes for one.
pub(super) struct Process(ProcessCollector);

impl Process {
    pub(super) fn new() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_told_to_a_hundredth_of_a_second_or_better() {
        let process = Process::new();
        let seconds = || {
            let families = process.collect();
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

//! Register: where metrics are made, each under a name of its own.

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// Upper bounds of the histograms, in seconds: 50 microseconds to 30 seconds.
const BUCKETS: [f64; 16] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 10.0,
    30.0,
];

/// Makes metrics and registers them.
#[derive(Debug, Default)]
pub struct Register {
    registry: Registry,
}

impl Register {
    /// Registers what collects metrics by itself.
    pub fn collector(&self, collector: Box<dyn Collector>) {
        self.registry.register(collector).expect("metric names are fixed and differ");
    }

    /// A counter.
    pub fn counter(&self, name: &str, help: &str) -> IntCounter {
        let counter = IntCounter::new(name, help).expect("a valid name");
        self.collector(Box::new(counter.clone()));
        counter
    }

    /// A gauge.
    pub fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let gauge = IntGauge::new(name, help).expect("a valid name");
        self.collector(Box::new(gauge.clone()));
        gauge
    }

    /// A counter for every combination of labels.
    pub fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let counters = IntCounterVec::new(Opts::new(name, help), labels).expect("a valid name");
        self.collector(Box::new(counters.clone()));
        counters
    }

    /// A gauge for every combination of labels.
    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect("a valid name");
        self.collector(Box::new(gauges.clone()));
        gauges
    }

    /// A histogram of seconds.
    pub fn histogram(&self, name: &str, help: &str) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        let histogram = Histogram::with_opts(options).expect("a valid name");
        self.collector(Box::new(histogram.clone()));
        histogram
    }

    /// Everything that was registered.
    pub fn into_registry(self) -> Registry {
        self.registry
    }
}

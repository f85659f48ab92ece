//! A registry while it is filled.
//!
//! What it does: registers metrics under the product's prefix, and those of the process. What it refuses to know: what is counted.
//! Invariant: a metric that is given out is registered.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// A registry that is being filled; names are given without their prefix.
pub(super) struct Making(pub(super) Registry);

impl Making {
    pub(super) fn counter(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let metric = IntCounterVec::new(Opts::new(format!("lightkeeper_{name}"), help), labels)?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn plain_counter(
        &self,
        name: &str,
        help: &str,
    ) -> Result<IntCounter, prometheus::Error> {
        let metric = IntCounter::new(format!("lightkeeper_{name}"), help)?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        let metric = IntGauge::new(format!("lightkeeper_{name}"), help)?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    pub(super) fn labelled_gauge(
        &self,
        name: &str,
        help: &str,
        label: &str,
    ) -> Result<IntGaugeVec, prometheus::Error> {
        let metric = IntGaugeVec::new(Opts::new(format!("lightkeeper_{name}"), help), &[label])?;
        self.0.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    /// A registry with what is not of the gateway's own doing.
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let make = Making(Registry::new());
        make.build_info()?;
        make.process()?;
        Ok(make)
    }

    /// What runs here: 1, with the words as labels, so that any other metric can be joined with them.
    fn build_info(&self) -> Result<(), prometheus::Error> {
        let opts = Opts::new(
            "lightkeeper_build_info",
            "1; what was built, and for what, stands in the labels.",
        );
        let metric = IntGaugeVec::new(opts, &["version", "os", "arch"])?;
        metric
            .with_label_values(&[
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS,
                std::env::consts::ARCH,
            ])
            .set(1);
        self.0.register(Box::new(metric))
    }

    /// CPU time, memory, descriptors and threads of this process, under the names that every Prometheus client uses.
    #[cfg(target_os = "linux")]
    fn process(&self) -> Result<(), prometheus::Error> {
        self.0.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))
    }

    /// They are read from `/proc`.
    #[cfg(not(target_os = "linux"))]
    fn process(&self) -> Result<(), prometheus::Error> {
        Ok(())
    }
}

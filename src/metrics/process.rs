//! Process metrics under the names Prometheus client libraries use, read from `/proc/self` at scrape.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, Opts};

#[derive(Debug)]
pub struct ProcessCollector {
    cpu_seconds: Counter,
    resident_bytes: Gauge,
    virtual_bytes: Gauge,
    open_files: Gauge,
    files_max: Gauge,
    threads: Gauge,
    started_at: Gauge,
}

impl ProcessCollector {
    pub fn new() -> ProcessCollector {
        let gauge = |name: &str, help: &str| Gauge::with_opts(Opts::new(name, help)).expect("a valid name");
        ProcessCollector {
            cpu_seconds: Counter::new("process_cpu_seconds_total", "User and system time, in seconds.")
                .expect("a valid name"),
            resident_bytes: gauge("process_resident_memory_bytes", "Resident memory, in bytes."),
            virtual_bytes: gauge("process_virtual_memory_bytes", "Virtual memory, in bytes."),
            open_files: gauge("process_open_fds", "Open file descriptors."),
            files_max: gauge("process_max_fds", "The most file descriptors there may be."),
            threads: gauge("process_threads", "Threads."),
            started_at: gauge("process_start_time_seconds", "Start, in seconds since 1970."),
        }
    }

    fn gauges(&self) -> [&Gauge; 6] {
        [
            &self.resident_bytes,
            &self.virtual_bytes,
            &self.open_files,
            &self.files_max,
            &self.threads,
            &self.started_at,
        ]
    }

    fn refresh(&self) -> Option<()> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the name in brackets and may hold spaces (proc(5)).
        let fields: Vec<&str> = stat[stat.rfind(')')? + 2..].split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
        // Linux reports these in hundredths of a second on every architecture it is built for here.
        const TICKS: f64 = 100.0;
        let cpu = (number(11)? + number(12)?) / TICKS;
        self.cpu_seconds.inc_by((cpu - self.cpu_seconds.get()).max(0.0));
        self.threads.set(number(17)?);
        self.virtual_bytes.set(number(20)?);
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: f64 = resident.trim().trim_end_matches(" kB").parse().ok()?;
        self.resident_bytes.set(kilobytes * 1024.0);
        self.open_files.set(fs::read_dir("/proc/self/fd").ok()?.count() as f64);
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        self.files_max.set(files.split_whitespace().next()?.parse().ok()?);
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        self.started_at.set(boot + number(19)? / TICKS);
        Some(())
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges().into_iter().flat_map(Collector::desc).chain(self.cpu_seconds.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Where there is no such file system the values stay zero.
        self.refresh();
        self.gauges().into_iter().flat_map(Collector::collect).chain(self.cpu_seconds.collect()).collect()
    }
}

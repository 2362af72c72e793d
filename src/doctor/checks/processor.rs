//! What slows processors down: the quota, heat, and a weak power supply.

use std::fs;

use crate::{
    doctor::{
        finding::{Check, Outcome},
        machine::Machine,
    },
    kernel::memory::field,
};

/// Periods of the quota that make a share meaningful, and the share from which it slows requests down.
const ENOUGH_PERIODS: u64 = 100;
const OFTEN: u64 = 25;
/// Where a Raspberry Pi begins to slow down, and where it does in earnest, in °C.
const HOT: f64 = 80.0;
const TOO_HOT: f64 = 85.0;

/// Bits of `vcgencmd get_throttled`.
const UNDER_VOLTAGE: u32 = 1;
const SLOWED: u32 = 0b1110;
const SINCE_BOOT: u32 = 16;

pub(super) const QUOTA: Check = Check {
    id: "processor-quota",
    title: "Processor time of the service",
    symptom: "requests take longer than the processor needs for them",
    looks_at: "cpu.stat and cpu.max of the control group: how often the quota held the service up",
    remedy: "raise `resource_limits.cpu_quota`",
    run: quota,
};

fn quota(machine: &Machine) -> Outcome {
    let Some(stat) = machine.cgroup("cpu.stat") else {
        return Outcome::not_applicable("the service does not run under systemd");
    };
    let (Some(periods), Some(throttled)) = (field(&stat, "nr_periods"), field(&stat, "nr_throttled")) else {
        return Outcome::not_applicable("the kernel does not account for quotas");
    };
    let max = machine.cgroup("cpu.max").unwrap_or_default();
    let seen = format!("held up in {throttled} of {periods} periods; cpu.max is {}", max.trim());
    if periods >= ENOUGH_PERIODS && throttled * 100 >= periods * OFTEN {
        return Outcome::warning("the quota holds the service up")
            .seen(seen)
            .advise("raise resource_limits.cpu_quota")
            .mend("sudoedit /etc/hailo/hailo-clip.yaml")
            .mend("sudo systemctl restart hailo-clip.service");
    }
    Outcome::ok("the quota leaves enough time").seen(seen)
}

pub(super) const HEAT: Check = Check {
    id: "heat",
    title: "Heat",
    symptom: "requests become slower after some minutes of load",
    looks_at: "`/sys/class/thermal`, the NPU's sensor and throttling by the daemon, `vcgencmd measure_temp` and `get_throttled` where they are",
    remedy: "cool processor and board better: a fan, a heat sink, air around the case",
    run: heat,
};

fn heat(machine: &Machine) -> Outcome {
    let mut evidence = Vec::new();
    let mut hottest = f64::MIN;
    for zone in fs::read_dir(machine.hardware.join("sys/class/thermal")).into_iter().flatten().flatten() {
        let read = |file: &str| fs::read_to_string(zone.path().join(file));
        let Some(celsius) = read("temp").ok().and_then(|text| text.trim().parse::<f64>().ok()) else {
            continue;
        };
        let celsius = celsius / 1000.0;
        hottest = hottest.max(celsius);
        evidence.push(format!("{}: {celsius:.0} °C", read("type").unwrap_or_default().trim()));
    }
    if let Some(celsius) = printed_temperature(machine) {
        hottest = hottest.max(celsius);
        evidence.push(format!("vcgencmd: {celsius:.0} °C"));
    }
    let npu = machine.properties().and_then(|properties| properties.device_temperature);
    if let Some(celsius) = npu.filter(|celsius| celsius.is_finite()) {
        hottest = hottest.max(celsius);
        evidence.push(format!("NPU: {celsius:.0} °C"));
    }
    let npu_slowed = machine.properties().and_then(|properties| properties.device_throttled) == Some(true);
    let bits = throttled(machine).unwrap_or_default();
    if evidence.is_empty() && !npu_slowed && bits == 0 {
        return Outcome::not_applicable("there is no sensor");
    }
    let outcome = if hottest >= TOO_HOT || bits & SLOWED != 0 {
        Outcome::failure("heat slows the machine down")
    } else if npu_slowed {
        Outcome::failure("the NPU slows down to protect itself")
    } else if hottest >= HOT {
        Outcome::warning("the machine is hot")
    } else if (bits >> SINCE_BOOT) & SLOWED != 0 {
        Outcome::warning("heat has slowed the machine down since it was booted")
    } else {
        Outcome::ok("nothing is too hot")
    };
    let outcome = if outcome.verdict.is_fault() {
        outcome.advise("cool it better: a fan, a heat sink, air around the case")
    } else {
        outcome
    };
    evidence.into_iter().fold(outcome, Outcome::seen)
}

pub(super) const VOLTAGE: Check = Check {
    id: "under-voltage",
    title: "Power supply",
    symptom: "the device goes away under load, the machine is slow or reboots",
    looks_at: "the alarm of the Raspberry Pi's voltage sensor in `/sys/class/hwmon`, `vcgencmd get_throttled` where it is",
    remedy: "use the official power supply (5 V, 5 A for a Raspberry Pi 5)",
    run: voltage,
};

fn voltage(machine: &Machine) -> Outcome {
    let mut alarm = None;
    for sensor in fs::read_dir(machine.hardware.join("sys/class/hwmon")).into_iter().flatten().flatten() {
        let read = |file: &str| fs::read_to_string(sensor.path().join(file)).unwrap_or_default();
        if read("name").trim() == "rpi_volt" {
            alarm = Some(read("in0_lcrit_alarm").trim() == "1");
        }
    }
    let bits = throttled(machine);
    if alarm.is_none() && bits.is_none() {
        return Outcome::not_applicable("there is no sensor");
    }
    let (now, before) = (bits.unwrap_or_default(), bits.unwrap_or_default() >> SINCE_BOOT);
    let supply =
        |outcome: Outcome| outcome.advise("use the official power supply (5 V, 5 A for a Raspberry Pi 5)");
    if alarm == Some(true) || now & UNDER_VOLTAGE != 0 {
        return supply(Outcome::failure("the power supply is too weak")).seen("the voltage is too low now");
    }
    if before & UNDER_VOLTAGE != 0 {
        return supply(Outcome::warning("the power supply was too weak"))
            .seen("the voltage was too low since boot");
    }
    Outcome::ok("the voltage is as it should be")
}

/// `temp=48.3'C`
fn printed_temperature(machine: &Machine) -> Option<f64> {
    let printed = machine.printed.temperature.as_ref().filter(|printed| printed.succeeded())?;
    printed.out.trim().strip_prefix("temp=")?.split('\'').next()?.parse().ok()
}

/// `throttled=0x50000`
fn throttled(machine: &Machine) -> Option<u32> {
    let printed = machine.printed.throttled.as_ref().filter(|printed| printed.succeeded())?;
    u32::from_str_radix(printed.out.trim().strip_prefix("throttled=0x")?, 16).ok()
}

//! Axes: what they are called, how values lie on them and where their lines are.

/// About so many lines of the grid each way.
const TICKS: f64 = 6.0;
/// More decades than these have labels at 1, 10, 100 only.
const FEW_DECADES: f64 = 2.5;

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scale {
    /// From 0, evenly.
    #[default]
    Linear,
    /// Each factor of ten takes the same room. Has no place for 0 and less: such points are left out.
    Log,
    /// Shares of 1: 0.9, 0.99 and 0.999 are as far from each other. For the tail of a distribution.
    Percentiles,
}

/// Name, unit and scale of an axis. `"ms".into()` is linear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// As it stands beside it, with the unit.
    pub name: String,
    /// See [`Scale`].
    pub scale: Scale,
}

impl Axis {
    /// A logarithmic one.
    pub fn log(name: impl Into<String>) -> Self {
        Self { name: name.into(), scale: Scale::Log }
    }

    /// One for shares of 1 that shows the tail.
    pub fn percentiles(name: impl Into<String>) -> Self {
        Self { name: name.into(), scale: Scale::Percentiles }
    }

    /// With its ends, so that all of these have a place.
    pub(super) fn over(&self, values: impl Iterator<Item = f64>) -> Range {
        let values: Vec<f64> = values.filter(|value| value.is_finite()).collect();
        match self.scale {
            Scale::Linear => Range::linear(values.into_iter().fold(0.0, f64::max)),
            Scale::Log => Range::log(&values),
            Scale::Percentiles => Range::percentiles(&values),
        }
    }
}

impl<T: Into<String>> From<T> for Axis {
    fn from(name: T) -> Self {
        Self { name: name.into(), scale: Scale::Linear }
    }
}

/// An axis between its ends.
#[derive(Debug)]
pub(super) struct Range {
    scale: Scale,
    /// Of the scaled values.
    from: f64,
    to: f64,
    /// Values that have a line and a label.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Range {
    /// From 0 to `max` or a little further, in steps that are easy to read.
    fn linear(max: f64) -> Self {
        let max = if max > 0.0 { max } else { 1.0 };
        let magnitude = 10_f64.powf((max / TICKS).log10().floor());
        let steps = [1.0, 2.0, 2.5, 5.0, 10.0].map(|step| step * magnitude);
        let step = steps.into_iter().find(|step| max / step <= TICKS).unwrap_or(max);
        // A little beyond a whole step is no reason for another.
        let count = (max / step - 1e-9).ceil();
        let ticks = (0..=count as u32).map(|number| f64::from(number) * step);
        Self {
            scale: Scale::Linear,
            from: 0.0,
            to: count * step,
            ticks: ticks.map(|tick| (tick, label(tick, step))).collect(),
        }
    }

    /// From 1, 2 or 5 times a power of ten to another.
    fn log(values: &[f64]) -> Self {
        let positive = || values.iter().copied().filter(|value| *value > 0.0);
        let (min, max) = (positive().fold(f64::INFINITY, f64::min), positive().fold(0.0, f64::max));
        let (min, max) = if min <= max { (min, max) } else { (1.0, 10.0) };
        let decades = (min.log10() - 1e-9).floor() as i32..=max.log10().ceil() as i32;
        let rungs = || decades.clone().flat_map(|decade| [1.0, 2.0, 5.0].map(|rung| rung * 10_f64.powi(decade)));
        let from = rungs().filter(|rung| *rung <= min * (1.0 + 1e-9)).fold(0.0, f64::max);
        let to = rungs().find(|rung| *rung >= max * (1.0 - 1e-9) && *rung > from).unwrap_or(max);
        let few = to.log10() - from.log10() <= FEW_DECADES;
        let is_power = |rung: f64| (rung.log10() - rung.log10().round()).abs() < 1e-6;
        let shown = rungs().filter(|rung| (from * 0.999..=to * 1.001).contains(rung) && (few || is_power(*rung)));
        Self {
            scale: Scale::Log,
            from: from.log10(),
            to: to.log10(),
            ticks: shown.map(|tick| (tick, label(tick, tick))).collect(),
        }
    }

    /// From 0 to as many nines as there are.
    fn percentiles(values: &[f64]) -> Self {
        let top = values.iter().copied().filter(|value| *value < 1.0).fold(0.9, f64::max);
        let nines = (nines(top) - 1e-9).ceil().clamp(1.0, 6.0);
        let shares = (1..=nines as i32).map(|nines| 1.0 - 10_f64.powi(-nines));
        let percent = |share: f64| {
            let text = format!("{:.4}", share * 100.0);
            format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
        };
        let ticks = [0.0, 0.5].into_iter().chain(shares).map(|share| (share, percent(share)));
        Self { scale: Scale::Percentiles, from: 0.0, to: nines, ticks: ticks.collect() }
    }

    /// How far along the axis a value lies, from 0 to 1; `None` if it has no place.
    pub(super) fn place(&self, value: f64) -> Option<f64> {
        let scaled = match self.scale {
            Scale::Linear => value,
            Scale::Log => value.log10(),
            Scale::Percentiles => nines(value),
        };
        let place = (scaled - self.from) / (self.to - self.from);
        // The largest sample of all has every nine.
        if place == f64::INFINITY && self.scale == Scale::Percentiles {
            return Some(1.0);
        }
        place.is_finite().then(|| place.clamp(0.0, 1.0))
    }
}

fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

/// With as many decimals as steps of this size need, and a comma between thousands.
fn label(value: f64, step: f64) -> String {
    let decimals = (0..6).find(|decimals| {
        let scaled = step * 10_f64.powi(*decimals);
        (scaled - scaled.round()).abs() < 1e-6 * scaled
    });
    if value >= 1e6 && (value / 1e5 - (value / 1e5).round()).abs() < 1e-6 {
        return format!("{} M", value / 1e6);
    }
    let text = format!("{value:.*}", decimals.unwrap_or(6) as usize);
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (number, digit) in whole.chars().enumerate() {
        if number > 0 && (whole.len() - number).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(range: &Range) -> Vec<&str> {
        range.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn a_linear_axis_ends_at_a_whole_step_not_below_the_largest_value() {
        for (max, end, ticks) in [(1.0, 1.0, 6), (0.73, 0.8, 5), (29.0, 30.0, 7), (1234.0, 1250.0, 6), (0.0, 1.0, 6)] {
            let range = Axis::from("ms").over([max, f64::NAN].into_iter());
            assert!((range.to - end).abs() < 1e-9, "{max}: {}", range.to);
            assert_eq!(range.ticks.len(), ticks, "{max}");
        }
        assert_eq!(labels(&Range::linear(0.73)), ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(labels(&Range::linear(29_000.0))[1], "5,000");
        assert_eq!(labels(&Range::linear(9e6))[1], "2 M");
    }

    #[test]
    fn a_log_axis_gives_each_decade_the_same_room() {
        let wide = Axis::log("workers").over([10.0, 10_000.0, 0.0].into_iter());
        assert_eq!(labels(&wide), ["10", "100", "1,000", "10,000"]);
        assert!((wide.place(100.0).unwrap() - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(wide.place(0.0), None);
        let narrow = Axis::log("ms").over([0.3, 4.0].into_iter());
        assert_eq!(labels(&narrow), ["0.2", "0.5", "1", "2", "5"]);
        // One value, or none, has an axis, too.
        assert_eq!(Axis::log("ms").over([3.0].into_iter()).place(2.0), Some(0.0));
        assert!(Axis::log("ms").over([].into_iter()).place(3.0).is_some());
    }

    #[test]
    fn percentiles_show_the_tail() {
        let range = Axis::percentiles("share").over([0.5, 0.995, 1.0].into_iter());
        assert_eq!(labels(&range), ["0 %", "50 %", "90 %", "99 %", "99.9 %"]);
        assert_eq!((range.place(0.0), range.place(1.0)), (Some(0.0), Some(1.0)));
        assert!((range.place(0.99).unwrap() - 2.0 / 3.0).abs() < 1e-9);
    }
}

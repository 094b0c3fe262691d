//! What a job found, for people and for programs: told on standard output, and written as `JOB.json`, as a page that
//! needs nothing else (`JOB.html`) and as pictures (`JOB-PLOT.svg`, `JOB-PLOT.png`).
//!
//! A report is a list of parts in the order in which they were added. Figures are labelled with the conditions they were
//! taken under; what a number means stands in a note beside it.

mod page;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::machine;
use crate::plot::{Bars, Plot};

/// Everything that one run of a job found.
#[derive(Debug)]
pub struct Report {
    job: &'static str,
    run: Vec<(&'static str, String)>,
    options: Value,
    parts: Vec<Part>,
    data: Map<String, Value>,
}

/// A table of figures. Every row has as many cells as there are columns.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// Heads of the columns, with units.
    pub columns: Vec<String>,
    /// Rows, the first cell naming them.
    pub rows: Vec<Vec<String>>,
}

#[derive(Debug)]
enum Part {
    Note(String),
    Table(Table),
    Picture { name: &'static str, picture: Picture },
}

#[derive(Debug)]
enum Picture {
    Plot(Plot),
    Bars(Bars),
}

impl Report {
    /// With nothing in it. `options` are those that the job ran with.
    #[must_use]
    pub fn new(job: &'static str, options: Value) -> Self {
        Self { job, run: vec![("machine", machine::describe())], options, parts: Vec::new(), data: Map::new() }
    }

    /// A sentence or a few.
    pub fn note(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Note(text.into()));
    }

    /// Figures.
    pub fn table(&mut self, table: Table) {
        self.parts.push(Part::Table(table));
    }

    /// Curves; `name` is part of their files' names.
    pub fn plot(&mut self, name: &'static str, plot: Plot) {
        self.parts.push(Part::Picture { name, picture: Picture::Plot(plot) });
    }

    /// How wholes are divided; `name` is part of their files' names.
    pub fn bars(&mut self, name: &'static str, bars: Bars) {
        self.parts.push(Part::Picture { name, picture: Picture::Bars(bars) });
    }

    /// What programs read, under `name` in the JSON: everything that tables and plots are made of.
    pub fn data(&mut self, name: &str, value: Value) {
        self.data.insert(name.to_owned(), value);
    }

    /// The conditions of the run that this is of ([`machine::Run::end`]).
    pub fn label(&mut self, run: Vec<(&'static str, String)>) {
        self.run = run;
    }

    /// To standard output.
    pub fn tell(&self) {
        for (name, value) in &self.run {
            println!("{name}: {value}");
        }
        for part in &self.parts {
            match part {
                Part::Note(text) => println!("\n{text}"),
                Part::Table(table) => print!("\n{}", table.text()),
                Part::Picture { .. } => {}
            }
        }
        println!();
    }

    /// Into directory `out`; says what was written.
    pub fn write(&self, out: &Path) -> Result<()> {
        fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
        let file = |name: &str| out.join(format!("{}{name}", self.job));
        write(&file(".json"), format!("{:#}\n", self.json()).as_bytes())?;
        for part in &self.parts {
            if let Part::Picture { name, picture } = part {
                write(&file(&format!("-{name}.svg")), picture.svg()?.as_bytes())?;
                write(&file(&format!("-{name}.png")), &picture.png()?)?;
            }
        }
        let page = file(".html");
        write(&page, self.page()?.as_bytes())?;
        println!("written: {}, with .json and pictures beside it", page.display());
        Ok(())
    }

    fn json(&self) -> Value {
        let run: Map<_, _> = self.run.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({"job": self.job, "run": run, "options": self.options, "found": self.data})
    }
}

impl Picture {
    fn svg(&self) -> Result<String> {
        match self {
            Self::Plot(plot) => plot.svg(),
            Self::Bars(bars) => bars.svg(),
        }
    }

    fn png(&self) -> Result<Vec<u8>> {
        match self {
            Self::Plot(plot) => plot.png(),
            Self::Bars(bars) => bars.png(),
        }
    }
}

impl Table {
    /// Columns aligned with spaces.
    fn text(&self) -> String {
        let rows = || std::iter::once(&self.columns).chain(&self.rows);
        let width = |column: usize| rows().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let mut text = format!("{}\n", self.title);
        for row in rows() {
            let cells = row.iter().enumerate().map(|(column, cell)| {
                let width = width(column).unwrap_or(0);
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            let _ = writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        text
    }
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Curve, Shape};

    fn report() -> Report {
        let mut report = Report::new("boot", json!({"count": 2}));
        report.note("a < b");
        report.table(Table {
            title: "Starts".into(),
            columns: vec!["what".into(), "p50 ms".into()],
            rows: vec![vec!["jail".into(), "4.125".into()]],
        });
        let curves = vec![Curve { name: "jail".into(), points: vec![(4.0, 1.0)], shape: Shape::Steps }];
        report.plot("cdf", Plot { title: "Boot".into(), x: "ms".into(), y: "share".into(), curves });
        report.data("p50_ms", json!(4.125));
        report.label(vec![("date", "today".into())]);
        report
    }

    #[test]
    fn tables_are_aligned() {
        let Part::Table(table) = &report().parts[1] else { panic!("the second part is the table") };
        assert_eq!(table.text(), "Starts\n  what  p50 ms\n  jail   4.125\n");
    }

    #[test]
    fn a_report_is_written_whole() {
        let out = tempfile::tempdir().unwrap();
        report().write(out.path()).unwrap();
        let read = |name: &str| fs::read_to_string(out.path().join(name)).unwrap();
        let json: Value = serde_json::from_str(&read("boot.json")).unwrap();
        assert_eq!((json["found"]["p50_ms"].as_f64(), json["options"]["count"].as_u64()), (Some(4.125), Some(2)));
        assert!(read("boot-cdf.svg").starts_with("<svg"));
        let page = read("boot.html");
        assert!(page.contains("a &lt; b") && page.contains("<td>4.125</td>") && page.contains("<svg"));
        assert_eq!((json["run"]["date"].as_str(), json["run"].get("machine")), (Some("today"), None));
        assert!(page.contains("<td>today</td>") && page.contains("<td>2</td>"), "{page}");
        assert!(fs::read(out.path().join("boot-cdf.png")).unwrap().starts_with(b"\x89PNG"));
        let outside = ["<link", "<script src", "<img", "url("];
        assert!(outside.iter().all(|reference| !page.contains(reference)), "the page needs something outside it");
    }
}

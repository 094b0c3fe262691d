//! What a job found, for people and for programs: told on standard output, and written as `JOB.json`, as a page that
//! needs nothing else (`JOB.html`) and as one picture a plot (`JOB-PLOT.svg`).
//!
//! A report is a list of parts in the order in which they were added. Figures are labelled with the machine they were
//! taken on; what a number means stands in a note beside it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::machine;
use crate::plot::Plot;

/// Everything that one run of a job found.
#[derive(Debug)]
pub struct Report {
    job: &'static str,
    machine: String,
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
    Plot { name: &'static str, plot: Plot },
}

impl Report {
    /// Of this machine as it is now, with nothing in it. `options` are those that the job ran with.
    #[must_use]
    pub fn new(job: &'static str, options: Value) -> Self {
        Self { job, machine: machine::describe(), options, parts: Vec::new(), data: Map::new() }
    }

    /// A sentence or a few.
    pub fn note(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Note(text.into()));
    }

    /// Figures.
    pub fn table(&mut self, table: Table) {
        self.parts.push(Part::Table(table));
    }

    /// A picture; `name` is part of its file's name.
    pub fn plot(&mut self, name: &'static str, plot: Plot) {
        self.parts.push(Part::Plot { name, plot });
    }

    /// What programs read, under `name` in the JSON: everything that tables and plots are made of.
    pub fn data(&mut self, name: &str, value: Value) {
        self.data.insert(name.to_owned(), value);
    }

    /// To standard output.
    pub fn tell(&self) {
        println!("machine: {}", self.machine);
        for part in &self.parts {
            match part {
                Part::Note(text) => println!("{text}"),
                Part::Table(table) => print!("\n{}\n", table.text()),
                Part::Plot { .. } => {}
            }
        }
    }

    /// Into directory `out`; says what was written.
    pub fn write(&self, out: &Path) -> Result<()> {
        fs::create_dir_all(out).with_context(|| format!("make {}", out.display()))?;
        let mut files = vec![
            (out.join(format!("{}.json", self.job)), format!("{:#}\n", self.json())),
            (out.join(format!("{}.html", self.job)), self.page()),
        ];
        files.extend(self.parts.iter().filter_map(|part| match part {
            Part::Plot { name, plot } => Some((out.join(format!("{}-{name}.svg", self.job)), plot.svg())),
            Part::Note(_) | Part::Table(_) => None,
        }));
        for (path, content) in files {
            write(&path, &content)?;
        }
        Ok(())
    }

    fn json(&self) -> Value {
        json!({"job": self.job, "machine": self.machine, "options": self.options, "found": self.data})
    }

    fn page(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>hearth bench {job}</title>\n\
             <style>body {{ font: 14px sans-serif; margin: 2em auto; max-width: 860px }}\n\
             table {{ border-collapse: collapse; margin: 1em 0 }} caption {{ text-align: left; font-weight: bold }}\n\
             th, td {{ padding: 0.2em 0.8em; border-bottom: 1px solid #ddd; text-align: right }}\n\
             th:first-child, td:first-child {{ text-align: left }}</style>\n\
             <h1>hearth bench {job}</h1>\n<p>{machine}</p>\n",
            job = self.job,
            machine = escaped(&self.machine),
        );
        for part in &self.parts {
            match part {
                Part::Note(text) => {
                    let _ = writeln!(page, "<p>{}</p>", escaped(text));
                }
                Part::Table(table) => page.push_str(&table.html()),
                Part::Plot { plot, .. } => page.push_str(&plot.svg()),
            }
        }
        let _ = writeln!(page, "<details><summary>Options</summary><pre>{:#}</pre></details>", self.options);
        page
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

    fn html(&self) -> String {
        let row = |cells: &[String], kind: &str| {
            let cells: String = cells.iter().map(|cell| format!("<{kind}>{}</{kind}>", escaped(cell))).collect();
            format!("<tr>{cells}</tr>\n")
        };
        let rows: String = self.rows.iter().map(|cells| row(cells, "td")).collect();
        format!("<table>\n<caption>{}</caption>\n{}{rows}</table>\n", escaped(&self.title), row(&self.columns, "th"))
    }
}

fn write(path: &PathBuf, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("write {}", path.display()))?;
    println!("written: {}", path.display());
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
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
    }
}

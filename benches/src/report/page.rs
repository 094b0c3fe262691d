//! A report as one page: a style of its own, for light and for dark, pictures inside, nothing from elsewhere.

use std::fmt::Write as _;

use anyhow::Result;
use serde_json::Value;

use super::{Part, Report, Table};

impl Report {
    pub(super) fn page(&self) -> Result<String> {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>hearth bench {job}</title>\n<style>{STYLE}</style>\n<main>\n<h1>hearth bench <b>{job}</b></h1>\n",
            job = self.job,
        );
        let run = self.run.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        page.push_str(&facts(run));
        for part in &self.parts {
            match part {
                Part::Note(text) => {
                    let _ = writeln!(page, "<p>{}</p>", escaped(text));
                }
                Part::Table(table) => page.push_str(&table.html()),
                Part::Picture { picture, .. } => {
                    let _ = writeln!(page, "<figure>{}</figure>", picture.svg()?);
                }
            }
        }
        if let Value::Object(options) = &self.options {
            page.push_str("<h2>Options</h2>\n");
            page.push_str(&facts(options.iter().map(|(name, value)| (name.replace('_', " "), plain(value)))));
        }
        page.push_str("</main>\n</html>\n");
        Ok(page)
    }
}

impl Table {
    fn html(&self) -> String {
        let row = |cells: &[String], kind: &str| {
            let cells: String = cells.iter().map(|cell| format!("<{kind}>{}</{kind}>", escaped(cell))).collect();
            format!("<tr>{cells}</tr>\n")
        };
        let rows: String = self.rows.iter().map(|cells| row(cells, "td")).collect();
        let head = row(&self.columns, "th");
        format!(
            "<div class=\"wide\"><table>\n<caption>{}</caption>\n<thead>{head}</thead>\n<tbody>{rows}</tbody></table></div>\n",
            escaped(&self.title)
        )
    }
}

/// Names and values, one pair a line.
fn facts(pairs: impl Iterator<Item = (String, String)>) -> String {
    let rows = pairs.map(|(name, value)| format!("<tr><th>{}</th><td>{}</td></tr>\n", escaped(&name), escaped(&value)));
    format!("<table class=\"facts\">\n{}</table>\n", rows.collect::<String>())
}

/// An option as it was given.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Null => "–".into(),
        other => other.to_string(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The colours of pictures in the dark are lighter ones of the same kinds.
const STYLE: &str = "
:root { color-scheme: light dark; --paper: #fff; --ink: #222; --soft: #666; --line: #ddd; --head: #f6f6f4 }
body { background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, 'DejaVu Sans', sans-serif; margin: 0 }
main { max-width: 880px; margin: 0 auto; padding: 1.5em 1em 3em }
h1 { font-size: 1.5em; font-weight: 400; margin: 0 0 .6em }
h2 { font-size: 1.1em; margin: 2em 0 .4em }
p { max-width: 46em }
.wide { overflow-x: auto; margin: 1.6em 0 }
table { border-collapse: collapse; font-size: .93em; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding-bottom: .4em }
.wide th { font-weight: 500; color: var(--soft); background: var(--head) }
.wide th, .wide td { padding: .3em .8em; border-bottom: 1px solid var(--line); text-align: right }
.wide th:first-child, .wide td:first-child { text-align: left }
.wide td { white-space: nowrap }
.facts th { font-weight: 400; color: var(--soft); text-align: left; padding: .1em 1.5em .1em 0; vertical-align: top }
figure { margin: 1.6em 0; border: 1px solid var(--line); border-radius: 6px; overflow: hidden }
figure svg { display: block; width: 100%; height: auto }
@media (prefers-color-scheme: dark) {
:root { --paper: #16181c; --ink: #dcdcd8; --soft: #9a9a96; --line: #34373d; --head: #1f2227 }
rect.paper { fill: #16181c } text.ink { fill: #dcdcd8 } .grid.line { stroke: #34373d }
.thing-0.line { stroke: #58a6e8 } rect.thing-0, circle.thing-0 { fill: #58a6e8 }
.thing-1.line { stroke: #ff8c42 } rect.thing-1, circle.thing-1 { fill: #ff8c42 }
.thing-2.line { stroke: #2fc79a } rect.thing-2, circle.thing-2 { fill: #2fc79a }
.thing-3.line { stroke: #e6a3cb } rect.thing-3, circle.thing-3 { fill: #e6a3cb }
.thing-4.line { stroke: #f2c14e } rect.thing-4, circle.thing-4 { fill: #f2c14e }
.thing-5.line { stroke: #a3d9f7 } rect.thing-5, circle.thing-5 { fill: #a3d9f7 }
}
@media print { figure, table { break-inside: avoid } }
";

//! The table's first column as a picture.

use std::fmt::Write as _;

use crate::report::Report;

const LINE: usize = 24;
const LABELS: usize = 330;
const BARS: f64 = 420.0;

/// Bars of processor time per request in units of nginx's, on a logarithmic scale: the peers lie far apart.
pub fn draw(report: &Report) -> String {
    let rows: Vec<_> = report.rows.iter().filter(|row| !row.name.starts_with("handshake")).collect();
    let most = rows.iter().map(|row| row.ratio).fold(10.0, f64::max);
    let least: f64 = 0.25;
    let length = |ratio: f64| (ratio.max(least) / least).ln() / (most / least).ln() * BARS;
    let height = LINE * (rows.len() + 2);
    let width = LABELS + 500;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"8\" y=\"18\" font-weight=\"bold\">CPU per request, × nginx as a plain TLS proxy in the same run (log scale)</text>\n"
    );
    let one = LABELS as f64 + length(1.0);
    writeln!(
        svg,
        "<line x1=\"{one:.0}\" y1=\"{LINE}\" x2=\"{one:.0}\" y2=\"{}\" stroke=\"#888\" stroke-dasharray=\"3 3\"/>",
        height - LINE / 2
    )
    .unwrap();
    for (at, row) in rows.iter().enumerate() {
        let y = LINE * (at + 1) + 6;
        let colour = if row.name.starts_with("keybound") { "#1b7f5c" } else { "#9aa3ad" };
        let (bar, text) = (length(row.ratio), y + 12);
        writeln!(svg, "<text x=\"8\" y=\"{text}\">{}</text>", row.name).unwrap();
        writeln!(svg, "<rect x=\"{LABELS}\" y=\"{y}\" width=\"{bar:.0}\" height=\"16\" fill=\"{colour}\"/>").unwrap();
        writeln!(svg, "<text x=\"{:.0}\" y=\"{text}\">{:.2}</text>", LABELS as f64 + bar + 6.0, row.ratio).unwrap();
    }
    svg + "</svg>\n"
}

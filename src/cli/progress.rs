//! Shows what goes on: a line a box that is redrawn on a terminal, timed plain lines elsewhere.
//! The log of a step that failed is always shown in full.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal::{BAD, BOLD, DIM, GOOD, NOTE, Terminal, paint};
use crate::exec::Event;
use crate::model::printable;
use crate::port::{BuildEvent, PushEvent, StepState, Wait};

/// What is kept of a step's log in case it fails, in bytes; of a longer one its end.
const LOG_LIMIT: usize = 16 * 1024 * 1024;

/// How much of a step's name stands before the last line of its output, in characters.
const STEP_WIDTH: usize = 40;

/// Prints events.
pub struct Progress {
    terminal: Terminal,
    began: Instant,
    bars: MultiProgress,
    state: Mutex<BTreeMap<String, BoxState>>,
}

#[derive(Default)]
struct BoxState {
    bar: Option<ProgressBar>,
    steps: BTreeMap<String, Step>,
    layers: BTreeMap<String, (u64, u64)>,
}

struct Step {
    name: String,
    began: Instant,
    log: Vec<u8>,
    was_cut: bool,
}

impl Progress {
    pub fn new(terminal: Terminal) -> Self {
        let target = if terminal.is_live && !terminal.quiet {
            ProgressDrawTarget::stderr_with_hz(8)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bars = MultiProgress::with_draw_target(target);
        Self { terminal, began: Instant::now(), bars, state: Mutex::default() }
    }

    /// Takes an event.
    pub fn event(&self, event: Event) {
        match event {
            Event::Leased { keys, until } => {
                let what = if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") };
                self.line(&paint(DIM, format!("leased {what} until {}", until.human())));
            }
            Event::ReadOnly { why } => self.line(&paint(
                NOTE,
                format!("this registry takes no writes from here: nothing is leased or pushed ({why})"),
            )),
            Event::Used { name, digest } => self.line(&box_line(&name, "present", digest.short())),
            Event::Waiting { name, run, patience } => {
                let text =
                    format!("run {run} builds it; waiting up to {patience} (--wait 0s builds at once)");
                self.line(&box_line(&name, "waiting", &text));
            }
            Event::Building { name, reason, entries } => {
                let files = if entries == 1 {
                    "1 context entry".to_owned()
                } else {
                    format!("{entries} context entries")
                };
                self.line(&box_line(&name, "building", &format!("{reason}; {files}")));
                self.start_bar(&name);
            }
            Event::Build { name, event } => self.build(&name, event),
            Event::Pushing { name, reference } => self.line(&box_line(&name, "pushing", &reference)),
            Event::Push { name, event } => self.push(&name, event),
            Event::Moved { what, sent, total } => self.moved(what, sent, total),
            Event::Built { name, digest, adopted, seconds } => {
                self.end_bar(&name);
                let whose = if adopted { "another run's image, " } else { "" };
                let text = format!("{whose}{} in {}", digest.short(), duration(seconds));
                self.line(&box_line(&name, &paint(GOOD, "built"), &text));
            }
            Event::Failed { name, error } => {
                self.end_bar(&name);
                self.always(&box_line(&name, &paint(BAD, "failed"), &error));
            }
            Event::Skipped { name, because } => {
                self.line(&box_line(&name, &paint(NOTE, "skipped"), &format!("{because} is not there")));
            }
            Event::Tagged { name, reference, digest } => {
                self.line(&box_line(
                    &name,
                    &paint(GOOD, "tagged"),
                    &format!("{reference} → {}", digest.short()),
                ));
            }
            Event::Condemned { reference } => self.line(&format!("{} {reference}", paint(NOTE, "condemned"))),
            Event::Deleted { reference } => self.line(&format!("{} {reference}", paint(BAD, "deleted"))),
            Event::Held(Wait { host, span, why }) => {
                let text = format!("waiting {} for {host}: {why}", duration(span.as_secs_f64()));
                self.line(&paint(NOTE, text));
            }
            Event::Note { text } => self.line(&paint(NOTE, text)),
        }
    }

    /// Shows what belongs to no single box on a line of its own.
    fn moved(&self, what: &str, sent: u64, total: u64) {
        let is_new = !self.state.lock().unwrap_or_else(PoisonError::into_inner).contains_key(what);
        if is_new {
            self.start_bar(what);
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.live(state.entry(what.to_owned()).or_default(), &format!("{} of {}", size(sent), size(total)));
    }

    /// Takes away every line that is redrawn.
    pub fn end(&self) {
        let state = std::mem::take(&mut *self.state.lock().unwrap_or_else(PoisonError::into_inner));
        state.into_values().filter_map(|of_box| of_box.bar).for_each(|bar| bar.finish_and_clear());
    }

    fn build(&self, name: &str, event: BuildEvent) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let of_box = state.entry(name.to_owned()).or_default();
        match event {
            BuildEvent::Step { id, name: step, state: StepState::Started } => {
                self.live(of_box, &step);
                of_box.steps.entry(id).or_insert_with(|| Step {
                    name: step,
                    began: Instant::now(),
                    log: Vec::new(),
                    was_cut: false,
                });
            }
            BuildEvent::Step { id, name: step, state: StepState::Done } => {
                let seconds = of_box.steps.remove(&id).map_or(0.0, |step| step.began.elapsed().as_secs_f64());
                self.step(name, &step, &duration(seconds));
            }
            BuildEvent::Step { id, name: step, state: StepState::Cached } => {
                of_box.steps.remove(&id);
                self.step(name, &step, "cached");
            }
            BuildEvent::Step { id, name: step, state: StepState::Failed { error } } => {
                let failed = of_box.steps.remove(&id);
                self.always(&box_line(name, &paint(BAD, "failed"), &printable(&step, 400)));
                if let Some(failed) = failed.filter(|_| !self.terminal.verbose) {
                    if failed.was_cut {
                        self.always(&paint(
                            DIM,
                            format!("… only the last {} MiB of the log", LOG_LIMIT >> 20),
                        ));
                    }
                    for line in String::from_utf8_lossy(&failed.log).lines() {
                        self.always(&format!("  {}", printable(line.trim_end(), usize::MAX)));
                    }
                }
                self.always(&paint(DIM, format!("  {}", printable(&error, 2000))));
            }
            BuildEvent::Log { id, bytes, .. } => {
                if self.terminal.verbose {
                    for line in String::from_utf8_lossy(&bytes).lines() {
                        self.line(&format!("{} {}", paint(DIM, name), printable(line, usize::MAX)));
                    }
                }
                let Some(step) = of_box.steps.get_mut(&id) else { return };
                step.log.extend_from_slice(&bytes);
                if step.log.len() > LOG_LIMIT {
                    step.log.drain(..step.log.len() - LOG_LIMIT / 2);
                    step.was_cut = true;
                }
                let text = String::from_utf8_lossy(&bytes);
                if let Some(last) = text.lines().rev().find(|line| !line.trim().is_empty()) {
                    let name = printable(&short_digests(&step.name), STEP_WIDTH);
                    let label = format!("{name} │ {}", last.trim());
                    self.live(of_box, &label);
                }
            }
        }
    }

    fn push(&self, name: &str, event: PushEvent) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let of_box = state.entry(name.to_owned()).or_default();
        let total = event.total.unwrap_or(0).max(event.sent);
        of_box.layers.insert(event.layer, (event.sent, total));
        let (sent, total) =
            of_box.layers.values().fold((0, 0), |(sent, total), layer| (sent + layer.0, total + layer.1));
        let label = format!("pushing {} of {}", size(sent), size(total));
        self.live(of_box, &label);
    }

    fn start_bar(&self, name: &str) {
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix:.bold} {elapsed:.dim} {wide_msg}")
        {
            bar.set_style(style);
        }
        bar.set_prefix(name.to_owned());
        bar.enable_steady_tick(Duration::from_millis(125));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.entry(name.to_owned()).or_default().bar = Some(bar);
    }

    fn end_bar(&self, name: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bar) = state.remove(name).and_then(|of_box| of_box.bar) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
    }

    fn live(&self, of_box: &BoxState, label: &str) {
        if let Some(bar) = &of_box.bar {
            bar.set_message(printable(label, 400));
        }
    }

    fn step(&self, name: &str, step: &str, how: &str) {
        // The engine's own errands say nothing about the box.
        let is_errand = step.starts_with("[internal]") || step.starts_with("copy /context");
        if self.terminal.verbose || !(self.terminal.is_live || is_errand) {
            let step = short_digests(step);
            self.line(&format!("{} {} {}", paint(BOLD, name), printable(&step, 200), paint(DIM, how)));
        }
    }

    /// Prints a line unless told to be quiet; where lines are not redrawn, with the time.
    fn line(&self, text: &str) {
        if !self.terminal.quiet {
            self.always(text);
        }
    }

    fn always(&self, text: &str) {
        if self.terminal.is_live {
            self.bars.suspend(|| self.terminal.warn(text));
        } else {
            let seconds = self.began.elapsed().as_secs();
            let time = paint(DIM, format!("{:>2}:{:02}", seconds / 60, seconds % 60));
            self.terminal.warn(&format!("{time} {text}"));
        }
    }
}

fn box_line(name: &str, what: &str, text: &str) -> String {
    format!("{} {what}: {text}", paint(BOLD, name))
}

/// Cuts digests in a text to the length that people compare.
pub fn short_digests(text: &str) -> String {
    const START: &str = "sha256:";
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        let (before, after) = rest.split_at(at + START.len());
        out.push_str(before);
        let digits = after.bytes().take_while(u8::is_ascii_hexdigit).count();
        out.push_str(&after[..digits.min(12)]);
        rest = &after[digits..];
    }
    out + rest
}

/// Writes seconds for people.
pub fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        format!("{seconds:.1}s")
    } else if seconds < 120.0 {
        format!("{seconds:.0}s")
    } else {
        format!("{:.0}m{:02.0}s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

/// Writes a number of bytes for people.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_cut() {
        let long = format!("FROM a@sha256:{} AS b", "0123456789abcdef".repeat(4));
        assert_eq!(short_digests(&long), "FROM a@sha256:0123456789ab AS b");
        assert_eq!(short_digests("sha256:zz"), "sha256:zz");
    }

    #[test]
    fn figures_for_people() {
        assert_eq!(duration(0.04), "0.0s");
        assert_eq!(duration(75.2), "75s");
        assert_eq!(duration(185.0), "3m05s");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_540_000), "1.5 MB");
    }
}

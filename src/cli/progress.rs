//! Shows what goes on: a line a box that is redrawn on a terminal, timed plain lines elsewhere.
//! Of a step that failed the last lines are shown and where its whole log is; or all of it, in a
//! CI, whose machine may be gone later, and where there is no log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::buildlog::BuildLogs;
use super::figures::{duration, how_far};
use super::steps::{short_digests, without_box};
use super::tally::Tally;
use super::terminal::{BAD, BOLD, DIM, GOOD, NOTE, Terminal, paint};
use crate::exec::{Event, FailedStep, Failure};
use crate::model::{output_line, printable, size};
use crate::port::{BuildEvent, DiskSpace, PushEvent, StepState, Wait};

/// What is kept of a step's log in case it fails, in bytes; of a longer one its end.
const LOG_LIMIT: usize = 16 * 1024 * 1024;

/// How much of a step's name stands before the last line of its output, in characters.
const STEP_WIDTH: usize = 40;

/// The number of columns from which on there is room for that.
const WIDE: usize = 120;

/// How often it is told how far a sweep is, where lines are not redrawn.
const TELLING: Duration = Duration::from_secs(10);

/// The longest name that others are lined up with, in characters.
const NAME_WIDTH: usize = 28;

/// Prints events.
pub struct Progress {
    terminal: Terminal,
    began: Instant,
    bars: MultiProgress,
    /// The line above all others.
    sum: ProgressBar,
    tally: Mutex<Tally>,
    state: Mutex<BTreeMap<String, BoxState>>,
    logs: BuildLogs,
}

#[derive(Default)]
struct BoxState {
    bar: Option<ProgressBar>,
    began: Option<Instant>,
    /// When it was last told how far it is.
    told: Option<Instant>,
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
        let sum = ProgressBar::hidden();
        if let Ok(style) = ProgressStyle::with_template("{elapsed:>5} {wide_msg}") {
            sum.set_style(style);
        }
        let (tally, state, logs) = Default::default();
        Self { terminal, began: Instant::now(), bars, sum, tally, state, logs }
    }

    /// Keeps the logs of failed builds.
    #[must_use]
    pub fn logging(self, logs: BuildLogs) -> Self {
        Self { logs, ..self }
    }

    /// Returns where the log of a box's failed build stands, if one does.
    pub fn log(&self, name: &str) -> Option<PathBuf> {
        self.logs.path(name)
    }

    /// Takes an event.
    pub fn event(&self, event: Event) {
        let sum = self.tally().take(&event);
        sum.into_iter().for_each(|text| self.sum.set_message(text));
        self.logs.event(&event);
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
            Event::LowDiskSpace { room: DiskSpace { path, free }, needed } => {
                let text = format!(
                    "the engine has {} free for {}; contexts and parents alone bring {}, unless it has them already",
                    size(free),
                    path.display(),
                    size(needed)
                );
                self.line(&paint(NOTE, text));
            }
            Event::Building { name, reason, entries } => {
                let files = if entries == 1 {
                    "1 context entry".to_owned()
                } else {
                    format!("{entries} context entries")
                };
                // Where lines are redrawn the box's own line tells it.
                let why = format!("{reason}; {files}");
                if !self.terminal.is_live {
                    self.line(&box_line(&name, "building", &why));
                }
                self.start_bar(&name);
                self.relabel(&name, &why);
            }
            Event::Build { name, event } => self.build(&name, event),
            Event::Pushing { name, reference } if self.has_bar(&name) => {
                self.relabel(&name, &format!("pushing {reference}"));
            }
            Event::Pushing { name, reference } => self.line(&box_line(&name, "pushing", &reference)),
            Event::Push { name, event } => self.push(&name, event),
            Event::Moved { what, sent, total } => self.moved(what, sent, total),
            Event::Built { name, digest, adopted, seconds } => {
                let sent = self.sent(&name);
                self.end_bar(&name);
                let whose = if adopted { "another run's image, " } else { "" };
                let pushed = if sent > 0 { format!(", {} pushed", size(sent)) } else { String::new() };
                let text = format!("{whose}{} in {}{pushed}", digest.short(), duration(seconds));
                self.line(&box_line(&name, &paint(GOOD, "built"), &text));
            }
            Event::Failed { name, failure } => {
                self.end_bar(&name);
                self.always_lines(&self.failed(&name, &failure));
                if let Some(request) = failure.error.explain().request.filter(|_| self.terminal.verbose) {
                    self.line(&box_line(&name, "request", request));
                }
            }
            Event::Skipped { name, why } => self.line(&box_line(&name, &paint(NOTE, "not built"), &why)),
            Event::Tagged { name, reference, digest } => {
                self.line(&box_line(
                    &name,
                    &paint(GOOD, "tagged"),
                    &format!("{reference} → {}", digest.short()),
                ));
            }
            Event::Condemned { reference } => self.line(&format!("{} {reference}", paint(NOTE, "condemned"))),
            Event::Deleted { reference } => self.line(&format!("{} {reference}", paint(BAD, "deleted"))),
            Event::Untagged { reference } => self.line(&format!("{} {reference}", paint(BAD, "untagged"))),
            Event::Sweeping { what, done, all } => self.sweeping(what, done, all),
            Event::Held(Wait { host, span, why }) => {
                let text = format!("waiting {} for {host}: {why}", duration(span.as_secs_f64()));
                self.line(&paint(NOTE, text));
            }
            Event::Note { text } => self.line(&paint(NOTE, text)),
        }
    }

    /// Whether all that a failed step printed is shown when it fails.
    fn is_whole(&self, name: &str) -> bool {
        self.terminal.is_ci || self.logs.path(name).is_none()
    }

    /// Words a failure, with the last lines of its step where they were not shown before.
    fn failed(&self, name: &str, failure: &Failure) -> String {
        let step = failure.step.as_ref();
        let why: Vec<String> = failure.why().lines().map(|line| printable(line, 2000)).collect();
        let mut text = box_line(name, &paint(BAD, "failed"), &why.join("\n"));
        let dim = |line: String| format!("\n  {}", paint(DIM, line));
        let is_shown = self.terminal.verbose || self.is_whole(name);
        if let Some(FailedStep { last, lines, .. }) = step.filter(|_| !is_shown) {
            if *lines > last.len() {
                text += &dim(format!("… {} lines before these", lines - last.len()));
            }
            for line in last {
                text += &format!("\n  {line}");
            }
        }
        if let Some(path) = self.logs.path(name).filter(|_| step.is_some()) {
            text += &dim(format!("whole log: {}", path.display()));
        }
        text
    }

    /// Shows what belongs to no single box on a line of its own.
    fn moved(&self, what: &str, sent: u64, total: u64) {
        self.start_once(what);
        let mut state = self.state();
        self.live(state.entry(what.to_owned()).or_default(), &format!("{} of {}", size(sent), size(total)));
    }

    /// Shows how far a sweep is: on a line of its own, elsewhere now and then.
    fn sweeping(&self, what: &'static str, done: usize, all: usize) {
        self.start_once(what);
        let mut state = self.state();
        let of_this = state.entry(what.to_owned()).or_default();
        let (now, began) = (Instant::now(), *of_this.began.get_or_insert_with(Instant::now));
        let text = how_far(done, all, now.saturating_duration_since(began));
        self.live(of_this, &text);
        if !self.terminal.is_live && now.saturating_duration_since(of_this.told.unwrap_or(began)) >= TELLING {
            of_this.told = Some(now);
            self.line(&paint(DIM, format!("{what}: {text}")));
        }
    }

    /// Takes away every line that is redrawn.
    pub fn end(&self) {
        let state = std::mem::take(&mut *self.state());
        state.into_values().filter_map(|of_box| of_box.bar).for_each(|bar| bar.finish_and_clear());
    }

    fn build(&self, name: &str, event: BuildEvent) {
        let mut state = self.state();
        let of_box = state.entry(name.to_owned()).or_default();
        match event {
            BuildEvent::Step { id, name: step, state: StepState::Started } => {
                self.live(of_box, &short_digests(without_box(&step)));
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
                if !self.is_whole(name) {
                    return;
                }
                self.always(&box_line(name, &paint(BAD, "failed"), &printable(&step, 400)));
                if let Some(failed) = failed.filter(|_| !self.terminal.verbose) {
                    if failed.was_cut {
                        self.always(&paint(
                            DIM,
                            format!("… only the last {} MiB of the log", LOG_LIMIT >> 20),
                        ));
                    }
                    for line in String::from_utf8_lossy(&failed.log).lines() {
                        self.always(&format!("  {}", output_line(line)));
                    }
                }
                self.always(&paint(DIM, format!("  {}", printable(&error, 2000))));
            }
            BuildEvent::Log { id, bytes, .. } => {
                if self.terminal.verbose {
                    for line in String::from_utf8_lossy(&bytes).lines() {
                        self.line(&format!("{} {}", paint(DIM, name), output_line(line)));
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
                    let name = printable(&short_digests(without_box(&step.name)), self.step_width());
                    let label = format!("{name} │ {}", output_line(last).trim());
                    self.live(of_box, &label);
                }
            }
        }
    }

    fn push(&self, name: &str, event: PushEvent) {
        let mut state = self.state();
        let of_box = state.entry(name.to_owned()).or_default();
        let total = event.total.unwrap_or(0).max(event.sent);
        of_box.layers.insert(event.layer, (event.sent, total));
        let (sent, total) =
            of_box.layers.values().fold((0, 0), |(sent, total), layer| (sent + layer.0, total + layer.1));
        let label = format!("pushing {} of {}", size(sent), size(total));
        self.live(of_box, &label);
    }

    fn start_once(&self, name: &str) {
        let is_new = !self.state().contains_key(name);
        if is_new {
            self.start_bar(name);
        }
    }

    fn start_bar(&self, name: &str) {
        let is_first = self.state().values().all(|one| one.bar.is_none());
        if is_first && self.terminal.is_live && !self.terminal.quiet && self.tally().all > 1 {
            // Where there are more boxes than lines the last ones are not seen.
            self.bars.insert(0, self.sum.clone());
            self.sum.enable_steady_tick(Duration::from_secs(1));
        }
        let bar = self.bars.add(ProgressBar::new_spinner());
        let template = match self.terminal.is_colored() {
            true => "{spinner} {elapsed:>4.dim} {prefix:.bold} {wide_msg}",
            false => "{spinner} {elapsed:>4} {prefix} {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            let ticks = if self.terminal.is_unicode { "⠁⠂⠄⡀⢀⠠⠐⠈ " } else { "|/-\\ " };
            bar.set_style(style.tick_chars(ticks));
        }
        bar.enable_steady_tick(Duration::from_millis(125));
        let mut state = self.state();
        state.entry(name.to_owned()).or_default().bar = Some(bar);
        // Names line up, as long as none is so long that nothing else would be seen.
        let bars = || state.iter().filter_map(|(name, of_box)| Some((name, of_box.bar.as_ref()?)));
        let longest = bars().map(|(name, _)| name.len()).max().unwrap_or(0).min(NAME_WIDTH);
        for (name, bar) in bars() {
            bar.set_prefix(format!("{name:longest$}"));
        }
    }

    fn end_bar(&self, name: &str) {
        let mut state = self.state();
        if let Some(bar) = state.remove(name).and_then(|of_box| of_box.bar) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        if state.values().all(|of_box| of_box.bar.is_none()) {
            self.sum.disable_steady_tick();
            self.bars.remove(&self.sum);
        }
    }

    /// Returns how much of a box was pushed, in bytes.
    fn sent(&self, name: &str) -> u64 {
        let state = self.state();
        state.get(name).map_or(0, |of_box| of_box.layers.values().map(|(sent, _)| sent).sum())
    }

    fn has_bar(&self, name: &str) -> bool {
        let state = self.state();
        self.terminal.is_live && state.get(name).is_some_and(|of_box| of_box.bar.is_some())
    }

    /// Returns how much of a step's name is shown before its output.
    fn step_width(&self) -> usize {
        if self.bars_width() < WIDE { STEP_WIDTH / 2 } else { STEP_WIDTH }
    }

    fn bars_width(&self) -> usize {
        let size = rustix::termios::tcgetwinsize(std::io::stderr());
        size.map_or(WIDE, |size| usize::from(size.ws_col))
    }

    fn state(&self) -> MutexGuard<'_, BTreeMap<String, BoxState>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn relabel(&self, name: &str, label: &str) {
        let state = self.state();
        state.get(name).into_iter().for_each(|of_box| self.live(of_box, label));
    }

    fn live(&self, of_box: &BoxState, label: &str) {
        if let Some(bar) = &of_box.bar {
            bar.set_message(self.terminal.shown(&printable(label, 400)).into_owned());
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
        self.always_lines(&text.replace('\n', "\\n"));
    }

    fn always_lines(&self, text: &str) {
        if self.terminal.is_live {
            self.bars.suspend(|| self.terminal.warn_lines(text));
        } else {
            let seconds = self.began.elapsed().as_secs();
            let time = paint(DIM, format!("{:>2}:{:02}", seconds / 60, seconds % 60));
            self.terminal.warn_lines(&format!("{time} {text}"));
        }
    }
}

fn box_line(name: &str, what: &str, text: &str) -> String {
    format!("{} {what}: {text}", paint(BOLD, name))
}

//! Arguments for all boxes that none of them declares: a slip of the pen, as a rule.

use std::collections::BTreeMap;

use super::terminal::{NOTE, paint};
use crate::config::nearest;
use crate::exec::ResolvedBox;

/// More boxes than these are counted.
const MANY: usize = 6;

/// Says which arguments none of the boxes declares, a line for each.
pub fn lines(boxes: &[ResolvedBox], args: &BTreeMap<String, String>) -> Vec<String> {
    let names: Vec<&str> = boxes.iter().map(|keyed| &*keyed.wanted.name).collect();
    let of = match &names[..] {
        [] => return Vec::new(),
        [one] => format!("box {one} does not declare"),
        names if names.len() > MANY => format!("none of {} boxes declares", names.len()),
        names => format!("none of the boxes {} declares", names.join(", ")),
    };
    let line = |name: &String| {
        let known: Vec<&str> = boxes.iter().flat_map(ResolvedBox::declared).collect();
        let near = nearest(name, &known);
        let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        format!("{} {of} the argument `{name}`, which so changes nothing{near}", paint(NOTE, "warning:"))
    };
    let is_idle = |name: &&String| boxes.iter().all(|keyed| keyed.is_unused(name));
    args.keys().filter(is_idle).map(line).collect()
}

//! Wanted + observed → ordered steps, each with its reason. Pure: the same input gives the
//! same plan.

mod build;
mod promote;
mod promoter;

pub use build::{Action, Recorded, Row, Seen, State, Wanted, plan};
pub use promote::{Member, Past, Promotion, Refusal, Step, StepState, promotion};
pub use promoter::{Promoter, PromoterAction, PromoterEnd, PromoterSaw, Why};

//! Wanted + observed → ordered steps, each with its reason. Pure: the same input gives the
//! same plan.

mod build;
mod promote;
mod refusal;
mod rollback;

pub use build::{Decision, Parent, Reason, Recorded, Seen, State, Wanted, decide, plan};
pub use promote::{Member, Past, Promotion, PromotionRequest, Step, StepState, promotion};
pub use refusal::Refusal;
pub use rollback::{Rollback, rollback};

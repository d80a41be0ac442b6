//! Whoever may push: records that would have the cron delete.

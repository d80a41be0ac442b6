#![no_main]

boxwright_fuzz::target!(config);

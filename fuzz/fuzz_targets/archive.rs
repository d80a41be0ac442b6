#![no_main]

boxwright_fuzz::target!(archive);

#![no_main]

boxwright_fuzz::target!(event);

#![no_main]

boxwright_fuzz::target!(lock);

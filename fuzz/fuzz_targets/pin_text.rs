#![no_main]

boxwright_fuzz::target!(pin_text);

#![no_main]

boxwright_fuzz::target!(dockerignore);

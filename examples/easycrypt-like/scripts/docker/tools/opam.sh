echo opam 2.4.1

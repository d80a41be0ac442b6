for prover in alt-ergo z3 cvc5; do echo "prover $prover"; done

# Checks one part of the library, in a box that has what the part needs.
set -eu
case $1 in
  unit) grep -q '^easycrypt ' /opt/ec/packages ;;
  stdlib) grep -q '^prover z3$' /opt/ec/packages && grep -q '^lemma' theories/*.ec ;;
  *) echo "no such part: $1" >&2; exit 2 ;;
esac
echo "checked $1"

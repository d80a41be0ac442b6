lemma trivial : true.

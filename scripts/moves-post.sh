set -e
sed -i 's/\bbefore::check/preflight::check/' src/exec/build/mod.rs src/exec/build/local.rs
sed -i 's/preflight::{self, NoRoom}/preflight::NoRoom/; s/\bstored::remember/inputs::remember/' src/exec/build/mod.rs
sed -i 's/\bold::remove/expire::remove/' src/exec/clean/sweep.rs
sed -i 's/sources::{self, /sources::{/' src/exec/keys/mod.rs
sed -i 's/crate::plan::promote::{/crate::plan::{/' src/protocol/promote.rs
sed -i 's/crate::retention::clean::decide/crate::retention::decide/; s/crate::retention::observed::{/crate::retention::{/' src/protocol/sweep.rs
# times of the retention in one file
python3 - <<'P'
import re
p='src/protocol/sweep.rs'; s=open(p).read()
m=re.search(r'((?:^///.*\n)*)^pub const DEADLINE: Duration = .*\n', s, re.M); dead=m.group(0); s=s.replace(dead,''); 
p2='src/retention/clean.rs'; c=open(p2).read()
m=re.search(r'((?:^///.*\n)*)^pub\(super\) const RETIRED: Span = .*\n', c, re.M) or re.search(r'((?:^///.*\n)*)^pub\(in crate::retention\) const RETIRED: Span = .*\n', c, re.M); ret=m.group(0); c=c.replace(ret,'')
open('src/retention/times.rs','w').write('//! How long a sweep and what it leaves behind may live.\n\nuse std::time::Duration;\n\nuse crate::model::Span;\n\n'+dead+'\n'+ret.replace('pub(in crate::retention)','pub(super)'))
s=s.replace('use crate::retention::{','use crate::retention::{DEADLINE, ',1)
open(p,'w').write(s)
c=re.sub(r'(use super::roots::Roots;\n|use crate::retention::roots::Roots;\n)', r'\1use super::times::RETIRED;\n', c); open(p2,'w').write(c)
p='src/retention/endings.rs'; s=open(p).read()
s=s.replace('use crate::protocol::sweep::DEADLINE;\n','').replace('use crate::retention::clean::RETIRED;\n','use crate::retention::times::{DEADLINE, RETIRED};\n'); open(p,'w').write(s)
p='src/protocol/mod.rs'; s=open(p).read(); s=s.replace('DEADLINE, ',''); open(p,'w').write(s)
p='src/retention/mod.rs'; s=open(p).read(); s=s.replace('mod roots;\n','mod roots;\nmod times;\n')+'pub use times::DEADLINE;\n'; open(p,'w').write(s)
P

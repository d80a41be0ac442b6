#!/usr/bin/env python3
"""Moves whole files of src/exec, src/retention, src/plan to the new layout. Run in a clone's root."""
import re, subprocess, sys, os
from pathlib import Path
src = Path('src')
M = {  # old module path -> new
 'exec::before':'exec::build::preflight','exec::beyond':'exec::build::engine_needs','exec::build':'exec::build',
 'exec::carry':'exec::promote::carry','exec::clean':'exec::clean','exec::closure':'exec::clean::closure',
 'exec::content':'exec::promote::content','exec::copy':'exec::image::copy','exec::elsewhere':'exec::promote::cross_registry',
 'exec::explain':'exec::explain','exec::export':'exec::archive::export','exec::findings':'exec::keys::findings',
 'exec::finish':'exec::build::record','exec::import':'exec::archive::import','exec::ledger':'exec::ledger',
 'exec::local':'exec::build::local','exec::lock':'exec::keys::lock','exec::log':'exec::ledger::history',
 'exec::make':'exec::build::job','exec::marker':'exec::ledger::marker','exec::old':'exec::ledger::expire',
 'exec::outcome':'exec::build::outcome','exec::pack':'exec::archive::pack','exec::past':'exec::ledger::past',
 'exec::pins':'exec::keys::pins','exec::probe':'exec::image::probe','exec::promote':'exec::promote',
 'exec::protect':'exec::clean::protect','exec::reasons':'exec::explain::reasons','exec::rebuild':'exec::build::rebuild',
 'exec::redact':'exec::build::redact','exec::schedule':'exec::build::schedule','exec::secrets':'exec::build::secrets',
 'exec::sources':'exec::keys::sources','exec::standing':'exec::inventory','exec::stored':'exec::ledger::inputs',
 'exec::survey':'exec::clean::survey','exec::sweep':'exec::clean::sweep','exec::undo':'exec::clean::undo',
 'exec::within':'exec::clean::limits','exec::attached':'exec::image::attached',
 'retention::run':'protocol::run','retention::job':'protocol::job','retention::sweep':'protocol::sweep','retention::lease':'protocol::lease',
 'plan::promoter':'protocol::promote',
}
if len(sys.argv) > 1:  # extra moves: old=new
    for a in sys.argv[1:]:
        o, n = a.split('='); M[o] = n
def file_of(mod, dirs):
    p = src / Path(*mod.split('::'))
    return p / 'mod.rs' if mod in dirs else p.with_suffix('.rs')
def old_file(mod):
    p = src / Path(*mod.split('::'))
    return p.with_suffix('.rs') if p.with_suffix('.rs').exists() else p / 'mod.rs'
dirs_new = set()
for n in M.values():
    parts = n.split('::')
    for i in range(1, len(parts)): dirs_new.add('::'.join(parts[:i]))
# modules with children dirs today (x.rs + x/ or x/mod.rs)
allfiles = sorted(src.rglob('*.rs'))
def mod_of(path):
    parts = list(path.relative_to(src).with_suffix('').parts)
    if parts[-1] == 'mod': parts = parts[:-1]
    if parts in (['lib'], ['main']): return ''
    return '::'.join(parts)
def newmod(mod):
    parts = mod.split('::')
    for i in range(len(parts), 0, -1):
        head = '::'.join(parts[:i])
        if head in M: return '::'.join([M[head]] + parts[i:])
    return mod
def map_abs(path):
    """crate-relative old path a::b::Name -> new"""
    return newmod(path)
def split_tests(text):
    i = text.find('#[cfg(test)]\nmod tests {')
    return (text, '') if i < 0 else (text[:i], text[i:])
def expand_groups(text, prefix):
    """use <prefix>::{a, b as c, d::E}; -> single uses, flat groups only; nested left"""
    def f(m):
        vis, body = m.group(1), m.group(2)
        items, depth, cur = [], 0, ''
        for ch in body:
            if ch == '{': depth += 1
            if ch == '}': depth -= 1
            if ch == ',' and depth == 0: items.append(cur.strip()); cur = ''
            else: cur += ch
        if cur.strip(): items.append(cur.strip())
        out = []
        for it in items:
            out.append(f'{vis}use {prefix}::{it};' if it != 'self' else f'{vis}use {prefix};')
        return '\n'.join(out)
    return re.sub(r'((?:pub(?:\([a-z: ]+\))? )?)use ' + re.escape(prefix) + r'::\{((?:[^{};]|\{[^{}]*\})*)\};', f, text)
touch = {m for m in M}
def in_scope(mod):
    top = mod.split('::')[0]
    return top in ('exec', 'retention', 'plan')
texts = {}
# names that retention and plan give out from modules that move to protocol
PROTO = {}
for top in ('retention', 'plan'):
    for m in re.finditer(r'pub use (\w+)::(\{[^}]*\}|\w+);', (src / top / 'mod.rs').read_text()):
        if f'{top}::{m.group(1)}' in M:
            for name in re.findall(r'\w+', m.group(2)): PROTO[(top, name)] = f'protocol::{name}'
def merge_uses(text):
    lines, out, groups, order = text.split('\n'), [], {}, []
    def flush():
        for k in order:
            names = sorted(set(groups[k]), key=lambda x: (x[0].isupper(), x))
            vis, pre = k
            out.append(f'{vis}use {pre}::{names[0]};' if len(names) == 1 else f'{vis}use {pre}::{{{", ".join(names)}}};')
        groups.clear(); order.clear()
    for l in lines:
        m = re.fullmatch(r'((?:pub(?:\([a-z: ]+\))? )?)use (crate(?:::[a-z_]+)+)::(\w+(?: as \w+)?|\{[\w, ]+\});', l)
        if m:
            k = (m.group(1), m.group(2)); names = [x.strip() for x in m.group(3).strip('{}').split(',') if x.strip()]
            if k not in groups: groups[k] = []; order.append(k)
            groups[k] += names
        else:
            flush(); out.append(l)
    flush()
    return '\n'.join(out)
for p in allfiles:
    mod = mod_of(p); t = p.read_text()
    top = mod.split('::')[0]
    if in_scope(mod):
        main, tests = split_tests(t)
        def absol(text, base):
            def f(m):
                n = m.group(0).count('super::')
                parts = base.split('::')
                parts = parts[:len(parts) - n]
                return 'crate::' + ('::'.join(parts) + '::' if parts else '')
            return re.sub(r'(?<![\w:])(?:super::)+', f, text)
        if mod.split('::')[-1] != 'tests': main = absol(main, mod)
        tests = re.sub(r'(?<![\w:])super::super::', lambda m: absol('super::', mod), tests)
        if mod in M or mod.startswith('exec::keys'):
            scope = M.get(mod, newmod(mod)).split('::')[0]
            main = main.replace('pub(super)', f'pub(in crate::{scope})')
        t = main + tests
        for x in ('exec', 'retention', 'plan'): t = expand_groups(t, f'crate::{x}')
        if top == 'exec':
            t = re.sub(r'crate::(exec(?:::\w+)+)', lambda m: 'crate::' + newmod(m.group(1)), t)
    for x in ('retention', 'plan'): t = expand_groups(t, f'crate::{x}')
    def g(m):
        path = m.group(1); parts = path.split('::')
        if tuple(parts[:2]) in PROTO: return 'crate::' + '::'.join([PROTO[tuple(parts[:2])]] + parts[2:])
        return 'crate::' + (newmod(path) if in_scope(mod) else path)
    t = re.sub(r'crate::((?:retention|plan)(?:::\w+)+)', g, t)
    t = merge_uses(t)
    texts[p] = t
# write
for p, t in texts.items():
    p.write_text(t)
subprocess_git = lambda *a: subprocess.run(['git', *a], check=True)
# move: first to temp names to avoid clashes
plan = []
for o, n in M.items():
    op = old_file(o)
    np = file_of(n, dirs_new)
    childdir = src / Path(*o.split('::'))
    plan.append((op, np))
    if childdir.is_dir() and op.name != 'mod.rs':
        for c in sorted(childdir.rglob('*.rs')):
            plan.append((c, src / Path(*n.split('::')) / c.relative_to(childdir)))
for op, np in plan:
    if op == np: continue
    np.parent.mkdir(parents=True, exist_ok=True)
    subprocess_git('mv', '-f', str(op), str(np))
print(len(plan), 'files moved')

# module declarations
def strip_mods(text, names):
    for n in names: text = re.sub(rf'^(?:pub(?:\([^)]*\))? )?mod {n};\n', '', text, flags=re.M)
    return text
for top in ('exec', 'retention', 'plan'):
    p = src / top / 'mod.rs'; t = p.read_text()
    gone = [o.split('::')[1] for o, n in M.items() if o.startswith(top + '::') and n != o]
    t = strip_mods(t, gone)
    def h(m):
        o = f'{top}::{m.group(2)}'
        if o not in M or M[o] == o: return m.group(0)
        if not M[o].startswith(top + '::'): return ''
        return f'{m.group(1)}use {M[o][len(top)+2:]}::{m.group(3)};\n'
    t = re.sub(r'^(pub )use (\w+)::(\{[^}]*\}|\w+);\n', h, t, flags=re.M)
    p.write_text(t)
HEAD = {'exec::archive': '//! Boxes as files: out of a registry or an engine, and back.\n',
        'exec::image': '//! Single images: what stands under a tag, what its labels say, and copies of it.\n',
        'protocol': '//! The step machines of the protocols: what a run, a job, a promotion and a sweep do next, from what\n//! they have seen. They are pure; `exec` carries out what they ask for, and the model check explores\n//! them as they are.\n'}
for d in sorted(dirs_new):
    if d in ('exec', 'exec::keys'):
        kids = sorted({n.split('::')[len(d.split('::'))] for n in M.values() if n.startswith(d + '::')})
    else:
        kids = sorted({n.split('::')[len(d.split('::'))] for n in M.values() if n.startswith(d + '::')})
    p = src / Path(*d.split('::')) / 'mod.rs'
    t = p.read_text() if p.exists() else HEAD.get(d, '')
    vis = 'pub(in crate::exec) ' if d.startswith('exec::') else ''
    kids = [k for k in kids if not re.search(rf'\bmod {k};', t)]
    decl = ''.join(f'{vis}mod {k};\n' for k in kids)
    head = re.match(r'(?://!.*\n)*', t).group(0)
    t = head + '\n' + decl + ('\n' if not t[len(head):].startswith('\n') else '') + t[len(head):]
    if d == 'protocol':
        by = {}
        for (top, name), n in PROTO.items(): by.setdefault(name, None)
        # names by file
        for o, n in M.items():
            if not n.startswith('protocol::'): continue
            f = file_of(n, dirs_new); body = f.read_text()
            names = [x for x in by if re.search(rf'^pub (?:struct|enum|fn|const|type|trait) {x}\b', body, re.M)]
            t += f'pub use {n.split("::")[1]}::{{{", ".join(sorted(names))}}};\n'
    p.write_text(t)
lib = src / 'lib.rs'; t = lib.read_text()
if 'pub mod protocol;' not in t: lib.write_text(t.replace('pub mod retention;', 'pub mod protocol;\npub mod retention;'))
# tests outside
for p in sorted(Path('tests').rglob('*.rs')):
    t = t0 = p.read_text()
    for x in ('retention', 'plan'):
        if f'boxwright::{x}' in t:
            t = expand_groups(t, f'boxwright::{x}')
            t = re.sub(rf'boxwright::{x}::(\w+)', lambda m: 'boxwright::' + PROTO.get((x, m.group(1)), f'{x}::{m.group(1)}'), t)
            t = merge_uses(t.replace('use boxwright::', 'use crate::BW::')).replace('crate::BW::', 'boxwright::')
    if t != t0: p.write_text(t)
subprocess.run(['cargo', 'fmt', '--all'])

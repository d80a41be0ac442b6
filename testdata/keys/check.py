#!/usr/bin/env python3
"""Computes input manifests and keys from the JSON cases beside it, by README.md alone.

Without arguments it compares with the stored vectors; --write stores them.
"""

import hashlib
import json
import pathlib
import sys

CHUNK = 8 * 1024 * 1024


def record(kind, *fields):
    parts = [kind.encode("ascii")]
    for field in fields:
        data = field if isinstance(field, bytes) else field.encode("utf-8")
        parts.append(str(len(data)).encode("ascii") + b":" + data)
    return b" ".join(parts) + b"\n"


def content(entry):
    if "text" in entry:
        return entry["text"].encode("utf-8")
    if "hex" in entry:
        return bytes.fromhex(entry["hex"])
    unit, length = entry["repeat"]
    unit = bytes.fromhex(unit)
    return (unit * (length // len(unit) + 1))[:length]


def digest(data):
    if len(data) > CHUNK:
        chunks = range(0, len(data), CHUNK)
        data = b"".join(hashlib.sha256(data[at : at + CHUNK]).digest() for at in chunks)
    return "sha256:" + hashlib.sha256(data).hexdigest()


def name_bytes(entry, name):
    if name + "_hex" in entry:
        return bytes.fromhex(entry[name + "_hex"])
    return entry[name].encode("utf-8")


def entry_fields(entry):
    path, kind = name_bytes(entry, "path"), entry["kind"]
    if kind in ("file", "executable"):
        data = content(entry)
        return path, kind, digest(data), str(len(data))
    if kind == "symlink":
        return path, kind, name_bytes(entry, "target")
    assert kind == "directory", kind
    return path, kind


def entries(listed):
    fields = sorted(map(entry_fields, listed), key=lambda fields: fields[0])
    return [record("entry", *each) for each in fields]


def manifest(case):
    out = [b"boxwright-inputs 1\n"]
    for name in ("epoch", "platform", "target"):
        out.append(record(name, case[name]))

    def table(kind, values):
        pairs = sorted((name.encode("utf-8"), value.encode("utf-8")) for name, value in values.items())
        out.extend(record(kind, *pair) for pair in pairs)

    table("directive", case.get("directives", {}))
    out.extend(record("instruction", text) for text in case.get("instructions", []))
    table("argument", case.get("arguments", {}))
    table("parent", case.get("parents", {}))
    table("image", case.get("images", {}))
    directories = {
        name: "sha256:" + hashlib.sha256(b"".join(entries(listed))).hexdigest()
        for name, listed in case.get("contexts", {}).items()
    }
    table("context", directories)
    table("pin", case.get("pins", {}))
    out.extend(record("secret", name) for name in sorted({s.encode("utf-8") for s in case.get("secrets", [])}))
    options = case.get("options", {})
    hosts = sorted({host.encode("utf-8") for host in options.get("extra_hosts", [])})
    out.extend(record("option", "extra-host", host) for host in hosts)
    if "network" in options:
        out.append(record("option", "network", options["network"]))
    if "shm_size" in options:
        out.append(record("option", "shm-size", str(options["shm_size"])))
    out.extend(entries(case.get("entries", [])))
    out.append(b"end\n")
    return b"".join(out)


def main():
    write = sys.argv[1:] == ["--write"]
    here = pathlib.Path(__file__).resolve().parent
    cases = sorted(here.glob("*.json"))
    wrong = 0
    for path in cases:
        data = manifest(json.loads(path.read_text(encoding="utf-8")))
        key = hashlib.sha256(data).hexdigest()[:32] + "\n"
        files = {".manifest": data, ".key": key.encode("ascii")}
        for suffix, expect in files.items():
            stored = path.with_suffix(suffix)
            if write:
                stored.write_bytes(expect)
            elif not stored.is_file() or stored.read_bytes() != expect:
                print(f"{stored.name} is not what README.md says", file=sys.stderr)
                wrong += 1
    if not cases:
        print("no cases", file=sys.stderr)
        return 1
    print(f"{len(cases)} cases, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

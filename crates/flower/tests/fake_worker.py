#!/usr/bin/env python3
"""A worker that speaks the protocol and does nothing private: the server sends a number to each node, which answers
twice that number, for three rounds. `STATE/plan.json` may say {"nodes": 2, "rounds": 3, "bytes": 0}, where `bytes`
is the size of a second file that travels both ways."""

import json
import sys
from pathlib import Path

PLAN = {"nodes": 2, "rounds": 3, "bytes": 0}


def client(folder, state):
    number = int((folder / "in" / "number").read_text())
    (folder / "out" / "answer").write_text(str(2 * number))
    if (folder / "in" / "blob").exists():
        (folder / "in" / "blob").rename(folder / "out" / "blob")
    ledger = state / "ledger"
    ledger.write_text((ledger.read_text() if ledger.exists() else "") + f"{number}\n")
    print("answered", number, file=sys.stderr)
    return {"label": f"answered {number}"}


def server(folder, state):
    journal = load(state / "journal.json", {"round": 1, "open": {}, "answers": [], "failed": []})
    plan = PLAN | load(state / "plan.json", {})
    online = json.loads((folder / "in" / "online.json").read_text())
    for path in sorted((folder / "in").iterdir()):
        if path.is_dir() and path.name in journal["open"]:
            if plan["bytes"] and (path / "blob").stat().st_size != plan["bytes"]:
                raise ValueError("the blob has another size")
            journal["answers"].append([journal["open"].pop(path.name), int((path / "answer").read_text())])
            journal["round"] += not journal["open"]
    for node in online["failed"]:
        if node in journal["open"]:
            journal["failed"].append(node)
            journal["round"] += len(journal["open"]) == 1
            del journal["open"][node]
    if not journal["open"] and journal["round"] <= plan["rounds"]:
        nodes = online["online"][: plan["nodes"]]
        if len(nodes) < plan["nodes"]:
            return {"wait": 1, "label": "waiting for nodes"}
        journal["open"] = {node: 10 * journal["round"] + index for index, node in enumerate(nodes)}
        journal["nodes"] = nodes
    save(state / "journal.json", journal)
    if journal["round"] > plan["rounds"]:
        return {"done": True, "label": f"{len(journal['answers'])} answers"}
    return {
        "send": [order(folder / "out", node, number, plan["bytes"]) for node, number in journal["open"].items()
                 if node not in online["waiting"]],
        "wait": 60,
        "seconds": 60,
        "label": f"round {journal['round']}",
    }  # fmt: skip


def order(out, node, number, size):
    (out / node).mkdir()
    (out / node / "number").write_text(str(number))
    files = {"number": f"{node}/number"}
    if size:
        with (out / "blob").open("wb") as file:
            file.truncate(size)
        files["blob"] = "blob"
    return {"to": node, "files": files}


def load(path, default):
    return json.loads(path.read_text()) if path.exists() else default


def save(path, content):
    new = path.with_suffix(".new")
    new.write_text(json.dumps(content))
    new.replace(path)


if __name__ == "__main__":
    if sys.argv[1:] == ["--protocol"]:
        print(1)
    else:
        verb, where, memory = sys.argv[1:]
        print("a line that is no answer")
        print(json.dumps({"client": client, "server": server}[verb](Path(where), Path(memory))))

"""python3-etcd3 against three members. Prints "ok ..." or "not ok ..." for each check. Usage: client.py HOST:PORT"""
import sys
import threading
import time
import traceback

import etcd3

host, port = sys.argv[1].rsplit(":", 1)
failed = False


def client():
    return etcd3.client(host=host, port=int(port), timeout=20)


def put_get_delete(c):
    c.put("/py/a", "1")
    value, meta = c.get("/py/a")
    assert value == b"1" and meta.version == 1, (value, meta.version)
    assert c.put("/py/a", "2", prev_kv=True).prev_kv.value == b"1"
    assert c.delete("/py/a") is True and c.delete("/py/a") is False
    assert c.get("/py/a") == (None, None)


def ranges(c):
    for i in range(25):
        c.put("/py/range/%02d" % i, str(i))
    assert [v for v, _ in c.get_prefix("/py/range/", sort_order="descend")][0] == b"24"
    assert len(list(c.get_range("/py/range/05", "/py/range/10"))) == 5
    assert c.delete_prefix("/py/range/").deleted == 25


def transaction(c):
    c.put("/py/txn", "old")
    good, _ = c.transaction(
        compare=[c.transactions.value("/py/txn") == "old", c.transactions.version("/py/txn") > 0],
        success=[c.transactions.put("/py/txn", "new"), c.transactions.get("/py/txn")],
        failure=[])
    assert good and c.get("/py/txn")[0] == b"new"
    assert not c.replace("/py/txn", "old", "never") and c.replace("/py/txn", "new", "newer")


def watch(c):
    events, cancel = c.watch_prefix("/py/watch/")
    threading.Thread(target=lambda: [client().put("/py/watch/%d" % i, str(i)) for i in range(20)], daemon=True).start()
    seen = [next(events).value for _ in range(20)]
    cancel()
    assert seen == [str(i).encode() for i in range(20)], seen


def watch_history_and_compaction(c):
    c.put("/py/history", "1")
    revision = c.get("/py/history")[1].mod_revision
    c.put("/py/history", "2")
    events, cancel = c.watch("/py/history", start_revision=revision)
    assert [next(events).value for _ in range(2)] == [b"1", b"2"]
    cancel()
    c.compact(c.status().header.revision if hasattr(c.status(), "header") else c.get("/py/history")[1].mod_revision)
    events, _ = c.watch("/py/history", start_revision=revision)
    try:
        next(events)
        raise AssertionError("a watch of what is compacted gave events")
    except etcd3.exceptions.RevisionCompactedError as e:
        assert e.compacted_revision > revision


def lease(c):
    one = c.lease(2)
    c.put("/py/lease", "v", lease=one)
    assert one.granted_ttl == 2 and 0 < one.remaining_ttl <= 2 and one.keys == [b"/py/lease"]
    list(one.refresh())
    deadline = time.time() + 20
    while c.get("/py/lease")[0] is not None:
        assert time.time() < deadline, "the key outlived its lease"
        time.sleep(0.2)


# That a second one has to wait is not asked: this client, with the tenacity that Debian has beside it, fails there by itself.
def lock(c):
    with c.lock("/py/lock", ttl=20) as held:
        assert held.is_acquired()
    assert client().lock("/py/lock", ttl=5).acquire(timeout=10)


def maintenance(c):
    assert c.status().version and c.status().leader is not None
    assert len(list(c.members)) >= 1
    assert c.hash() is not None
    c.defragment()
    with open("/dev/null", "wb") as out:
        c.snapshot(out)


def auth_is_off(c):
    try:
        etcd3.client(host=host, port=int(port), user="nobody", password="x", timeout=10)
        raise AssertionError("a login without users was let in")
    except Exception as e:  # The client passes on gRPC's own error.
        assert "authentication is not enabled" in str(e), e


for check in (put_get_delete, ranges, transaction, watch, watch_history_and_compaction, lease, lock, maintenance, auth_is_off):
    try:
        check(client())
        print("ok python3-etcd3:", check.__name__.replace("_", " "), flush=True)
    except Exception:
        failed = True
        print("not ok python3-etcd3:", check.__name__.replace("_", " "), traceback.format_exc().replace("\n", " | "), flush=True)
sys.exit(1 if failed else 0)

"""Works on the server with redis-py or valkey-py, as their users do.

Usage: redis_py.py redis|valkey PORT
"""

import importlib
import sys
import threading

library = importlib.import_module(sys.argv[1])
port = int(sys.argv[2])


def expect(is_, should):
    assert is_ == should, f"{is_!r} instead of {should!r}"


def refused(call, words):
    try:
        call()
    except library.ResponseError as error:
        assert words in str(error), f"{error} does not say {words}"
    else:
        raise AssertionError(f"nothing was refused; expected: {words}")


def strings(db):
    expect(db.set("s", "1"), True)
    expect(db.get("s"), b"1")
    expect(db.set("s", "2", nx=True), None)
    expect(db.set("none", "2", xx=True), None)
    expect(db.set("s", "2", get=True), b"1")
    expect(db.getdel("s"), b"2")
    expect(db.get("s"), None)
    expect(db.incr("n"), 1)
    expect(db.incrby("n", 9), 10)
    expect(db.decr("n", 3), 7)
    expect(db.incrbyfloat("n", 0.5), 7.5)
    expect(db.append("text", "abc"), 3)
    expect(db.append("text", "def"), 6)
    expect(db.strlen("text"), 6)
    expect(db.getrange("text", 1, -2), b"bcde")
    expect(db.setrange("text", 2, "XX"), 6)
    expect(db.get("text"), b"abXXef")
    expect(db.mset({"a": "1", "b": "2"}), True)
    expect(db.mget("a", "b", "none"), [b"1", b"2", None])
    expect(db.msetnx({"b": "3", "c": "3"}), False)
    expect(db.exists("c"), 0)
    refused(lambda: db.set("x", "1", ex=10), "do not expire")
    refused(lambda: db.incr("text"), "not an integer")
    refused(lambda: db.lpush("list", "1"), "unknown command")
    binary = bytes(range(256)) * 10
    db.set(binary, binary)
    expect(db.get(binary), binary)
    db.delete(binary)


def keys(db):
    db.flushall()
    names = [f"key:{n:04}".encode() for n in range(1000)]
    db.mset({name: "v" for name in names})
    expect(db.dbsize(), 1000)
    expect(sorted(db.scan_iter("key:*", count=17)), names)
    expect(sorted(db.keys("key:000?")), names[:10])
    expect(db.type("key:0000"), b"string")
    expect(db.rename("key:0000", "moved"), True)
    expect(db.exists("key:0000", "moved"), 1)
    expect(db.copy("moved", "copied"), True)
    expect(db.ttl("moved"), -1)
    expect(db.ttl("none"), -2)
    expect(db.delete("moved", "copied", "none"), 2)
    assert db.randomkey().startswith(b"key:")
    refused(lambda: db.expire("key:0001", 1), "do not expire")


def groups(db):
    with db.pipeline() as pipe:
        expect(pipe.set("g", "1").incr("g").get("g").execute(), [True, 2, b"2"])
    with db.pipeline(transaction=False) as pipe:
        for n in range(1000):
            pipe.set(f"p{n}", n)
        expect(pipe.execute(), [True] * 1000)
    with db.pipeline() as pipe:
        pipe.watch("g")
        db.set("g", "changed")
        pipe.multi()
        pipe.set("g", "lost")
        try:
            pipe.execute()
        except library.WatchError:
            pass
        else:
            raise AssertionError("EXEC did not see the change")
    expect(db.get("g"), b"changed")
    db.set("counter", 0)

    def add():
        for _ in range(50):
            db.transaction(lambda pipe: add_one(pipe), "counter")

    def add_one(pipe):
        value = int(pipe.get("counter"))
        pipe.multi()
        pipe.set("counter", value + 1)

    threads = [threading.Thread(target=add) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    expect(db.get("counter"), b"200")


def server(db):
    assert db.info()["redis_mode"] == "standalone"
    assert "maxclients" in db.config_get("*")
    assert db.client_list() and db.client_id() > 0
    expect(db.client_setname("tester"), True)
    expect(db.client_getname(), "tester" if db.get_encoder().decode_responses else db.client_getname())
    assert "get" in db.command()
    assert db.slowlog_len() >= 0
    assert db.wait(0, 100) >= 0
    assert db.time()[0] > 0
    assert db.memory_usage("g") > 0
    refused(lambda: db.select(3), "out of range")


for protocol in (2, 3):
    client = library.Redis if library.__name__ == "redis" else library.Valkey
    db = client(port=port, protocol=protocol)
    db.flushall()
    for part in (strings, keys, groups, server):
        part(db)
    db.flushall()
    db.close()
print(f"{library.__name__}: done")

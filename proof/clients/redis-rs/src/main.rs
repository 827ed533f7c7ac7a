//! Works on the server with redis-rs, as its users do. Usage: with-redis-rs PORT

use anyhow::{Context, Result, ensure};
use redis::{Client, Commands, Connection};

fn main() -> Result<()> {
    let port = std::env::args().nth(1).context("usage: with-redis-rs PORT")?;
    for protocol in ["", "?protocol=resp3"] {
        let client = Client::open(format!("redis://127.0.0.1:{port}/{protocol}"))?;
        work(&mut client.get_connection()?).with_context(|| format!("with '{protocol}'"))?;
    }
    println!("redis-rs: done");
    Ok(())
}

fn work(db: &mut Connection) -> Result<()> {
    let () = redis::cmd("FLUSHALL").query(db)?;
    let () = db.set("x", 100)?;
    ensure!(db.get::<_, i64>("x")? == 100);
    ensure!(db.get::<_, Option<String>>("none")?.is_none());
    ensure!(db.incr::<_, _, i64>("x", 1)? == 101);
    ensure!(!db.set_nx::<_, _, bool>("x", 1)?);
    ensure!(db.mget::<_, Vec<Option<i64>>>(&["x", "none"])? == [Some(101), None]);
    let (first, second): (i64, i64) = redis::pipe().atomic().incr("a", 1).incr("a", 1).query(db)?;
    ensure!((first, second) == (1, 2));
    let mut pipe = redis::pipe();
    for n in 0..1000 {
        pipe.set(format!("p{n}"), n).ignore();
    }
    let () = pipe.query(db)?;
    let found = db.scan_match::<_, String>("p*")?.collect::<Result<Vec<_>, _>>()?;
    ensure!(found.len() == 1000, "{} keys", found.len());
    let added = redis::transaction(db, &["a"], |db, pipe| {
        let old: i64 = db.get("a")?;
        pipe.set("a", old + 1).ignore().get("a").query::<Option<(i64,)>>(db)
    })?;
    ensure!(added == (3,), "{added:?}");
    let refused = db.set_ex::<_, _, ()>("x", 1, 10).expect_err("keys do not expire");
    ensure!(refused.to_string().contains("do not expire"), "{refused}");
    ensure!(db.del::<_, i64>(&["x", "a", "none"])? == 2);
    Ok(())
}

//! A server at a terminal.

use crate::common::Store;
use crate::common::terminal::{drop_line, exit_status, prompt, say, type_in};
use crate::servers::{Answer, Scripted, Served};

#[test]
fn a_prompt_with_tab_on_keys() {
    let served = Served::new(&[]);
    let mut session = prompt(&served.store, &["connect", &served.address]);
    say(&mut session, "PUT user:ada Lovelace", "OK");
    say(&mut session, "PUT user:alan Turing", "OK");
    say(&mut session, "PUT other* 1", "OK");
    type_in(&mut session, "GET o\t", "GET other* ");
    session.send_line("").unwrap();
    session.exp_string("\r\n1\r\n").unwrap();
    session.exp_string("kv> ").unwrap();
    // What all keys share is inserted, and a second Tab lists them.
    type_in(&mut session, "GET us\t", "user:a");
    type_in(&mut session, "\t", "user:alan");
    drop_line(&mut session);
    type_in(&mut session, "KEYS \t\t", "user:ada");
    drop_line(&mut session);
    say(&mut session, "FLUSH", "FLUSH OK every accepted write is on the disk of the server");
    say(&mut session, "STATS", "server    address   127.0.0.1:");
    session.send_line("EXIT").unwrap();
    session.exp_string("bye").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(exit_status(&session), 0);
}

#[test]
fn many_keys_are_bounded() {
    let served = Served::new(&["--batch", "1000"]);
    let lines: String = (0..3000).map(|n| format!("PUT key{n:04} 1\n")).collect();
    served.cli(&[]).write_stdin(lines).assert().success();
    let mut session = prompt(&served.store, &["connect", &served.address]);
    say(&mut session, "PUT key 1", "OK the server syncs after 1000 writes");
    type_in(&mut session, "KEYS k\t", "KEYS key");
    // Some are listed, and the last one: it shows what all of them share.
    type_in(&mut session, "\t\t", "... key2999");
    drop_line(&mut session);
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
    assert_eq!(exit_status(&session), 0);
}

#[test]
fn ctrl_c_ends_the_wait_for_a_silent_server() {
    let store = Store::new();
    let server = Scripted::new(|request| match request {
        "GET slow" => Answer::Late("$4\r\nslow\r\n"),
        _ => Answer::Say("$1\r\n1\r\n"),
    });
    let mut session = prompt(&store, &["connect", &server.address]);
    say(&mut session, "GET a", "1");
    session.send_line("GET slow").unwrap();
    crate::common::eventually("the request is sent", || server.requests().iter().any(|request| request == "GET slow"));
    session.send_control('c').unwrap();
    session.exp_string("error: interrupted; the server at ").unwrap();
    session.exp_string("kv> ").unwrap();
    // The next answer is the one to the next command.
    say(&mut session, "GET a", "1");
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
    assert_eq!(exit_status(&session), 0);
}

#[test]
fn a_lost_connection_is_told_once() {
    let served = Served::new(&[]);
    let address = served.address.clone();
    let client = Store::new();
    let mut session = prompt(&client, &["connect", &address]);
    say(&mut session, "PUT a 1", "OK");
    let store = served.kill();
    say(&mut session, "GET a", &format!("error: cannot connect to {address}: Connection refused"));
    let served = Served::on(store, &address, &[], None);
    say(&mut session, "GET a", "1");
    say(&mut session, "PUT b 2", "OK");
    drop(served);
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
    assert_eq!(exit_status(&session), 0);
}

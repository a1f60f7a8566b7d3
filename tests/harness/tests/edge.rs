//! What the tests of our binary rely on, tried with other programs.

use harness::{Edge, free_port, tool};

#[test]
fn an_http_server_is_waited_for_and_ended_by_a_signal() {
    let (python, port) = (tool("python"), free_port());
    let port_text = port.to_string();
    let arguments = ["-m", "http.server", "--bind", "127.0.0.1", &port_text];
    let mut server = Edge::start(&python.to_string_lossy(), &arguments, &[]);
    server.wait_for_ok(port, "/");
    server.signal("TERM");
    assert!(!server.wait_for_end().success());
}

#[test]
fn what_a_program_prints_and_its_exit_code_are_kept() {
    let script = "echo out; echo \"err $ONLY $HOME\" >&2; exit 2";
    let mut program = Edge::start("/bin/sh", &["-c", script], &[("ONLY", "given")]);
    assert_eq!(program.wait_for_line("err"), "err given");
    assert_eq!(program.wait_for_end().code(), Some(2));
    assert_eq!(program.output().len(), 2);
}

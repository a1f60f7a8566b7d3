//! Logins: what makes something new is never shared, and ends with its own logout only (design.md 3.6).

use harness::{Client, Closed, Line, Product, on_each_product};
use serde_json::{Value, json};

on_each_product!(
    Line::Late7, &[("DDP_EDGE_PASSWORD_LOGIN", "true")];
    (Theirs theirs, Ours ours, All all);
    (
        password_logins_at_once_get_a_token_each,
        the_logout_of_one_password_login_leaves_the_other_alone,
        who_has_no_password_is_refused_beside_who_has_one,
        resume_logins_at_once_all_get_through,
    )
);

/// Logins that are under way at the same time.
const AT_ONCE: usize = 8;

/// The hash of `correct horse` (services.md 11), cheap enough for a test.
const BCRYPT: &str = "$2b$10$N9qo8uLOickgx2ZMRZoMye9ziAGq7vck5tvJgDvwdigaC3VYxmYaC";

/// A user with a password, by the name.
fn user_with_password(product: &Product) -> String {
    let made = product.ask(&json!({"cmd": "newUser", "roles": ["user"]}));
    let username = made["username"].as_str().expect("a name").to_owned();
    product.ask(&json!({
        "cmd": "write", "collection": "users", "filter": {"username": username},
        "update": {"$set": {"services.password": {"bcrypt": BCRYPT}}}
    }));
    username
}

fn sockets(product: &Product) -> Vec<Client> {
    (0..AT_ONCE)
        .map(|_| Client::open(product.gateway.port))
        .collect()
}

/// Sends the same login on all sockets before the first answer is read.
fn log_in_at_once(sockets: &mut [Client], login: &Value) -> Vec<Result<Value, Value>> {
    let ids: Vec<String> = sockets
        .iter_mut()
        .map(|socket| socket.start_call("login", &json!([login])))
        .collect();
    let answers = sockets.iter_mut().zip(&ids);
    answers.map(|(socket, id)| socket.outcome(id)).collect()
}

fn tokens(answers: &[Result<Value, Value>]) -> Vec<String> {
    let token = |answer: &Result<Value, Value>| {
        let answer = answer.as_ref().expect("the password is right");
        answer["token"].as_str().expect("a token").to_owned()
    };
    answers.iter().map(token).collect()
}

fn password_logins_at_once_get_a_token_each(product: &Product) {
    let username = user_with_password(product);
    let login = json!({"user": {"username": username}, "password": "correct horse"});
    let mut sockets = sockets(product);
    let mut tokens = tokens(&log_in_at_once(&mut sockets, &login));
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), AT_ONCE);
    // Each of them is good for a resume.
    for token in &tokens {
        Client::open(product.gateway.port).login(token);
    }
}

fn the_logout_of_one_password_login_leaves_the_other_alone(product: &Product) {
    let username = user_with_password(product);
    let login = json!({"user": {"username": username}, "password": "correct horse"});
    let mut sockets = sockets(product);
    let tokens = tokens(&log_in_at_once(&mut sockets, &login));
    let (first, others) = sockets.split_first_mut().expect("there are eight");
    first.call("logout", &json!([])).expect("logged in");
    let reason = String::new();
    assert_eq!(
        first.closed(),
        Closed {
            code: Some(1002),
            reason
        }
    );
    for (socket, token) in others.iter_mut().zip(&tokens[1..]) {
        product.settle(socket);
        assert_eq!(socket.end(), None);
        Client::open(product.gateway.port).login(token);
    }
    let over = json!([{"resume": tokens[0]}]);
    let error = Client::open(product.gateway.port).call("login", &over);
    assert_eq!(error.expect_err("logged out")["error"], 403);
}

fn who_has_no_password_is_refused_beside_who_has_one(product: &Product) {
    let username = user_with_password(product);
    let mut sockets = sockets(product);
    let ids: Vec<(bool, String)> = sockets
        .iter_mut()
        .enumerate()
        .map(|(number, socket)| {
            // A user without a password is refused by every accounts service.
            let name = if number % 2 == 0 { &username } else { "bob" };
            let login = json!({"user": {"username": name}, "password": "correct horse"});
            (number % 2 == 0, socket.start_call("login", &json!([login])))
        })
        .collect();
    for (socket, (right, id)) in sockets.iter_mut().zip(&ids) {
        assert_eq!(socket.outcome(id).is_ok(), *right);
    }
}

fn resume_logins_at_once_all_get_through(product: &Product) {
    let user = product.user(&["user"]);
    let mut sockets = sockets(product);
    let answers = log_in_at_once(&mut sockets, &json!({"resume": user.token}));
    for answer in tokens(&answers) {
        assert_eq!(answer, user.token);
    }
}

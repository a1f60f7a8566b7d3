//! How a crate hangs together, as numbers: for ARCHITECTURE.md, before and after a change of its shape.

use std::{collections::BTreeSet, fs, path::Path};

use syn::{
    FnArg, Ident, ImplItem, Item, Signature,
    visit::{self, Visit},
};

use super::imports;

/// Prints the longest file, what takes the whole state, and the files that import each other, of the crate at `root`.
pub(crate) fn print(root: &Path, state: &str) {
    let circles = imports::circles(root);
    let in_circles: BTreeSet<_> = circles
        .iter()
        .flat_map(|circle| circle.split(", "))
        .filter_map(|step| step.split(' ').next())
        .collect();
    let (mut longest, mut files, mut all) = ((0, String::new()), 0, Takers::default());
    for file in super::rust_files_of(root.parent().expect("a folder")) {
        let is_test = |part: std::path::Component<'_>| part.as_os_str() == "tests";
        if file.components().any(is_test) || file.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a readable file");
        let code = text
            .split("\n#[cfg(test)]\nmod tests")
            .next()
            .unwrap_or_default();
        longest = longest.max((code.lines().count(), file.display().to_string()));
        files += 1;
        let mut takers = Takers {
            state: state.to_owned(),
            ..Takers::default()
        };
        takers.visit_file(&syn::parse_file(code).expect("the file compiles"));
        all.functions += takers.functions;
        all.takers += takers.takers;
    }
    println!(
        "{files} files, the longest {} lines: {}",
        longest.0, longest.1
    );
    println!("{} of {} functions take {state}", all.takers, all.functions);
    println!("{} files in circles of imports", in_circles.len());
}

/// Counts functions, and those that have the whole state.
#[derive(Default)]
struct Takers {
    state: String,
    functions: usize,
    takers: usize,
    of_state: bool,
}

impl Takers {
    fn add(&mut self, signature: &Signature) {
        let mut named = Named(&self.state, false);
        for input in &signature.inputs {
            match input {
                FnArg::Receiver(_) => named.1 |= self.of_state,
                FnArg::Typed(input) => named.visit_type(&input.ty),
            }
        }
        self.functions += 1;
        self.takers += usize::from(named.1);
    }
}

impl<'a> Visit<'a> for Takers {
    fn visit_item(&mut self, item: &'a Item) {
        match item {
            Item::Fn(function) => self.add(&function.sig),
            Item::Impl(block) => {
                let mut named = Named(&self.state, false);
                named.visit_type(&block.self_ty);
                self.of_state = named.1;
                for item in &block.items {
                    if let ImplItem::Fn(function) = item {
                        self.add(&function.sig);
                    }
                }
                self.of_state = false;
            }
            _ => {}
        }
        visit::visit_item(self, item);
    }
}

/// Whether a type names this one.
struct Named<'n>(&'n str, bool);

impl<'a> Visit<'a> for Named<'_> {
    fn visit_ident(&mut self, ident: &'a Ident) {
        self.1 |= ident == self.0;
    }
}

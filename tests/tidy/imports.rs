//! Who imports whom inside one crate: every file is a node, every name taken from another file an arrow.
//!
//! A re-export is a name, not a use: an arrow points to the file that defines what is taken, through however many `pub
//! use`. Unit tests do not count, they may look at everything.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, Macro, Meta, UseTree, Visibility,
    visit::{self, Visit},
};

/// File → the files it takes something from, with one example each.
type Arrows = BTreeMap<PathBuf, BTreeMap<PathBuf, String>>;

/// The shortest circle of imports through each file of a crate that is part of one; each circle once. `root` is the
/// crate's `lib.rs` or `main.rs`.
pub(crate) fn circles(root: &Path) -> BTreeSet<String> {
    let arrows = arrows(root);
    let folder = root.parent().expect("a file lies in a folder");
    let name = |file: &PathBuf| {
        let file = file.strip_prefix(folder).unwrap_or(file);
        file.display().to_string()
    };
    let mut found = BTreeSet::new();
    for start in arrows.keys() {
        let Some(mut circle) = shortest(&arrows, start) else {
            continue;
        };
        let first = (0..circle.len()).min_by_key(|&index| &circle[index]);
        circle.rotate_left(first.unwrap_or(0));
        let steps = circle.iter().zip(circle.iter().cycle().skip(1));
        let steps: Vec<_> = steps
            .map(|(from, to)| format!("{} takes {}", name(from), arrows[from][to]))
            .collect();
        found.insert(steps.join(", "));
    }
    found
}

fn arrows(root: &Path) -> Arrows {
    let mut tree = Tree::default();
    tree.read(Vec::new(), root);
    let mut arrows = Arrows::new();
    for module in tree.modules.values() {
        let of_file = arrows.entry(module.file.clone()).or_default();
        for taken in &module.taken {
            // A lone name is never a module, but may be a variable that is called like one.
            let as_module = [&*module.path, taken].concat();
            if taken.len() == 1 && tree.modules.contains_key(&as_module) {
                continue;
            }
            let target = tree.resolve(&module.path, taken, &mut HashSet::new());
            if let Some(target) = target.filter(|target| *target != module.file) {
                of_file.insert(target, taken.join("::"));
            }
        }
    }
    arrows
}

fn shortest(arrows: &Arrows, start: &PathBuf) -> Option<Vec<PathBuf>> {
    let mut before: HashMap<PathBuf, PathBuf> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for next in arrows[file].keys() {
            if next == start {
                let mut circle = vec![file.clone()];
                while let Some(file) = before.get(&circle[circle.len() - 1]) {
                    circle.push(file.clone());
                }
                circle.reverse();
                return Some(circle);
            }
            if !before.contains_key(next) {
                before.insert(next.clone(), file.clone());
                queue.push_back(next);
            }
        }
    }
    None
}

/// The modules of one crate by path.
#[derive(Default)]
struct Tree {
    modules: HashMap<Vec<String>, Module>,
}

#[derive(Default)]
struct Module {
    path: Vec<String>,
    file: PathBuf,
    /// What it defines itself.
    defined: HashSet<String>,
    /// Names that it imports or hands on.
    bound: HashMap<String, Vec<String>>,
    /// Modules all of whose names it imports or hands on.
    globs: Vec<Vec<String>>,
    /// Every path by which it takes something.
    taken: Vec<Vec<String>>,
}

impl Tree {
    fn read(&mut self, path: Vec<String>, file: &Path) {
        let text = fs::read_to_string(file).expect("a declared module has a file");
        let parsed = syn::parse_file(&text).expect("the file compiles");
        self.add(path, file, &parsed.items);
    }

    fn add(&mut self, path: Vec<String>, file: &Path, items: &[Item]) {
        let mut module = Module {
            path: path.clone(),
            file: file.to_owned(),
            ..Module::default()
        };
        let mut handed_on = Vec::new();
        let mut body = Body::default();
        for item in items {
            match item {
                Item::Mod(item) if is_test(&item.attrs) => {}
                Item::Mod(item) => {
                    let path = [&*path, &[item.ident.to_string()]].concat();
                    match &item.content {
                        Some((_, items)) => self.add(path, file, items),
                        None => self.read(path.clone(), &file_of(file, &path)),
                    }
                }
                Item::Use(item) if is_test(&item.attrs) => {}
                Item::Use(item) => {
                    let mut names = Vec::new();
                    leaves(&item.tree, &mut Vec::new(), &mut names);
                    for (name, path) in names {
                        if matches!(item.vis, Visibility::Inherited) {
                            module.taken.push(path.clone());
                        } else if let Some(name) = &name {
                            handed_on.push((name.clone(), path.clone()));
                        }
                        match name {
                            Some(name) => drop(module.bound.insert(name, path)),
                            None => module.globs.push(path),
                        }
                    }
                }
                item => body.visit_item(item),
            }
        }
        // What is handed on and used here as well is a use.
        let used = |name: &String| body.paths.iter().any(|path| path[0] == *name);
        let uses = handed_on.into_iter().filter(|(name, _)| used(name));
        module.taken.extend(uses.map(|(_, path)| path));
        module.taken.extend(body.paths);
        module.defined = body.defined;
        self.modules.insert(path, module);
    }

    /// The file that defines what a path names in a module; `None` for what comes from other crates.
    fn resolve(
        &self,
        from: &[String],
        taken: &[String],
        seen: &mut HashSet<(Vec<String>, Vec<String>)>,
    ) -> Option<PathBuf> {
        if !seen.insert((from.to_vec(), taken.to_vec())) {
            return None;
        }
        let (mut at, mut rest, mut is_named) = match taken[0].as_str() {
            "crate" => (Vec::new(), &taken[1..], true),
            "self" => (from.to_vec(), &taken[1..], true),
            "super" => (from.split_last()?.1.to_vec(), &taken[1..], true),
            _ => (from.to_vec(), taken, false),
        };
        while let Some((name, behind)) = rest.split_first() {
            if name == "super" {
                at.pop();
            } else {
                let inner = [&*at, std::slice::from_ref(name)].concat();
                if self.modules.contains_key(&inner) {
                    at = inner;
                } else if self.modules[&at].defined.contains(name) {
                    break;
                } else if let Some(target) = self.modules[&at].bound.get(name) {
                    return self
                        .is_ours(&at, target)
                        .then(|| self.resolve(&at, &[target, behind].concat(), seen))?;
                } else {
                    let globs = self.modules[&at].globs.iter();
                    let globs = globs.filter(|glob| self.is_ours(&at, glob));
                    let mut found = globs.filter_map(|glob| {
                        let path = [&**glob, std::slice::from_ref(name), behind].concat();
                        self.resolve(&at, &path, seen)
                    });
                    let found = found.next();
                    if found.is_some() || !is_named {
                        return found;
                    }
                    // Something that a macro defines, perhaps.
                    break;
                }
            }
            is_named = true;
            rest = behind;
        }
        Some(self.modules[&at].file.clone())
    }

    /// Whether what a `use` names lies in this crate.
    fn is_ours(&self, at: &[String], path: &[String]) -> bool {
        matches!(&*path[0], "crate" | "self" | "super")
            || self.modules.contains_key(&[at, &path[..1]].concat())
            || self.modules[at].defined.contains(&path[0])
    }
}

/// `a/b.rs` or `a/b/mod.rs`, beside the file that declares it.
fn file_of(parent: &Path, path: &[String]) -> PathBuf {
    let folder = parent.parent().expect("a file lies in a folder");
    let stem = parent.file_stem().unwrap_or_default();
    let folder = match stem.to_str() {
        Some("mod" | "lib" | "main") => folder.to_owned(),
        _ => folder.join(stem),
    };
    let name = path.last().expect("only the root has no name");
    let flat = folder.join(format!("{name}.rs"));
    match flat.exists() {
        true => flat,
        false => folder.join(name).join("mod.rs"),
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) => list.path.is_ident("cfg") && list.tokens.to_string() == "test",
        _ => false,
    })
}

/// Every path of a `use` with the name that it binds; a glob binds none.
fn leaves(tree: &UseTree, before: &mut Vec<String>, into: &mut Vec<(Option<String>, Vec<String>)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            leaves(&path.tree, before, into);
            before.pop();
        }
        UseTree::Group(group) => {
            for tree in &group.items {
                leaves(tree, before, into);
            }
        }
        UseTree::Glob(_) => into.push((None, before.clone())),
        UseTree::Name(name) => push(name.ident.to_string(), name.ident.to_string(), before, into),
        UseTree::Rename(rename) => {
            let (name, ident) = (rename.rename.to_string(), rename.ident.to_string());
            push(name, ident, before, into);
        }
    }

    fn push(
        name: String,
        ident: String,
        before: &[String],
        into: &mut Vec<(Option<String>, Vec<String>)>,
    ) {
        if ident == "self" {
            into.push((before.last().cloned(), before.to_vec()));
        } else {
            into.push((Some(name), [before, &[ident]].concat()));
        }
    }
}

/// What the items of a module define and which paths they name.
#[derive(Default)]
struct Body {
    depth: u32,
    defined: HashSet<String>,
    paths: Vec<Vec<String>>,
}

impl Body {
    /// In macros only tokens are known: `a::b::c` wherever it stands.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.paths.extend(Some(std::mem::take(&mut path)));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                other => {
                    self.paths.extend(Some(std::mem::take(&mut path)));
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.paths.push(path);
        self.paths.retain(|path| !path.is_empty());
    }
}

impl<'ast> Visit<'ast> for Body {
    fn visit_item(&mut self, item: &'ast Item) {
        let (attributes, name) = match item {
            Item::Const(item) => (&item.attrs, Some(&item.ident)),
            Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            Item::Impl(item) => (&item.attrs, None),
            Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
            Item::Static(item) => (&item.attrs, Some(&item.ident)),
            Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            Item::Type(item) => (&item.attrs, Some(&item.ident)),
            Item::Use(item) => {
                // Inside a function.
                let mut names = Vec::new();
                leaves(&item.tree, &mut Vec::new(), &mut names);
                self.paths.extend(names.into_iter().map(|(_, path)| path));
                return;
            }
            _ => return,
        };
        if is_test(attributes) {
            return;
        }
        if self.depth == 0 {
            self.defined.extend(name.map(ToString::to_string));
        }
        self.depth += 1;
        visit::visit_item(self, item);
        self.depth -= 1;
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {}

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let segments = path.segments.iter();
            self.paths
                .push(segments.map(|segment| segment.ident.to_string()).collect());
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast Macro) {
        self.visit_path(&called.path);
        self.tokens(called.tokens.clone());
    }
}
